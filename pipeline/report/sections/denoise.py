"""Section of denoise: before, after, what was removed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.report.figures import histogram, restore
from pipeline.report.figures.sheet import Figure
from pipeline.report.record import Record
from pipeline.report.sections.content import Content, need


def build(record: Record) -> Content:
    """One picture with a row a contrast; what was removed beside the noise that was estimated."""
    found = record.contrasts("denoise", desc="denoised")
    doubts = record.contrasts("denoise", desc="uncertainty")

    def pairs() -> dict[str, restore.Pair]:
        earlier = record.contrasts("preprocess", desc="preproc")
        return {
            suffix: restore.Pair(
                record.image(need(earlier[suffix])),
                record.image(path),
                record.labels(need(record.mask_on(suffix))),
                doubt=record.image(doubts[suffix]) if suffix in doubts else None,
            )
            for suffix, path in found.items()
            if suffix in earlier
        }

    def levels() -> Figure:
        told = {suffix: record.facts(path).get("NoiseSigma") for suffix, path in found.items()}
        sigmas = {key: float(sigma) for key, sigma in told.items() if sigma}
        return histogram.noise(pairs(), sigmas)

    content = Content(outputs=list(found.values()))
    if found:
        content.pictures += [("denoise", lambda: restore.denoise(pairs())), ("noise", levels)]
    if doubts:
        content.pictures.append(("uncertainty", lambda: restore.uncertainty(pairs())))
    models = {suffix: record.facts(path).get("NoiseModel") for suffix, path in found.items()}
    if told := [f"{suffix} {model}" for suffix, model in models.items() if model]:
        content.sentences.append(f"Noise as the model saw it: {', '.join(told)}.")
    for suffix, path in found.items():
        content.sentences += _told(suffix, record.facts(path))
    return content


def _told(suffix: str, facts: Mapping[str, Any]) -> list[str]:
    """What a reader has to know of one contrast: left as it was, uneven noise, expected error."""
    if facts.get("LeftAlone"):
        return [f"{suffix} was left as it was. {str(facts.get('Reason', '')).rstrip('.')}."]
    sentences = []
    if factors := facts.get("NoiseFactors"):
        low, high = factors
        sentences.append(f"{suffix}: the noise varies, from {low:g} to {high:g} times its level.")
    if error := facts.get("ExpectedRMSE"):
        text = f"{suffix}: expected error of the result {error:g} (from noise added and removed"
        sentences.append(f"{text} again); desc-uncertainty shows where.")
    return sentences
