"""Numbers without a reference: the acquired image, and what preprocess and denoise made of it."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.evaluate import artefacts, geometry, quality
from pipeline.evaluate.case import Case

Mask = NDArray[np.bool_]

ORIENTATION = "LPS"


def ingest(case: Case) -> None:
    """Entropy, energy ratio and artefacts in the air of each acquired image."""
    for suffix, path in case.task.contrasts("ingest").items():
        image = case.image(path)
        case.table.add_all("ingest", suffix, whole(image, *case.air(image)))


def whole(image: sitk.Image, head: Mask, air: Mask) -> dict[str, float]:
    """Measures of a whole image that need no tissues."""
    values = sitk.GetArrayViewFromImage(image)
    marred = artefacts.artefact_mask(values, head, air)
    return {
        "efc": quality.efc(values),
        "fber": quality.fber(values, head, air),
        "qi1": artefacts.qi1(marred, air),
        "qi2": artefacts.qi2(values, air & ~marred),
    }


def preprocess(case: Case) -> None:
    """Quality of each contrast after preprocess beside the acquired image."""
    raw = case.task.contrasts("ingest")
    for suffix, path in case.task.contrasts("preprocess", desc="preproc").items():
        before = geometry.reordered(case.image(raw[suffix]), case.image(path))
        _compare(case, "preprocess", suffix, case.image(path), before)
        span = case.facts(path).get("BiasFieldRange")
        if span:
            for metric, value in zip(("bias_p01", "bias_p99"), span, strict=True):
                case.table.add("preprocess", metric, suffix, float(value))


def denoise(case: Case) -> None:
    """Quality of each contrast after denoise beside its input."""
    before = case.task.contrasts("preprocess", desc="preproc")
    for suffix, path in case.task.contrasts("denoise", desc="denoised").items():
        _compare(case, "denoise", suffix, case.image(path), case.image(before[suffix]))


def _compare(
    case: Case, stage: str, suffix: str, after: sitk.Image, before: sitk.Image | None
) -> None:
    """Same regions for both images, so that only the intensities differ."""
    brain = case.brain(suffix)
    tissues = case.tissues(suffix, after)
    _, air = case.air(after)
    # what the stage did to the background must not change how its noise is measured
    model = quality.noise_model(after if before is None else before)
    values = _measures(after, brain, model, tissues, air)
    baselines = None
    if before is not None and not same(after, before):
        baselines = _measures(before, brain, model, tissues, air)
    case.table.add_all(stage, suffix, values, baselines)


def same(a: sitk.Image, b: sitk.Image) -> bool:
    """Whether a stage left its input as it was."""
    return images.same_grid(a, b) and np.array_equal(
        sitk.GetArrayViewFromImage(a), sitk.GetArrayViewFromImage(b)
    )


def _measures(
    image: sitk.Image,
    brain: sitk.Image,
    model: str,
    tissues: tuple[Mask, Mask] | None,
    air: Mask,
) -> dict[str, float]:
    found = {"noise_level": quality.noise_level(image, brain, model)}
    if tissues is None:
        return found
    values = sitk.GetArrayViewFromImage(image)
    grey, white = (quality.tissue(values, mask) for mask in tissues)
    found["snr"] = quality.snr(white)
    found["cnr"] = quality.cnr(white, grey, quality.tissue(values, air))
    found["cjv"] = quality.cjv(white, grey)
    return found
