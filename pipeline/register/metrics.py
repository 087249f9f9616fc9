"""How well a registration did, without truth: similarity, regularity, inverse consistency."""

from __future__ import annotations

from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.register.fields import Registration, compose, vectors

#: Bins a side of the joint histogram; with some 10⁵ voxels in a brain the bias stays small.
BINS = 32


def ncc(a: NDArray[np.floating], b: NDArray[np.floating]) -> float | None:
    """Pearson's correlation of two samples of intensities; None when one is constant."""
    centred_a, centred_b = (np.asarray(v, dtype=np.float64) - float(np.mean(v)) for v in (a, b))
    norm = float(np.sqrt((centred_a**2).sum() * (centred_b**2).sum()))
    return float((centred_a * centred_b).sum()) / norm if norm > 0 else None


def mutual_information(a: NDArray[np.floating], b: NDArray[np.floating]) -> float | None:
    """Mutual information in nats from a joint histogram; None when a sample is constant.

    Viola & Wells 1997, doi:10.1023/A:1007958904918.
    """
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return None
    joint = np.histogram2d(np.ravel(a), np.ravel(b), bins=BINS)[0]
    joint /= joint.sum()
    expected = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    seen = joint > 0
    return float((joint[seen] * np.log(joint[seen] / expected[seen])).sum())


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Dice's overlap of two masks, 0..1."""
    total = int(a.sum()) + int(b.sum())
    return 2.0 * int((a & b).sum()) / total if total else 0.0


def inverse_consistency(found: Registration, inside: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance in mm between points and their image after the warp and back, over a mask.

    Christensen & Johnson 2001, doi:10.1109/42.932742. The affine part is inverted exactly.
    """
    there_and_back = vectors(compose(found.warp, found.inverse_warp))[inside]
    return np.asarray(np.sqrt((there_and_back**2).sum(axis=-1)), dtype=np.float64)


def regularity(determinant: NDArray[np.floating], inside: NDArray[np.bool_]) -> dict[str, float]:
    """Folds and spread of the Jacobian determinant over a mask.

    ``log_jacobian_sd`` is over the voxels that do not fold (Leow et al. 2007,
    doi:10.1109/TMI.2007.892646).
    """
    values = np.asarray(determinant, dtype=np.float64)[inside]
    sound = values[values > 0]
    return {
        "folded_share": float((values <= 0).mean()),
        "log_jacobian_sd": float(np.log(sound).std()) if sound.size else 0.0,
        "jacobian_min": float(values.min()),
        "jacobian_max": float(values.max()),
    }


def measure(
    found: Registration,
    fixed: sitk.Image,
    mask: sitk.Image,
    stages: dict[str, tuple[sitk.Image, sitk.Image]],
    determinant: sitk.Image,
) -> dict[str, Any]:
    """Numbers of one registration over the fixed mask.

    Args:
        found: the registration.
        fixed: fixed image.
        mask: its mask, same grid.
        stages: name (before, affine, after) → moving image and mask on the fixed grid.
        determinant: of the warp's Jacobian.

    Returns:
        Flat mapping; lengths in mm, shares in 0..1, similarity per stage as ``ncc_NAME``,
        ``mi_NAME`` and ``mask_dice_NAME``; None where a similarity is not defined.
    """
    inside = images.bool_array(mask)
    reference = images.array(fixed)[inside]
    numbers: dict[str, Any] = {}
    for name, (image, region) in stages.items():
        values = images.array(image)[inside]
        numbers[f"ncc_{name}"] = ncc(values, reference)
        numbers[f"mi_{name}"] = mutual_information(values, reference)
        numbers[f"mask_dice_{name}"] = dice(images.bool_array(region), inside)
    errors = inverse_consistency(found, inside)
    matrix = np.asarray(found.affine.GetMatrix()).reshape(3, 3)
    lengths = np.sqrt((vectors(found.warp)[inside] ** 2).sum(axis=-1))
    return {
        **numbers,
        **regularity(images.array(determinant), inside),
        "inverse_consistency_mean_mm": float(errors.mean()),
        "inverse_consistency_p95_mm": float(np.percentile(errors, 95)),
        "affine_determinant": float(np.linalg.det(matrix)),
        "warp_mean_mm": float(lengths.mean()),
        "warp_max_mm": float(lengths.max()),
    }
