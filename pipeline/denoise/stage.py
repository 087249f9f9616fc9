"""Denoise: estimate the noise of each contrast, remove it where there is enough of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.bundles import METADATA
from pipeline.denoise import noise, noise_field, rician, uncertainty
from pipeline.denoise.request import Method, Request
from pipeline.errors import VoxelwayError
from pipeline.methods import create
from pipeline.paths import sidecar
from pipeline.task import Task, UnitTask

NAME = "denoise"
REQUIRES = ("preprocess",)
OVERLAP = True


@dataclass(frozen=True)
class Prepared:
    """Parameters and the method, ready.

    Attributes:
        learned: whether it takes a level for each voxel.
        contrasts: suffixes that it was trained on; empty for a training-free one.
    """

    params: Mapping[str, Any]
    method: Method
    learned: bool = False
    contrasts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Denoised:
    """An image after denoising, with entries of its sidecar, and how far off it may be."""

    image: sitk.Image
    facts: dict[str, Any]
    uncertainty: sitk.Image | None = None


def prepare(params: Mapping[str, Any], model: Path | None) -> Prepared:
    """Load the method once."""
    method = create(NAME, params["method"], params, model)
    rician.tables()  # what every image needs
    return Prepared(params, method, model is not None, _contrasts(model))


def _contrasts(model: Path | None) -> tuple[str, ...]:
    """Suffixes that a bundle was trained on."""
    if model is None:
        return ()
    inputs = files.read_json(model / METADATA).get("inputs", {})
    return tuple(inputs.get("contrasts", ()))


def run_unit(task: UnitTask, prepared: Prepared) -> None:
    """Every contrast of the unit on its own lattice."""
    found = task.contrasts("preprocess", desc="preproc")
    if not found:
        hint = "Run preprocess first"
        raise VoxelwayError("E-IMG-INPUT", "No preprocessed image", where=task.unit.name, hint=hint)
    for suffix, path in found.items():
        image = task.read(path)
        mask = task.read_labels(_mask_path(task, suffix))
        result = denoise(image, mask, prepared, f"{task.unit.name} {suffix}")
        output = task.results.image(NAME, task.unit, suffix, desc="denoised")
        task.write(result.image, output, **result.facts, **carried(path))
        if result.uncertainty is not None:
            beside = task.results.image(NAME, task.unit, suffix, desc="uncertainty")
            task.write(result.uncertainty, beside)
        _warn_of_unseen(task, prepared, suffix, result)


def _warn_of_unseen(task: Task, prepared: Prepared, suffix: str, result: Denoised) -> None:
    """Say so where a model was used on a contrast that it was not trained on."""
    known = prepared.contrasts
    if known and suffix not in known and not result.facts["LeftAlone"]:
        listed = ", ".join(known)
        task.warn(f"The denoising model was not trained on {suffix} (but on {listed})")


def _mask_path(task: UnitTask, suffix: str) -> Path:
    """Mask on the lattice of a contrast; the anchor's has no space entity."""
    own = task.results.image("preprocess", task.unit, "mask", space=suffix, desc="brain")
    if own.is_file():
        return own
    return task.results.image("preprocess", task.unit, "mask", desc="brain")


def carried(path: Path) -> dict[str, Any]:
    """Facts that later stages need, from the sidecar of the input."""
    described = sidecar(path)
    content = files.read_json(described) if described.is_file() else {}
    keys = ("Anchor", "SliceThickness", "SpacingBetweenSlices")
    return {key: content[key] for key in keys if key in content}


def denoise(image: sitk.Image, mask: sitk.Image, prepared: Prepared, where: str) -> Denoised:
    """Estimate, and denoise unless there is too little noise.

    Raises:
        VoxelwayError: E-SIGNAL when the noise can't be estimated.
    """
    params = prepared.params
    images.check_same_grid(image, mask, where)
    before = noise.estimate(image, mask, params["noise_model"])
    reason = _reason_to_leave(before, params)
    if reason:
        facts = {**before.facts(), "NoiseSigmaAfter": before.facts()["NoiseSigma"]}
        return Denoised(image, {**facts, "LeftAlone": True, "Reason": reason})
    uneven = prepared.learned and params["noise_map"] == "auto"
    field = noise_field.estimate(image, mask, before) if uneven else None
    seed = int(params.get("seed", 0))
    request = Request(image, mask, before, float(params["strength"]), seed, field)
    result = prepared.method(request)
    images.check_image(result, where)
    draws = int(params["uncertainty"])
    doubt = uncertainty.estimate(request, result, prepared.method, draws) if draws else None
    return Denoised(result, _facts(request, result, doubt), doubt)


def _facts(request: Request, result: sitk.Image, doubt: sitk.Image | None) -> dict[str, Any]:
    """Entries of the sidecar of an image that was denoised."""
    image, mask, before = request.image, request.mask, request.noise
    after = noise.estimate(result, mask, before.model)
    inside = images.bool_array(mask)
    removed = (images.array(image) - images.array(result))[inside]
    facts: dict[str, Any] = {
        **before.facts(),
        "NoiseSigmaAfter": after.facts()["NoiseSigma"],
        "RemovedSD": float(f"{np.std(removed):.5g}"),
        "Strength": request.strength,
        "LeftAlone": False,
        **noise_field.facts(request.field, mask),
    }
    if doubt is not None:
        typical = float(np.sqrt(np.mean(np.square(images.array(doubt)[inside]))))
        facts["ExpectedRMSE"] = float(f"{typical:.4g}")
    return facts


def _reason_to_leave(found: noise.Noise, params: Mapping[str, Any]) -> str:
    if float(params["strength"]) == 0.0:
        return "The strength is 0"
    if found.percent < float(params["threshold"]) or found.sigma <= 0:
        return (
            f"The noise is {found.percent:.2f} % of the range, "
            f"below the threshold of {float(params['threshold']):g} %"
        )
    return ""


def run_file(task: Task, prepared: Prepared, row: Mapping[str, Any]) -> None:
    """One image: IN OUT; what is not background stands in for the brain."""
    path = Path(row["input"])
    image = task.read(path)
    result = denoise(image, noise.foreground(image), prepared, path.name)
    stem = path.name.split(".")[0]
    suffix = stem.rpartition("_")[2]
    # other names than those of BIDS, or of its contrasts, tell none
    if stem.startswith("sub-") or suffix[:1].isupper():
        _warn_of_unseen(task, prepared, suffix, result)
    task.write(result.image, Path(row["output"]), **result.facts, **carried(path))
