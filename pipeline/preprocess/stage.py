"""Preprocess: reorient, brain mask, bias field, intensity scale, rigid alignment of contrasts.

Images stay on the lattice they were acquired on (axes flipped and permuted towards LPS); the
transforms between contrasts are written beside them, so that later stages interpolate once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.errors import VoxelwayError
from pipeline.methods import create
from pipeline.preprocess import alignment, bias, intensity, masks
from pipeline.task import Task, UnitTask

NAME = "preprocess"
REQUIRES = ("ingest",)
ORIENTATION = "LPS"


@dataclass(frozen=True)
class Prepared:
    """Parameters, and the mask methods that load when first used."""

    params: Mapping[str, Any]
    mask_method: Callable[[str], masks.MaskMethod]

    def method_of(self, suffix: str) -> str:
        """Name of the mask method for a contrast."""
        chosen: str = self.params["contrast_methods"].get(suffix, self.params["method"])
        return chosen


@dataclass(frozen=True)
class Cleaned:
    """An image after bias correction and scaling, with entries of its sidecar."""

    image: sitk.Image
    facts: dict[str, Any]


def prepare(params: Mapping[str, Any], model: Path | None) -> Prepared:
    """Load the default mask method once; others on demand."""

    @cache
    def mask_method(name: str) -> masks.MaskMethod:
        method: masks.MaskMethod = create(NAME, name, params)
        return method

    for name in {params["method"], *params["contrast_methods"].values()}:
        mask_method(name)
    return Prepared(params, mask_method)


def run_unit(task: UnitTask, prepared: Prepared) -> None:
    """All contrasts of one unit, the anchor first."""
    found = task.contrasts("ingest")
    anchor = choose_anchor(list(found), prepared.params["anchor"], task.unit.name)
    image = read(task, found[anchor])
    brain = find_brain(image, anchor, prepared, task.unit.name)
    cleaned = clean(image, brain.mask, anchor, prepared.params)
    mask_path = task.results.image(NAME, task.unit, "mask", desc="brain")
    task.write(brain.mask, mask_path, Anchor=anchor, Type="Brain", **mask_facts(brain))
    path = task.results.image(NAME, task.unit, anchor, desc="preproc")
    task.write(cleaned.image, path, Anchor=anchor, **cleaned.facts, **kept(found[anchor]))
    for suffix in sorted(set(found) - {anchor}):
        _add_contrast(task, prepared, suffix, found[suffix], (anchor, cleaned.image, brain))


def _add_contrast(
    task: UnitTask,
    prepared: Prepared,
    suffix: str,
    source: Path,
    reference: tuple[str, sitk.Image, masks.Brain],
) -> None:
    anchor, anchor_image, brain = reference
    where = f"{task.unit.name} {suffix}"
    image = read(task, source)
    mask, cleaned, found = match(image, suffix, anchor_image, brain.mask, prepared.params, where)
    least = float(prepared.params["alignment"]["min_similarity"])
    if found.similarity < least:
        task.warn(f"{suffix} may not be aligned with {anchor}: similarity {found.similarity:.3f}")
    place, unit = task.results, task.unit
    path = place.image(NAME, unit, suffix, desc="preproc")
    task.write(cleaned.image, path, Anchor=anchor, **cleaned.facts, **kept(source))
    path = place.image(NAME, unit, "mask", space=suffix, desc="brain")
    task.write(mask, path, Anchor=anchor, Type="Brain", MaskMethod=f"carried from {anchor}")
    path = place.transform(NAME, unit, suffix, anchor, extension=".mat")
    with files.atomic(path) as part:
        sitk.WriteTransform(found.transform, str(part))
    convention = "maps anchor points to image points"
    task.describe(path, Anchor=anchor, Convention=convention, **found.facts())


def match(
    image: sitk.Image,
    suffix: str,
    anchor: sitk.Image,
    brain: sitk.Image,
    params: Mapping[str, Any],
    where: str,
) -> tuple[sitk.Image, Cleaned, alignment.Alignment]:
    """Align a contrast, correct it inside the anchor's brain, align it again.

    The bias field needs the brain, the brain the alignment, and the alignment is several times
    more accurate without the bias field.

    Returns:
        brain mask on the lattice of ``image``, the cleaned image, the alignment.
    """
    options, seed = params["alignment"], int(params.get("seed", 0))
    first = alignment.align(anchor, brain, image, options, seed=seed, where=where)
    mask = masks.carry(brain, image, alignment.inverse(first.transform))
    images.check_mask(mask, where, min_ml=1.0)
    cleaned = clean(image, mask, suffix, params)
    found = alignment.align(
        anchor, brain, cleaned.image, options, seed=seed, where=where, start=first.transform
    )
    return masks.carry(brain, image, alignment.inverse(found.transform)), cleaned, found


def choose_anchor(suffixes: list[str], preference: list[str], where: str) -> str:
    """First contrast of the preference that the unit has.

    Raises:
        VoxelwayError: E-IMG-INPUT when it has none of them.
    """
    for suffix in preference:
        if suffix in suffixes:
            return suffix
    what = f"None of {', '.join(preference)} among the contrasts ({', '.join(suffixes) or 'none'})"
    raise VoxelwayError("E-IMG-INPUT", what, where=where, hint="preprocess.anchor lists them")


def read(task: Task, path: Path) -> sitk.Image:
    """Read an image and turn its axes towards LPS by flips and permutations only."""
    return sitk.DICOMOrient(task.read(path), ORIENTATION)


def find_brain(image: sitk.Image, suffix: str, prepared: Prepared, where: str) -> masks.Brain:
    """Brain mask by the contrast's method, refused when its volume is implausible."""
    name = prepared.method_of(suffix)
    brain = masks.find_brain(image, name, prepared.mask_method(name))
    low, high = prepared.params["brain_ml"]
    masks.check_volume(brain, (float(low), float(high)), f"{where} {suffix}".strip())
    return brain


def clean(image: sitk.Image, mask: sitk.Image, suffix: str, params: Mapping[str, Any]) -> Cleaned:
    """Correct the bias field and scale the intensities."""
    facts: dict[str, Any] = {"BiasCorrected": bool(params["bias"]["correct"])}
    if params["bias"]["correct"]:
        corrected = bias.correct(image, mask, params["bias"])
        inside = images.array(corrected.field)[images.bool_array(mask)]
        low, high = np.percentile(inside, [1, 99])
        facts["BiasFieldRange"] = [round(float(low), 4), round(float(high), 4)]
        image = corrected.image
    values = images.array(image)
    scale = intensity.find_scale(values[images.bool_array(mask)], suffix, params["scale"])
    scaled = images.like((values * scale.factor + scale.offset).astype(np.float32), image)
    return Cleaned(scaled, {**facts, **scale.facts(), "Orientation": ORIENTATION})


def mask_facts(brain: masks.Brain) -> dict[str, Any]:
    """Entries of the mask's sidecar."""
    return {
        "MaskMethod": brain.method,
        "SkullStripped": brain.stripped,
        "BrainVolumeML": round(brain.millilitres, 1),
    }


def kept(source: Path) -> dict[str, Any]:
    """Acquisition facts that later stages need, from the source's BIDS sidecar."""
    path = source.with_name(source.name.removesuffix(".gz").removesuffix(".nii") + ".json")
    content = files.read_json(path) if path.is_file() else {}
    return {
        key: content[key] for key in ("SliceThickness", "SpacingBetweenSlices") if key in content
    }


def run_file(task: Task, prepared: Prepared, row: Mapping[str, Any]) -> None:
    """One image: IN OUT [--mask OUT_MASK]; the contrast is the last part of the name of IN."""
    source, output = Path(row["input"]), Path(row["output"])
    suffix = source.name.split(".")[0].split("_")[-1]
    image = read(task, source)
    brain = find_brain(image, suffix, prepared, source.name)
    cleaned = clean(image, brain.mask, suffix, prepared.params)
    task.write(cleaned.image, output, **cleaned.facts, **mask_facts(brain), **kept(source))
    if row.get("mask"):
        task.write(brain.mask, Path(row["mask"]), Type="Brain", **mask_facts(brain))
