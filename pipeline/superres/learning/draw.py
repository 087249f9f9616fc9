"""Training samples: a sharp patch, and what a coarse acquisition and a spline leave of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.restore.patches import choose
from pipeline.restore.volumes import Volume
from pipeline.superres import condition, profile, sampling
from pipeline.superres.learning.contrast import remap
from pipeline.superres.learning.thick import Box, cut, facing, sharp_axes

Values = NDArray[np.float32]
Lengths = tuple[float, float, float]

#: Coarse samples beyond a patch that its interpolation sees, on each side.
MARGIN = 3.0
#: Voxels above this share of the scale are tissue.
TISSUE = 0.1


@dataclass(frozen=True)
class Acquisition:
    """How a patch is acquired; lengths in voxels of the patch, the slices' normal first.

    Attributes:
        spacings: distance of the samples along each axis; 1 leaves an axis as it is.
        thickness: of the slices.
        shape: of the slice profile.
        phases: places of the first sample along each axis, as shares of its spacing.
        noise: standard deviation of the noise, as a share of the scale.
    """

    spacings: Lengths
    thickness: float
    shape: str
    phases: Lengths
    noise: float

    @property
    def widths(self) -> Lengths:
        """Width of a sample along each axis."""
        return self.thickness, self.spacings[1], self.spacings[2]

    def profile(self, axis: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Offsets and weights of a sample along an axis."""
        return profile.weights(self.widths[axis], self.shape, 1.0)


def draw_acquisition(learning: Mapping[str, Any], rng: np.random.Generator) -> Acquisition:
    """A random acquisition.

    Args:
        learning: section ``superres.learning``: ``factors``, ``in_plane``, ``gaps``, ``profiles``,
            ``noise``.
        rng: source of randomness.
    """
    low, high = learning["factors"]
    # half of them below the geometric mean: small factors are the common ones
    factor = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    coarse = rng.random() < float(learning["in_plane"])
    others = [float(rng.uniform(1.0, min(factor, 3.0))) if coarse else 1.0 for _ in range(2)]
    # slices touch more often than not; a gap leaves part of the object unseen
    share = float(rng.uniform(*learning["gaps"])) if rng.random() < 0.5 else 1.0
    noise = float(rng.uniform(0.0, float(learning["noise"]))) if rng.random() < 0.5 else 0.0
    a, b, c = rng.random(3).tolist()
    shape = str(rng.choice(learning["profiles"]))
    return Acquisition((factor, others[0], others[1]), share * factor, shape, (a, b, c), noise)


def acquire(sharp: Values, how: Acquisition, rng: np.random.Generator) -> tuple[Values, float]:
    """Acquire a volume coarsely, interpolate it back and correct that by the slice profile.

    Args:
        sharp: (Z, Y, X), the slices' normal along Z.
        how: the acquisition.
        rng: source of the noise.

    Returns:
        The interpolated volume, of the same shape, and the middle of the first slice in voxels.
    """
    down: list[sampling.Matrix | None] = []
    up: list[sampling.Matrix | None] = []
    first = 0.0
    for axis, count in enumerate(sharp.shape):
        spacing = how.spacings[axis]
        if spacing <= 1.0 and how.widths[axis] <= 1.0:
            down.append(None)
            up.append(None)
            continue
        middles = np.arange(how.phases[axis] * spacing, count - 1e-6, spacing)
        down.append(sampling.slices(middles, how.profile(axis), count))
        up.append(sampling.spline(middles, np.arange(count, dtype=np.float64)))
        first = float(middles[0]) if axis == 0 else first
    coarse = noisy(sampling.apply(down, sharp), how.noise, rng)
    return sampling.explained(sampling.apply(up, coarse), coarse, down, sampling.GENTLE), first


class Patches:
    """Draws patches of random subjects, places, orientations, acquisitions and contrasts.

    Args:
        volumes: to draw from.
        learning: section ``superres.learning``.
    """

    def __init__(self, volumes: Sequence[Volume], learning: Mapping[str, Any]) -> None:
        self.volumes, self.learning = volumes, learning
        self.size = int(learning["patch"])

    def __call__(self, rng: np.random.Generator, index: int) -> dict[str, Any]:
        """``image`` and ``target`` (1, P, P, P), ``condition`` (6, P), ``seen`` (2, P, P)."""
        how = draw_acquisition(self.learning, rng)
        margins = margins_of(how)
        box = self.drawn(rng, self.size, margins)
        sharp = remap(box.values, float(self.learning["contrasts"]), rng)
        return sample(replace(box, values=sharp), how, margins, rng)

    def drawn(self, rng: np.random.Generator, size: int, margins: Sequence[int]) -> Box:
        """A box of ``size`` with margins, in a random place, orientation and reflection.

        Its first axis is one along which the volume is sharp.
        """
        one = choose(self.volumes, rng)
        order = rng.permutation(3).tolist()
        first = next(axis for axis in order if axis in sharp_axes(one))
        order.insert(0, order.pop(order.index(first)))
        wanted = [size + 2 * margin for margin in margins]
        zoom = float(rng.uniform(*self.learning["zoom"])) if rng.random() < 0.5 else 1.0
        sizes = [int(np.ceil(count / zoom)) + 1 for count in wanted] if zoom > 1 else wanted
        place = _place(np.transpose(one.values, order), rng)
        back = np.argsort(order)
        box = cut(one, place[back].tolist(), np.asarray(sizes)[back].tolist()).transposed(order)
        if zoom > 1:
            box = box.enlarged(wanted, zoom)
        return box.mirrored(rng.choice([1, -1], 3).tolist())


class Held:
    """Patches to validate on: the middle of each volume, slices of given millimetres.

    Args:
        volumes: to validate on.
        learning: section ``superres.learning``; ``validation_slices`` in mm.
    """

    def __init__(self, volumes: Sequence[Volume], learning: Mapping[str, Any]) -> None:
        self.volumes, self.slices = volumes, tuple(learning["validation_slices"])
        self.size = int(learning["validation_patch"])

    def __len__(self) -> int:
        return len(self.volumes) * len(self.slices)

    def __call__(self, rng: np.random.Generator, index: int) -> dict[str, Any]:
        """As of :class:`Patches`; ``index`` says which."""
        box, how = self.acquisition(index)
        return sample(box, how, margins_of(how), rng)

    def acquisition(self, index: int) -> tuple[Box, Acquisition]:
        """The sharp patch with its margins, and how it is acquired."""
        place, kind = divmod(index, len(self.slices))
        one = self.volumes[place]
        axes = sharp_axes(one)
        axis = axes[place % len(axes)]
        factor = float(np.clip(self.slices[kind] / one.spacing[axis], 1.0, condition.LARGEST))
        how = Acquisition((factor, 1.0, 1.0), factor, "box", (0.5, 0.0, 0.0), 0.0)
        sizes = [self.size + 2 * margin for margin in margins_of(how)]
        whole = facing(one, place)
        return whole.crop(middle_of(whole.values), sizes), how


def middle_of(values: Values) -> NDArray[np.int_]:
    """The tissue's centre of mass, a voxel."""
    filled = np.argwhere(values[::2, ::2, ::2] > TISSUE)
    return np.asarray(np.round(2 * filled.mean(axis=0)), dtype=int)


def noisy(values: Values, sigma: float, rng: np.random.Generator) -> Values:
    """With Rician noise."""
    if sigma <= 0:
        return values
    real, other = rng.normal(0.0, sigma, (2, *values.shape))
    return np.asarray(np.hypot(values + real, other), dtype=np.float32)


def inside(values: Values, margins: Sequence[int]) -> tuple[slice, ...]:
    """What is left of a box without its margins."""
    return tuple(slice(m, n - m) for m, n in zip(margins, values.shape, strict=True))


def margins_of(how: Acquisition) -> tuple[int, ...]:
    """Voxels that a patch needs around it, along each axis."""
    return tuple(int(np.ceil(MARGIN * one)) if one > 1 else 0 for one in how.spacings)


def sample(
    box: Box, how: Acquisition, margins: Sequence[int], rng: np.random.Generator
) -> dict[str, Any]:
    """Acquire a patch with its margins; these go afterwards."""
    sharp = box.values
    blurred, first = acquire(sharp, without(how, box), rng)
    inner = inside(sharp, margins)
    count = sharp.shape[0] - 2 * margins[0]
    told = condition.describe(count, first - margins[0], spacings(how, box), how.thickness)
    image, target = (np.ascontiguousarray(values[inner])[None] for values in (blurred, sharp))
    return {"image": image, "target": target, "condition": told, "seen": box.seen(margins)}


def without(how: Acquisition, box: Box) -> Acquisition:
    """The acquisition, but that thick slices of the box's own stay as they are."""
    a, b, c = (1.0 if axis in box.slices else how.spacings[axis] for axis in range(3))
    return replace(how, spacings=(a, b, c))


def spacings(how: Acquisition, box: Box) -> Lengths:
    """Distance of the samples along each axis: the acquisition's, or that of the box's slices."""
    a, b, c = (
        box.slices[axis].distance if axis in box.slices else how.spacings[axis] for axis in range(3)
    )
    return a, b, c


def _place(values: Values, rng: np.random.Generator) -> NDArray[np.int_]:
    """A random voxel of tissue: air teaches nothing."""
    place = np.zeros(3, dtype=int)
    for _ in range(20):
        place = rng.integers(0, values.shape)
        if values[tuple(place)] > TISSUE:
            break
    return place
