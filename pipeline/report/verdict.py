"""The verdict on one unit: pass, look or fail, with reasons that lead to their pictures.

Pure functions of what the stages recorded; limits are parameters of the report. A verdict is a
hint where to look, not a diagnosis and no substitute for looking.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pipeline.errors import CODES
from pipeline.paths import STAGES
from pipeline.status import Status

Level = Literal["pass", "look", "fail"]
WORDS: dict[Level, str] = {
    "pass": "nothing stands out",
    "look": "at these points before use",
    "fail": "not usable as it is",
}
#: Stages that run after the page is made or make it; their absence is no finding.
LATER = frozenset({"report", "export"})


@dataclass(frozen=True)
class Reason:
    """One finding: how grave, in plain words, and the anchor of the picture that shows it."""

    level: Literal["look", "fail"]
    text: str
    anchor: str


@dataclass(frozen=True)
class Verdict:
    """The gravest level of all reasons, and the reasons, gravest first."""

    level: Level
    reasons: tuple[Reason, ...]

    @property
    def word(self) -> str:
        """What the level means."""
        return WORDS[self.level]


@dataclass(frozen=True)
class Evidence:
    """What a verdict rests on.

    Attributes:
        statuses: stage → its status; a stage that has not run is absent.
        values: ``stage.metric.label`` → number.
        synthetic: contrasts that were made because they were not acquired.
        refused: codes of this subject's series that ingest refused.
        box_touches: whether labels reach a face of the box that they were made in.
    """

    statuses: Mapping[str, Status]
    values: Mapping[str, float] = field(default_factory=dict)
    synthetic: Sequence[str] = ()
    refused: Sequence[str] = ()
    box_touches: bool = False


Rule = Callable[[Evidence, Mapping[str, Any]], Iterator[Reason]]


def judge(evidence: Evidence, limits: Mapping[str, Any]) -> Verdict:
    """Apply every rule.

    Args:
        evidence: what the stages recorded.
        limits: ``report.limits`` of the configuration.
    """
    reasons = [reason for rule in RULES for reason in rule(evidence, limits)]
    reasons.sort(key=lambda reason: reason.level != "fail")
    level: Level = "pass"
    if reasons:
        level = reasons[0].level
    return Verdict(level, tuple(reasons))


def _stages(evidence: Evidence, limits: Mapping[str, Any]) -> Iterator[Reason]:
    skipped = [s.stage for s in evidence.statuses.values() if s.status == "skipped"]
    tail = f"; {', '.join(skipped)} did not run" if skipped else ""
    for stage in STAGES:
        found = evidence.statuses.get(stage)
        if found is not None and found.code == "E-QC-EXCLUDED":
            others = [name for name in skipped if name != stage]
            rest = f"; {', '.join(others)} did not run" if others else ""
            yield Reason("fail", f"{stage}: {found.message} ({found.code}){rest}", stage)
        if found is not None and found.status == "failed":
            meaning = CODES[found.code].meaning if found.code in CODES else found.message
            yield Reason("fail", f"{stage} failed: {meaning} ({found.code}){tail}", stage)
            tail = ""
    absent = [s for s in STAGES if s not in evidence.statuses and s not in LATER]
    if absent:
        yield Reason("look", f"not run yet: {', '.join(absent)}", absent[0])


def _warnings(evidence: Evidence, limits: Mapping[str, Any]) -> Iterator[Reason]:
    for stage in STAGES:
        found = evidence.statuses.get(stage)
        for warning in found.warnings if found is not None else ():
            yield Reason("look", f"{stage}: {warning}", stage)


def _refused(evidence: Evidence, limits: Mapping[str, Any]) -> Iterator[Reason]:
    for code in evidence.refused:
        meaning = CODES[code].meaning if code in CODES else "refused"
        yield Reason("look", f"a series was refused: {meaning} ({code})", "ingest")


def _noise(evidence: Evidence, limits: Mapping[str, Any]) -> Iterator[Reason]:
    limit = float(limits["noise_percent"])
    for label, value in _labelled(evidence.values, "preprocess", "noise_level"):
        if value > limit:
            text = f"{label} is noisy: {value:.1f} % of the brain's range, over {limit:g} %"
            yield Reason("look", text, "denoise")


def _brain(evidence: Evidence, limits: Mapping[str, Any]) -> Iterator[Reason]:
    low, high = (float(value) for value in limits["brain_ml"])
    for _, value in _labelled(evidence.values, "preprocess", "volume"):
        if not low <= value <= high:
            text = f"the brain mask holds {value:.0f} ml, outside {low:g} to {high:g} ml"
            yield Reason("look", text, "preprocess-mask")


def _registration(evidence: Evidence, limits: Mapping[str, Any]) -> Iterator[Reason]:
    # folds, overlap and volume change are judged by the stage itself, whose warnings come below
    similarity = evidence.values.get("register.ncc.", math.nan)
    if similarity < float(limits["registration_ncc"]):
        text = (
            f"the registered image agrees poorly with the template: correlation {similarity:.2f},"
            f" under {limits['registration_ncc']:g}"
        )
        yield Reason("look", text, "register-template")


def _synthetic(evidence: Evidence, limits: Mapping[str, Any]) -> Iterator[Reason]:
    if evidence.synthetic and limits["look_at_synthetic"]:
        names = ", ".join(evidence.synthetic)
        yield Reason("look", f"{names} was not acquired and is synthetic", "synthesize-made")


def _box(evidence: Evidence, limits: Mapping[str, Any]) -> Iterator[Reason]:
    if evidence.box_touches:
        text = "the labels reach the edge of the segmentation's box: part may be cut off"
        yield Reason("look", text, "segment-box")


def _lesions(evidence: Evidence, limits: Mapping[str, Any]) -> Iterator[Reason]:
    volumes = dict(_labelled(evidence.values, "segment", "volume"))
    lesion = volumes.get("lesion", 0.0) + volumes.get("lesion-core", 0.0)
    if lesion > float(limits["lesion_ml"]):
        yield Reason("look", f"lesions of {lesion:.1f} ml were labelled", "segment-tissues")


def _labelled(values: Mapping[str, float], stage: str, metric: str) -> Iterator[tuple[str, float]]:
    start = f"{stage}.{metric}."
    for key, value in values.items():
        if key.startswith(start):
            yield key.removeprefix(start), value


RULES: tuple[Rule, ...] = (
    _stages,
    _refused,
    _brain,
    _registration,
    _noise,
    _box,
    _lesions,
    _synthetic,
    _warnings,
)
