"""Tissues by ANTs Atropos with atlas priors (Avants et al. 2011, Neuroinformatics 9:381).

Atropos sees the anchor alone: with several images antspyx 0.6 ends with an error on some inputs.
The lesion step sees all contrasts, as with ``em``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.errors import VoxelwayError
from pipeline.segment import fine
from pipeline.segment.case import TISSUES, Case, Method, Segmentation

LEARNED = False


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Parameters in the section ``atropos``; the lesion step is that of ``em``."""
    section = params["atropos"]
    lesions = fine.lesion_settings(params)

    def segment(case: Case) -> Segmentation:
        return fine.with_lesions(case, tissues(case, section), lesions)

    return segment


def tissues(case: Case, section: Mapping[str, Any]) -> NDArray[np.float32]:
    """Posteriors of CSF, GM and WM, (3, z, y, x).

    Raises:
        VoxelwayError: E-SIGNAL when Atropos ends without posteriors.
    """
    import ants

    mask = images.bool_array(case.mask)
    place = fine.spatial_prior(case)
    place /= np.maximum(place.sum(axis=0), 1e-6)
    floor = 0.01
    place = ((1 - floor * len(TISSUES)) * place + floor) * mask
    try:
        with _temporary_files():
            found = ants.atropos(
                a=_to_ants(images.array(case.images[case.anchor]), case.mask),
                x=_to_ants(mask.astype(np.float32), case.mask),
                i=[_to_ants(part, case.mask) for part in place],
                m=f"[{float(section['mrf'])},1x1x1]",
                c=f"[{int(section['iterations'])},{float(section['tolerance'])}]",
                priorweight=float(section["prior_weight"]),
                r=0,  # a fixed seed; the default draws one from the clock
            )
            maps = [image.numpy() for image in found["probabilityimages"]]
    except Exception as error:  # ants raises nothing more telling
        what = f"Atropos ended without posteriors ({str(error)[:120]})"
        raise VoxelwayError("E-SIGNAL", what, hint="Choose the method em") from error
    stack = np.stack([values.transpose(2, 1, 0) for values in maps]).astype(np.float32)
    total = stack.sum(axis=0)
    return np.asarray(np.where(total > 1e-6, stack / np.maximum(total, 1e-6), place) * mask)


@contextmanager
def _temporary_files() -> Iterator[None]:
    """Collect the files that ants.atropos leaves in the temporary folder, and remove them."""
    before = tempfile.tempdir
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        try:
            yield
        finally:
            tempfile.tempdir = before


def _to_ants(values: NDArray[np.float32], like: sitk.Image) -> Any:
    """ANTs image with the spacing of ``like``; ANTs keeps arrays as (x, y, z).

    Origin and direction are left out: the priors pass through files, whose rounding of an oblique
    direction is enough for Atropos to refuse them.
    """
    import ants

    return ants.from_numpy(
        np.ascontiguousarray(values.transpose(2, 1, 0)), spacing=like.GetSpacing()
    )
