"""Artefacts of the scanner that a training sample may have: Gibbs ringing, spikes, few voxels.

Each takes and gives (Z, Y, X) of one patch or image. What lives in k-space is done to the patch's
own, which stands for the scanner's.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

Floats = NDArray[np.float32]

#: Share of k-space's radius that ringing cuts away.
RINGING = (0.3, 0.6)
#: Height of the stripes, share of the image's range.
SPIKE = (0.03, 0.15)
#: Share of the voxels along each axis that an image of low resolution has.
COARSE = (0.5, 1.0)


def ringing(values: Floats, rng: np.random.Generator) -> Floats:
    """Gibbs ringing: high frequencies are cut off sharply (Morelli et al. 2011,
    doi:10.1148/rg.314105726)."""
    from monai.transforms import GibbsNoise

    share = float(rng.uniform(*RINGING))
    return _floats(GibbsNoise(alpha=share)(torch.from_numpy(values)[None]))


def spikes(values: Floats, rng: np.random.Generator) -> Floats:
    """A spike of k-space: stripes over the whole image."""
    from monai.transforms import KSpaceSpikeNoise

    place = [int(rng.integers(n)) for n in values.shape]
    if place == [n // 2 for n in values.shape]:
        place[-1] += 1  # the middle would only make the image brighter
    height = float(rng.uniform(*SPIKE)) * values.size * max(float(np.ptp(values)), 1e-6)
    striped = KSpaceSpikeNoise(loc=(0, *place), k_intensity=float(np.log(height)))
    return _floats(striped(torch.from_numpy(values)[None]))


def few_voxels(values: Floats, rng: np.random.Generator) -> Floats:
    """Low resolution: the nearest of fewer voxels, interpolated back (as nnU-Net; Isensee et al.
    2021, doi:10.1038/s41592-020-01008-z)."""
    share = float(rng.uniform(*COARSE))
    size = [max(2, round(share * n)) for n in values.shape]
    coarse = functional.interpolate(torch.from_numpy(values)[None, None], size=size)
    whole = functional.interpolate(coarse, size=values.shape, mode="trilinear")
    return _floats(whole[0])


def cutout(values: Floats, rng: np.random.Generator) -> Floats:
    """Cutout (DeVries and Taylor 2017, doi:10.48550/arXiv.1708.04552), with noise for zeros."""
    edges = [max(1, int(n * rng.uniform(0.05, 0.25))) for n in values.shape]
    starts = [int(rng.integers(0, n - e + 1)) for n, e in zip(values.shape, edges, strict=True)]
    box = tuple(slice(s, s + e) for s, e in zip(starts, edges, strict=True))
    result = values.copy()
    result[box] = rng.uniform(0.0, 1.0, result[box].shape)
    return result


def _floats(values: object) -> Floats:
    """The one channel of (1, Z, Y, X)."""
    return np.asarray(torch.as_tensor(values)[0].numpy(), dtype=np.float32)
