"""Section of denoise: before, after, what was removed."""

from __future__ import annotations

from pipeline.report.figures import histogram, restore
from pipeline.report.figures.sheet import Figure
from pipeline.report.record import Record
from pipeline.report.sections.content import Content, need


def build(record: Record) -> Content:
    """One picture with a row a contrast; what was removed beside the noise that was estimated."""
    found = record.contrasts("denoise", desc="denoised")

    def pairs() -> dict[str, restore.Pair]:
        earlier = record.contrasts("preprocess", desc="preproc")
        return {
            suffix: restore.Pair(
                record.image(need(earlier[suffix])),
                record.image(path),
                record.labels(need(record.mask_on(suffix))),
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
    models = {suffix: record.facts(path).get("NoiseModel") for suffix, path in found.items()}
    if told := [f"{suffix} {model}" for suffix, model in models.items() if model]:
        content.sentences.append(f"Noise as the model saw it: {', '.join(told)}.")
    return content
