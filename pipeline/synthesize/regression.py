"""Training of ``patch_regression``: one for every target and set of sources of the cohort."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pipeline import __version__, status
from pipeline.bundles import write_bundle
from pipeline.errors import Exit, VoxelwayError
from pipeline.fingerprint import code_fingerprint
from pipeline.ingest.manifest import read_manifest, split_of, units
from pipeline.paths import Results
from pipeline.synthesize.fit import Floats, Samples, fit
from pipeline.synthesize.network import predict
from pipeline.synthesize.samples import Session, draw, read_session

MODULE = "pipeline.synthesize.regression"
SPLIT = "train"
#: Parts of the section that only networks rest on.
NETWORKS = ("network", "learning", "training")
Job = tuple[str, tuple[str, ...], list[Session]]


def train(params: Mapping[str, Any], out: Path, results: Path | None) -> int:
    """Train on the manifest's training split and write the bundle.

    Too few sessions for a target are no failure: the bundle then says why it lacks the model, and
    the units that need it are refused with E-TRAIN-DATA.

    Args:
        params: section ``synthesize`` and the seed.
        out: folder of the bundle.
        results: results folder with manifest.tsv and the output of superres.

    Raises:
        VoxelwayError: E-USAGE without ``results``, E-MANIFEST.
    """
    if results is None:
        raise VoxelwayError("E-USAGE", "train synthesize needs --results")
    place = Results(results)
    sessions = training_sessions(place, params)
    tensors: dict[str, Floats] = {}
    models, absent = [], []
    for target in params["targets"]:
        jobs = list(combinations(target, sessions, int(params["min_subjects"])))
        if not jobs:
            absent.append({"target": target, "reason": _reason(target, sessions, params)})
        for job in tqdm(jobs, desc=f"synthesize {target}", file=sys.stderr):
            weights, facts = _one(place, job, params)
            name = model_name(target, job[1])
            tensors |= {f"{name}/{key}": value for key, value in weights.items()}
            models.append({"name": name, "target": target, "sources": list(job[1]), **facts})
    for item in absent:
        print(f"no model for {item['target']}: {item['reason']}", file=sys.stderr)
    metadata = _metadata(params, sessions, models, absent)
    write_bundle(out, tensors, metadata, _card(models, absent))
    return Exit.DONE


def model_name(target: str, sources: Sequence[str]) -> str:
    """Name of one model inside the bundle, as ``FLAIR-from-T1w-T2w``."""
    return f"{target}-from-{'-'.join(sources)}"


def training_sessions(results: Results, params: Mapping[str, Any]) -> list[Session]:
    """Sessions of the training split whose superres ended well, in the order of their names."""
    rows = read_manifest(results.manifest)
    found = []
    for unit in units(rows):
        if split_of(rows, unit) != SPLIT:
            continue
        ended = status.read(results, unit, "superres")
        if ended is None or ended.status != "ok":
            continue
        session = read_session(results, unit, float(params["margin"]))
        if session is not None:
            found.append(session)
    return found


def combinations(target: str, sessions: Sequence[Session], least: int) -> Iterator[Job]:
    """Sets of sources that at least ``least`` sessions have beside the target, small ones first."""
    having = [session for session in sessions if target in session.sources]
    others = sorted({name for session in having for name in session.sources} - {target})
    for count in range(1, len(others) + 1):
        for sources in itertools.combinations(others, count):
            fit_for = [s for s in having if set(sources) <= set(s.sources)]
            if len(fit_for) >= least:
                yield target, sources, fit_for


def _one(
    results: Results, job: Job, params: Mapping[str, Any]
) -> tuple[dict[str, Floats], dict[str, Any]]:
    target, sources, sessions = job
    seed = int(params.get("seed", 0))
    drawn: list[Samples] = [
        draw(results, session, target, sources, params, seed + number)
        for number, session in enumerate(sessions)
    ]
    samples = drawn[0]
    for more in drawn[1:]:
        samples = samples + more
    weights = fit(samples, len(sources), params, seed)
    profile = [predict(weights, samples.patches[:, i])[0] for i in range(samples.patches.shape[1])]
    residual = samples.values - np.mean(profile, axis=0)
    facts = {
        "sessions": len(sessions),
        "samples": len(samples.values),
        "level": float(np.mean([session.levels[target] for session in sessions])),
        "residual_sd": float(residual.std()),
        "target_sd": float(samples.values.std()),
    }
    return weights, facts


def _reason(target: str, sessions: Sequence[Session], params: Mapping[str, Any]) -> str:
    having = sum(target in session.sources and len(session.sources) > 1 for session in sessions)
    return (
        f"{having} of {len(sessions)} training sessions have {target} and another contrast, "
        f"at least {params['min_subjects']} are needed"
    )


def _metadata(
    params: Mapping[str, Any],
    sessions: Sequence[Session],
    models: list[dict[str, Any]],
    absent: list[dict[str, str]],
) -> dict[str, Any]:
    return {
        "stage": "synthesize",
        "architecture": {
            "name": "patch-network",
            "hidden": list(params["hidden"]),
            "patch_step_mm": float(params["patch_step"]),
            "margin_mm": float(params["margin"]),
        },
        "inputs": {
            "contrasts": sorted({name for model in models for name in model["sources"]}),
            "grid": "any; one for all sources",
            "intensity": "divided by the median over the brain, zero outside brain and margin",
        },
        "outputs": {
            "contrasts": sorted({model["target"] for model in models}),
            "intensity": "scale of preprocess, by the mean level of the training sessions",
        },
        "models": models,
        "absent": absent,
        "training": {
            "subjects": len({session.unit.subject for session in sessions}),
            "sessions": len(sessions),
            "split": SPLIT,
            "seed": int(params.get("seed", 0)),
            "parameters": {k: v for k, v in params.items() if k not in NETWORKS},
            "code": code_fingerprint(MODULE),
            "version": __version__,
            "data": "the cohort's own images; weights inherit their terms of use",
        },
    }


def _card(models: Sequence[Mapping[str, Any]], absent: Sequence[Mapping[str, str]]) -> str:
    rows = [
        f"| {m['target']} | {', '.join(m['sources'])} | {m['sessions']} | {m['samples']} "
        f"| {m['residual_sd']:.3f} | {m['target_sd']:.3f} |"
        for m in models
    ]
    missing = [f"- {item['target']}: {item['reason']}." for item in absent]
    return "\n".join(
        [
            "# Patch regression of missing MR contrasts",
            "",
            "A small network estimates the intensity of a contrast that was not acquired from",
            "3x3x3 patches of those that were. It was trained on this cohort's training split.",
            "",
            "| target | sources | sessions | voxels | residual SD | target's SD |",
            "| --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
            "SDs are in units of the median over the brain, on the training data.",
            "",
            *(["No model:", "", *missing, ""] if missing else []),
            "For: filling a gap so that later stages can run, with the uncertainty map beside it.",
            "",
            "Not for: reading. What the sources do not show (a lesion that is invisible on T1w)",
            "is not in the made contrast either. Known failures: scanners or sequences that the",
            "training did not see, post-contrast images, the rim of the brain.",
            "",
        ]
    )
