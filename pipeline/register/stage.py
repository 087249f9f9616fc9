"""Registration of a subject to the template, or of one image to another; applying the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images, methods
from pipeline.errors import VoxelwayError
from pipeline.paths import sidecar
from pipeline.register import transforms
from pipeline.register.fields import (
    Registration,
    backward_transform,
    forward_transform,
    jacobian,
)
from pipeline.register.gate import gate
from pipeline.register.metrics import measure
from pipeline.register.names import known_template
from pipeline.register.protocol import Method
from pipeline.register.template import read_template
from pipeline.task import Task, UnitTask, peak_memory_mb
from pipeline.threads import use_threads

NAME = "register"
REQUIRES = ("superres",)

#: Above this share of voxels that are not zero, an image has no background to strip.
WHOLE_IMAGE = 0.95


@dataclass(frozen=True)
class Prepared:
    """What all units share."""

    method: Method
    params: Mapping[str, Any]


@dataclass(frozen=True)
class Pair:
    """The two sides of a registration; images are zero outside their masks."""

    moving: sitk.Image
    moving_mask: sitk.Image
    fixed: sitk.Image
    fixed_mask: sitk.Image


@dataclass(frozen=True)
class Outcome:
    """A registration with the images and numbers that show it."""

    found: Registration
    moved: sitk.Image
    affine_moved: sitk.Image
    jacobian: sitk.Image
    metrics: dict[str, Any]


@dataclass(frozen=True)
class Outputs:
    """Where the parts of an outcome go."""

    transforms: transforms.Paths
    moved: Path
    affine_moved: Path
    jacobian: Path
    metrics: Path

    def all(self) -> list[Path]:
        """Every path."""
        maps = self.transforms
        shown = [self.moved, self.affine_moved, self.jacobian]
        return [*shown, maps.affine, maps.warp, maps.inverse_warp, self.metrics]


def prepare(params: Mapping[str, Any], model: Path | None) -> Prepared:
    """Make the method ready."""
    use_threads()
    return Prepared(methods.create(NAME, params["method"], params, model), params)


def run_unit(task: UnitTask, prepared: Prepared) -> None:
    """Register the unit's anchor on the common grid to the cohort's template."""
    anchor, label = task.anchor(), known_template(str(prepared.params["template"]))
    place, unit = task.results, task.unit
    folder = place.model(NAME, label)
    template = read_template(folder)
    task.use(folder / "T1w.nii.gz")
    task.use(folder / "brain_mask.nii.gz")
    image = task.read(place.image("superres", unit, anchor, space=anchor, desc="superres"))
    mask_path = place.image("superres", unit, "mask", space=anchor, desc="brain")
    mask = task.read_labels(mask_path) > 0
    images.check_mask(mask, str(mask_path))
    images.check_same_grid(image, mask, unit.name)
    pair = Pair(stripped(image, mask), mask, template.image, template.mask)
    outcome = register(task, prepared, pair, unit.name)

    def path(desc: str) -> Path:
        return place.image(NAME, unit, anchor, space=label, desc=desc)

    outputs = Outputs(
        transforms.unit_paths(place, unit, anchor, label),
        path("moved"),
        path("affine"),
        path("jacobian"),
        place.image(NAME, unit, "metrics", extension=".json"),
    )
    write(task, outcome, outputs, {"Anchor": anchor, "Template": label})


def run_file(task: Task, prepared: Prepared, row: Mapping[str, Any]) -> None:
    """Register the file ``moving`` to the file ``fixed`` into the folder ``output``."""
    moving, fixed = (Path(str(row[key])) for key in ("moving", "fixed"))
    sides = []
    for path in (moving, fixed):
        image = task.read(path)
        mask = foreground(image)
        images.check_mask(mask, str(path))
        if float(images.bool_array(mask).mean()) > WHOLE_IMAGE:
            text = f"{path.name} has no zero background: it is registered whole, skull and all"
            task.warn(text)
        sides.append((stripped(image, mask), mask))
    pair = Pair(*sides[0], *sides[1])
    outcome = register(task, prepared, pair, f"{moving.name} to {fixed.name}")
    folder = Path(str(row["output"]))
    outputs = Outputs(
        transforms.fixed_paths(folder),
        folder / "moved.nii.gz",
        folder / "affine_moved.nii.gz",
        folder / "jacobian.nii.gz",
        folder / "metrics.json",
    )
    write(task, outcome, outputs, {})


def foreground(image: sitk.Image) -> sitk.Image:
    """Region of a skull-stripped image: where it is not zero, holes filled."""
    return sitk.BinaryFillhole(sitk.Cast(sitk.NotEqual(image, 0.0), sitk.sitkUInt8))


def stripped(image: sitk.Image, mask: sitk.Image) -> sitk.Image:
    """The image, zero outside the mask."""
    return images.like(np.where(images.bool_array(mask), images.array(image), 0.0), image)


def register(task: Task, prepared: Prepared, pair: Pair, where: str) -> Outcome:
    """Run the method and measure what it found.

    Raises:
        VoxelwayError: E-OVERLAP when the brains do not meet, E-SIGNAL; E-FOLD and E-JACOBIAN as
            `gate` asks.
    """
    try:
        found = prepared.method(pair.moving, pair.fixed, pair.moving_mask, pair.fixed_mask)
    except VoxelwayError as error:
        raise VoxelwayError(error.code, error.what, where=where, hint=error.hint) from error
    maps = {
        "before": sitk.Transform(3, sitk.sitkIdentity),
        "affine": found.affine,
        "after": forward_transform(found),
    }
    stages = {name: onto_fixed(pair, transform) for name, transform in maps.items()}
    determinant = jacobian(found.warp)
    numbers = measure(found, pair.fixed, pair.fixed_mask, stages, determinant)
    findings = gate(numbers, prepared.params, where)
    for finding in findings:
        task.warn(finding.text)
    numbers["flags"] = [finding.flag for finding in findings]
    numbers["seconds"] = round(task.seconds, 2)
    numbers["peak_memory_mb"] = peak_memory_mb()
    after, affine = stages["after"][0], stages["affine"][0]
    return Outcome(found, after, affine, determinant, numbers)


def onto_fixed(pair: Pair, transform: sitk.Transform) -> tuple[sitk.Image, sitk.Image]:
    """Moving image and mask on the fixed grid; cubic, kept within the image's own range."""
    values = sitk.GetArrayViewFromImage(pair.moving)
    low, high = float(values.min()), float(values.max())
    moved = images.resample(pair.moving, pair.fixed, transform)
    region = images.resample(pair.moving_mask, pair.fixed, transform, labels=True)
    return sitk.Clamp(moved, sitk.sitkFloat32, low, high), region


def write(task: Task, outcome: Outcome, outputs: Outputs, facts: Mapping[str, Any]) -> None:
    """Write all files, the metrics last; after a failure none of them is left."""
    try:
        _write(task, outcome, outputs, facts)
    except VoxelwayError:
        for path in outputs.all():
            path.unlink(missing_ok=True)
            sidecar(path).unlink(missing_ok=True)
        raise


def _write(task: Task, outcome: Outcome, outputs: Outputs, facts: Mapping[str, Any]) -> None:
    found, places = outcome.found, outputs.transforms
    shared = {**facts, "SkullStripped": True, "Metrics": outcome.metrics}
    task.write(outcome.moved, outputs.moved, Deformation="affine and warp", **shared)
    task.write(outcome.affine_moved, outputs.affine_moved, Deformation="affine", **shared)
    task.write(
        outcome.jacobian,
        outputs.jacobian,
        Description="determinant of the Jacobian of the warp alone, without the affine",
        **facts,
    )
    order = "from the fixed to the moving space: p -> A(p + w(p)), w the warp, A the affine"
    transforms.write_affine(found.affine, places.affine)
    task.describe(places.affine, Format="ITK", Units="mm", Order=order, **facts)
    for field, path in ((found.warp, places.warp), (found.inverse_warp, places.inverse_warp)):
        transforms.write_field(field, path)
        task.describe(path, Format="ITK", Units="mm", Order=order, **facts)
    files.write_json(outputs.metrics, outcome.metrics)
    task.count(outputs.metrics)


def run_transform(task: Task, prepared: Prepared, row: Mapping[str, Any]) -> None:
    """Serve ``voxelway transform``: resample ``input`` onto ``reference`` into ``output``.

    ``registration`` is the output folder of ``voxelway register``; ``labels`` takes the nearest
    neighbour and keeps the type; ``inverse`` goes from the fixed to the moving space.
    """
    labels, inverse = (_flag(row.get(key)) for key in ("labels", "inverse"))
    source = Path(str(row["input"]))
    image = task.read_labels(source) if labels else task.read(source)
    reference = task.read(Path(str(row["reference"])), min_slices=1)
    paths = transforms.fixed_paths(Path(str(row["registration"])))
    found = transforms.load(paths)
    used = (paths.affine, paths.inverse_warp if inverse else paths.warp)
    for path in used:
        task.use(path)
    transform = backward_transform(found) if inverse else forward_transform(found)
    moved = images.resample(image, reference, transform, labels=labels)
    if not np.any(sitk.GetArrayViewFromImage(moved)):
        hint = "Check that the image, the reference and the direction (--inverse) belong together"
        what = "Nothing of the image falls on the reference"
        raise VoxelwayError("E-OVERLAP", what, where=source.name, hint=hint)
    kind = "nearest neighbour" if labels else "cubic B-spline"
    task.write(moved, Path(str(row["output"])), Inverse=inverse, Interpolation=kind)


def _flag(value: Any) -> bool:
    """A switch of the command line, or its text in a batch."""
    return value is True or str(value).strip().lower() in ("true", "1", "yes")
