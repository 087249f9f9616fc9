"""Transforms of registrations on disk, for every stage that needs them.

Two sets of names: the fixed ones of `voxelway register` (affine.mat, warp.nii.gz,
inverse_warp.nii.gz) and the BIDS ones of a results folder. Files are ITK's (LPS, mm); ANTs,
SimpleITK and Slicer apply them as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.errors import VoxelwayError
from pipeline.paths import Results, Unit
from pipeline.register.fields import Registration, backward_transform, forward_transform


@dataclass(frozen=True)
class Paths:
    """Where the three parts of a registration are."""

    affine: Path
    warp: Path
    inverse_warp: Path


def fixed_paths(folder: Path) -> Paths:
    """Names in the output folder of ``voxelway register``."""
    return Paths(folder / "affine.mat", folder / "warp.nii.gz", folder / "inverse_warp.nii.gz")


def unit_paths(results: Results, unit: Unit, anchor: str, template: str) -> Paths:
    """Names of one unit in a results folder."""

    def path(desc: str, extension: str) -> Path:
        return results.transform("register", unit, anchor, template, desc=desc, extension=extension)

    return Paths(path("affine", ".mat"), path("warp", ".nii.gz"), path("inversewarp", ".nii.gz"))


def load(paths: Paths) -> Registration:
    """Read a registration.

    Raises:
        VoxelwayError: E-IMG-MISSING, E-IMG-UNREADABLE, E-IMG-4D.
    """
    warp, inverse = images.read_field(paths.warp), images.read_field(paths.inverse_warp)
    return Registration(read_affine(paths.affine), warp, inverse)


def read_affine(path: Path) -> sitk.AffineTransform:
    """Read a linear transform in ITK's format.

    Raises:
        VoxelwayError: E-IMG-MISSING when it is absent, E-IMG-UNREADABLE when it is none.
    """
    if not path.is_file():
        hint = "Run `voxelway register` first"
        raise VoxelwayError("E-IMG-MISSING", "No transform", where=str(path), hint=hint)
    try:
        return sitk.AffineTransform(sitk.ReadTransform(str(path)))
    except RuntimeError as error:
        what = "The file is no linear transform in ITK's format"
        raise VoxelwayError("E-IMG-UNREADABLE", what, where=str(path)) from error


def write_affine(transform: sitk.Transform, path: Path) -> None:
    """Write a transform in ITK's format, whole."""
    with files.atomic(path) as part:
        try:
            sitk.WriteTransform(transform, str(part))
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1][:200]
            raise VoxelwayError("E-DIR-WRITE", reason, where=str(path)) from error


def write_field(field: sitk.Image, path: Path) -> None:
    """Write a displacement field as float32, whole."""
    images.write_image(sitk.Cast(field, sitk.sitkVectorFloat32), path)


def forward(results: Results, unit: Unit, template: str) -> sitk.Transform:
    """Point map template → subject: resamples the subject's images onto the template."""
    return forward_transform(load(unit_paths(results, unit, _anchor(results, unit), template)))


def backward(results: Results, unit: Unit, template: str) -> sitk.Transform:
    """Point map subject → template: resamples the template's maps onto the subject."""
    return backward_transform(load(unit_paths(results, unit, _anchor(results, unit), template)))


def _anchor(results: Results, unit: Unit) -> str:
    """Anchor of the unit, from the name of its affine.

    Raises:
        VoxelwayError: E-IMG-INPUT when the unit has no registration.
    """
    start = f"{unit.name}_from-"
    for path in sorted(results.anat("register", unit).glob(f"{start}*_desc-affine_xfm.mat")):
        return path.name.removeprefix(start).split("_")[0]
    what = "There is no registration to a template"
    raise VoxelwayError("E-IMG-INPUT", what, where=unit.name, hint="Run register first")
