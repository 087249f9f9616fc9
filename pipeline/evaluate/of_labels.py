"""Labels against true labels, and volumes: the brain mask and the segmentation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from pipeline import images
from pipeline.evaluate.case import Case
from pipeline.evaluate.detection import detection
from pipeline.evaluate.overlap import overlap
from pipeline.evaluate.surface import surface_measures
from pipeline.labels import Label, tissues_of

LabelArray = NDArray[np.integer]
Mask = NDArray[np.bool_]

#: Measures of the tables; the file form gives all of them.
SHOWN = (
    "dice",
    "sensitivity",
    "precision",
    "surface_dice",
    "hd95",
    "asd",
    "volume_error",
    "volume_error_percent",
)
SHOWN_BRAIN = ("dice", "surface_dice", "hd95")
#: Measures that every label of the reference has, found or not: their mean leaves no label out.
AVERAGED = ("dice", "jaccard", "sensitivity", "surface_dice")
SHOWN_MEAN = ("dice", "surface_dice")
#: Parts of a lesion are found together or not at all.
WHOLE_LESION = "whole-lesion"


def voxel_ml(image: sitk.Image) -> float:
    """Volume of a voxel in millilitres."""
    return float(np.prod(image.GetSpacing())) / 1000.0


def measures(
    predicted: Mask, reference: Mask, grid: sitk.Image, tolerance: float
) -> dict[str, float]:
    """Every overlap and surface measure of two masks on the same grid.

    Args:
        predicted: mask (z, y, x).
        reference: mask of the same shape.
        grid: image with their spacing.
        tolerance: mm, that of the surface Dice.
    """
    spacing = grid.GetSpacing()[::-1]
    return {
        **overlap(predicted, reference, voxel_ml(grid)),
        **surface_measures(predicted, reference, spacing, tolerance),
    }


def means(per_label: Mapping[str, Mapping[str, float]], present: Sequence[str]) -> dict[str, float]:
    """Means over the labels that the reference has; NaN when it has none.

    A label that only the prediction has shows in its own row.
    """
    if not present:
        return dict.fromkeys(AVERAGED, math.nan)
    return {
        name: float(np.mean([per_label[label][name] for label in present])) for name in AVERAGED
    }


def brain(case: Case) -> None:
    """Volume of the brain mask, and its overlap with the true brain."""
    mask = case.brain(case.anchor)
    found = images.bool_array(mask)
    case.table.add("preprocess", "volume", "brain", np.count_nonzero(found) * voxel_ml(mask))
    if case.truth is not None:
        true = case.true_brain(case.anchor, mask)
        values = measures(found, true, mask, tolerance(case))
        case.table.add_all("preprocess", "brain", values, only=SHOWN_BRAIN)


def tolerance(case: Case) -> float:
    """The surface Dice's tolerance in mm."""
    return float(case.task.params["surface_tolerance"])


def segment(case: Case) -> None:
    """Volume of each label; with truth its overlap and surface distance, beside the coarse ones."""
    fine = case.dseg()
    counts = np.bincount(sitk.GetArrayViewFromImage(fine).ravel(), minlength=65536)
    ml = {label.name: float(counts[label.index]) * voxel_ml(fine) for label in case.labelling}
    whole = {
        tissue: sum(ml[part.name] for part in parts)
        for tissue, parts in tissues_of(case.labelling).items()
        if tissue not in ml
    }
    for name, volume in {**ml, **whole}.items():
        case.table.add("segment", "volume", name, volume)
    if case.truth is None:
        return
    true = sitk.GetArrayFromImage(case.true_labels("dseg.nii.gz", case.anchor, fine))
    coarse_image = case.dseg("coarse")
    images.check_same_grid(coarse_image, fine, f"{case.task.unit.name} coarse labels")
    judged, names = in_terms_of(case.labelling, case.true_labelling)
    values, coarse = (
        judged[np.minimum(sitk.GetArrayViewFromImage(image), len(judged) - 1)]
        for image in (fine, coarse_image)
    )
    known = np.isin(true, [label.index for label in names])
    true = np.where(known, true, 0)
    _against_truth(case, fine, (values, coarse, true), names)
    place = largest_error(values != true, fine)
    if place is not None:
        case.notes["LargestError"] = [round(value, 2) for value in place]


def in_terms_of(
    found: Sequence[Label], reference: Sequence[Label]
) -> tuple[NDArray[np.int64], list[Label]]:
    """Labels that were found as those of a reference that names others.

    Where both name the same structures these are compared by name; else structures are merged to
    the tissues of the reference. What the reference does not name becomes background, and labels of
    the reference that the method does not look for are not judged.

    Returns:
        Look-up table from an index that was found (0 at its end, for all higher ones), and the
        labels of the reference that are judged.
    """
    indices = {label.name: label.index for label in reference}
    same = any(label.name in indices and label.name != label.tissue for label in found)
    table = np.zeros(max(label.index for label in found) + 2, np.int64)
    for label in found:
        table[label.index] = indices.get(label.name if same else label.tissue, 0)
    return table, [label for label in reference if label.index in set(table.tolist())]


def largest_error(wrong: Mask, grid: sitk.Image) -> tuple[float, ...] | None:
    """The middle of the thickest region of wrong voxels; None when nothing is wrong.

    Thin rims along every border are the usual error; the place that a reader should see is the
    voxel that is farthest from any right one.

    Args:
        wrong: mask (z, y, x).
        grid: image on the same grid.

    Returns:
        Point in LPS mm.
    """
    if not wrong.any():
        return None
    inside = distance_transform_edt(np.pad(wrong, 1), sampling=grid.GetSpacing()[::-1])
    index = np.unravel_index(int(inside[1:-1, 1:-1, 1:-1].argmax()), wrong.shape)[::-1]
    point = grid.TransformIndexToPhysicalPoint([int(value) for value in index])
    return tuple(float(value) for value in point)


def _against_truth(
    case: Case,
    grid: sitk.Image,
    arrays: tuple[LabelArray, LabelArray, LabelArray],
    names: Sequence[Label],
) -> None:
    fine, coarse, true = arrays
    after, before, limit = {}, {}, tolerance(case)
    for label in names:
        reference = true == label.index
        after[label.name] = measures(fine == label.index, reference, grid, limit)
        before[label.name] = measures(coarse == label.index, reference, grid, limit)
        case.table.add_all("segment", label.name, after[label.name], before[label.name], only=SHOWN)
    present = [label.name for label in names if (true == label.index).any()]
    both = means(after, present), means(before, present)
    case.table.add_all("segment", "mean", *both, only=SHOWN_MEAN)
    lesion = [label.index for label in names if label.name.startswith("lesion")]
    if lesion:
        share = float(case.task.params["lesion_overlap"])
        lesions = [np.isin(labels, lesion) for labels in arrays]
        found = [detection(mask, lesions[2], share) for mask in lesions[:2]]
        case.table.add_all("segment", WHOLE_LESION, *found)
