"""Superres: every contrast of a unit onto one isotropic grid, each interpolated once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.errors import VoxelwayError
from pipeline.methods import create
from pipeline.paths import sidecar
from pipeline.superres import profile
from pipeline.superres.request import Method, Request, Restored
from pipeline.task import Task, UnitTask

NAME = "superres"
REQUIRES = ("denoise",)
OVERLAP = True

Spacing = tuple[float, float, float]

#: Largest grid that is made, in voxels (1.2 GB as float32).
MOST_VOXELS = 300_000_000
#: SliceThickness as a multiple of the slices' distance that is believed.
BELIEVED = (0.1, 3.0)
#: Share of an image that a guide given beside it has to show.
LEAST_GUIDED = 0.5


@dataclass(frozen=True)
class Prepared:
    """Parameters and the method, ready."""

    params: Mapping[str, Any]
    method: Method


@dataclass(frozen=True)
class Source:
    """One acquired contrast, and how it lies to the grid."""

    suffix: str
    image: sitk.Image
    facts: Mapping[str, Any]
    transform: sitk.Transform
    guide: sitk.Image | None = None


def prepare(params: Mapping[str, Any], model: Path | None) -> Prepared:
    """Load the method once."""
    return Prepared(params, create(NAME, params["method"], params, model))


def run_unit(task: UnitTask, prepared: Prepared) -> None:
    """All contrasts of one unit onto the common grid, with the brain mask."""
    found = task.contrasts("denoise", desc="denoised")
    if not found:
        hint = "Run denoise first"
        raise VoxelwayError("E-IMG-INPUT", "No denoised image", where=task.unit.name, hint=hint)
    anchor = str(_facts(next(iter(found.values()))).get("Anchor", next(iter(found))))
    first = task.read(found[anchor])
    grid = common_grid(first, prepared.params)
    mask = task.read_labels(task.results.image("preprocess", task.unit, "mask", desc="brain"))
    brain = carry_mask(mask, grid)
    images.check_mask(brain, task.unit.name, min_ml=1.0)
    guide: sitk.Image | None = None
    for suffix in sorted(found, key=lambda name: (name != anchor, name)):
        image = first if suffix == anchor else task.read(found[suffix])
        source = Source(suffix, image, _facts(found[suffix]), _rigid(task, suffix, anchor), guide)
        result, facts = restore(task, source, grid, prepared)
        # a contrast that was sharp as acquired may guide the others
        guide = result.image if suffix == anchor and facts["LeftAlone"] else guide
        facts |= {"Anchor": anchor, "Coverage": round(_coverage(source, brain), 4)}
        output = task.results.image(NAME, task.unit, suffix, desc="superres", space=anchor)
        write(task, result, output, facts)
    output = task.results.image(NAME, task.unit, "mask", desc="brain", space=anchor)
    task.write(brain, output, Anchor=anchor, Type="Brain")


def _facts(path: Path) -> dict[str, Any]:
    described = sidecar(path)
    content: dict[str, Any] = files.read_json(described) if described.is_file() else {}
    return content


def _rigid(task: UnitTask, suffix: str, anchor: str) -> sitk.Transform:
    if suffix == anchor:
        return sitk.Transform(3, sitk.sitkIdentity)
    path = task.results.transform("preprocess", task.unit, suffix, anchor, extension=".mat")
    return sitk.ReadTransform(str(task.use(path)))


def common_grid(anchor: sitk.Image, params: Mapping[str, Any]) -> sitk.Image:
    """Isotropic grid over the anchor's field of view; its own lattice if that is isotropic.

    Args:
        anchor: the contrast whose space the others are taken to.
        params: ``spacing`` in mm or null for the anchor's finest (not below ``finest`` mm unless
            the anchor is isotropic), ``tolerance`` as a share.
    """
    given = params["spacing"]
    own = anchor.GetSpacing()
    # thick slices of 0.4 mm pixels would make ten times the voxels that their content is worth
    isotropic = max(own) <= (1.0 + float(params["tolerance"])) * min(own)
    finest = min(own) if isotropic else max(min(own), float(params["finest"]))
    wanted = float(given) if given else finest
    return _grid(anchor, (wanted, wanted, wanted), params)


def _grid(image: sitk.Image, spacing: Spacing, params: Mapping[str, Any]) -> sitk.Image:
    deviation = np.abs(np.asarray(image.GetSpacing()) / np.asarray(spacing) - 1.0).max()
    if deviation <= float(params["tolerance"]):
        return image
    extent = np.asarray(image.GetSize()) * np.asarray(image.GetSpacing())
    voxels = float(np.prod(extent / np.asarray(spacing)))
    if voxels > MOST_VOXELS:
        what = f"A grid of {spacing} mm would have {voxels:.2g} voxels, at most {MOST_VOXELS:.2g}"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint="Choose a larger spacing")
    return images.spaced_grid(image, spacing)


def carry_mask(mask: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """Brain mask on the common grid: linear interpolation, one half and above."""
    if images.same_grid(mask, grid):
        return sitk.Cast(mask != 0, sitk.sitkUInt8)
    soft = images.resample(sitk.Cast(mask != 0, sitk.sitkFloat32), grid, order=1)
    return sitk.Cast(soft >= 0.5, sitk.sitkUInt8)


def restore(
    task: Task, source: Source, grid: sitk.Image, prepared: Prepared
) -> tuple[Restored, dict[str, Any]]:
    """One contrast on the grid, with the entries of its sidecar."""
    params = prepared.params
    facts = _geometry_facts(source.image, grid)
    if images.same_grid(source.image, grid) and _is_identity(source.transform):
        reason = "already isotropic on the common grid"
        return Restored(source.image), {**facts, "LeftAlone": True, "LeftAloneReason": reason}
    if facts["Factor"] > float(params["max_factor"]):
        task.warn(
            f"{source.suffix}: slices {facts['Factor']:.1f} times as far apart as the grid's voxels"
            f" (more than {params['max_factor']:g}); what lies between them is a guess"
        )
    thickness = _thickness(source)
    step = float(grid.GetSpacing()[0])
    shape = profile.make_profile(source.image, thickness, params["profile"], step)
    image = _without_aliasing(source.image, grid)
    noise = float(source.facts.get("NoiseSigmaAfter") or 0.0)
    count = int(params["iterations"])
    transform = source.transform
    request = Request(image, grid, transform, shape, noise, count, source.suffix, source.guide)
    result = prepared.method(request)
    for note in result.notes:
        task.warn(note)
    plain = images.resample(image, grid, transform)
    facts |= {
        "LeftAlone": False,
        "SliceThickness": thickness,
        "Profile": params["profile"] if len(shape.weights) > 1 else "point",
        "ConsistencyRMSE": profile.consistency(result.image, image, transform, shape),
        "ConsistencyRMSEPlain": profile.consistency(plain, image, transform, shape),
    }
    return result, facts


def _thickness(source: Source) -> float | None:
    """Slice thickness in mm; None when the sidecar does not say, or says what can't be."""
    value = source.facts.get("SliceThickness")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    ratio = float(value) / max(source.image.GetSpacing())
    return float(value) if BELIEVED[0] <= ratio <= BELIEVED[1] else None


def _coverage(source: Source, brain: sitk.Image) -> float:
    """Share of the brain on the common grid that lies inside the contrast's field of view."""
    size = source.image.GetSize()[::-1]
    ones = images.like(np.ones(size, np.uint8), source.image)
    seen = images.resample(ones, brain, source.transform, labels=True)
    return float(images.bool_array(seen)[images.bool_array(brain)].mean())


def _is_identity(transform: sitk.Transform) -> bool:
    return bool(transform.GetTransformEnum() == sitk.sitkIdentity)


def _geometry_facts(image: sitk.Image, grid: sitk.Image) -> dict[str, Any]:
    spacing, target = np.asarray(image.GetSpacing()), np.asarray(grid.GetSpacing())
    return {
        "AcquiredSpacing": [round(float(value), 4) for value in spacing],
        "Spacing": [round(float(value), 4) for value in target],
        "Factor": round(float(spacing.max() / target.min()), 3),
    }


def _without_aliasing(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    """Smooth the axes that the grid samples more coarsely than the image does."""
    target = float(grid.GetSpacing()[0])
    for axis, spacing in enumerate(image.GetSpacing()):
        if target > 1.05 * spacing:
            sigma = float(np.sqrt(target**2 - spacing**2)) / profile.FWHM
            image = sitk.RecursiveGaussian(image, sigma, direction=axis)
    return image


def run_file(task: Task, prepared: Prepared, row: Mapping[str, Any]) -> None:
    """One image: IN OUT [--spacing X Y Z]; the slice thickness is read from IN's sidecar.

    A batch may have a column ``guide``: an isotropic image of another contrast, on the same place.
    """
    source, output = Path(row["input"]), Path(row["output"])
    image = task.read(source)
    given = row.get("spacing")
    if given:
        grid = _grid(image, parse_spacing(given), prepared.params)
    else:
        grid = common_grid(image, prepared.params)
    identity = sitk.Transform(3, sitk.sitkIdentity)
    suffix = source.name.split(".")[0].split("_")[-1]
    guide = _guide(task, image, Path(row["guide"])) if row.get("guide") else None
    given_image = Source(suffix, image, _facts(source), identity, guide)
    result, facts = restore(task, given_image, grid, prepared)
    write(task, result, output, facts)


def _guide(task: Task, image: sitk.Image, path: Path) -> sitk.Image:
    """The guide of an image.

    Raises:
        VoxelwayError: E-OVERLAP for one that shows less than half of it.
    """
    guide = task.read(path)
    ones = images.like(np.ones(guide.GetSize()[::-1], np.uint8), guide)
    share = float(images.bool_array(images.resample(ones, image, labels=True)).mean())
    if share < LEAST_GUIDED:
        what = f"The guide shows {share:.0%} of the image that it is to guide"
        hint = "Give an image of the same session that lies on it, as preprocess writes them"
        raise VoxelwayError("E-OVERLAP", what, where=str(path), hint=hint)
    return guide


def write(task: Task, result: Restored, output: Path, facts: Mapping[str, Any]) -> None:
    """The image, and its uncertainty beside it where the method gave one."""
    if result.uncertainty is not None:
        described = "standard deviation over the members of an ensemble, in the image's intensities"
        task.write(result.uncertainty, uncertainty_path(output), Description=described)
    task.write(result.image, output, **facts)


def uncertainty_path(output: Path) -> Path:
    """``…desc-superres_T2w.nii.gz`` → ``…desc-uncertainty_T2w.nii.gz``; else the name's start."""
    if "desc-superres_" in output.name:
        return output.with_name(output.name.replace("desc-superres_", "desc-uncertainty_"))
    return output.with_name(f"uncertainty_{output.name}")


def parse_spacing(given: str | list[float]) -> Spacing:
    """Three lengths in mm, from the command line or from a batch's "x y z".

    Raises:
        VoxelwayError: E-USAGE unless they are three positive numbers.
    """
    try:
        values = [float(part) for part in (given.split() if isinstance(given, str) else given)]
    except ValueError:
        values = []
    if len(values) != 3 or not all(np.isfinite(values)) or min(values) <= 0:
        raise VoxelwayError("E-USAGE", f"--spacing {given}: three lengths in mm are needed")
    return values[0], values[1], values[2]
