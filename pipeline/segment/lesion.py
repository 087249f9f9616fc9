"""Lesions: brighter on FLAIR or T2w than any tissue that is expected at their place.

The rule is that of the threshold methods for white-matter lesions: a robust z-score against the
subject's own normal tissue (Van Leemput et al. 2001, IEEE TMI 20:677; Schmidt et al. 2012,
NeuroImage 59:3774), seeds inside the white matter's territory, growth at a lower threshold, and a
least size. A part of the lesion that is dark like fluid on the anchor is its core.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

#: 1.4826 MAD is the standard deviation of a normal distribution.
MAD = 1.4826
#: Voxels of a tissue that a robust mean and spread need.
FEWEST = 50
#: Fluid that is narrower than this, in mm, does not connect two places.
BRIDGE = 4.0
#: Expected share of fluid below which a voxel counts as free of it.
DRY = 0.05
#: Contrasts on which free fluid is bright too.
FLUID_BRIGHT = ("T2w", "PDw")
#: Share of a dark part's surface that must be lesion for the part to be its core.
ENCLOSED = 0.6


@dataclass(frozen=True)
class Settings:
    """Thresholds; see workflow/schemas/stages/segment.schema.yaml for the units and ranges."""

    contrasts: tuple[str, ...] = ("FLAIR", "T2w")
    seed: float = 3.0
    grow: float = 1.5
    support: float = 0.0
    territory: float = 0.5
    min_ml: float = 0.1
    min_width: float = 4.0
    fluid_margin: float = 3.0
    closing: float = 2.0
    core_min_ml: float = 0.05


@dataclass(frozen=True)
class View:
    """One subject on one grid, arrays (z, y, x).

    Attributes:
        contrasts: suffix → intensities of the acquired contrasts.
        anchor: intensities of the anchor; ``anchor_dark`` tells whether fluid is dark on it.
        tissues: posteriors of CSF, GM, WM, stacked.
        white: probability of white matter at this place, from the atlas or the coarse level.
        fluid: the same for CSF.
        mask: brain.
        spacing: mm along x, y, z.
    """

    contrasts: Mapping[str, Floats]
    anchor: Floats
    anchor_dark: bool
    tissues: Floats
    white: Floats
    fluid: Floats
    mask: Bools
    spacing: Sequence[float]


@dataclass(frozen=True)
class Found:
    """Masks of whole lesion and core, and the probability of lesion; ``used`` are contrasts."""

    whole: Bools
    core: Bools
    probability: Floats
    used: tuple[str, ...] = ()


def find(view: View, settings: Settings) -> Found:
    """Find lesions; without an acquired FLAIR or T2w nothing is looked for."""
    used = tuple(name for name in settings.contrasts if name in view.contrasts)
    none = np.zeros(view.mask.shape, bool)
    scores = {name: score(view.contrasts[name], view) for name in used}
    if not used or any(values is None for values in scores.values()):
        return Found(none, none, none.astype(np.float32))
    first, *others = (values for values in scores.values() if values is not None)
    allowed = view.mask.copy()
    for other in others:
        allowed &= other >= settings.support
    if used[0] in FLUID_BRIGHT:
        allowed &= ~_near(_free_fluid(view), view.spacing, settings.fluid_margin)
    territory = _territory(view, settings) & allowed
    seeds = _wide((first >= settings.seed) & territory, view.spacing, settings.min_width)
    reach = (first >= settings.grow) & allowed & _near(territory, view.spacing, 3.0)
    grown = ndimage.binary_propagation(seeds & reach, mask=reach)
    whole = _tidy(_half_height(grown, first, view), view, settings)
    core = _core(whole, view, settings)
    probability = _probability(first, whole, view, settings)
    return Found(whole, core, probability, used)


def score(values: Floats, view: View) -> Floats | None:
    """Robust z-score above the brighter of grey and white matter; None with too little of either.

    The spread is that of the two tissues together, so that neither the noise nor the natural
    variety of grey matter passes for a lesion. Places where fluid is expected stay out of it:
    thick slices mix it into the cortex.
    """
    means, spreads = [], []
    dry = view.mask & (view.fluid < DRY)
    for tissue in (1, 2):
        chosen = values[dry & (view.tissues[tissue] > 0.9)]
        if len(chosen) < FEWEST:
            return None
        middle = float(np.median(chosen))
        means.append(middle)
        spreads.append(MAD * float(np.median(np.abs(chosen - middle))))
    spread = float(np.sqrt(np.mean(np.square(spreads)))) + 1e-12
    return np.asarray((values - max(means)) / spread, dtype=np.float32)


def _half_height(mask: Bools, scores: Floats, view: View) -> Bools:
    """Each part down to half its height above normal tissue: there a voxel is half lesion.

    What looks like fluid on the anchor may be the part's core: it neither counts nor is cut.
    """
    parts, count = ndimage.label(mask, ndimage.generate_binary_structure(3, 3))
    core = _fluid_like(mask, view)
    result = mask & core
    for index in range(1, count + 1):
        rim = (parts == index) & ~core
        if rim.any():
            result |= rim & (scores >= 0.5 * np.percentile(scores[rim], 90))
    return np.asarray(result)


def _free_fluid(view: View) -> Bools:
    """Ventricles and sulci: fluid that reaches places where the atlas expects fluid.

    Beside it a contrast on which fluid is bright can't tell a lesion from partial volume.
    """
    fluid = _fluid_like(np.zeros_like(view.mask), view) & view.mask
    start = fluid & (view.fluid >= 0.5)
    # a bridge of one voxel does not make the core of a lesion beside a ventricle a part of it
    wide = _wide(fluid, view.spacing, BRIDGE)
    certain = _wide(start, view.spacing, BRIDGE)
    free = start | ndimage.binary_propagation(certain & wide, mask=wide)
    return _near(free, view.spacing, BRIDGE) & fluid


def _territory(view: View, settings: Settings) -> Bools:
    """Where white matter is expected, with the holes that lesions leave in it filled."""
    white = view.white * view.mask
    return np.asarray((white >= settings.territory) & (view.fluid < 0.5))


def _ball(spacing: Sequence[float], radius: float) -> Bools:
    """Voxels within ``radius`` mm of the middle one, (z, y, x)."""
    steps = [int(radius / step + 1e-6) for step in reversed(spacing)]
    axes = np.ogrid[tuple(slice(-n, n + 1) for n in steps)]
    squares = sum((axis * step) ** 2 for axis, step in zip(axes, reversed(spacing), strict=True))
    return np.asarray(squares <= radius**2 + 1e-6)


def _wide(mask: Bools, spacing: Sequence[float], width: float) -> Bools:
    """Parts at least ``width`` mm wide: rims of partial volume along the ventricles are thinner."""
    block = np.ones([max(1, round(width / step)) for step in reversed(spacing)], bool)
    return np.asarray(ndimage.binary_opening(mask, block))


def _near(mask: Bools, spacing: Sequence[float], distance: float) -> Bools:
    if not mask.any():
        return mask
    away = ndimage.distance_transform_edt(~mask, sampling=tuple(reversed(spacing)))
    return np.asarray(away <= distance)


def _tidy(mask: Bools, view: View, settings: Settings) -> Bools:
    """Close gaps, fill what is enclosed, drop what is too small."""
    if not mask.any():
        return mask
    pad = 1 + int(np.ceil(settings.closing / min(view.spacing)))
    padded = np.pad(mask, pad)
    closed = ndimage.binary_closing(padded, _ball(view.spacing, settings.closing))
    inner = tuple(slice(pad, -pad) for _ in range(3))
    filled = ndimage.binary_fill_holes(closed)[inner] & view.mask
    filled |= _enclosed_fluid(filled, view)
    return _large(filled, view.spacing, settings.min_ml)


def _enclosed_fluid(lesion: Bools, view: View) -> Bools:
    """Fluid-like parts whose surface is mostly lesion; ventricles and sulci are not."""
    parts, _ = ndimage.label(_fluid_like(lesion, view) & ~lesion & view.mask)
    return _mostly_in(parts, lesion)


def _mostly_in(parts: NDArray[np.int32], lesion: Bools) -> Bools:
    """The parts whose surface is lesion for the most."""
    result = np.zeros_like(lesion)
    cross = ndimage.generate_binary_structure(3, 1)
    for index, place in enumerate(ndimage.find_objects(parts), 1):
        wide = tuple(slice(max(0, s.start - 1), s.stop + 1) for s in place)
        part = parts[wide] == index
        shell = ndimage.binary_dilation(part, cross) & ~part
        if shell.any() and lesion[wide][shell].mean() >= ENCLOSED:
            result[wide] |= part
    return result


def _large(mask: Bools, spacing: Sequence[float], min_ml: float) -> Bools:
    parts, _ = ndimage.label(mask, ndimage.generate_binary_structure(3, 3))
    volumes = np.bincount(parts.ravel()) * float(np.prod(spacing)) / 1000.0
    keep = volumes >= min_ml
    keep[0] = False
    return np.asarray(keep[parts])


def _fluid_like(lesion: Bools, view: View) -> Bools:
    """Nearer to fluid than to the lesion's rim on the anchor; the posterior where fluid is bright.

    On a T1w the core of a lesion is often a little brighter than free fluid, so that the midpoint
    to grey matter would split it.
    """
    fluid = view.anchor[view.mask & (view.tissues[0] > 0.9)]
    rim = view.anchor[lesion]
    if not view.anchor_dark or len(fluid) < FEWEST:
        return np.asarray(view.tissues[0] > 0.5)
    dark, bright = float(np.median(fluid)), _grey(view)
    if len(rim):
        bright = max(bright, float(np.percentile(rim, 75)))
    return np.asarray(view.anchor < 0.5 * (dark + bright))


def _grey(view: View) -> float:
    chosen = view.anchor[view.mask & (view.tissues[1] > 0.9)]
    return float(np.median(chosen)) if len(chosen) else -np.inf


def _core(whole: Bools, view: View, settings: Settings) -> Bools:
    if not whole.any():
        return whole
    dark = _large(_fluid_like(whole, view) & whole, view.spacing, settings.core_min_ml)
    parts, _ = ndimage.label(dark)
    return _mostly_in(parts, whole & ~dark)


def _probability(first: Floats, whole: Bools, view: View, settings: Settings) -> Floats:
    """Logistic in the z-score, at least one half inside the lesion and at most outside."""
    logistic = 1.0 / (1.0 + np.exp(-np.clip(first - settings.grow, -30, 30)))
    around = _near(whole, view.spacing, 2.0) & view.mask
    inside = np.maximum(logistic, np.float32(0.6))
    outside = np.minimum(logistic, np.float32(0.4)) * around
    return np.asarray(np.where(whole, inside, outside), dtype=np.float32)
