"""Writes what a training gave as a model bundle, with its card, curve and table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from pipeline import __version__
from pipeline.bundles import SAMPLES, write_bundle
from pipeline.training.curve import as_csv, as_png
from pipeline.training.plan import Plan
from pipeline.training.trainer import Fitted


@dataclass(frozen=True)
class Architecture:
    """What :func:`pipeline.networks.build` makes a network from."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Score:
    """Mean over cases with its 95 % interval (Student's t; none for a single case)."""

    mean: float
    low: float | None
    high: float | None
    cases: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Score:
        """Mean and interval of independent cases, at least one."""
        found = np.asarray(values, dtype=np.float64)
        mean, count = float(found.mean()), len(found)
        if count < 2:
            return cls(mean, None, None, count)
        half = float(stats.t.ppf(0.975, count - 1) * found.std(ddof=1) / np.sqrt(count))
        return cls(mean, mean - half, mean + half, count)


@dataclass(frozen=True)
class About:
    """What a bundle says of its model beside the course of the training.

    Attributes:
        stage: that uses it.
        architectures: of the networks that go into the bundle; a critic may stay behind.
        inputs: contrasts, spacing, intensity scale, shape divisor.
        outputs: what the model gives.
        subjects: number of subjects by split, ``train`` and ``val``; none is in both.
        data: ``name`` and ``licence`` of each source of training data.
        code: fingerprint of the code that trained.
        scores: on subjects that were not trained on.
        title: headline of the card.
        purpose: what the model is for.
        limits: what it is not for, and known failures.
        calibration: what validation cases say of the model's own doubt; empty where nothing does.
        start: SHA-256 of the weights that it began with; empty for fresh ones.
    """

    stage: str
    architectures: Mapping[str, Architecture]
    inputs: Mapping[str, Any]
    outputs: Mapping[str, Any]
    subjects: Mapping[str, int]
    data: Sequence[Mapping[str, str]]
    code: str
    scores: Mapping[str, Score]
    title: str
    purpose: str
    limits: Sequence[str]
    calibration: Mapping[str, float] = field(default_factory=dict)
    start: str = ""


def write(
    out: Path,
    fitted: Fitted,
    metric: str,
    plan: Plan,
    about: About,
    extras: Mapping[str, bytes] | None = None,
) -> None:
    """Write the bundle, whole or not at all.

    Args:
        out: folder of the bundle.
        fitted: what the trainer gave.
        metric: of the recipe.
        plan: of the training.
        about: the rest.
        extras: contents of further files, see :data:`pipeline.bundles.EXTRAS`.

    Raises:
        VoxelwayError: E-CONFIG-PATH when ``out`` holds other files, E-DISK-FULL, E-DIR-WRITE.
    """
    tensors = {
        f"{name}/{key}": values
        for name in about.architectures
        for key, values in fitted.weights[name].items()
    }
    files = {
        "training.csv": as_csv(fitted.history).encode(),
        "training.png": as_png(fitted.history, metric, fitted.step),
    }
    files |= extras or {}
    metadata = _metadata(fitted, metric, plan, about)
    write_bundle(out, tensors, metadata, _card(fitted, metric, about, SAMPLES in files), files)


def _metadata(fitted: Fitted, metric: str, plan: Plan, about: About) -> dict[str, Any]:
    networks = {name: dataclasses.asdict(item) for name, item in about.architectures.items()}
    return {
        "stage": about.stage,
        "architecture": networks,
        "inputs": dict(about.inputs),
        "outputs": dict(about.outputs),
        "calibration": dict(about.calibration),
        "training": {
            "subjects": dict(about.subjects),
            "split": "by subject: trained on train, chosen on val",
            "seed": plan.seed,
            "steps": fitted.steps,
            "best_step": fitted.step,
            "stopped_early": fitted.stopped_early,
            "metric": metric,
            "plan": dataclasses.asdict(plan),
            "code": about.code,
            "start": about.start,
            "version": __version__,
            "data": [dict(item) for item in about.data],
            "scores": {name: dataclasses.asdict(item) for name, item in about.scores.items()},
            "seconds": fitted.seconds,
            "device": fitted.device,
            "peak_memory_mb": fitted.peak_memory_mb,
        },
    }


_CONFIDENTIAL = (
    f"![Samples]({SAMPLES})",
    "",
    f"{SAMPLES} shows images of subjects that the model was not trained on. Where these are "
    "patients it is as confidential as their images: delete the file before the model leaves the "
    "house; nothing reads it.",
    "",
)


def _card(fitted: Fitted, metric: str, about: About, pictured: bool) -> str:
    people = ", ".join(f"{count} ({split})" for split, count in about.subjects.items())
    scores = [f"| {name} | {_score(item)} | {item.cases} |" for name, item in about.scores.items()]
    return "\n".join(
        [
            f"# {about.title}",
            "",
            f"For: {about.purpose}",
            "",
            "Not for, and known failures:",
            "",
            *(f"- {item}" for item in about.limits),
            "",
            "| score | mean (95 % interval) | cases |",
            "| --- | --- | --- |",
            *scores,
            "",
            f"Subjects: {people}; no subject is in two splits.",
            f"Best of {fitted.steps} steps by {metric}: step {fitted.step}, on {fitted.device}.",
            *([f"They began with weights {about.start[:12]}… (SHA-256)."] if about.start else ()),
            "",
            "Training data:",
            "",
            *(f"- {item['name']}: {item['licence']}" for item in about.data),
            "",
            "![Course of the training](training.png)",
            "",
            *(_CONFIDENTIAL if pictured else ()),
        ]
    )


def _score(item: Score) -> str:
    if item.low is None or item.high is None:
        return f"{item.mean:.4g}"
    return f"{item.mean:.4g} ({item.low:.4g} to {item.high:.4g})"
