"""What a restored image is worth beside the sharp one; one code for all methods."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.evaluate.overlap import overlap
from pipeline.evaluate.structure import gradient_similarity, ssim
from tests.benchmarks.restore.cases import Reference


def measure(found: sitk.Image, reference: Reference) -> dict[str, float]:
    """PSNR (dB, the peak is the robust range), SSIM and GMS inside the mask.

    Args:
        found: on the reference's grid.
        reference: the sharp image.

    Raises:
        VoxelwayError: E-IMG-GRID when it is on another grid.
    """
    images.check_same_grid(found, reference.image, reference.name)
    made, truth, mask = images.array(found), images.array(reference.image), reference.mask
    error = float(np.sqrt(np.mean((made - truth)[mask] ** 2, dtype=np.float64)))
    return {
        "psnr": 20.0 * float(np.log10(reference.extent / max(error, 1e-9))),
        "ssim": ssim(made, truth, mask),
        "gms": gradient_similarity(made, truth, mask)["gms"],
    }


def dice(found: sitk.Image, truth: sitk.Image) -> float:
    """Mean Dice over the labels that the sharp image's segmentation has."""
    made, wanted = (sitk.GetArrayViewFromImage(one) for one in (found, truth))
    labels = [int(label) for label in np.unique(wanted) if label]
    return float(
        np.mean([overlap(made == one, wanted == one, voxel_ml=1.0)["dice"] for one in labels])
    )
