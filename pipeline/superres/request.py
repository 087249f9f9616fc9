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
        suffix: contrast of the image; empty where it is not known.
        guide: sharp image of another contrast of the same subject, in the grid's space; or None.
    """

    image: sitk.Image
    grid: sitk.Image
    transform: sitk.Transform
    profile: Profile
    noise: float
    iterations: int
    suffix: str = ""
    guide: sitk.Image | None = None


@dataclass(frozen=True)
class Restored:
    """What a method gives.

    Attributes:
        image: on the grid of the request.
        uncertainty: standard deviation of each voxel, in the image's intensities; where asked for.
        notes: sentences that the reader of the QC page has to know.
    """

    image: sitk.Image
    uncertainty: sitk.Image | None = None
    notes: tuple[str, ...] = ()


Method = Callable[[Request], Restored]
