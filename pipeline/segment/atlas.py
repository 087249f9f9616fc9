"""Tissue priors of the template, brought to the subject."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.errors import VoxelwayError
from pipeline.segment.case import TISSUES
from pipeline.segment.single import Subject
from pipeline.task import UnitTask

#: Blur of the priors after an affine alignment alone, mm (standard deviation): about the distance
#: by which cortex and ventricles still miss each other.
AFFINE_BLUR = 3.0
#: Voxel size at which a single image is aligned with the template, mm.
ALIGN_SPACING = 4.0


def of_unit(task: UnitTask, anchor: str, grid: sitk.Image) -> dict[str, sitk.Image]:
    """Priors on the common grid through the unit's registration; tissue → 0..1, float32.

    Raises:
        VoxelwayError: E-IMG-INPUT when the unit has no registration, E-TEMPLATE without maps.
    """
    from pipeline.register import transforms

    template = _template_of(task, anchor)
    to_template = transforms.backward(task.results, task.unit, template)
    folder = task.results.model("register", template)
    priors = {}
    for name in TISSUES:
        path = folder / f"{name}_probseg.nii.gz"
        if not path.is_file():
            hint = f"`voxelway template {folder}` writes the default template"
            what = f"The template lacks {path.name}"
            raise VoxelwayError("E-TEMPLATE", what, where=str(folder), hint=hint)
        priors[name] = images.resample(task.read(path), grid, to_template, order=1)
    return priors


def _template_of(task: UnitTask, anchor: str) -> str:
    """Label of the template that the unit was registered to, from the transform's name."""
    folder = task.results.anat("register", task.unit)
    start = f"{task.unit.name}_from-{anchor}_to-"
    for path in sorted(folder.glob(f"{start}*_mode-image_desc-affine_xfm.mat")):
        return path.name.removeprefix(start).split("_")[0]
    what = "There is no registration to a template"
    raise VoxelwayError("E-IMG-INPUT", what, where=task.unit.name, hint="Run register first")


def of_image(subject: Subject, params: Mapping[str, Any]) -> dict[str, sitk.Image]:
    """Priors on the grid of a single image, by a quick affine to the default template.

    Empty when ``params["single_atlas"]`` is off, or when the alignment fails: the method then
    works without an atlas.
    """
    if not params["single_atlas"]:
        return {}
    from pipeline import config
    from pipeline.register import template as templates

    options = {**config.section("register"), "template_spacing": 2.0}
    with tempfile.TemporaryDirectory() as folder:
        templates.write_template(Path(folder, "template"), options)
        found = templates.read_template(Path(folder, "template"))
    try:
        to_template = align(subject.image, subject.mask, found.image, found.mask)
    except RuntimeError:
        return {}
    return {
        name: images.resample(_blurred(part), subject.mask, to_template, order=1)
        for name, part in found.tissues.items()
    }


def align(
    image: sitk.Image, mask: sitk.Image, template: sitk.Image, brain: sitk.Image
) -> sitk.Transform:
    """Affine from points of the image to points of the template, both skull-stripped.

    It starts from the centres and the extents of the two brains, and maximises Mattes' mutual
    information at 4 mm on every voxel of the brain, so that two runs agree.

    Raises:
        RuntimeError: of ITK, when the images do not overlap.
    """
    low = images.spaced_grid(image, (ALIGN_SPACING,) * 3)
    fixed = images.resample(_smooth(sitk.Mask(image, mask)), low, order=1)
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(images.resample(sitk.BinaryDilate(mask, [2] * 3), low, labels=True))
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-3, numberOfIterations=150, relaxationFactor=0.6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    affine = _start(mask, brain)
    method.SetInitialTransform(affine, inPlace=True)
    method.Execute(fixed, _smooth(sitk.Cast(template, sitk.sitkFloat32)))
    return affine


def _start(mask: sitk.Image, brain: sitk.Image) -> sitk.AffineTransform:
    """Centre on centre, and one scale for all axes from the volumes."""
    (middle, volume), (target, other) = (_shape(part) for part in (mask, brain))
    affine = sitk.AffineTransform(3)
    affine.SetCenter(middle)
    affine.SetTranslation([b - a for a, b in zip(middle, target, strict=True)])
    affine.Scale((other / volume) ** (1.0 / 3.0))
    return affine


def _shape(mask: sitk.Image) -> tuple[list[float], float]:
    """Centre of mass in LPS mm and volume in mm3 of a mask."""
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(sitk.Cast(mask != 0, sitk.sitkUInt8))
    return list(statistics.GetCentroid(1)), float(statistics.GetPhysicalSize(1))


def _smooth(image: sitk.Image) -> sitk.Image:
    return sitk.SmoothingRecursiveGaussian(image, ALIGN_SPACING / 2.0)


def _blurred(image: sitk.Image) -> sitk.Image:
    return sitk.SmoothingRecursiveGaussian(sitk.Cast(image, sitk.sitkFloat32), AFFINE_BLUR)
