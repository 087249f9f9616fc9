"""Samples of unpaired training: a patch of one subject's source, one of another's target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.errors import VoxelwayError
from pipeline.synthesize.learning.cases import Scan

Floats = NDArray[np.float32]
#: Largest change of a patch's scale: the median of a brain is known to a few percent.
GAIN = 0.05


@dataclass(frozen=True)
class Unpaired:
    """Draws training sample k.

    Attributes:
        scans: all that may be drawn from; most have one of the two contrasts only.
        source, target: suffixes.
        side: of the patches, voxels.
        labels: look-up table from a label to its class; where it is given, sources are drawn from
            labelled scans and come with ``source_classes``.
        mirror: whether left and right are exchanged in half of the patches.
    """

    scans: Sequence[Scan]
    source: str
    target: str
    side: int
    labels: NDArray[np.int64] | None = None
    mirror: bool = True

    def __call__(self, rng: np.random.Generator, number: int) -> dict[str, Any]:
        """``source``, ``target`` and where they were measured, each (1, S, S, S)."""
        wanted = having(self.scans, self.target)
        given = [
            scan
            for scan in having(self.scans, self.source, self.labels is not None)
            if any(one.subject != scan.subject for one in wanted)
        ]
        first = given[int(rng.integers(len(given)))]
        # never the same person's: nothing may be learned from a pair
        others = [scan for scan in wanted if scan.subject != first.subject]
        second = others[int(rng.integers(len(others)))]
        found = self._patch(first, self.source, "source", rng)
        if self.labels is not None:
            found["source_classes"] = found.pop("classes")
        other = self._patch(second, self.target, "target", rng)
        other.pop("classes", None)
        return {**found, **other}

    def _patch(
        self, scan: Scan, suffix: str, name: str, rng: np.random.Generator
    ) -> dict[str, Any]:
        places = np.argwhere(scan.mask.numpy() & measured(scan, suffix))
        middle = places[int(rng.integers(len(places)))]
        mirrored = self.mirror and bool(rng.random() < 0.5)
        gain = np.float32(1.0 + GAIN * (2.0 * rng.random() - 1.0))

        def taken(values: NDArray[Any]) -> NDArray[Any]:
            patch = cut(values, middle, self.side)
            # left and right are the last axis
            return np.ascontiguousarray(patch[..., ::-1] if mirrored else patch)

        inside = taken(scan.rim.numpy() & measured(scan, suffix)).astype(np.float32)
        values = taken(scan.contrasts[suffix].numpy()) * gain
        found = {name: values[None] * inside[None], f"{name}_inside": inside[None]}
        if self.labels is not None and scan.labels is not None:
            found["classes"] = taken(self.labels[scan.labels.numpy()])
        return found


@dataclass(frozen=True)
class Held:
    """Validation sample k: the middle of a source, and of the target of another subject.

    Attributes:
        scans: to validate on.
        training: targets are taken from here where no other validation subject has one.
        source, target: suffixes.
        side: largest edge, voxels.
        labels: as of :class:`Unpaired`.
    """

    scans: Sequence[Scan]
    training: Sequence[Scan]
    source: str
    target: str
    side: int
    labels: NDArray[np.int64] | None = None

    @property
    def count(self) -> int:
        """Samples: one a scan with the source."""
        return len(having(self.scans, self.source))

    def __call__(self, rng: np.random.Generator, number: int) -> dict[str, Any]:
        """As of :class:`Unpaired`; where the scan has them also ``truth``, ``truth_inside``.

        The truth is for the card alone: what is validated on never decides with a pair.
        """
        scan = having(self.scans, self.source)[number]
        wanted = [*having(self.scans, self.target), *having(self.training, self.target)]
        others = [one for one in wanted if one.subject != scan.subject]
        second = others[number % min(len(others), self.count)]
        found = {**self._of(scan, self.source, "source"), **self._of(second, self.target, "target")}
        if self.target in scan.contrasts:
            found |= self._of(scan, self.target, "truth")
        if self.labels is not None:
            found["source_classes"] = self._classes(scan)
        return found

    def _of(self, scan: Scan, suffix: str, name: str) -> dict[str, Any]:
        middle = np.round(np.argwhere(scan.mask.numpy()).mean(axis=0)).astype(int)
        side = min(self.side, max(scan.mask.shape))
        inside = cut(scan.rim.numpy() & measured(scan, suffix), middle, side)
        values = cut(scan.contrasts[suffix].numpy(), middle, side) * inside
        shown = inside.astype(np.float32)[None]
        return {name: values.astype(np.float32)[None], f"{name}_inside": shown}

    def _classes(self, scan: Scan) -> NDArray[np.int64]:
        side = min(self.side, max(scan.mask.shape))
        if scan.labels is None:
            return np.full((side,) * 3, -1, dtype=np.int64)
        assert self.labels is not None
        middle = np.round(np.argwhere(scan.mask.numpy()).mean(axis=0)).astype(int)
        return cut(self.labels[scan.labels.numpy()], middle, side)


def having(scans: Sequence[Scan], suffix: str, labelled: bool = False) -> list[Scan]:
    """Scans with a contrast, and with labels where these are asked for."""
    return [s for s in scans if suffix in s.contrasts and (s.labels is not None or not labelled)]


def measured(scan: Scan, suffix: str) -> NDArray[np.bool_]:
    """Where the field of view of a contrast reaches, (Z, Y, X)."""
    return np.asarray(scan.contrasts[suffix].numpy() != 0)


def cut(values: NDArray[Any], middle: NDArray[Any], side: int) -> NDArray[Any]:
    """A cube of ``side`` voxels about a voxel, moved inwards at the border; zeros if too small."""
    slices, pads = [], []
    for centre, size in zip(middle, values.shape, strict=True):
        start = min(max(0, int(centre) - side // 2), max(0, size - side))
        slices.append(slice(start, start + side))
        missing = max(0, side - size)
        pads.append((missing // 2, missing - missing // 2))
    return np.pad(values[tuple(slices)], pads)


def check(
    scans: Sequence[Scan], source: str, target: str, least: int, labelled: bool = False
) -> None:
    """Refuse what nothing can be learned from without pairs.

    Args:
        scans: to train on.
        least: subjects that must have each contrast.
        labelled: whether the sources need labels.

    Raises:
        VoxelwayError: E-TRAIN-DATA.
    """
    sides = having(scans, source, labelled), having(scans, target)
    people = [{scan.subject for scan in side} for side in sides]
    needs = "labelled " if labelled else ""
    if min(len(one) for one in people) < least or len(people[0] | people[1]) < 2:
        what = (
            f"{len(people[0])} training subjects have a {needs}{source}, {len(people[1])} a "
            f"{target}, {len(people[0] | people[1])} in all"
        )
        hint = f"Each is needed of {least} or more, of two different subjects at least"
        raise VoxelwayError("E-TRAIN-DATA", what, hint=hint)


def probe(draw: Unpaired, count: int, seed: int) -> Mapping[str, torch.Tensor]:
    """A fixed batch for the watch over diversity."""
    rows = [draw(np.random.default_rng([seed, number]), number) for number in range(count)]
    names = ("source", "source_inside", "target", "target_inside")
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in names}
