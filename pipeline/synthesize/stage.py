"""Synthesis: contrasts that a unit lacks, and for held-out units those it has, to judge them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline import config, images, methods
from pipeline.errors import VoxelwayError
from pipeline.ingest.manifest import read_manifest, split_of
from pipeline.synthesize.learning import presets
from pipeline.synthesize.protocol import Made, Method
from pipeline.task import Task, UnitTask

NAME = "synthesize"
REQUIRES = ("superres",)
OVERLAP = True
#: Refusals that say that there is no model, and nothing of the unit itself.
NO_MODEL = ("E-TRAIN-DATA", "E-MODEL-INPUT")
SUFFIXES = ("T1w", "T2w", "FLAIR", "PDw")


@dataclass(frozen=True)
class Prepared:
    """What all units share."""

    method: Method
    params: Mapping[str, Any]


def prepare(params: Mapping[str, Any], model: Path | None) -> Prepared:
    """Load the method and its bundle once."""
    return Prepared(methods.create(NAME, params["method"], params, model), params)


def run_unit(task: UnitTask, prepared: Prepared) -> None:
    """Make the targets that the unit lacks, and for judging those of a held-out unit.

    A target that no model makes from what the unit has is left out with a warning: a cohort with
    T1w alone is no failure.

    Raises:
        VoxelwayError: any other refusal of the method, when no lacking target can be made.
    """
    anchor = task.anchor()
    acquired = task.contrasts("superres", desc="superres", space=anchor)
    lacking, judged = targets(task, prepared.params, acquired)
    if not lacking and not judged:
        return
    contrasts = {suffix: task.read(path) for suffix, path in acquired.items()}
    mask_path = task.results.image("superres", task.unit, "mask", space=anchor, desc="brain")
    mask = task.read_labels(mask_path) > 0
    images.check_mask(mask, task.unit.name)
    for suffix, image in contrasts.items():
        images.check_same_grid(image, mask, f"{task.unit.name} {suffix}")
    made, refused = _make_all(prepared, contrasts, mask, [*lacking, *judged])
    needed = [
        refused[suffix]
        for suffix in lacking
        if suffix in refused and refused[suffix].code not in NO_MODEL
    ]
    if needed and not any(suffix in made for suffix in lacking):
        error = needed[0]
        raise VoxelwayError(error.code, error.what, where=task.unit.name, hint=error.hint)
    for error in refused.values():
        task.warn(f"{error.what} ({error.code})")
    for suffix, result in made.items():
        _write(task, anchor, suffix, result, judged=suffix in judged)


def targets(
    task: UnitTask, params: Mapping[str, Any], acquired: Mapping[str, Path]
) -> tuple[list[str], list[str]]:
    """Targets that the unit lacks, and those it has that are made for judging only.

    A unit that the model was trained on would judge too well, and so would one that chose the best
    step of a network and fitted its spread: they get no made contrast beside an acquired one.
    """
    wanted: Sequence[str] = params["targets"]
    seen = ("train", "val") if params["method"] in presets.PRESETS else ("train",)
    lacking = [suffix for suffix in wanted if suffix not in acquired]
    held_out = split_of(read_manifest(task.results.manifest), task.unit) not in seen
    judged = [suffix for suffix in wanted if suffix in acquired and len(acquired) > 1]
    return lacking, judged if held_out else []


def _make_all(
    prepared: Prepared,
    contrasts: Mapping[str, sitk.Image],
    mask: sitk.Image,
    wanted: Sequence[str],
) -> tuple[dict[str, Made], dict[str, VoxelwayError]]:
    """Results and refusals by target; an acquired target is not among its own sources."""
    made: dict[str, Made] = {}
    refused: dict[str, VoxelwayError] = {}
    for target in wanted:
        sources = {name: image for name, image in contrasts.items() if name != target}
        try:
            made[target] = prepared.method(sources, mask, target)
        except VoxelwayError as error:
            refused[target] = error
    return made, refused


def _write(task: UnitTask, anchor: str, suffix: str, made: Made, *, judged: bool) -> None:
    facts = {
        "Anchor": anchor,
        "Synthetic": True,
        "SkullStripped": True,
        "SourceContrasts": list(made.sources),
        "OnlyForJudging": judged,
    }
    for desc, image in (("synth", made.image), ("synthsd", made.spread)):
        path = task.results.image(NAME, task.unit, suffix, space=anchor, desc=desc)
        task.write(image, path, **facts)


def run_file(task: Task, prepared: Prepared, row: Mapping[str, Any]) -> None:
    """Make ``target`` from the file ``input``, whose name ends in its contrast (``_T1w.nii.gz``).

    Raises:
        VoxelwayError: E-USAGE without a target, E-IMG-MODALITY when the name tells no contrast,
            and the refusals of the method.
    """
    from pipeline.preprocess import stage as preprocess

    source, target = Path(str(row["input"])), row.get("target")
    if target is None:
        raise VoxelwayError("E-USAGE", "synthesize needs --target, as FLAIR")
    suffix = source.name.split(".")[0].split("_")[-1]
    if suffix not in SUFFIXES or suffix == target:
        what = f"The name {source.name!r} does not end in a contrast other than {target}"
        hint = f"Name the file as BIDS does: …_{'|'.join(SUFFIXES)}.nii.gz"
        raise VoxelwayError("E-IMG-MODALITY", what, where=source.name, hint=hint)
    image = task.read(source)
    section = {**config.section("preprocess"), "seed": prepared.params.get("seed", 0)}
    brain = preprocess.find_brain(image, suffix, preprocess.prepare(section, None), source.name)
    made = prepared.method({suffix: image}, sitk.Cast(brain.mask != 0, sitk.sitkUInt8), str(target))
    facts = {"Synthetic": True, "SkullStripped": True, "SourceContrasts": list(made.sources)}
    task.write(made.image, Path(str(row["output"])), **facts)
