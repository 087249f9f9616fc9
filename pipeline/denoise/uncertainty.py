"""How far off a denoised image may be, voxel by voxel: a parametric bootstrap of the method.

The denoised image stands in for the truth: noise of the estimated level is added to it afresh and
removed again, several times. The root mean square of what then differs from it holds what the
method leaves of the noise and what it takes away from the anatomy, for any method (Efron &
Tibshirani 1993, An Introduction to the Bootstrap, chapter 6). Detail that the first pass has
removed is not in it: the map is a lower bound where structure was lost.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

from pipeline import images
from pipeline.denoise.learning.noise_model import gaussian, rician
from pipeline.denoise.request import Method, Request

#: The squares are averaged over a Gaussian of this deviation, voxels: few draws are noisy.
SMOOTHING = 1.0


def estimate(request: Request, denoised: sitk.Image, method: Method, draws: int) -> sitk.Image:
    """Root mean square error to be expected in each voxel, intensity of the image.

    Args:
        request: of the image.
        denoised: what the method made of it.
        method: run once more for each draw.
        draws: number of draws, at least 1.
    """
    clean = images.array(denoised)
    level = np.full(clean.shape, request.noise.sigma, dtype=np.float32)
    if request.field is not None:
        level *= request.field
    level[images.array(request.image) == 0] = 0.0
    add = rician if request.noise.model == "rician" else gaussian
    total = np.zeros_like(clean)
    for number in range(draws):
        rng = np.random.default_rng([request.seed, number])
        noisy = images.like(add(clean, level, rng), request.image)
        again = images.array(method(replace(request, image=noisy)))
        total += np.square(again - clean)
    variance = ndimage.gaussian_filter(total / draws, SMOOTHING)
    return images.like(np.sqrt(np.maximum(variance, 0.0)), request.image)
