"""Runs every method on every pair, one process each, and scores what comes back."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.errors import VoxelwayError
from pipeline.register import engine, transforms
from pipeline.register.fields import Registration, zero_field
from pipeline.register.stage import foreground, stripped
from tests.benchmarks import launch
from tests.benchmarks.launch import JobError
from tests.benchmarks.register import scores
from tests.benchmarks.register.pairs import Pair


@dataclass(frozen=True)
class Method:
    """One line of the table.

    Attributes:
        tool: peer or method of ours.
        peer: whether it runs in the peers' environment.
        options: the tool's own.
    """

    tool: str
    peer: bool
    options: Mapping[str, Any] = field(default_factory=dict)


METHODS = {
    "affine": Method("affine", peer=False),
    "ants-syn": Method("ants", peer=True, options={"type_of_transform": "SyNOnly"}),
    "ants-syn-cc": Method(
        "ants", peer=True, options={"type_of_transform": "antsRegistrationSyN[so]"}
    ),
    "greedy": Method("greedy", peer=True, options={"arguments": "-m NCC 2x2x2 -n 100x50x10"}),
    "convexadam": Method("convexadam", peer=True),
    "demons": Method("demons", peer=False),
    "adaptive": Method("adaptive", peer=False, options={"affine": "none"}),
    "voxelmorph": Method(
        "voxelmorph", peer=False, options={"affine": "none", "voxelmorph": {"refine": False}}
    ),
    "voxelmorph-refined": Method(
        "voxelmorph", peer=False, options={"affine": "none", "voxelmorph": {"refine": True}}
    ),
}

ROW = (
    "pair", "method", "dice", "hd95_mm", "tre_mm", "folded_share", "log_jacobian_sd",
    "inverse_consistency_mm", "seconds", "peak_mb", "version", "error",
)  # fmt: skip
LABEL_ROW = ("pair", "method", "label", "dice", "hd95_mm")


@dataclass(frozen=True)
class Setup:
    """What all jobs of a run share: Python of the peers, cores, our model, folder for the work."""

    peers: Path
    cores: int
    model: Path | None
    work: Path


@dataclass(frozen=True)
class Start:
    """A pair after its common affine.

    Attributes:
        folder: holds fixed, moving and their masks on the fixed grid, as every method reads them.
        affine: from fixed to moving points.
        mask: brain on the fixed grid.
        moving_labels: on their own grid.
        fixed_labels: on the fixed grid.
        truth: true field, or None.
        cost: seconds and memory of the affine.
    """

    folder: Path
    affine: sitk.AffineTransform
    mask: sitk.Image
    moving_labels: sitk.Image
    fixed_labels: sitk.Image
    truth: sitk.Image | None
    cost: Mapping[str, Any]


def run(
    pairs: Sequence[Pair],
    names: Sequence[str],
    setup: Setup,
    each: Callable[[Mapping[str, Any]], None],
) -> None:
    """Run methods on pairs, pair by pair.

    Args:
        pairs: what to register.
        names: keys of :data:`METHODS`.
        setup: the rest.
        each: called with a row after each method: :data:`ROW`, and ``labels`` with the scores of
            each label; ``error`` is empty where it went well.
    """
    for pair in pairs:
        try:
            start = begin(pair, setup)
        except JobError as error:
            for name in names:
                each({"pair": pair.name, "method": name, "error": f"affine: {error}"})
            continue
        for name in names:
            row = {"pair": pair.name, "method": name}
            try:
                each(row | measure(name, start, setup))
            except JobError as error:
                each(row | {"error": str(error)})
        shutil.rmtree(start.folder)


def begin(pair: Pair, setup: Setup) -> Start:
    """Find the affine and resample the moving image onto the fixed grid, once for all methods.

    Raises:
        JobError: when no affine was found.
        VoxelwayError: E-IMG-* and E-LABELS for files that can't be used.
    """
    folder = setup.work / pair.name
    folder.mkdir(parents=True, exist_ok=True)
    fixed, fixed_mask = _side(pair.fixed, pair.fixed_mask)
    moving, moving_mask = _side(pair.moving, pair.moving_mask)
    labels = [images.read_labels(path) for path in (pair.moving_labels, pair.fixed_labels)]
    sides = {"fixed": fixed, "fixed_mask": fixed_mask}
    sides |= {"moving": moving, "moving_mask": moving_mask}
    _write(folder, sides)
    cost = job(METHODS["affine"], folder, folder / "affine", setup)
    affine = transforms.read_affine(folder / "affine" / "affine.mat")
    region = images.resample(moving_mask, fixed, affine, labels=True)
    aligned = sitk.Clamp(images.resample(moving, fixed, affine), sitk.sitkFloat32, 0.0, 1.0)
    _write(folder, {"moving": stripped(aligned, region), "moving_mask": region})
    # labels outside the margin around the brain could not be matched by anyone
    fixed_labels = images.resample(labels[1], fixed, labels=True)
    if not scores.shared_labels(labels[0], fixed_labels):
        raise VoxelwayError("E-LABELS", "The two images have no label in common", where=pair.name)
    truth = images.read_field(pair.truth_field) if pair.truth_field else None
    return Start(folder, affine, fixed_mask, labels[0], fixed_labels, truth, cost)


def _side(path: Path, mask_path: Path | None) -> tuple[sitk.Image, sitk.Image]:
    """Image from 0 to 1 and brain, cut to the brain with a margin."""
    image = images.read_image(path)
    mask = foreground(image) if mask_path is None else images.read_labels(mask_path) > 0
    images.check_mask(mask, str(path))
    images.check_same_grid(image, mask, str(path))
    normal = engine.normalized(image, mask)
    return engine.cropped(normal, mask), engine.cropped(sitk.Cast(mask, sitk.sitkUInt8), mask)


def _write(folder: Path, named: Mapping[str, sitk.Image]) -> None:
    for name, image in named.items():
        images.write_image(image, folder / f"{name}.nii")


def measure(name: str, start: Start, setup: Setup) -> dict[str, Any]:
    """Run one method and score its warp; the folder of its fields is removed.

    Raises:
        JobError: when its process failed or its warp is not on the fixed grid.
    """
    out = start.folder / name
    inverse_path = out / "inverse_warp.nii"
    if METHODS[name].tool == "affine":
        cost, warp = start.cost, zero_field(start.mask)
        inverse, has_inverse = warp, True
    else:
        cost = job(METHODS[name], start.folder, out, setup)
        warp = images.read_field(out / "warp.nii")
        has_inverse = inverse_path.is_file()
        inverse = images.read_field(inverse_path) if has_inverse else zero_field(start.mask)
        shutil.rmtree(out)
    if not images.same_grid(warp, start.mask):
        raise JobError("the warp is not on the fixed grid")
    if not np.isfinite(sitk.GetArrayViewFromImage(warp)).all():
        raise JobError("the warp is not finite")
    found = Registration(start.affine, warp, inverse)
    labels = scores.overlap_scores(found, start.moving_labels, start.fixed_labels)
    row = {
        **cost,
        "labels": labels,
        **scores.label_means(labels),
        **scores.regularity_scores(found, start.mask, has_inverse),
        "error": "",
    }
    if start.truth is not None:
        row["tre_mm"] = scores.field_error(found, start.truth, start.mask)
    return row


def job(method: Method, source: Path, out: Path, setup: Setup) -> dict[str, Any]:
    """Run one method in its process.

    Args:
        method: what to run.
        source: folder with fixed.nii, moving.nii and the masks.
        out: folder for its fields, made anew.
        setup: the rest.

    Returns:
        ``seconds``, ``peak_mb`` and ``version``.

    Raises:
        JobError: when it failed.
    """
    sides = ("fixed", "moving", "fixed_mask", "moving_mask")
    content = {
        **{side: str((source / f"{side}.nii").resolve()) for side in sides},
        "tool": method.tool,
        "options": dict(method.options),
        "cores": setup.cores,
        "model": str(setup.model.resolve()) if setup.model else "",
    }
    return launch.run("register", content, out, setup.peers if method.peer else None)
