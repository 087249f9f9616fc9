"""A level of another model: structures that a cascade found, divided into their parts.

The part of every voxel is the nearest one that the other model finds around the structure, so that
the parts fill it exactly and nothing grows beyond it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import images
from pipeline.errors import Exit, VoxelwayError
from pipeline.labels import Label
from pipeline.segment import crop
from pipeline.segment.case import HeadMethod, Output

#: A part's number is that of its structure times this, plus the number that its model gives it.
FACTOR = 100

Labels = NDArray[np.uint16]
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Division:
    """Structures and the model that divides them.

    Attributes:
        labels: numbers of the structures.
        model: name of the model, for messages.
        method: it, loaded.
        margin: mm around a structure that it looks at.
        agreement: least Dice of all its parts together with the structure.
    """

    labels: tuple[int, ...]
    model: str
    method: HeadMethod
    margin: float
    agreement: float


class Divided(HeadMethod):
    """A method whose structures are divided by others.

    Args:
        whole: finds the structures.
        divisions: of some of them; each structure once.

    Raises:
        VoxelwayError: E-CONFIG-VALUE for a structure that ``whole`` does not know or that is named
            twice, E-MODEL-INPUT when the models look at different contrasts.
    """

    def __init__(self, whole: HeadMethod, table: Sequence[Label], divisions: Sequence[Division]):
        self.whole, self.divisions = whole, tuple(divisions)
        asked = [label for one in divisions for label in one.labels]
        known = {label.index for label in table}
        if len(set(asked)) < len(asked) or not set(asked) <= known:
            what = f"segment.cascade.divide names the labels {asked}, each has to be one of the"
            raise VoxelwayError("E-CONFIG-VALUE", f"{what} model's, and once")
        self.masked = whole.masked
        self.contrasts = _contrasts([whole, *(one.method for one in divisions)])

    def __call__(
        self, channels: Sequence[sitk.Image], where: str, mask: sitk.Image | None = None
    ) -> Output:
        """As of :class:`HeadMethod`."""
        output = self.whole(channels, where, mask)
        for division in self.divisions:
            for index in division.labels:
                output = _divided(output, index, division, channels, where)
        return output


def _contrasts(methods: Sequence[HeadMethod]) -> tuple[str, ...]:
    """What all look at: the models of any contrast take what the others need."""
    needed = {method.contrasts for method in methods if method.contrasts}
    if len(needed) > 1:
        told = " and ".join(", ".join(one) for one in sorted(needed))
        what = f"The models of segment.cascade.divide look at different contrasts: {told}"
        raise VoxelwayError("E-MODEL-INPUT", what, hint="Take models of one contrast, or of any")
    return next(iter(needed), ())


def _divided(
    output: Output, index: int, division: Division, channels: Sequence[sitk.Image], where: str
) -> Output:
    own = next(label for label in output.table if label.index == index)
    whole = images.like(images.array(output.labels) == index, output.labels)
    if not images.bool_array(whole).any():
        return output
    box = crop.around(whole, output.labels, division.margin, where)
    try:
        found = division.method([box.cut(image) for image in channels], where)
    except VoxelwayError as error:
        # too little memory, say: with more of it the result would be another one
        if error.exit == Exit.OUTSIDE:
            raise
        return _left(output, own, division, 0.0, f"{error.what} ({error.code})")
    inside, parts = images.bool_array(box.cut(whole)), _numbers(found.labels)
    dice = 2 * float((inside & (parts > 0)).sum()) / float(inside.sum() + (parts > 0).sum())
    if dice < division.agreement:
        return _left(output, own, division, dice, f"its parts have a Dice of {dice:.2f} with it")
    divided = nearest(parts, inside, whole.GetSpacing())
    numbers = _numbers(output.labels)
    place = tuple(slice(i, i + n) for i, n in zip(box.index[::-1], box.size[::-1], strict=True))
    numbers[place][inside] = FACTOR * index + divided[inside]
    return _with_parts(output, own, found, numbers, _fact(own, division, dice, divided=True))


def nearest(parts: Labels, inside: NDArray[np.bool_], spacing: Sequence[float]) -> Labels:
    """The part of every voxel inside a structure: its own, or that which is nearest in mm.

    Args:
        parts: (Z, Y, X), 0 where there is none; not all 0.
        inside: the structure.
        spacing: mm, x first.
    """
    where = ndimage.distance_transform_edt(
        parts == 0, sampling=tuple(spacing)[::-1], return_distances=False, return_indices=True
    )
    return np.where(inside, parts[tuple(where)], 0).astype(np.uint16)


def _numbers(labels: sitk.Image) -> Labels:
    return np.asarray(sitk.GetArrayFromImage(labels), np.uint16)


def _with_parts(
    output: Output, own: Label, found: Output, numbers: Labels, fact: Mapping[str, Any]
) -> Output:
    made = [_label(own, part) for part in found.table]
    rows = {int(row["label"]): row for row in found.volumes}
    voxel = float(np.prod(output.labels.GetSpacing()))
    parts = [
        _row(label, rows.get(part.index, {}), float((numbers == label.index).sum()) * voxel)
        for label, part in zip(made, found.table, strict=True)
    ]
    table = sorted([*(one for one in output.table if one != own), *made], key=lambda one: one.index)
    kept = [row for row in output.volumes if int(row["label"]) != own.index]
    return replace(
        output,
        labels=images.like(numbers, output.labels),
        table=tuple(table),
        volumes=sorted([*kept, *parts], key=lambda row: int(row["label"])),
        facts=_facts(output.facts, own, parts, fact),
    )


def _label(own: Label, part: Label) -> Label:
    side = own.name.split("-")[0].lower()
    name = f"{side}-{part.name}" if side in ("left", "right") else f"{own.name}-{part.name}"
    return replace(
        part, index=FACTOR * own.index + part.index, name=name, pair=None, tissue=own.tissue
    )


def _row(label: Label, row: Row, mm3: float) -> dict[str, Any]:
    """A row of volumes.tsv; the interval is as wide, in per cent, as that of the part's model."""
    own = float(row.get("mm3") or 0.0)
    low, high = (
        (mm3 * float(row[key]) / own if own and row.get(key) is not None else None)
        for key in ("low", "high")
    )
    return {
        "label": label.index,
        "name": label.name,
        "mm3": round(mm3, 3),
        "low": None if low is None else round(low, 1),
        "high": None if high is None else round(high, 1),
        "expected_dice": row.get("expected_dice"),
        "flag": row.get("flag", ""),
    }


def _fact(own: Label, division: Division, dice: float, *, divided: bool) -> dict[str, Any]:
    return {
        "Structure": own.name,
        "Model": division.model,
        "Agreement": round(dice, 4),
        "Divided": divided,
    }


def _left(output: Output, own: Label, division: Division, dice: float, reason: str) -> Output:
    fact = _fact(own, division, dice, divided=False)
    told = f"{own.name} was not divided by the model {division.model}: {reason}"
    return replace(
        output,
        facts={**output.facts, "Divisions": [*output.facts.get("Divisions", []), fact]},
        warnings=[*output.warnings, told],
    )


def _facts(
    facts: Mapping[str, Any], own: Label, parts: Sequence[Row], fact: Mapping[str, Any]
) -> dict[str, Any]:
    """The sidecar's tables by name: the parts take the place of the structure."""
    found = {**facts, "Divisions": [*facts.get("Divisions", []), dict(fact)]}
    for key, column in (("Volumes", "mm3"), ("ExpectedDice", "expected_dice"), ("Flags", "flag")):
        rest = {name: value for name, value in facts.get(key, {}).items() if name != own.name}
        new = {row["name"]: row[column] for row in parts if key != "Flags" or row[column]}
        found[key] = {**rest, **new}
    return found
