"""The file form: one image against a reference on the same grid, to JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import __version__, files, images
from pipeline.errors import VoxelwayError
from pipeline.evaluate.detection import detection
from pipeline.evaluate.of_labels import means, measures
from pipeline.evaluate.of_quality import whole
from pipeline.evaluate.quality import head_and_air
from pipeline.evaluate.registry import measure
from pipeline.evaluate.similarity import fit_linear, similarity
from pipeline.labels import read_table
from pipeline.task import Task

Mask = NDArray[np.bool_]


def evaluate_pair(task: Task, row: Mapping[str, Any], params: Mapping[str, Any]) -> None:
    """Compare PREDICTED with REFERENCE and write OUT.json.

    Args:
        task: what is recorded.
        row: ``predicted``, ``reference``, ``output``, and ``labels`` or nothing.
        params: ``max_labels``, ``surface_tolerance`` (mm), ``lesion_overlap`` (share).

    Raises:
        VoxelwayError: E-IMG-GRID when the grids differ, E-LABELS when --labels is given and an
            image holds no labels, E-IMG-* for images that can't be used.
    """
    predicted, reference = Path(row["predicted"]), Path(row["reference"])
    names = read_table(task.use(Path(row["labels"]))) if row.get("labels") else {}
    both, most = (predicted, reference), int(params["max_labels"])
    if row.get("labels") or all(_looks_like_labels(path, most) for path in both):
        content = _labels(task, both, names, params)
    else:
        content = _images(task, predicted, reference)
    generated = {"Name": "voxelway", "Version": __version__, "Stage": task.stage}
    output = Path(row["output"])
    files.write_json(
        output, {"GeneratedBy": generated, "Code": task.code, "Inputs": task.inputs, **content}
    )


def _looks_like_labels(path: Path, max_labels: int) -> bool:
    """Whole numbers from 0, and no more different ones than a label image has."""
    try:
        labels = images.read_labels(path)
    except VoxelwayError as error:
        if error.code == "E-LABELS":
            return False
        raise
    return np.unique(sitk.GetArrayViewFromImage(labels)).size <= max_labels


def _labels(
    task: Task, paths: tuple[Path, Path], names: dict[int, str], params: Mapping[str, Any]
) -> dict[str, Any]:
    found, true = (task.read_labels(path) for path in paths)
    images.check_same_grid(found, true, " and ".join(path.name for path in paths))
    found_array, true_array = (sitk.GetArrayViewFromImage(image) for image in (found, true))
    present = {int(index) for index in np.unique(true_array)} - {0}
    either = present | ({int(index) for index in np.unique(found_array)} - {0}) | set(names)
    titles = {index: names.get(index, str(index)) for index in sorted(either)}

    def judged(predicted: Mask, reference: Mask) -> dict[str, float]:
        share, tolerance = float(params["lesion_overlap"]), float(params["surface_tolerance"])
        return {
            **measures(predicted, reference, true, tolerance),
            **detection(predicted, reference, share),
        }

    per_label = {str(index): judged(found_array == index, true_array == index) for index in titles}
    overall = judged(found_array > 0, true_array > 0)
    return {
        "kind": "labels",
        "labels": {
            key: {"name": titles[int(key)], **_clean(values)} for key, values in per_label.items()
        },
        "mean": _clean(means(per_label, [str(index) for index in sorted(present)])),
        "overall": _clean(overall),
        "units": _units(overall),
    }


def _images(task: Task, predicted: Path, reference: Path) -> dict[str, Any]:
    found, true = task.read(predicted), task.read(reference)
    images.check_same_grid(found, true, f"{predicted.name} and {reference.name}")
    values, target = (sitk.GetArrayViewFromImage(image) for image in (found, true))
    everywhere = np.ones(target.shape, dtype=np.bool_)
    gain, offset = fit_linear(values, target, everywhere)
    fitted = similarity(values, target, everywhere)
    alone, reference_alone = (whole(image, *head_and_air(image)) for image in (found, true))
    return {
        "kind": "images",
        "measures": _clean(fitted),
        "fit": {"gain": gain, "offset": offset},
        "measures_without_fit": _clean(similarity(values, target, everywhere, fit=False)),
        "without_reference": {"predicted": _clean(alone), "reference": _clean(reference_alone)},
        "units": _units({**fitted, **alone}),
    }


def _clean(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _units(values: Mapping[str, float]) -> dict[str, str]:
    return {name: measure(name).unit for name in values}
