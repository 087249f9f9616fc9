"""Structural similarity, over one scale and several, and similarity of gradients, in 3D.

Windows and gradients are in voxels, whatever the size of a voxel: values are comparable between
images of one grid only. Voxels outside the region are seen by the windows of those inside; the
image is mirrored at its border. The constants that keep the ratios finite go by the range L of the
reference within the region; a constant reference has no range, and every measure is NaN.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Volume = NDArray[np.floating]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: Standard deviation (voxels), half width (voxels) and constants of Wang et al. 2004.
SSIM_SIGMA = 1.5
SSIM_RADIUS = 5
SSIM_K1, SSIM_K2 = 0.01, 0.03
#: Exponents of the scales from fine to coarse, Wang et al. 2003; they add up to 1.
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
#: Constant of Xue et al. 2014 for a range of 1 (170 for 255).
GRADIENT_C = 0.0026


def ssim(image: Volume, reference: Volume, mask: Mask) -> float:
    """Mean structural similarity over the mask (Wang et al. 2004), with a 3D Gaussian window.

    Args:
        image: (z, y, x).
        reference: (z, y, x) of the same shape.
        mask: voxels whose similarity is averaged.

    Raises:
        ValueError: when the mask is empty.
    """
    extent = span(reference, mask)
    return _scale(image, reference, mask, extent)[0] if extent > 0 else math.nan


def structural(
    image: Volume,
    reference: Volume,
    mask: Mask,
    weights: tuple[float, ...] = MS_SSIM_WEIGHTS,
) -> dict[str, float]:
    """``ssim``, and ``ms_ssim`` (Wang, Simoncelli & Bovik 2003) from the same maps.

    Each scale halves the one before by the mean of 2 x 2 x 2 voxels (an odd last plane falls away);
    a coarse voxel is in the region where at least half of its fine ones are. The coarsest scale
    gives luminance, contrast and structure, the others contrast and structure; negative means count
    as 0. The number of scales is fixed, so that values compare: ``ms_ssim`` is NaN where an axis
    has fewer than 2 ** (scales - 1) voxels, or nothing of the region is left at the coarsest scale.

    Args:
        image: (z, y, x).
        reference: (z, y, x) of the same shape.
        mask: the region.
        weights: exponent of each scale, fine to coarse.

    Raises:
        ValueError: when the mask is empty.
    """
    extent = span(reference, mask)
    if extent == 0:
        return {"ssim": math.nan, "ms_ssim": math.nan}
    whole, contrast = _scale(image, reference, mask, extent)
    found = {"ssim": whole, "ms_ssim": math.nan}
    if min(image.shape) < 2 ** (len(weights) - 1):
        return found
    x, y, part = image.astype(np.float64), reference.astype(np.float64), mask
    product = 1.0
    for weight in weights[:-1]:
        product *= max(contrast, 0.0) ** weight
        x, y, part = halved(x), halved(y), halved(part.astype(np.float64)) >= 0.5
        if not part.any():
            return found
        whole, contrast = _scale(x, y, part, extent)
    return {**found, "ms_ssim": product * max(whole, 0.0) ** weights[-1]}


def gradient_similarity(image: Volume, reference: Volume, mask: Mask) -> dict[str, float]:
    """Mean (``gms``) and standard deviation (``gmsd``) of gradient-magnitude similarity.

    Xue et al. 2014, doi:10.1109/TIP.2013.2293423, in 3D: Prewitt's gradient, and no halving before
    it, which stands for the distance of a viewer.

    Args:
        image: (z, y, x).
        reference: (z, y, x) of the same shape.
        mask: voxels whose similarity is taken.

    Raises:
        ValueError: when the mask is empty.
    """
    extent = span(reference, mask)
    if extent == 0:
        return {"gms": math.nan, "gmsd": math.nan}
    box = _padded_box(mask, 1)
    a, b = (_gradient(values[box].astype(np.float64)) for values in (image, reference))
    constant = GRADIENT_C * extent**2
    similar = ((2 * a * b + constant) / (a * a + b * b + constant))[mask[box]]
    return {"gms": float(similar.mean()), "gmsd": float(similar.std())}


def span(reference: Volume, mask: Mask) -> float:
    """Range of the reference within the mask.

    Raises:
        ValueError: when the mask is empty.
    """
    values = reference[mask]
    if values.size == 0:
        raise ValueError("the region is empty")
    return float(values.max()) - float(values.min())


def halved(values: Floats) -> Floats:
    """Mean of every 2 x 2 x 2 voxels; an odd last plane falls away."""
    z, y, x = (size // 2 * 2 for size in values.shape)
    values = 0.5 * (values[0:z:2] + values[1:z:2])
    values = 0.5 * (values[:, 0:y:2] + values[:, 1:y:2])
    return 0.5 * (values[..., 0:x:2] + values[..., 1:x:2])


def _scale(image: Volume, reference: Volume, mask: Mask, extent: float) -> tuple[float, float]:
    """Means over the mask: of the whole similarity, and of contrast and structure alone."""
    box = _padded_box(mask, SSIM_RADIUS)
    x, y = image[box].astype(np.float64), reference[box].astype(np.float64)
    mean_x, mean_y = _window(x), _window(y)
    var_x = _window(x * x) - mean_x * mean_x
    var_y = _window(y * y) - mean_y * mean_y
    covariance = _window(x * y) - mean_x * mean_y
    c1, c2 = (SSIM_K1 * extent) ** 2, (SSIM_K2 * extent) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    inside = mask[box]
    return float(np.mean((luminance * structure)[inside])), float(np.mean(structure[inside]))


def _window(values: Floats) -> Floats:
    result: Floats = ndimage.gaussian_filter(values, SSIM_SIGMA, mode="mirror", radius=SSIM_RADIUS)
    return result


def _gradient(values: Floats) -> Floats:
    """Magnitude of Prewitt's gradient, scaled as in the paper: a ramp of slope 1 gives 2."""
    squares = np.zeros_like(values)
    for axis in range(values.ndim):
        squares += (ndimage.prewitt(values, axis, mode="mirror") / 9.0) ** 2
    result: Floats = np.sqrt(squares)
    return result


def _padded_box(mask: Mask, room: int) -> tuple[slice, ...]:
    """Bounding box of the mask with room for the windows, so that nothing inside changes."""
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(
        slice(max(0, part.start - room), min(size, part.stop + room))
        for part, size in zip(found, mask.shape, strict=True)
    )
