"""Restored and made images against a reference: denoise, superres and synthesize."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.evaluate import geometry
from pipeline.evaluate.case import Case
from pipeline.evaluate.of_quality import same
from pipeline.evaluate.similarity import similarity

Mask = NDArray[np.bool_]

#: Measures of the tables; the file form gives all of them. Several scales need an isotropic grid.
SHOWN = ("psnr", "ssim", "gms")
ISOTROPIC = (*SHOWN, "ms_ssim")


def denoise(case: Case) -> None:
    """Each denoised contrast against the noise-free acquisition, beside its input."""
    if case.truth is None:
        return
    before = case.task.contrasts("preprocess", desc="preproc")
    for suffix, path in case.task.contrasts("denoise", desc="denoised").items():
        image, source = case.image(path), case.image(before[suffix])
        reference = case.true_native(suffix, image)
        region = case.true_brain(suffix, image)
        baseline = None if same(image, source) else source
        _compare(case, "denoise", suffix, image, baseline, reference, region)


def superres(case: Case) -> None:
    """Each isotropic contrast against the true one, beside its input by nearest neighbour.

    Where the input is on the common grid already and was left as it was, there is no baseline.
    """
    inputs = case.task.contrasts("denoise", desc="denoised")
    found = case.task.contrasts("superres", desc="superres", space=case.anchor)
    for suffix, path in found.items():
        rmse = case.facts(path).get("ConsistencyRMSE")
        if isinstance(rmse, int | float):
            case.table.add("superres", "consistency_rmse", suffix, float(rmse))
        if case.truth is None:
            continue
        image = case.image(path)
        source = geometry.nearest(case.image(inputs[suffix]), image, case.to_contrast(suffix))
        baseline = None if same(image, source) else source
        reference = case.true_common(suffix, image)
        region = case.true_brain(case.anchor, image)
        _compare(case, "superres", suffix, image, baseline, reference, region)


def synthesize(case: Case) -> None:
    """Each made contrast against the true one, beside the contrast it was made from.

    Without truth the acquired contrast, where there is one, is the reference.
    """
    made = case.task.contrasts("synthesize", desc="synth", space=case.anchor)
    acquired = case.task.contrasts("superres", desc="superres", space=case.anchor)
    for suffix, path in made.items():
        image = case.image(path)
        if case.truth is not None:
            reference = case.true_common(suffix, image)
            region = case.true_brain(case.anchor, image)
        elif suffix in acquired:
            reference = case.image(acquired[suffix])
            region = images.bool_array(case.common_brain())
        else:
            continue
        sources = [name for name in (case.anchor, *acquired) if name != suffix]
        source = case.image(acquired[sources[0]]) if sources else None
        _compare(case, "synthesize", suffix, image, source, reference, region)


def _compare(
    case: Case,
    stage: str,
    suffix: str,
    image: sitk.Image,
    baseline: sitk.Image | None,
    reference: sitk.Image,
    region: Mask,
) -> None:
    images.check_same_grid(image, reference, f"{case.task.unit.name} {stage} {suffix}")
    truth = sitk.GetArrayViewFromImage(reference)
    values = similarity(sitk.GetArrayViewFromImage(image), truth, region)
    baselines = None
    if baseline is not None:
        images.check_same_grid(baseline, reference, f"{case.task.unit.name} {stage} {suffix}")
        baselines = similarity(sitk.GetArrayViewFromImage(baseline), truth, region)
    shown = SHOWN if stage == "denoise" else ISOTROPIC
    case.table.add_all(stage, suffix, values, baselines, only=shown)
