"""Derives the plan of a cascade from its data, in the manner of nnU-Net.

Isensee et al. 2021, doi:10.1038/s41592-020-01008-z: the geometry follows from spacings and sizes,
the patch from the memory, the scale of the image from its contrast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import images, networks
from pipeline.errors import VoxelwayError
from pipeline.labels import Label
from pipeline.segment.cascade import window
from pipeline.segment.cascade.plan import ANY, Appearance, CascadePlan, Intensity, Level
from pipeline.segment.learning import atlas, divided
from pipeline.segment.learning.cases import Case

#: Voxels that the deepest level of a network has along an axis, at least.
BOTTOM = 4
#: Bytes of activations and their gradients a voxel, channel of the first level and sample:
#: six tensors kept a level, an eighth as large at each level below, in float32.
BYTES = 4 * 6 * 2 * 1.4
#: Steps of the geometric axes that are so much coarser than the finest are not halved with it.
ANISOTROPIC = 2.0


def members(learning: Mapping[str, Any]) -> int:
    """Networks of a level: so many for each fold."""
    return int(learning["folds"]) * int(learning["networks"])


def derive(
    learning: Mapping[str, Any],
    labels: Sequence[Label],
    cases: Sequence[Case],
    contrasts: tuple[str, ...],
    batch: int,
) -> CascadePlan:
    """The plan for these cases; what the configuration states is taken from there.

    Args:
        learning: section ``segment.learning``.
        labels: that are learned.
        cases: all of them; images of one contrast set, or label maps.
        contrasts: of the cases' images, or ``any`` for label maps.
        batch: samples of a step.

    Raises:
        VoxelwayError: E-CONFIG-VALUE for levels that do not fit each other, E-TRAIN-DATA for planes
            that the cases do not show.
    """
    learning = {**learning, "batch": batch}
    facts = measured(cases, labels)
    levels: list[Level] = []
    for number, entry in enumerate(learning["levels"]):
        before = levels[-1] if levels else None
        level = _level(learning, entry, number, before, labels, facts, len(contrasts))
        if entry.get("prior"):
            level = _with_prior(level, before, cases, labels)
        if entry.get("planes"):
            planes = tuple(divided.plane(pair, cases) for pair in entry["planes"])
            level = replace(level, planes=planes)
        levels.append(level)
    try:
        return CascadePlan(
            contrasts,
            tuple(label.row() for label in labels),
            tuple(levels),
            _intensity(contrasts, cases, labels),
            {
                **facts,
                "batch": batch,
                "losses": list(learning["losses"]),
                "memory_mb": _memory(levels, learning),
            },
            _appearance(learning),
            bool(learning["within_brain"]),
        )
    except ValueError as error:
        hint = "Look at segment.learning.levels; config/README.md tells what each key means"
        raise VoxelwayError("E-CONFIG-VALUE", str(error), hint=hint) from error


def _appearance(learning: Mapping[str, Any]) -> Appearance | None:
    asked = learning["appearance"]
    if not asked["use"]:
        return None
    return Appearance(tuple(tuple(int(one) for one in group) for group in asked["alike"]))


def measured(cases: Sequence[Case], labels: Sequence[Label]) -> dict[str, Any]:
    """Spacings, extents and volumes: the data's fingerprint, for people and for the plan."""
    spacing = np.asarray([case.labels.GetSpacing() for case in cases])
    extent = np.asarray([case.labels.GetSize() for case in cases]) * spacing
    boxes = np.asarray([_extent(case, labels) for case in cases])
    volumes: dict[str, list[float]] = {label.name: [] for label in labels}
    for case in cases:
        counts = np.bincount(sitk.GetArrayViewFromImage(case.labels).ravel(), minlength=65536)
        ml = float(np.prod(case.labels.GetSpacing())) / 1000.0
        for label in labels:
            if counts[label.index]:
                volumes[label.name].append(float(counts[label.index]) * ml)
    return {
        "cases": len(cases),
        "spacing_median_mm": np.median(spacing, axis=0).round(4).tolist(),
        "extent_median_mm": np.median(extent, axis=0).round(1).tolist(),
        "extent_largest_mm": extent.max(axis=0).round(1).tolist(),
        "foreground_largest_mm": boxes.max(axis=0).round(1).tolist(),
        "volume_ml": {
            name: {
                "cases": len(found),
                "median": round(float(np.median(found)), 3),
                "low": round(min(found), 3),
                "high": round(max(found), 3),
            }
            for name, found in volumes.items()
            if found
        },
    }


def _extent(case: Case, labels: Sequence[Label]) -> list[float]:
    """Edges of the box around the learned labels, mm, x, y, z."""
    known = np.isin(sitk.GetArrayViewFromImage(case.labels), [label.index for label in labels])
    found = np.argwhere(known)
    if not len(found):
        return [0.0, 0.0, 0.0]
    edges = (found.max(axis=0) - found.min(axis=0) + 1)[::-1] * case.labels.GetSpacing()
    return [float(edge) for edge in edges]


def _level(
    learning: Mapping[str, Any],
    entry: Mapping[str, Any],
    number: int,
    before: Level | None,
    labels: Sequence[Label],
    facts: Mapping[str, Any],
    contrasts: int,
) -> Level:
    margin = float(entry.get("margin", 8.0))
    spacing = _spacing(entry, number, len(learning["levels"]), facts)
    crop = tuple(int(v) for v in entry.get("crop", before.labels if before else ()))
    context = bool(entry.get("context", before is not None))
    groups = _classes(entry, labels)
    told = before.classes if before is not None and before.regions else groups
    inputs = contrasts + (len(told) if context else 0)
    architecture = str(entry.get("architecture", "unet"))
    seen = facts["foreground_largest_mm"] if crop else facts["extent_largest_mm"]
    wanted = [edge + (2 * margin if crop else 0.0) for edge in seen]
    patch = entry.get("patch")
    if patch:
        wanted = [n * mm for n, mm in zip(patch, spacing, strict=True)]
    strides = _strides(spacing, wanted)
    step = [math.prod(stride[axis] for stride in strides) for axis in (2, 1, 0)]
    patch = patch or _patch(wanted, spacing, step, learning)
    arguments = {"inputs": inputs, "outputs": len(groups) + 1}
    arguments |= _shape(architecture, strides, spacing, learning)
    arguments |= entry.get("arguments", {})
    x, y, z = _divisible(patch, architecture, arguments)
    return Level(
        str(entry["name"]), spacing, (x, y, z), groups, crop, margin, context,
        tuple(int(v) for v in entry.get("inside", ())), architecture, arguments,
        members(learning), regions=bool(entry.get("regions", False)),
    )  # fmt: skip


def _with_prior(
    level: Level, before: Level | None, cases: Sequence[Case], labels: Sequence[Label]
) -> Level:
    """The level with the grid of its atlas, and a network that takes it."""
    if before is None:
        what = f"{level.name} is the first level: there is nothing to lay an atlas by"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint="Give `prior` to a later level")
    learned = np.asarray([label.index for label in labels], np.int64)
    place = atlas.place(cases, level, before, learned)
    classes = len(level.classes)
    arguments = {
        **level.arguments,
        "inputs": int(level.arguments["inputs"]) + classes,
        "prior": [classes, *place.size[::-1]],
    }
    return replace(level, prior=place, arguments=arguments)


def _shape(
    architecture: str,
    strides: Sequence[tuple[int, int, int]],
    spacing: tuple[float, float, float],
    learning: Mapping[str, Any],
) -> dict[str, Any]:
    """Arguments that the plan derives, as far as an architecture takes them."""
    base, most = int(learning["base_channels"]), int(learning["most_channels"])
    derived = {
        "channels": [min(base * 2**k, most) for k in range(len(strides))],
        "strides": [list(stride) for stride in strides],
        "kernels": _kernels(strides, spacing),
        "deep_supervision": bool(learning["deep_supervision"]),
        "dropout": float(learning["dropout"]),
    }
    taken = networks.parameters(architecture)
    return {key: value for key, value in derived.items() if key in taken}


def _divisible(
    patch: Sequence[int], architecture: str, arguments: Mapping[str, Any]
) -> tuple[int, int, int]:
    """The patch (x, y, z), filled up to what the network's sizes are multiples of."""
    steps = window.divisor(networks.build(architecture, arguments))[::-1]
    x, y, z = (math.ceil(int(n) / step) * step for n, step in zip(patch, steps, strict=True))
    return x, y, z


def _classes(entry: Mapping[str, Any], labels: Sequence[Label]) -> tuple[tuple[int, ...], ...]:
    """Output channels: each label, or both sides of a structure as one, or as stated."""
    chosen = entry.get("classes", "labels")
    if isinstance(chosen, list):
        return tuple(tuple(int(v) for v in group) for group in chosen)
    if chosen == "labels":
        return tuple((label.index,) for label in labels)
    known = {label.index for label in labels}
    groups: list[tuple[int, ...]] = []
    for label in labels:
        if label.pair in known and label.pair is not None:
            left = label.name.lower().startswith("left")
            if left:
                groups.append((label.index, label.pair))
        else:
            groups.append((label.index,))
    return tuple(groups)


def _spacing(
    entry: Mapping[str, Any], number: int, count: int, facts: Mapping[str, Any]
) -> tuple[float, float, float]:
    """Stated, or the data's median; a first level of several takes at least four times that."""
    given = entry.get("spacing")
    median = [float(v) for v in facts["spacing_median_mm"]]
    if given is not None:
        values = [float(v) for v in (given if isinstance(given, list) else [given] * 3)]
    elif number == 0 and count > 1:
        values = [max(4.0 * min(median), 3.0)] * 3
    else:
        values = median
    return values[0], values[1], values[2]


def _strides(
    spacing: tuple[float, float, float], extent: Sequence[float]
) -> list[tuple[int, int, int]]:
    """Strides of the levels of a network, (z, y, x): coarse axes are halved later."""
    step = np.asarray(spacing)
    size = np.asarray(extent) / step
    strides = [(1, 1, 1)]
    while len(strides) < 6:
        halve = (size >= 2 * BOTTOM) & (
            step <= ANISOTROPIC * step[size >= 2 * BOTTOM].min(initial=np.inf)
        )
        if not halve.any():
            break
        factor = np.where(halve, 2, 1)
        strides.append((int(factor[2]), int(factor[1]), int(factor[0])))
        step, size = step * factor, size / factor
    return strides


def _kernels(
    strides: Sequence[tuple[int, int, int]], spacing: tuple[float, float, float]
) -> list[list[int]]:
    """Kernels of the levels, (z, y, x): 1 along an axis as long as it is much coarser."""
    step = np.asarray(spacing)[::-1].copy()
    found = []
    for stride in strides:
        step = step * stride
        found.append([1 if own > ANISOTROPIC * step.min() else 3 for own in step])
    return found


def _patch(
    extent: Sequence[float],
    spacing: tuple[float, float, float],
    step: Sequence[int],
    learning: Mapping[str, Any],
) -> list[int]:
    """Patch that covers the extent, shrunk along its longest edges until it fits the memory."""
    patch = [
        max(s, math.ceil(edge / mm / s) * s)
        for edge, mm, s in zip(extent, spacing, step, strict=True)
    ]
    most = float(learning["memory_gb"]) * 2**30
    base, batch = int(learning["base_channels"]), int(learning["batch"])
    while math.prod(patch) * base * batch * BYTES > most:
        lengths = [n * mm if n > s else 0.0 for n, mm, s in zip(patch, spacing, step, strict=True)]
        axis = int(np.argmax(lengths))
        if not lengths[axis]:
            break
        patch[axis] -= step[axis]
    return patch


def _memory(levels: Sequence[Level], learning: Mapping[str, Any]) -> dict[str, int]:
    """Megabytes that a step of each level's training needs, beside what torch itself takes."""
    base, batch = int(learning["base_channels"]), int(learning["batch"])
    return {
        level.name: round(math.prod(level.patch) * base * batch * BYTES / 2**20) for level in levels
    }


def _intensity(
    contrasts: Sequence[str], cases: Sequence[Case], labels: Sequence[Label]
) -> Intensity:
    """A window for CT, in HU; mean and deviation for known contrasts; else percentiles."""
    if tuple(contrasts) == (ANY,):
        return Intensity("percentile", 0.5, 99.5)
    if set(contrasts) != {"CT"}:
        return Intensity("zscore")
    known = [label.index for label in labels]
    values = [
        images.array(case.images[0])[np.isin(sitk.GetArrayViewFromImage(case.labels), known)][::20]
        for case in cases
    ]
    low, high = np.percentile(np.concatenate(values), (0.5, 99.5))
    return Intensity("window", round(float(low), 1), round(float(high), 1))
