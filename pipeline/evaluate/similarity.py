"""Similarity of an image to a reference on the same grid, within a region.

Bias correction and intensity scaling change the scale of an image on purpose. So the stages
compare an image after the least-squares gain and offset that bring it closest to the reference
within the region (:func:`fit_linear`). The gain may be negative, which makes another contrast with
inverted grey values a fair baseline. A fit has one gain for the whole image: a remaining bias field
stays in the error.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Volume = NDArray[np.floating]
Mask = NDArray[np.bool_]

#: Standard deviation (voxels), half width (voxels) and constants of Wang et al. 2004.
SSIM_SIGMA = 1.5
SSIM_RADIUS = 5
SSIM_K1, SSIM_K2 = 0.01, 0.03


def fit_linear(image: Volume, reference: Volume, mask: Mask) -> tuple[float, float]:
    """Gain and offset that bring ``image`` closest to ``reference`` within ``mask``.

    Returns:
        (gain, offset) of the least-squares line; a constant image gets gain 0.
    """
    x = image[mask].astype(np.float64)
    y = reference[mask].astype(np.float64)
    _check_region(x)
    centred = x - x.mean()
    spread = float(centred @ centred)
    gain = float(centred @ (y - y.mean())) / spread if spread > 0 else 0.0
    return gain, float(y.mean() - gain * x.mean())


def psnr(image: Volume, reference: Volume, mask: Mask) -> float:
    """Peak signal-to-noise ratio in dB; the peak is the reference's range within the mask.

    Identical images have an infinite one; a constant reference has none (NaN).
    """
    error = _rmse(image, reference, mask)
    span = _span(reference, mask)
    if span == 0:
        return math.nan
    return 20 * math.log10(span / error) if error > 0 else math.inf


def nrmse(image: Volume, reference: Volume, mask: Mask) -> float:
    """Root mean square error over the reference's range within the mask."""
    span = _span(reference, mask)
    return _rmse(image, reference, mask) / span if span > 0 else math.nan


def ncc(image: Volume, reference: Volume, mask: Mask) -> float:
    """Pearson's correlation within the mask; NaN where either image is constant."""
    x = image[mask].astype(np.float64)
    y = reference[mask].astype(np.float64)
    _check_region(x)
    x -= x.mean()
    y -= y.mean()
    norm = math.sqrt(float(x @ x) * float(y @ y))
    return min(1.0, max(-1.0, float(x @ y) / norm)) if norm > 0 else math.nan


def ssim(image: Volume, reference: Volume, mask: Mask) -> float:
    """Mean structural similarity over the mask (Wang et al. 2004), with a 3D Gaussian window.

    The window is in voxels, whatever their size. Voxels outside the mask are seen by the windows of
    those inside; the image is mirrored at its border. The range L of the constants is the
    reference's within the mask.

    Args:
        image: (z, y, x).
        reference: (z, y, x) of the same shape.
        mask: voxels whose similarity is averaged.
    """
    span = _span(reference, mask)
    if span == 0:
        return math.nan
    box = _padded_box(mask)
    x, y = image[box].astype(np.float64), reference[box].astype(np.float64)
    mean_x, mean_y = _window(x), _window(y)
    var_x = _window(x * x) - mean_x * mean_x
    var_y = _window(y * y) - mean_y * mean_y
    covariance = _window(x * y) - mean_x * mean_y
    c1, c2 = (SSIM_K1 * span) ** 2, (SSIM_K2 * span) ** 2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return float(np.mean((luminance * structure)[mask[box]]))


def similarity(
    image: Volume, reference: Volume, mask: Mask, *, fit: bool = True
) -> dict[str, float]:
    """Every similarity measure of the registry.

    Args:
        image: (z, y, x).
        reference: (z, y, x) of the same shape.
        mask: the region.
        fit: first bring ``image`` to the reference's scale by :func:`fit_linear`.

    Returns:
        measure → value; NaN where undefined, infinite PSNR for identical images.
    """
    if image.shape != reference.shape or mask.shape != reference.shape:
        raise ValueError(f"shapes {image.shape}, {reference.shape} and {mask.shape} differ")
    correlation = ncc(image, reference, mask)
    if fit:
        gain, offset = fit_linear(image, reference, mask)
        image = image.astype(np.float64) * gain + offset
    return {
        "psnr": psnr(image, reference, mask),
        "ssim": ssim(image, reference, mask),
        "nrmse": nrmse(image, reference, mask),
        "ncc": correlation,
    }


def _check_region(values: NDArray[np.floating]) -> None:
    if values.size == 0:
        raise ValueError("the region is empty")


def _span(reference: Volume, mask: Mask) -> float:
    values = reference[mask]
    _check_region(values)
    return float(values.max()) - float(values.min())


def _rmse(image: Volume, reference: Volume, mask: Mask) -> float:
    difference = image[mask].astype(np.float64) - reference[mask].astype(np.float64)
    _check_region(difference)
    return math.sqrt(float(difference @ difference) / difference.size)


def _window(values: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = ndimage.gaussian_filter(
        values, SSIM_SIGMA, mode="mirror", radius=SSIM_RADIUS
    )
    return result


def _padded_box(mask: Mask) -> tuple[slice, ...]:
    """Bounding box of the mask with room for the window, so that nothing inside changes."""
    found = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(
        slice(max(0, part.start - SSIM_RADIUS), min(size, part.stop + SSIM_RADIUS))
        for part, size in zip(found, mask.shape, strict=True)
    )
