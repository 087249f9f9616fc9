"""What a super-resolution method is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import SimpleITK as sitk  # noqa: N813

from pipeline.superres.profile import Profile


@dataclass(frozen=True)
class Request:
    """One acquired image and the grid that it is wanted on.

    Attributes:
        image: as acquired, on its own lattice.
        grid: isotropic grid, only its geometry counts.
        transform: maps points of the grid's space to points of the image's space (rigid).
        profile: how a slice of the image averages the object.
        noise: standard deviation of the image's noise, in its intensities.
        iterations: most corrections by back-projection.
    """

    image: sitk.Image
    grid: sitk.Image
    transform: sitk.Transform
    profile: Profile
    noise: float
    iterations: int


Method = Callable[[Request], sitk.Image]
