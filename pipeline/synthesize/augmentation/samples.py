"""What generators see: cases on one isotropic grid, intensities from -1 to 1, labels as classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pipeline import files, images
from pipeline.errors import VoxelwayError
from pipeline.segment.cascade.volume import canonical
from pipeline.segment.learning.cases import Case, matches
from pipeline.segment.learning.scene import Scene, Variety

Floats = NDArray[np.float32]
Classes = NDArray[np.int64]
Size = tuple[int, int, int]

#: Percentiles of an image that become -1 and 1.
ENDS = (0.1, 99.9)


def classes_of(values: NDArray[Any], known: Sequence[int]) -> Classes:
    """Labels as classes: 0 for the background and what is not known, then 1, 2, ... in order."""
    highest = max(int(values.max(initial=0)), *known, 0)
    table = np.zeros(highest + 1, np.int64)
    table[list(known)] = np.arange(1, len(known) + 1)
    return np.asarray(table[values], np.int64)


def one_hot(classes: Tensor, count: int) -> Tensor:
    """Classes (B, Z, Y, X) as (B, count, Z, Y, X), float32."""
    return functional.one_hot(classes, count).movedim(-1, 1).float()


def ends(values: Floats) -> tuple[float, float]:
    """Intensities of one contrast that become -1 and 1.

    Raises:
        VoxelwayError: E-SIGNAL when they are one.
    """
    low, high = (float(v) for v in np.percentile(values, ENDS))
    if not low < high:
        raise VoxelwayError("E-SIGNAL", f"The intensities run from {low:g} to {high:g}")
    return low, high


def scaled(values: Floats) -> Floats:
    """Contrasts (C, Z, Y, X), each from -1 to 1."""
    result = np.empty_like(values)
    for channel, one in enumerate(values):
        low, high = ends(one)
        result[channel] = np.clip(2.0 * (one - low) / (high - low) - 1.0, -1.0, 1.0)
    return result


def fitted(values: NDArray[Any], size: Size, start: Sequence[int] | None = None) -> NDArray[Any]:
    """(..., Z, Y, X) cropped, or filled up with its border, to a size; centred without a start.

    Args:
        values: any type.
        size: Z, Y, X.
        start: first voxel along the axes that are cropped.
    """
    for axis, (wanted, own) in enumerate(zip(size, values.shape[-3:], strict=True)):
        place = values.ndim - 3 + axis
        if own > wanted:
            first = (own - wanted) // 2 if start is None else int(start[axis])
            values = np.take(values, np.arange(first, first + wanted), axis=place)
        elif own < wanted:
            pads = [(0, 0)] * values.ndim
            pads[place] = ((wanted - own) // 2, wanted - own - (wanted - own) // 2)
            values = np.pad(values, pads, mode="edge")
    return np.ascontiguousarray(values)


def seen(
    case: Case, spacing: float, known: Sequence[int], variety: Variety, rng: np.random.Generator
) -> tuple[Floats, Classes, sitk.Image]:
    """A case under a random transform: (C, Z, Y, X) from -1 to 1, classes, their grid.

    Args:
        case: with images.
        spacing: of the grid, mm.
        known: labels that are learned.
        variety: of the transform.
        rng: of the transform.
    """
    grid = images.spaced_grid(case.labels, (spacing,) * 3)
    scene = scene_of(case, known, variety, rng)
    labels = classes_of(scene.labels(grid), known)
    return scaled(scene.image(grid, rng)), labels, grid


def scene_of(case: Case, known: Sequence[int], variety: Variety, rng: np.random.Generator) -> Scene:
    """A scene whose sides are not exchanged: generators are not mirrored."""
    highest = int(sitk.GetArrayViewFromImage(case.labels).max())
    return Scene(
        case,
        rng,
        variety,
        None,
        np.arange(max(highest, *known, 0) + 1),
        np.asarray(known, np.int64),
    )


class Crops:
    """Draws boxes of one size from cases.

    Args:
        cases: with images.
        section: ``synthesize.augmentation``: ``spacing``, ``patch``, ``variety``.
        known: labels that are learned.
        total: samples of the whole training, for ``progress``; 0 for validation, which takes the
            cases in turn, as they are, in their middle.
    """

    def __init__(
        self, cases: Sequence[Case], section: Mapping[str, Any], known: Sequence[int], total: int
    ) -> None:
        self.cases, self.known, self.total = cases, known, total
        self.spacing, self.size = float(section["spacing"]), size_of(section)
        self.variety = Variety.none()
        if total:
            self.variety = variety_of(section)

    def __call__(self, rng: np.random.Generator, index: int) -> dict[str, Any]:
        """``image`` (C, Z, Y, X), ``labels`` (Z, Y, X), ``progress`` of the training, 0 to 1."""
        number = int(rng.integers(len(self.cases))) if self.total else index % len(self.cases)
        values, labels, _ = seen(self.cases[number], self.spacing, self.known, self.variety, rng)
        room = np.maximum(np.asarray(labels.shape) - self.size, 0)
        start = rng.integers(0, room + 1).tolist() if self.total else None
        return {
            "image": fitted(values, self.size, start),
            "labels": fitted(labels, self.size, start),
            "progress": np.float32(index / self.total if self.total else 1.0),
        }


def variety_of(section: Mapping[str, Any]) -> Variety:
    """Transforms that ``synthesize.augmentation.variety`` asks for; all others are none."""
    given = {f"{key}": float(value) for key, value in section["variety"].items()}
    return Variety(**{**vars(Variety.none()), **given})


def size_of(section: Mapping[str, Any]) -> Size:
    """Z, Y, X of ``patch``, which is x, y, z."""
    x, y, z = (int(n) for n in section["patch"])
    return z, y, x


def batch_of(crops: Crops, count: int) -> tuple[Tensor, Tensor]:
    """The same boxes at every call: (count, C, Z, Y, X) and their classes."""
    drawn = [crops(np.random.default_rng([5, number]), 0) for number in range(count)]
    return (
        torch.from_numpy(np.stack([one["image"] for one in drawn])),
        torch.from_numpy(np.stack([one["labels"] for one in drawn])),
    )


def scans(entries: Sequence[Mapping[str, Any]]) -> list[Case]:
    """Images without labels; the label maps of the cases are empty.

    Args:
        entries: of ``scans``: name, folder, images (contrast → pattern with ``*``), held_out,
            validation.

    Raises:
        VoxelwayError: E-TRAIN-DATA for a pattern without a file or a case that lacks a contrast,
            E-IMG-*.
    """
    return [case for entry in entries for case in _scans(entry)]


def _scans(entry: Mapping[str, Any]) -> list[Case]:
    patterns = [str(pattern) for pattern in entry["images"].values()]
    head, _, tail = patterns[0].partition("*")
    folder = Path(str(entry["folder"]))
    found = sorted(folder.glob(patterns[0]))
    if not found:
        what = f"No file {patterns[0]} of the set {entry['name']}"
        raise VoxelwayError("E-TRAIN-DATA", what, where=str(folder))
    made = []
    for path in found:
        name = path.relative_to(folder).as_posix().removeprefix(head).removesuffix(tail)
        if matches(name, tuple(entry.get("held_out", ()))):
            continue
        paths = [folder / pattern.replace("*", name) for pattern in patterns]
        pictures = [canonical(images.read_image(one)) for one in paths]
        empty = images.like(np.zeros(pictures[0].GetSize()[::-1], np.uint16), pictures[0])
        digest = "".join(files.sha256(one)[:16] for one in paths)
        side = "val" if matches(name, tuple(entry.get("validation", ()))) else ""
        made.append(Case(f"{entry['name']}/{name}", empty, tuple(pictures), digest, side))
    return made
