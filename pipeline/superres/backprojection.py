"""Iterated back-projection: corrects an interpolation until it explains what was acquired.

Irani and Peleg 1991, CVGIP: Graphical Models and Image Processing 53:231-239.
"""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.superres import profile
from pipeline.superres.request import Request


def refine(image: sitk.Image, request: Request) -> sitk.Image:
    """Add the interpolated difference between the acquired and the simulated slices.

    Stops after ``request.iterations``, when the difference is down to the noise, or when a step no
    longer makes it smaller; the noise itself is never fitted.

    The result does not go below the acquired image, so that magnitudes ring to no negative values.

    Args:
        image: first guess on the common grid.
        request: the acquired image, its transform and profile.
    """
    acquired = images.array(request.image)
    lowest = min(0.0, float(acquired.min()))
    image = sitk.Maximum(image, lowest)
    if len(request.profile.weights) == 1:
        return image
    inside = profile.covered(request.grid, request.image, request.transform)
    best, last = image, np.inf
    for _ in range(request.iterations + 1):
        simulated = profile.acquire(image, request.image, request.transform, request.profile)
        difference = np.where(inside, acquired - images.array(simulated), 0.0)
        error = float(np.sqrt(np.mean(difference[inside] ** 2))) if inside.any() else 0.0
        if error >= last:
            return best
        best, last = image, error
        if error <= request.noise:
            return best
        step = images.like(difference.astype(np.float32), request.image)
        spread = images.resample(step, request.grid, request.transform, order=1)
        image = sitk.Maximum(image + spread, lowest)
    return best
