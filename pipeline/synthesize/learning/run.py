"""Training of the networks of synthesis: reads scans, runs a recipe, writes the bundle."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import networks
from pipeline.errors import Exit, VoxelwayError
from pipeline.fingerprint import code_fingerprint
from pipeline.models import training_folder
from pipeline.synthesize.judging import card
from pipeline.synthesize.learning import cases, cohort, presets
from pipeline.synthesize.learning.cases import Scan
from pipeline.synthesize.learning.job import NAME, Job, Request
from pipeline.synthesize.learning.presets import Preset
from pipeline.training import bundle, gallery, judging
from pipeline.training.plan import Plan
from pipeline.training.trainer import fit

#: A network is never trained on fewer people.
FEWEST = 2
#: Keys of the section that recipes find among ``learning``.
SHARED = ("min_subjects", "gain_jitter", "margin")


def train(params: Mapping[str, Any], out: Path, results: Path | None) -> int:
    """Train by section ``synthesize`` and write the bundle.

    Checkpoints and logs are in ``OUT.training`` beside it; the same command goes on from them.

    Args:
        params: section ``synthesize`` and the seed.
        out: folder of the bundle.
        results: results folder whose training split is used beside ``learning.data``; or None.

    Raises:
        VoxelwayError: E-METHOD for a method that is not trained, E-USAGE without anything to read,
            E-TRAIN-DATA for too few subjects, E-TRAIN-SPLIT, E-OVERLAP, E-CONFIG-VALUE, and those
            of :func:`pipeline.training.trainer.fit`.
    """
    preset = presets.chosen(params)
    if results is None and not params["learning"]["data"]:
        what = "train synthesize needs --results, or folders in synthesize.learning.data"
        raise VoxelwayError("E-USAGE", what)
    plan = Plan.of(params["training"], int(params.get("seed", 0)))
    scans = read(params, preset, results)
    request, absent = make_request(params, preset, scans, plan)
    recipe_of = importlib.import_module(f"pipeline.synthesize.learning.{preset.recipe}")
    job: Job = recipe_of.prepare(request)
    fitted = fit(job.recipe, job.samples, job.validation, plan, training_folder(out))
    scores = judging.scores(job.recipe, fitted, job.validation, judge=job.judge)
    job, scores = _with_realism(request, job, scores, training_folder(out))
    about = _about(params, request, job, scores, absent)
    pictures = gallery.of(job.recipe, fitted, job.validation)
    bundle.write(out, fitted, job.recipe.metric, plan, about, pictures)
    if job.after is not None:
        job.after(out, fitted, about, scores)
    return Exit.DONE


def _with_realism(
    request: Request, job: Job, scores: dict[str, bundle.Score], folder: Path
) -> tuple[Job, dict[str, bundle.Score]]:
    """How real the made contrasts of an adversarial model look, and what must be said with it."""
    if not card.adversarial(request):
        return job, scores
    limits, rows = list(job.limits), dict(scores)
    for target, found in card.of_request(request, job.recipe.networks[NAME], folder).items():
        rows |= {f"{target}, {name}": score for name, score in found.scores().items()}
        limits += [f"realism of {target}: {warning}" for warning in found.warnings]
    return dataclasses.replace(job, limits=limits), rows


def read(params: Mapping[str, Any], preset: Preset, results: Path | None) -> list[Scan]:
    """Scans of the configuration's folders and of the results."""
    learning, margin = params["learning"], float(params["margin"])
    spacing, share = float(learning["spacing"]), float(learning["validation"])
    sources = [cases.Source.of(entry) for entry in learning["data"]]
    if preset.paired and not all(source.paired for source in sources):
        what = f"{params['method']} learns from contrasts of the same heads"
        hint = "Leave `paired: false` out of learning.data, or take an unpaired method"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint)
    found = cases.read_folders(sources, share, spacing, margin)
    if results is not None:
        found += cohort.read(results, spacing, margin, share)
    return found


def make_request(
    params: Mapping[str, Any], preset: Preset, scans: Sequence[Scan], plan: Plan
) -> tuple[Request, list[dict[str, str]]]:
    """What is trained on what, and the targets that are left out, with the reason.

    Raises:
        VoxelwayError: E-TRAIN-DATA, E-TRAIN-SPLIT.
    """
    sides = cases.sides(scans)
    known = {name for scan in sides[0] for name in scan.contrasts}
    wanted = params["learning"]["sources"] or sorted(known)
    contrasts = tuple(name for name in wanted if name in known)
    least = max(FEWEST, int(params["min_subjects"]))
    targets, absent = [], []
    for target in params["targets"]:
        reason = _reason(target, sides, contrasts, preset, least)
        if reason:
            absent.append({"target": target, "reason": reason})
            print(f"no model for {target}: {reason}", file=sys.stderr)
        else:
            targets.append(target)
    if not targets:
        what = "; ".join(f"{item['target']}: {item['reason']}" for item in absent)
        hint = "Add subjects, or name targets that they have in synthesize.targets"
        raise VoxelwayError("E-TRAIN-DATA", what or "No target is asked for", hint=hint)
    learning = {**params["learning"], **{key: params[key] for key in SHARED}}
    identity = _identity(preset, learning, sides, (contrasts, tuple(targets)))
    request = Request(preset, learning, *sides, contrasts, tuple(targets), plan, identity)
    return request, absent


def _reason(
    target: str, sides: Sequence[Sequence[Scan]], contrasts: Sequence[str], preset: Preset,
    least: int,
) -> str:  # fmt: skip
    """Why a target can't be learned; empty when it can."""
    others = set(contrasts) - {target}
    people = [
        {
            scan.subject
            for scan in side
            if target in scan.contrasts and (others & set(scan.contrasts) or not preset.paired)
        }
        for side in sides
    ]
    beside = f" and another of {', '.join(sorted(others))}" if preset.paired else ""
    if not others:
        return "there is no other contrast to make it from"
    if len(people[0]) < least:
        return (
            f"{len(people[0])} training subjects have {target}{beside}, at least {least} are needed"
        )
    if preset.paired and not people[1]:
        return f"no validation subject has {target}{beside}"
    return ""


def _identity(
    preset: Preset, learning: Mapping[str, Any], sides: Sequence[Sequence[Scan]],
    asked: tuple[Sequence[str], Sequence[str]],
) -> str:  # fmt: skip
    """Hash of what decides the weights beside the plan."""
    decisive = {key: value for key, value in learning.items() if key != "data"}
    scans = [[[scan.name, scan.digest] for scan in side] for side in sides]
    content = [dataclasses.asdict(preset), decisive, scans, asked, _code(preset)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _code(preset: Preset) -> str:
    return code_fingerprint(
        "pipeline.synthesize.learning.run", f"pipeline.synthesize.learning.{preset.recipe}",
        networks.module_name(preset.architecture),
    )  # fmt: skip


def _calibration(scores: Mapping[str, bundle.Score]) -> dict[str, float]:
    """Factor that makes the told deviation that of the errors of validation subjects."""
    surprise = scores.get("surprise")
    if surprise is None or not surprise.mean > 0:
        return {}
    return {"spread_factor": math.sqrt(surprise.mean), "samples": float(surprise.cases)}


def _about(
    params: Mapping[str, Any], request: Request, job: Job,
    scores: Mapping[str, bundle.Score],
    absent: Sequence[Mapping[str, str]],
) -> bundle.About:  # fmt: skip
    learning, preset = request.learning, request.preset
    calibration = _calibration(scores)
    told = (
        f"its deviations were multiplied by {calibration['spread_factor']:.3g} to fit the errors "
        f"on {calibration['samples']:.0f} patches of validation subjects"
        if calibration
        else "its deviations were not compared with errors on validation subjects"
    )
    people = [{scan.subject for scan in side} for side in (request.train, request.validation)]
    sets = {entry["name"]: entry["licence"] for entry in params["learning"]["data"]}
    if any(scan.subject.startswith(cohort.NAME + "/") for scan in request.train):
        sets[cohort.NAME] = cohort.LICENCE
    return bundle.About(
        stage=NAME,
        architectures=job.architectures,
        inputs={
            "contrasts": list(request.contrasts),
            "spacing_mm": float(learning["spacing"]),
            "margin_mm": float(params["margin"]),
            "intensity": "divided by the median over the brain, zero outside brain and margin",
            "axes": "nearest to LPS",
        },
        outputs={
            "contrasts": list(request.targets),
            "levels": {target: _level(request.train, target) for target in request.targets},
            "orientations": learning["orientations"] if preset.planes else "volume",
            "absent": list(absent),
        },
        subjects={"train": len(people[0]), "val": len(people[1])},
        data=[{"name": name, "licence": licence} for name, licence in sets.items()],
        code=_code(preset),
        scores=scores,
        title=f"{' and '.join(request.targets)} by {params['method']}",
        purpose=job.purpose,
        limits=(
            "reading: a made contrast is a guess and is marked as one",
            *job.limits,
            f"the map of expected errors tells what is usual, not what is wrong here; {told}",
            "scanners or sequences that the training did not see, images after contrast agent, "
            "the rim of the brain",
        ),
        calibration=calibration,
    )


def _level(scans: Sequence[Scan], target: str) -> float:
    """Mean of the target's medians over the brain, in the scale of its images."""
    return float(np.mean([scan.levels[target] for scan in scans if target in scan.levels]))
