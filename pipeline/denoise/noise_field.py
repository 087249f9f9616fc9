"""How the noise level varies over an image, where it varies more than chance would have it.

Local mean of the absolute second differences over the flat voxels of the mask, as for the level
itself (:mod:`pipeline.denoise.noise`); parallel imaging, surface coils and the correction of the
bias field make noise uneven (Aja-Fernandez et al. 2014, doi:10.1016/j.mri.2013.12.009).
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy import ndimage

from pipeline import images
from pipeline.denoise import noise, rician

Values = NDArray[np.float32]

#: Deviation of the window that the local level is a mean over, mm.
WINDOW = 14.0
#: A field whose logarithm has a smaller deviation is taken for even: chance gives 0.01 to 0.03.
LEAST = 0.06
#: Furthest that the local level is believed to be from the level of the whole.
LIMITS = (0.33, 3.0)


def estimate(image: sitk.Image, mask: sitk.Image, found: noise.Noise) -> Values | None:
    """Local level over the level of the whole, (z, y, x); None where the noise is even.

    Args:
        image: float32.
        mask: brain or foreground, same lattice.
        found: level of the whole.
    """
    whole = images.bool_array(mask)
    box = noise.around(whole)
    values, inside = images.array(image)[box], whole[box]
    axes = noise.fine_axes(image)
    sample = noise.homogeneous(values, inside, axes) if axes else np.zeros_like(inside)
    if found.sigma <= 0 or int(sample.sum()) < 20 * noise.FEWEST:
        return None
    spread = _local(_detail(values, axes), sample, image)
    if found.model == "rician":
        spread *= _rician_growth(_local(values, sample, image) / np.float32(found.sigma))
    # the median, as the level of the whole is one
    ratio = spread / float(np.median(spread[sample]))
    if float(np.std(np.log(np.maximum(ratio[sample], 1e-3)))) < LEAST:
        return None
    field = np.ones(whole.shape, dtype=np.float32)
    field[box] = np.clip(ratio, *LIMITS)
    return field


def facts(field: Values | None, mask: sitk.Image) -> dict[str, object]:
    """Entries of the sidecar: 5th and 95th percentile of the factor inside the mask, if uneven."""
    if field is None:
        return {"NoiseVaries": False}
    low, high = np.percentile(field[images.bool_array(mask)], [5, 95])
    return {"NoiseVaries": True, "NoiseFactors": [round(float(low), 3), round(float(high), 3)]}


def _detail(values: Values, axes: tuple[int, ...]) -> Values:
    """Size of the second differences; rare large ones, which are edges, are cut."""
    rest = values
    for axis in axes:
        rest = ndimage.convolve1d(rest, noise.SECOND_DIFFERENCE, axis=axis, mode="nearest")
    size = np.abs(rest)
    most = 4.0 * float(np.median(size[size > 0])) / noise.MAD if (size > 0).any() else 1.0
    return np.minimum(size, most).astype(np.float32)


def _local(values: Values, sample: NDArray[np.bool_], image: sitk.Image) -> Values:
    """Mean over the sampled voxels around each voxel; far from any, that of all."""
    # two boxes have the deviation of the window, at a fraction of a Gaussian's time
    edges = [max(1, round(WINDOW * np.sqrt(6) / step)) for step in reversed(image.GetSpacing())]
    whole = float(values[sample].mean())
    weight, total = sample.astype(np.float32), np.where(sample, values, np.float32(0.0))
    for _ in range(2):
        weight = ndimage.uniform_filter(weight, edges, mode="constant")
        total = ndimage.uniform_filter(total, edges, mode="constant")
    return np.asarray((total + 1e-3 * whole) / (weight + 1e-3), dtype=np.float32)


def _rician_growth(level: Values) -> Values:
    """Factor from a magnitude's spread to the complex signal's, for mean magnitudes over sigma."""
    table = rician.tables()
    return np.asarray(1.0 / np.interp(level, table.mean, table.std), dtype=np.float32)
