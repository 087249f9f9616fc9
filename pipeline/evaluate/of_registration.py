"""Transforms against the true ones, and what can be said without truth.

The maps are put together here from the files in ITK's conventions, not by the code that wrote
them: what the numbers judge is what another program would get.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.errors import VoxelwayError
from pipeline.evaluate import registration
from pipeline.evaluate.case import Case
from pipeline.evaluate.overlap import overlap
from pipeline.evaluate.similarity import ncc
from pipeline.evaluate.truth import Truth
from pipeline.labels import TISSUES
from pipeline.register.names import SHIPPED
from pipeline.task import UnitTask


def alignment(case: Case) -> None:
    """Error of each contrast's rigid transform over the true brain, beside no alignment at all."""
    if case.truth is None:
        return
    mask = case.labels(case.truth.path("brain_mask.nii.gz"))
    points = registration.points_in(mask)
    to_anchor = case.truth.rigid(case.anchor)
    if to_anchor is not None:
        points = registration.apply_linear(to_anchor, points)
    back = case.truth.rigid_back(case.anchor)
    for suffix in case.task.contrasts("preprocess", desc="preproc"):
        estimated = case.to_contrast(suffix)
        if estimated is None:
            continue
        true = points
        for part in (back, case.truth.rigid(suffix)):
            true = true if part is None else registration.apply_linear(part, true)
        found = registration.apply_linear(estimated, points)
        error = float(registration.distances(found, true).mean())
        baseline = float(registration.distances(points, true).mean())
        case.table.add("preprocess", "rigid_error", suffix, error, baseline)


def template_of(task: UnitTask) -> str:
    """Label of the template that the unit was registered to.

    Raises:
        VoxelwayError: E-IMG-INPUT when register wrote no moved image.
    """
    folder = task.results.anat("register", task.unit)
    for path in sorted(folder.glob(f"{task.unit.name}_space-*_desc-moved_*.nii.gz")):
        return path.name.split("_space-")[1].split("_")[0]
    what = "No image in the template's space"
    raise VoxelwayError("E-IMG-INPUT", what, where=task.unit.name, hint="Run register again")


def register(case: Case) -> None:
    """Similarity to the template, Jacobian, inverse consistency; with truth the error in mm."""
    template = template_of(case.task)
    folder = case.task.results.model("register", template)
    brain = case.labels(folder / "brain_mask.nii.gz")
    _similarity(case, template, folder, brain)
    _jacobian(case, template, brain)
    _inverse_consistency(case)
    if case.truth is not None and template in SHIPPED:
        _error(case, template, brain)


def _similarity(case: Case, template: str, folder: Path, brain: sitk.Image) -> None:
    place, unit = case.task.results, case.task.unit
    inside = images.bool_array(brain)
    fixed = images.array(case.image(folder / "T1w.nii.gz"))
    values = []
    for desc in ("moved", "affine"):
        path = place.image("register", unit, case.anchor, space=template, desc=desc)
        moved = case.image(path)
        images.check_same_grid(moved, brain, str(path))
        values.append(ncc(sitk.GetArrayViewFromImage(moved), fixed, inside))
    case.table.add("register", "ncc", "", *values)


def _jacobian(case: Case, template: str, brain: sitk.Image) -> None:
    place, unit = case.task.results, case.task.unit
    path = place.image("register", unit, case.anchor, space=template, desc="jacobian")
    jacobian = case.image(path)
    images.check_same_grid(jacobian, brain, str(path))
    values = registration.jacobian_statistics(
        sitk.GetArrayViewFromImage(jacobian), images.bool_array(brain)
    )
    case.table.add_all("register", "", values)


def _inverse_consistency(case: Case) -> None:
    folder = case.task.results.anat("register", case.task.unit)
    path = folder / f"{case.task.unit.name}_metrics.json"
    content = files.read_json(path) if path.is_file() else {}
    value = content.get("inverse_consistency_mean_mm")
    if isinstance(value, int | float):
        case.table.add("register", "inverse_consistency", "", float(value))


def _error(case: Case, template: str, brain: sitk.Image) -> None:
    """Target registration error and Dice after the deformation, beside those after the affine."""
    truth = case.truth
    assert truth is not None
    true, to_anchor = _true_points(case, truth, brain), truth.rigid(case.anchor)
    at_truth = true if to_anchor is None else registration.apply_linear(to_anchor, true)
    after, before = _estimated_points(case, template, brain)
    errors = [registration.target_registration_error(found, at_truth) for found in (after, before)]
    case.table.add_all("register", "", *errors)
    _dice(case, truth, true, (after, before))


def _true_points(case: Case, truth: Truth, brain: sitk.Image) -> registration.Points:
    """Where the template's brain voxels truly are in the patient space of the truth."""
    field = images.read_field(case.task.use(truth.path("field.nii.gz")))
    if not images.same_grid(field, brain):
        field = sitk.Resample(field, brain, sitk.Transform(), sitk.sitkLinear)
    moves = sitk.GetArrayViewFromImage(field)[images.bool_array(brain)]
    true: registration.Points = registration.points_in(brain) + moves
    return true


def _estimated_points(
    case: Case, template: str, brain: sitk.Image
) -> tuple[registration.Points, registration.Points]:
    """Where register puts the template's brain voxels in the anchor's space, and the affine."""
    place, unit, anchor = case.task.results, case.task.unit, case.anchor
    points = registration.points_in(brain)
    path = place.transform("register", unit, anchor, template, desc="affine", extension=".mat")
    affine = sitk.ReadTransform(str(case.task.use(path)))
    path = place.transform("register", unit, anchor, template, desc="warp", extension=".nii.gz")
    warp = images.read_field(case.task.use(path))
    images.check_same_grid(warp, brain, str(path))
    moves = sitk.GetArrayViewFromImage(warp)[images.bool_array(brain)].astype(np.float64)
    after = registration.apply_linear(affine, points + moves)
    return after, registration.apply_linear(affine, points)


def _dice(
    case: Case,
    truth: Truth,
    true: registration.Points,
    found: tuple[registration.Points, registration.Points],
) -> None:
    """Overlap of the true labels brought to the template by what was found and by the truth.

    Both are looked up at the template's brain voxels, nearest neighbour, so a perfect transform has
    a Dice of 1.
    """
    labels = case.labels(truth.path("dseg.nii.gz"))
    back = truth.rigid_back(case.anchor)
    reference = registration.labels_at(labels, true)
    per_label: list[dict[str, dict[str, float]]] = []
    for points in found:
        here = points if back is None else registration.apply_linear(back, points)
        moved = registration.labels_at(labels, here)
        per_label.append(
            {
                label.name: overlap(moved == label.index, reference == label.index, 1.0)
                for label in TISSUES
            }
        )
    present = [label.name for label in TISSUES if (reference == label.index).any()]
    for name in present:
        case.table.add_all(
            "register", name, *(values[name] for values in per_label), only=("dice",)
        )
    if present:
        means = [float(np.mean([values[name]["dice"] for name in present])) for values in per_label]
        case.table.add("register", "dice", "mean", *means)
