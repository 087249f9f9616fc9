"""External and internal prior together: a learned mixture of patches, and non-local means.

The mixture (:mod:`pipeline.networks.patch_mixture`) knows what blocks of clean images look like,
prefiltered non-local means what this image repeats. They err differently, and the result is their
mean (Mosseri et al. 2013, Combining the power of internal and external denoising,
doi:10.1109/ICCPhot.2013.6528298). The mixture is learned by ``voxelway train denoise``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.denoise import learned
from pipeline.denoise.methods import nlm
from pipeline.denoise.request import Method, Request

LEARNED = True


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Load the mixture once, for any number of images.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT.
    """
    external, internal = learned.create(params, model), nlm.create(params, None)

    def run(request: Request) -> sitk.Image:
        both = images.array(external(request)) + images.array(internal(request))
        return images.like(0.5 * both, request.image)

    return run
