"""``voxelway train synthesize`` where ``synthesize.augmentation`` names a generator: its bundle."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from pipeline import images, labels
from pipeline.bundles import SAMPLES
from pipeline.errors import Exit, VoxelwayError
from pipeline.fingerprint import code_fingerprint
from pipeline.models import training_folder
from pipeline.segment.learning import cases as reading
from pipeline.segment.learning import cohort
from pipeline.segment.learning.cases import Case
from pipeline.segment.learning.scene import Variety
from pipeline.synthesize.augmentation import card, generate, memorisation, realism, samples
from pipeline.synthesize.augmentation.kinds import ONE_SHOT, Made, Request, Sources, kind
from pipeline.training import bundle, judging
from pipeline.training.bundle import Score
from pipeline.training.plan import Plan
from pipeline.training.trainer import fit

MODULE = "pipeline.synthesize.augmentation.train"
#: What the bundle keeps of the configuration: what making a case needs.
KEPT = ("generator", "spacing", "patch", "latent", "noise", "features", "variety")


@dataclass(frozen=True)
class _Trained:
    networks: Mapping[str, nn.Module]
    sources: Sources
    made: list[Made]
    scores: dict[str, Score]


def train(params: Mapping[str, Any], out: Path, results: Path | None) -> int:
    """Train the generator that ``synthesize.augmentation`` names, and write its bundle.

    Checkpoints and logs are in ``OUT.training`` beside it; the same command goes on from them.

    Args:
        params: section ``synthesize`` and the seed.
        out: folder of the bundle.
        results: results folder whose training split is used, with the labels that
            ``cohort_labels`` names, beside ``data``; or None.

    Raises:
        VoxelwayError: E-TRAIN-DATA, E-TRAIN-SPLIT, E-LABELS, E-MODEL-MEMORISED for a generator
            that gives back its training images, which is not written, and those of
            :func:`pipeline.training.trainer.fit`.
    """
    section, seed = params["augmentation"], int(params.get("seed", 0))
    request = _request(section, seed, results)
    generator = kind(str(section["generator"]))
    job = generator.prepare(request)
    fitted = fit(job.recipe, job.samples, job.validation, request.plan, training_folder(out))
    scores = judging.scores(job.recipe, fitted, job.validation)
    trained = _judged(request, job.recipe.networks, scores, training_folder(out))
    about = card.about(request, job, trained.sources, trained.scores, code_fingerprint(MODULE))
    extras = {SAMPLES: card.grid(request, trained.made)}
    bundle.write(out, fitted, job.recipe.metric, request.plan, about, extras)
    return Exit.DONE


def _request(section: Mapping[str, Any], seed: int, results: Path | None) -> Request:
    table = str(section["labels"])
    rows = labels.read(Path(table)) if table.endswith(".tsv") else labels.known(table)
    known = tuple(row.index for row in rows if row.index > 0)
    found = reading.read([reading.Source.of(entry) for entry in section["data"]], known)
    if results is not None and section["cohort_labels"]:
        found += cohort.cases(results, str(section["cohort_labels"]), known)
    if not found or not found[0].images:
        what = "There are no images with labels to learn from"
        hint = "synthesize.augmentation.data names folders of images and labels"
        raise VoxelwayError("E-TRAIN-DATA", what, hint=hint)
    train_side, held, scans = _sides(section, found, seed)
    plan = Plan.of(section["training"], seed)
    identity = _identity(section, [train_side, held, scans])
    return Request(section, known, train_side, held, scans, plan, identity)


def _sides(
    section: Mapping[str, Any], found: Sequence[Case], seed: int
) -> tuple[list[Case], list[Case], list[Case]]:
    """Cases to train on, cases and scans to validate on, scans to train on.

    ``one_shot`` does with a single labelled case, and is then validated on scans.
    """
    share = float(section["validation"])
    scans = samples.scans(section["scans"]) if section["generator"] == ONE_SHOT else []
    held = [one for one in scans if one.side]
    scans = [one for one in scans if not one.side]
    if len(found) == 1 and len(scans) + len(held) > 1:
        if not held:
            count = math.ceil(share * len(scans))
            scans, held = scans[:-count], scans[-count:]
        return list(found), held, scans
    train_side, validation = reading.folds(found, 1, share, seed)[0]
    return train_side, validation + held, scans


def _identity(section: Mapping[str, Any], sides: Sequence[Sequence[Case]]) -> str:
    """Hash of what decides the weights beside the plan."""
    aside = ("data", "scans", "training", "memorisation", "realism", "cohort_labels")
    decisive = {key: value for key, value in section.items() if key not in aside}
    content = [decisive, [[one.digest for one in side] for side in sides], code_fingerprint(MODULE)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _judged(
    request: Request, networks: Mapping[str, nn.Module], scores: Mapping[str, Score], folder: Path
) -> _Trained:
    """Samples of the best weights, held against real images."""
    section = request.section
    real = [_as_is(request, case) for case in request.validation]
    generator = kind(str(section["generator"]))
    told: dict[str, Any] = {key: section[key] for key in KEPT}
    told["ranges"] = _ranges(request)
    classes = len(request.known) + 1
    judged = [generator.judge(networks, one.image, one.classes, classes) for one in real]
    if np.isfinite(judged).all():
        told["least_score"] = float(np.quantile(judged, float(section["realism"])))
    sources = Sources(told, request.known, request.train, request.scans)
    count = int(section["memorisation"]["samples"])
    made = [
        generate.accepted(generator, networks, sources, [request.plan.seed, 9, number])
        for number in range(count)
    ]
    figures = dict(scores)
    training = [_as_is(request, case) for case in request.train]
    if section["generator"] != ONE_SHOT:
        figures |= _guarded(request, made, real, training)
        taken = float(np.mean([not one.score < told["least_score"] for one in made]))
        figures["share that the critic takes for real"] = Score(taken, None, None, count)
    figures |= realism.judge(request, made, real, training, folder).scores()
    return _Trained(networks, sources, made, figures)


def _guarded(
    request: Request, made: Sequence[Made], real: Sequence[Made], training: Sequence[Made]
) -> dict[str, Score]:
    ours, theirs, seen = ([one.image for one in some] for some in (made, real, training))
    limits = request.section["memorisation"]
    return memorisation.check(ours, theirs, seen, limits).figures()


def _as_is(request: Request, case: Case) -> Made:
    """A real case, in the scale of made ones."""
    spacing = float(request.section["spacing"])
    rng = np.random.default_rng(0)
    image, classes, grid = samples.seen(case, spacing, request.known, Variety.none(), rng)
    return Made(image, classes, grid, float("nan"))


def _ranges(request: Request) -> list[list[float]]:
    """Intensities of each contrast that -1 and 1 stand for: means over the training cases."""
    found = [[samples.ends(images.array(one)) for one in case.images] for case in request.train]
    return np.mean(found, axis=0).tolist()  # type: ignore[no-any-return]
