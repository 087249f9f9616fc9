"""ANTs behind ITK's conventions, and what the methods share: crop, winsorize, paste.

ANTs (Avants et al. 2011, doi:10.1016/j.neuroimage.2010.09.025) is called through antspyx; its
images live only in here. It applies the warp first and the affine second, as this project does, so
its files are taken as they are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.errors import VoxelwayError
from pipeline.register.fields import Registration, field_like, vectors, zero_field

#: Background kept around a brain, mm: room for the warp to end, little to compute.
MARGIN = 12.0


def cropped(image: sitk.Image, mask: sitk.Image) -> sitk.Image:
    """The image cut to the box of the mask with :data:`MARGIN` around it; same physical space."""
    inside = images.bool_array(mask)
    slices = []
    for axis, spacing in enumerate(image.GetSpacing()):
        along = np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {2 - axis})))
        border = int(np.ceil(MARGIN / spacing))
        low = max(0, int(along[0]) - border)
        slices.append(slice(low, min(image.GetSize()[axis], int(along[-1]) + 1 + border)))
    return image[slices[0], slices[1], slices[2]]


def pasted(field: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """A field on a cropped grid put back onto the whole one, zero outside."""
    whole = vectors(zero_field(grid))
    part = vectors(field)
    x, y, z = grid.TransformPhysicalPointToIndex(field.GetOrigin())
    depth, height, width = part.shape[:3]
    whole[z : z + depth, y : y + height, x : x + width] = part
    return field_like(whole, grid)


def normalized(image: sitk.Image, mask: sitk.Image) -> sitk.Image:
    """Skull-stripped image, its brain's 99.9th percentile at 1 and nothing above."""
    values, inside = images.array(image), images.bool_array(mask)
    top = float(np.percentile(values[inside], 99.9))
    if top <= 0:
        what = f"The brain's 99.9th percentile is {top:g}"
        raise VoxelwayError("E-SIGNAL", what, hint="Registration needs a brain of positive values")
    return images.like(np.where(inside, np.clip(values / top, 0.0, 1.0), 0.0).astype("f4"), image)


def affine_settings(params: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of ``ants.registration`` for the affine part."""
    iterations = tuple(int(n) for n in params["affine_iterations"])
    return {"aff_iterations": iterations, "random_seed": int(params.get("seed", 0)) + 1}


def ants_register(
    moving: sitk.Image,
    fixed: sitk.Image,
    moving_mask: sitk.Image,
    fixed_mask: sitk.Image,
    settings: Mapping[str, Any],
) -> Registration:
    """Run ``ants.registration`` from the centres of mass on, on the cropped brains.

    Args:
        moving: image of the subject.
        fixed: image of the template.
        moving_mask: brain of the subject.
        fixed_mask: brain of the template.
        settings: keyword arguments of ``ants.registration``.

    Raises:
        VoxelwayError: E-OVERLAP when ANTs gives up.
    """
    import ants

    still = cropped(normalized(fixed, fixed_mask), fixed_mask)
    moved = cropped(normalized(moving, moving_mask), moving_mask)
    with tempfile.TemporaryDirectory(prefix="voxelway-") as folder:
        start = str(Path(folder) / "ants")
        try:
            ants.registration(
                ants.from_sitk(still), ants.from_sitk(moved), outprefix=start, **settings
            )
        except RuntimeError as error:
            hint = "Look whether both images show a whole brain"
            what = f"ANTs could not align the images ({str(error).splitlines()[0][:120]})"
            raise VoxelwayError("E-OVERLAP", what, hint=hint) from error
        affine = sitk.AffineTransform(sitk.ReadTransform(f"{start}0GenericAffine.mat"))
        warps = [Path(f"{start}1{name}.nii.gz") for name in ("Warp", "InverseWarp")]
        fields = [pasted(images.read_field(p), fixed) for p in warps if p.is_file()]
    warp, inverse = fields if len(fields) == 2 else (zero_field(fixed), zero_field(fixed))
    return Registration(affine, warp, inverse)
