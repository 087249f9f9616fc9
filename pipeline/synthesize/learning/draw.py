"""Patches of scans: a target, a random set of the other contrasts, and what is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline.synthesize.learning import profile
from pipeline.synthesize.learning.cases import Scan

#: Orders of the axes that put each in the place of the planes' normal.
ORDERS = ((0, 1, 2), (1, 0, 2), (2, 0, 1))


@dataclass(frozen=True)
class Pairs:
    """Scans that have a target and another contrast, and what is drawn of them.

    Attributes:
        scans: to draw from.
        contrasts: of the network's inputs, in order.
        targets: of its outputs, in order.
        patch: Z, Y, X, voxels.
        dropout: probability that a source that is there is left out, at most all but one.
        gain: largest random change of each source's scale.
        turned: whether planes of all three orientations are drawn, or axial ones only.
    """

    scans: Sequence[Scan]
    contrasts: tuple[str, ...]
    targets: tuple[str, ...]
    patch: tuple[int, int, int]
    dropout: float = 0.0
    gain: float = 0.0
    turned: bool = False

    def combinations(self) -> list[tuple[Scan, str]]:
        """Every scan with every target that it has beside another contrast."""
        return [
            (scan, target)
            for scan in self.scans
            for target in self.targets
            if target in scan.contrasts and len(others(scan, target, self.contrasts)) > 0
        ]

    @property
    def kernel(self) -> int:
        """Edge of the largest kernel of a target."""
        sizes = [scan.targets[target].kernel.shape[0] for scan, target in self.combinations()]
        return max(sizes)


def others(scan: Scan, target: str, contrasts: Sequence[str]) -> list[str]:
    """Contrasts of a scan that a target may be made from."""
    return [name for name in contrasts if name in scan.contrasts and name != target]


class Training:
    """Draws for :class:`pipeline.training.data.SeededSamples`: random in every respect."""

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs
        self.known = pairs.combinations()
        self.kernel = pairs.kernel

    def __call__(self, rng: np.random.Generator, number: int) -> dict[str, Any]:
        """One sample: sources, given, target, weight, kernel, inside, which."""
        scan, target = self.known[int(rng.integers(len(self.known)))]
        given = subset(others(scan, target, self.pairs.contrasts), self.pairs.dropout, rng)
        order = ORDERS[int(rng.integers(3))] if self.pairs.turned else ORDERS[0]
        found = cut(self.pairs, scan, (target, given), self.kernel, place(scan, target, rng), order)
        gains = 1.0 + self.pairs.gain * rng.uniform(-1.0, 1.0, len(self.pairs.contrasts))
        found["sources"] = found["sources"] * torch.from_numpy(gains).float().view(-1, 1, 1, 1)
        mirrored = [axis for axis in (1, 2, 3) if rng.random() < 0.5]
        return {
            key: value.flip([axis - 4 + value.ndim for axis in mirrored])
            if value.ndim > 2
            else value
            for key, value in found.items()
        }


class Validation:
    """The same patches each time: several a scan and target, all its sources, then one at a time.

    Attributes:
        count: number of samples.
    """

    def __init__(self, pairs: Pairs, each: int) -> None:
        self.pairs = pairs
        self.kernel = pairs.kernel
        self.listed = [pair for pair in pairs.combinations() for _ in range(each)]
        self.count = len(self.listed)

    def __call__(self, rng: np.random.Generator, number: int) -> dict[str, Any]:
        """Sample ``number``."""
        scan, target = self.listed[number]
        order = ORDERS[number % 3] if self.pairs.turned else ORDERS[0]
        there = others(scan, target, self.pairs.contrasts)
        return cut(self.pairs, scan, (target, there), self.kernel, place(scan, target, rng), order)


def subset(names: Sequence[str], dropout: float, rng: np.random.Generator) -> list[str]:
    """Contrasts that are left when each is dropped with a probability; one at least."""
    kept = [name for name in names if rng.random() >= dropout]
    return kept or [names[int(rng.integers(len(names)))]]


def place(scan: Scan, target: str, rng: np.random.Generator) -> tuple[int, int, int]:
    """A random voxel of the brain, where the target was measured if it was anywhere."""
    wanted = scan.mask & scan.targets[target].seen
    shape = scan.mask.shape
    found = (0, 0, 0)
    for _ in range(60):
        found = tuple(int(rng.integers(size)) for size in shape)  # type: ignore[assignment]
        if wanted[found]:
            break
    return found


def cut(
    pairs: Pairs,
    scan: Scan,
    asked: tuple[str, Sequence[str]],
    kernel: int,
    centre: Sequence[int],
    order: Sequence[int],
) -> dict[str, Tensor]:
    """One sample around a voxel.

    Args:
        pairs: contrasts, targets, size.
        scan: where it is cut from.
        asked: the target, and the sources that are given.
        kernel: edge of the kernels of all samples.
        centre: Z, Y, X.
        order: of the axes in the sample.

    Returns:
        ``sources`` (C, z, y, x), ``given`` (C,), ``target``, ``weight`` and ``inside``
        (1, z, y, x), ``kernel`` (K, K, K) and ``which``, the target's number, (1,).
    """
    target, given = asked
    size = [0, 0, 0]
    for axis, own in zip(order, pairs.patch, strict=True):
        size[axis] = own

    def box(values: Tensor) -> Tensor:
        return window(values, centre, size).permute(*order).contiguous()

    zero = torch.zeros(pairs.patch)
    sources = [box(scan.contrasts[n]) if n in given else zero for n in pairs.contrasts]
    wanted = scan.targets[target]
    inside = box(scan.mask)
    weight = box(wanted.seen).float() * margin(pairs.patch, wanted.kernel.shape[0] // 2)
    return {
        "sources": torch.stack(sources),
        "given": torch.tensor([float(name in given) for name in pairs.contrasts]),
        "target": box(wanted.values)[None],
        "weight": weight[None],
        "inside": inside[None],
        "kernel": profile.sized(wanted.kernel, kernel).permute(*order).contiguous(),
        "which": torch.tensor([pairs.targets.index(target)]),
    }


def window(values: Tensor, centre: Sequence[int], size: Sequence[int]) -> Tensor:
    """A box of ``size`` voxels around a voxel, within the volume; zero where it is larger."""
    for axis, (place, wide) in enumerate(zip(centre, size, strict=True)):
        whole = values.shape[axis]
        start = min(max(0, place - wide // 2), max(0, whole - wide))
        values = values.narrow(axis, start, min(wide, whole))
        if wide > whole:
            shape = list(values.shape)
            shape[axis] = wide - whole
            values = torch.cat([values, values.new_zeros(shape)], dim=axis)
    return values


def margin(shape: Sequence[int], edge: int) -> Tensor:
    """One inside, zero in the outer voxels, whose neighbours across the slice are not in it."""
    found = torch.zeros(tuple(shape))
    found[tuple(slice(min(edge, (n - 1) // 2), n - min(edge, (n - 1) // 2)) for n in shape)] = 1.0
    return found


def condition(batch: Mapping[str, Tensor], targets: int) -> Tensor:
    """What a discriminator sees beside the image: the sources, and which target it is."""
    sources = batch["sources"]
    if targets == 1:
        return sources
    told = torch.nn.functional.one_hot(batch["which"][:, 0], targets).to(sources.dtype)
    wide = told[:, :, None, None, None].expand(-1, -1, *sources.shape[2:])
    return torch.cat([sources, wide], dim=1)
