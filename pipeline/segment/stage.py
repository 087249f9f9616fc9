"""Segment: a cascade from the coarse brain and its box to tissues and lesions in the crop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline import files, images, labels
from pipeline.methods import create
from pipeline.segment import atlas, coarse, crop, fine, single, summary
from pipeline.segment.case import Case, Method
from pipeline.task import Task, UnitTask

NAME = "segment"
REQUIRES = ("superres", "register")


@dataclass(frozen=True)
class Prepared:
    """Parameters and the method of the fine level."""

    params: Mapping[str, Any]
    method: Method


@dataclass(frozen=True)
class Result:
    """Both levels of the cascade on one grid, with the entries of the sidecar."""

    coarse: coarse.Coarse
    fine: fine.Fine
    entropy: sitk.Image
    volumes: list[dict[str, Any]]
    facts: dict[str, Any]


def prepare(params: Mapping[str, Any], model: Path | None) -> Prepared:
    """Make the method ready, once for all units."""
    method: Method = create(NAME, str(params["method"]), params, model)
    return Prepared(params, method)


def run_unit(task: UnitTask, prepared: Prepared) -> None:
    """Segment one unit on its common grid."""
    anchor = task.anchor()
    place, unit = task.results, task.unit
    mask_path = place.image("superres", unit, "mask", space=anchor, desc="brain")
    mask = task.read_labels(mask_path) > 0
    images.check_mask(mask, unit.name, min_ml=1.0)
    contrasts, used = _channels(task, anchor, prepared.params)
    for suffix, image in contrasts.items():
        images.check_same_grid(mask, image, f"{unit.name} {suffix}")
    priors = atlas.of_unit(task, anchor, mask)
    synthetic = frozenset(item["Suffix"] for item in used if item["Synthetic"])
    result = cascade(contrasts, mask, priors, synthetic, prepared, unit.name)
    facts = {**result.facts, "Anchor": anchor, "ChannelsUsed": used}
    _write(task, anchor, result, facts)
    for text in summary.implausible(result.volumes, prepared.params["plausible"]):
        task.warn(text)


def cascade(
    contrasts: Mapping[str, sitk.Image],
    mask: sitk.Image,
    priors: Mapping[str, sitk.Image],
    synthetic: frozenset[str],
    prepared: Prepared,
    where: str,
) -> Result:
    """Coarse level, box, fine level in the box, on the grid of the mask.

    Raises:
        VoxelwayError: E-MASK-EMPTY without a brain at the coarse level, E-SIGNAL when the brain
            has too few intensities.
    """
    options = prepared.params["coarse"]
    anchor = next(iter(contrasts))
    first = coarse.run(contrasts[anchor], mask, anchor, float(options["spacing"]), where)
    margin = float(prepared.params["crop"]["margin"])
    box = crop.around(first.brain, mask, margin, where)
    case = Case(contrasts, mask, priors, first.posteriors, synthetic)
    most = int(prepared.params["crop"]["enlargements"])
    step = max(margin, float(options["spacing"]))
    second = fine.run(case, box, prepared.method, step, most)
    rows = summary.volumes(second.segmentation.labels)
    facts = {
        "CoarseSpacing": [round(value, 4) for value in first.brain.GetSpacing()],
        "Box": second.box.fact,
        "BoxCoarse": box.fact,
        "BoxTouched": second.touched,
        "BoxEnlargements": second.enlargements,
        "AtlasPriors": bool(priors),
        "Volumes": {row["name"]: row["mm3"] for row in rows},
        **second.segmentation.facts,
    }
    uncertain = summary.entropy(second.segmentation.posteriors)
    return Result(first, second, uncertain, rows, facts)


def _channels(
    task: UnitTask, anchor: str, params: Mapping[str, Any]
) -> tuple[dict[str, sitk.Image], list[dict[str, Any]]]:
    """Contrasts on the common grid, the anchor first: acquired, and made for those lacking."""
    acquired = task.contrasts("superres", space=anchor, desc="superres")
    made = task.contrasts("synthesize", space=anchor, desc="synth")
    order = [anchor, *(name for name in params["channels"] if name != anchor)]
    contrasts: dict[str, sitk.Image] = {}
    used: list[dict[str, Any]] = []
    for suffix in order:
        synthetic = suffix not in acquired
        path = acquired.get(suffix) or (made.get(suffix) if params["synthetic"] else None)
        if path is None:
            continue
        contrasts[suffix] = task.read(path)
        used.append({"Suffix": suffix, "Synthetic": synthetic, "File": path.name})
    return contrasts, used


def _write(task: UnitTask, anchor: str, result: Result, facts: Mapping[str, Any]) -> None:
    place, unit = task.results, task.unit

    def path(suffix: str, desc: str = "", extension: str = ".nii.gz") -> Path:
        return place.image(NAME, unit, suffix, desc=desc, space=anchor, extension=extension)

    table = path("dseg", extension=".tsv")
    labels.write_table(labels.TISSUES, table)
    # it shares its sidecar's name with the labels, so that it is counted here
    task.outputs[table.relative_to(place.root).as_posix()] = files.sha256(table)
    task.write(result.coarse.labels, path("dseg", "coarse"), **facts, Level="coarse")
    task.write(result.fine.segmentation.labels, path("dseg"), **facts, Level="fine")
    task.write(result.entropy, path("entropy", "entropy"), **facts, Units="share of the maximum")
    numbers = path("volumes", extension=".tsv")
    files.write_tsv(numbers, ("label", "name", "mm3"), result.volumes)
    task.describe(numbers, **facts)


def run_file(task: Task, prepared: Prepared, row: Mapping[str, Any]) -> None:
    """One image: IN OUT [--uncertainty OUT]; the labels come back on the grid of IN."""
    source, output = Path(row["input"]), Path(row["output"])
    original = task.read(source)
    subject = single.ready(original, source.name, prepared.params)
    priors = atlas.of_image(subject, prepared.params)
    contrasts = {subject.suffix: subject.image}
    result = cascade(contrasts, subject.mask, priors, frozenset(), prepared, source.name)
    facts = {
        **result.facts,
        "SkullStripped": subject.stripped,
        "ChannelsUsed": [{"Suffix": subject.suffix, "Synthetic": False, "File": source.name}],
    }
    found = single.back(result.fine.segmentation.labels, original)
    task.write(found, output, **facts)
    if row.get("uncertainty"):
        task.write(single.back(result.entropy, original), Path(row["uncertainty"]), **facts)
    for text in summary.implausible(result.volumes, prepared.params["plausible"]):
        task.warn(text)
