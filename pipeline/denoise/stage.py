"""Denoise: estimate the noise of each contrast, remove it where there is enough of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.denoise import noise
from pipeline.denoise.request import Method, Request
from pipeline.errors import VoxelwayError
from pipeline.methods import create
from pipeline.paths import sidecar
from pipeline.task import Task, UnitTask

NAME = "denoise"
REQUIRES = ("preprocess",)


@dataclass(frozen=True)
class Prepared:
    """Parameters and the method, ready."""

    params: Mapping[str, Any]
    method: Method


@dataclass(frozen=True)
class Denoised:
    """An image after denoising, with entries of its sidecar."""

    image: sitk.Image
    facts: dict[str, Any]


def prepare(params: Mapping[str, Any], model: Path | None) -> Prepared:
    """Load the method once."""
    return Prepared(params, create(NAME, params["method"], params, model))


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
    seed = int(params.get("seed", 0))
    request = Request(image, mask, before, float(params["strength"]), seed)
    result = prepared.method(request)
    images.check_image(result, where)
    after = noise.estimate(result, mask, before.model)
    inside = images.bool_array(mask)
    removed = (images.array(image) - images.array(result))[inside]
    facts = {
        **before.facts(),
        "NoiseSigmaAfter": after.facts()["NoiseSigma"],
        "RemovedSD": float(f"{np.std(removed):.5g}"),
        "Strength": float(params["strength"]),
        "LeftAlone": False,
    }
    return Denoised(result, facts)


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
    task.write(result.image, Path(row["output"]), **result.facts, **carried(path))
