"""Tissue methods: a coarse level finds the brain and its box, a fine level labels the crop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline import images, labels
from pipeline.segment import atlas, channels, coarse, crop, fine, made, single, summary
from pipeline.segment.case import Case, Method, Output
from pipeline.task import Task, UnitTask


@dataclass(frozen=True)
class Result:
    """Both levels of the cascade on one grid, with the entries of the sidecar."""

    coarse: coarse.Coarse
    fine: fine.Fine
    entropy: sitk.Image
    volumes: list[dict[str, Any]]
    facts: dict[str, Any]


def of_unit(task: UnitTask, anchor: str, method: Method, params: Mapping[str, Any]) -> Output:
    """Segment one unit on its common grid."""
    place, unit = task.results, task.unit
    mask_path = place.image("superres", unit, "mask", space=anchor, desc="brain")
    mask = task.read_labels(mask_path) > 0
    images.check_mask(mask, unit.name, min_ml=1.0)
    order = [anchor, *(name for name in params["channels"] if name != anchor)]
    contrasts, used = channels.of_unit(task, anchor, order, bool(params["synthetic"]))
    for suffix, image in contrasts.items():
        images.check_same_grid(mask, image, f"{unit.name} {suffix}")
    priors = atlas.of_unit(task, anchor, mask)
    synthetic = frozenset(item["Suffix"] for item in used if item["Synthetic"])
    judged = channels.judged(task, anchor, order) if params["synthetic"] else {}
    given = Case(contrasts, mask, priors, {}, synthetic, judged)
    result = cascade(given, method, params, unit.name)
    return _output(result, {**result.facts, "Anchor": anchor, "ChannelsUsed": used}, params)


def of_file(task: Task, source: Path, method: Method, params: Mapping[str, Any]) -> Output:
    """Segment one image; the labels come back on its grid."""
    original = task.read(source)
    subject = single.ready(original, source.name, params)
    priors = atlas.of_image(subject, params)
    given = Case({subject.suffix: subject.image}, subject.mask, priors, {})
    result = cascade(given, method, params, source.name)
    facts = {
        **result.facts,
        "SkullStripped": subject.stripped,
        "ChannelsUsed": [{"Suffix": subject.suffix, "Synthetic": False, "File": source.name}],
    }
    return _output(result, facts, params, original)


def cascade(given: Case, method: Method, params: Mapping[str, Any], where: str) -> Result:
    """Coarse level, box, fine level in the box, on the grid of the mask.

    Args:
        given: the subject, whose coarse level is still empty.
        method: of the fine level.
        params: section ``segment``.
        where: for messages.

    Raises:
        VoxelwayError: E-MASK-EMPTY without a brain at the coarse level, E-SIGNAL when the brain
            has too few intensities.
    """
    options = params["coarse"]
    anchor = given.anchor
    first = coarse.run(given.images[anchor], given.mask, anchor, float(options["spacing"]), where)
    margin = float(params["crop"]["margin"])
    box = crop.around(first.brain, given.mask, margin, where)
    case = replace(given, coarse=first.posteriors)
    most = int(params["crop"]["enlargements"])
    step = max(margin, float(options["spacing"]))
    second = fine.run(case, box, method, step, most)
    rows = summary.volumes(second.segmentation.labels)
    facts = {
        "CoarseSpacing": [round(value, 4) for value in first.brain.GetSpacing()],
        "Box": second.box.fact,
        "BoxCoarse": box.fact,
        "BoxTouched": second.touched,
        "BoxEnlargements": second.enlargements,
        "AtlasPriors": bool(given.priors),
        "Volumes": {row["name"]: row["mm3"] for row in rows},
        **second.segmentation.facts,
    }
    uncertain = summary.entropy(second.segmentation.posteriors)
    return Result(first, second, uncertain, rows, facts)


def _output(
    result: Result,
    facts: Mapping[str, Any],
    params: Mapping[str, Any],
    original: sitk.Image | None = None,
) -> Output:
    fine_labels, coarse_labels = result.fine.segmentation.labels, result.coarse.labels
    entropy = result.entropy
    if original is not None:
        fine_labels, coarse_labels = (
            single.back(image, original) for image in (fine_labels, coarse_labels)
        )
        entropy = single.back(entropy, original)
    return Output(
        fine_labels,
        coarse_labels,
        entropy,
        labels.TISSUES,
        result.volumes,
        ("label", "name", "mm3"),
        facts,
        [
            *summary.implausible(result.volumes, params["plausible"]),
            *made.warnings(facts.get("LesionsOfMade")),
        ],
    )
