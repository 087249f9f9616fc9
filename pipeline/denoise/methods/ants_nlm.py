"""Adaptive non-local means of ANTs (Manjon et al. 2010, JMRI 31).

It estimates its own, spatially varying noise and can't be told a level, so the strength blends:
``input + strength (denoised - input)``, with a strength of at most 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.denoise.request import Method, Request

LEARNED = False


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Import ANTs once."""
    import ants

    def run(request: Request) -> sitk.Image:
        values = images.array(request.image)
        kind = "Rician" if request.noise.model == "rician" else "Gaussian"
        denoised = ants.denoise_image(ants.from_numpy(values), noise_model=kind).numpy()
        blended = values + min(request.strength, 1.0) * (denoised - values)
        return images.like(blended.astype(values.dtype), request.image)

    return run
