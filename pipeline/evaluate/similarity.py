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

from pipeline.evaluate.structure import gradient_similarity, span, structural

Volume = NDArray[np.floating]
Mask = NDArray[np.bool_]


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
    extent = span(reference, mask)
    if extent == 0:
        return math.nan
    return 20 * math.log10(extent / error) if error > 0 else math.inf


def nrmse(image: Volume, reference: Volume, mask: Mask) -> float:
    """Root mean square error over the reference's range within the mask."""
    extent = span(reference, mask)
    return _rmse(image, reference, mask) / extent if extent > 0 else math.nan


def ncc(image: Volume, reference: Volume, mask: Mask) -> float:
    """Pearson's correlation within the mask; NaN where either image is constant."""
    x = image[mask].astype(np.float64)
    y = reference[mask].astype(np.float64)
    _check_region(x)
    x -= x.mean()
    y -= y.mean()
    norm = math.sqrt(float(x @ x) * float(y @ y))
    return min(1.0, max(-1.0, float(x @ y) / norm)) if norm > 0 else math.nan


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
        **structural(image, reference, mask),
        **gradient_similarity(image, reference, mask),
        "nrmse": nrmse(image, reference, mask),
        "ncc": correlation,
    }


def _check_region(values: NDArray[np.floating]) -> None:
    if values.size == 0:
        raise ValueError("the region is empty")


def _rmse(image: Volume, reference: Volume, mask: Mask) -> float:
    difference = image[mask].astype(np.float64) - reference[mask].astype(np.float64)
    _check_region(difference)
    return math.sqrt(float(difference @ difference) / difference.size)
