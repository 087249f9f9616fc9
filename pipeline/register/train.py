"""``voxelway train register``: a registration network, on subjects of a cohort and of folders."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline import networks, status
from pipeline.errors import Exit
from pipeline.fingerprint import code_fingerprint
from pipeline.ingest.manifest import read_manifest
from pipeline.models import training_folder
from pipeline.paths import Results, Unit
from pipeline.register.learning import features, teacher
from pipeline.register.learning.cases import Case, read_cases
from pipeline.register.learning.draw import Pairs
from pipeline.register.learning.features import AUTOENCODER
from pipeline.register.learning.lattice import Lattice, lattice
from pipeline.register.learning.recipe import CRITIC, NAME, RegistrationRecipe
from pipeline.register.learning.sources import Source
from pipeline.register.learning.teacher import Taught
from pipeline.training import bundle, data, judging, split
from pipeline.training.plan import Plan
from pipeline.training.start import Start
from pipeline.training.trainer import fit

ANCHOR = "T1w"
MODULE = "pipeline.register.train"


def train(params: Mapping[str, Any], out: Path, results: Path | None) -> int:
    """Train by section ``register`` and write the bundle.

    Checkpoints and logs are in ``OUT.training`` beside it; the same command goes on from them.

    Args:
        params: section ``register`` and the seed.
        out: folder of the bundle.
        results: results folder whose training split is used beside ``learning.data``; or None.

    Raises:
        VoxelwayError: E-TRAIN-DATA for too few subjects, E-TRAIN-SPLIT, E-CONFIG-VALUE, E-METHOD
            and E-MODEL-MISSING for a teacher that teaches nothing, and those of
            :class:`pipeline.training.start.Start` and :func:`pipeline.training.trainer.fit`.
    """
    seed, learning = int(params.get("seed", 0)), params["learning"]
    plan = Plan.of(params["training"], seed)
    start = Start.of(NAME, learning["start"])
    # what is wrong with the teacher is told before the images are aligned
    lessons = teacher.mark(params) if teacher.asked(params) else ""
    work = training_folder(out)
    place = lattice(float(params["network"]["spacing"]), str(params["template"]))
    sides = _sides(params, results, place, work / "cases")
    taught = teacher.sides(params, sides, place, work / "cases")
    samples, held_out = _samples(learning, sides, taught, plan)
    made = _networks(params, seed)
    start.fill(made[NAME], NAME)
    code = code_fingerprint(MODULE)
    identity = _identity(params, sides, code + lessons + start.digest)
    if AUTOENCODER in made:
        first = features.Reconstruction(made[AUTOENCODER], identity)
        steps = int(learning["autoencoder_steps"])
        features.train(first, (samples, held_out), plan, steps, work / AUTOENCODER)
    recipe = RegistrationRecipe(
        made[NAME],
        learning["losses"],
        {name: network for name, network in made.items() if name != NAME},
        identity,
        int(learning["window"]),
    )
    fitted = fit(recipe, samples, held_out, plan, work)
    scores = judging.scores(recipe, fitted, held_out, judge=recipe.judged)
    about = _about(params, sides, scores, code, start.digest)
    bundle.write(out, fitted, recipe.metric, plan, about)
    return Exit.DONE


def _samples(
    learning: Mapping[str, Any],
    sides: Sequence[Sequence[Case]],
    taught: Sequence[Sequence[Taught]],
    plan: Plan,
) -> tuple[data.SeededSamples, data.SeededSamples]:
    """Pairs to train on, without end, and those to validate on."""
    shares, few, seed = learning["pairs"], int(learning["structures"]), plan.seed
    drawn = Pairs(sides[0], shares, plan.batch, seed, few, taught[0])
    held_out = Pairs(sides[1], shares, 1, seed + 1, taught=taught[1])
    count = int(learning["validation_pairs"])
    return data.SeededSamples(drawn, seed), data.SeededSamples(held_out, seed + 1, count)


def _networks(params: Mapping[str, Any], seed: int) -> dict[str, torch.nn.Module]:
    """The network, and what losses ask beside it; same seed, same weights."""
    torch.manual_seed(seed)
    chosen = params["network"]
    made = {NAME: networks.build(chosen["architecture"], chosen["arguments"])}
    asked = {entry["name"] for entry in params["learning"]["losses"]}
    if "adversarial" in asked:
        made[CRITIC] = networks.build("critic", {"inputs": 2})
    if "features" in asked:
        made[AUTOENCODER] = networks.build("autoencoder", {})
    return made


def _sides(
    params: Mapping[str, Any], results: Path | None, place: Lattice, cache: Path
) -> list[list[Case]]:
    """Training and validation cases; no subject is on both sides."""
    sides: list[list[Case]] = [[], []]
    given = [Source.of(entry) for entry in params["learning"]["data"]]
    for source in given:
        found = read_cases([source], place, params, cache)
        kept = max(1, math.ceil(float(params["learning"]["validation"]) * len(found)))
        order = np.random.default_rng(int(params.get("seed", 0))).permutation(len(found))
        for number, index in enumerate(order):
            sides[int(number < kept)].append(found[index])
    for number, units in enumerate(_units(results)):
        cohort = _cohort_sources(Results(results), units) if results is not None else []
        sides[number] += read_cases(cohort, place, params, cache)
    names = [[case.subject for case in side] for side in sides]
    split.check(*names, apart=split.APART, given=split.GIVEN)
    return sides


def _units(results: Path | None) -> tuple[list[Unit], list[Unit]]:
    if results is None:
        return [], []
    place = Results(results)
    sides = data.sides(read_manifest(place.manifest))
    train_side, validation = ([u for u in side if _usable(place, u)] for side in sides)
    return train_side, validation


def _usable(place: Results, unit: Unit) -> bool:
    ended = status.read(place, unit, "superres")
    image = place.image("superres", unit, ANCHOR, space=ANCHOR, desc="superres")
    return ended is not None and ended.status == "ok" and image.is_file()


def _cohort_sources(place: Results, units: Iterable[Unit]) -> list[Source]:
    """Restored anchors of a cohort, each cut by its brain mask."""
    found = []
    for unit in units:
        image = place.image("superres", unit, ANCHOR, space=ANCHOR, desc="superres")
        mask = place.image("superres", unit, "mask", space=ANCHOR, desc="brain")
        terms = "the cohort's own images; weights inherit their terms of use"
        found.append(
            Source("cohort", image.parent, image.name, ANCHOR, False, terms, mask, unit.subject)
        )
    return found


def _identity(params: Mapping[str, Any], sides: Sequence[Sequence[Case]], code: str) -> str:
    """Hash of what decides the weights beside the plan."""
    decisive = {key: params[key] for key in ("network", "learning")}
    decisive["learning"] = {k: v for k, v in decisive["learning"].items() if k != "data"}
    subjects = [[case.subject for case in side] for side in sides]
    text = json.dumps([decisive, subjects, code], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _about(
    params: Mapping[str, Any],
    sides: Sequence[Sequence[Case]],
    scores: Mapping[str, bundle.Score],
    code: str,
    start: str,
) -> bundle.About:
    chosen = params["network"]
    contrasts = sorted({case.contrast for side in sides for case in side if case.contrast})
    labelled = any(case.shares is not None for side in sides for case in side)
    sets = {entry["name"]: entry["licence"] for entry in params["learning"]["data"]}
    if any(case.subject.startswith("cohort/") for side in sides for case in side):
        sets["cohort"] = "the cohort's own images; weights inherit their terms of use"
    return bundle.About(
        stage=NAME,
        architectures={
            NAME: bundle.Architecture(chosen["architecture"], dict(chosen["arguments"]))
        },
        inputs={
            "contrasts": "any" if labelled else contrasts,
            "spacing_mm": float(chosen["spacing"]),
            "intensity": "skull-stripped, 99.5th percentile of the brain at 1, zero outside",
            "grid": "moving image resampled onto the fixed one by an affine; any size",
        },
        outputs={"field": "displacement of the fixed grid, voxels"},
        subjects={name: len(side) for name, side in zip(("train", "val"), sides, strict=True)},
        data=[{"name": name, "licence": licence} for name, licence in sets.items()],
        code=code,
        start=start,
        scores=scores,
        title=f"Deformable registration of brain MR ({chosen['architecture']})",
        purpose=(
            "non-linear registration of skull-stripped brain MR after an affine, to a template or "
            "between subjects."
        ),
        limits=(
            "heads with their skull; other organs",
            "lesions and resections that one image has and the other has not: what is missing is "
            "squeezed or stretched",
            "children under about six years: no such brain was trained on",
        ),
    )
