"""Labels against true labels, and volumes: the brain mask and the segmentation."""

from __future__ import annotations

import math

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.evaluate.case import Case
from pipeline.evaluate.overlap import overlap
from pipeline.evaluate.surface import surface_measures
from pipeline.labels import TISSUES

LabelArray = NDArray[np.integer]
Mask = NDArray[np.bool_]

#: Measures of the tables; the file form gives all of them.
SHOWN = ("dice", "hd95", "asd", "volume_error", "volume_error_percent")


def voxel_ml(image: sitk.Image) -> float:
    """Volume of a voxel in millilitres."""
    return float(np.prod(image.GetSpacing())) / 1000.0


def measures(predicted: Mask, reference: Mask, grid: sitk.Image) -> dict[str, float]:
    """Every overlap and surface measure of two masks on the same grid."""
    spacing = grid.GetSpacing()[::-1]
    return {
        **overlap(predicted, reference, voxel_ml(grid)),
        **surface_measures(predicted, reference, spacing),
    }


def mean_dice(per_label: dict[str, dict[str, float]], present: list[str]) -> float:
    """Mean Dice over the labels that the reference has; NaN when it has none.

    A label that only the prediction has shows in its own row.
    """
    values = [per_label[name]["dice"] for name in present]
    return float(np.mean(values)) if values else math.nan


def brain(case: Case) -> None:
    """Volume of the brain mask, and its overlap with the true brain."""
    mask = case.brain(case.anchor)
    found = images.bool_array(mask)
    case.table.add("preprocess", "volume", "brain", np.count_nonzero(found) * voxel_ml(mask))
    if case.truth is not None:
        true = case.true_brain(case.anchor, mask)
        case.table.add("preprocess", "dice", "brain", overlap(found, true, 1.0)["dice"])


def segment(case: Case) -> None:
    """Volume of each label; with truth its overlap and surface distance, beside the coarse ones."""
    fine = case.dseg()
    values = sitk.GetArrayViewFromImage(fine)
    for label in TISSUES:
        volume = np.count_nonzero(values == label.index) * voxel_ml(fine)
        case.table.add("segment", "volume", label.name, volume)
    if case.truth is None:
        return
    true = sitk.GetArrayFromImage(case.true_labels("dseg.nii.gz", case.anchor, fine))
    coarse_image = case.dseg("coarse")
    images.check_same_grid(coarse_image, fine, f"{case.task.unit.name} coarse labels")
    coarse = sitk.GetArrayViewFromImage(coarse_image)
    _against_truth(case, fine, (values, coarse, true))


def _against_truth(
    case: Case, grid: sitk.Image, arrays: tuple[LabelArray, LabelArray, LabelArray]
) -> None:
    fine, coarse, true = arrays
    after, before = {}, {}
    for label in TISSUES:
        reference = true == label.index
        after[label.name] = measures(fine == label.index, reference, grid)
        before[label.name] = measures(coarse == label.index, reference, grid)
        case.table.add_all("segment", label.name, after[label.name], before[label.name], only=SHOWN)
    present = [label.name for label in TISSUES if (true == label.index).any()]
    means = mean_dice(after, present), mean_dice(before, present)
    case.table.add("segment", "dice", "mean", *means)
