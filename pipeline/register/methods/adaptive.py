"""Affine by ANTs, then a diffeomorphic optimisation with adaptive steps, coarse to fine.

Jena et al. 2024, FireANTs, doi:10.48550/arXiv.2404.01249; see :mod:`pipeline.register.optimise`.
Without a network: what instance optimisation does from no start.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline.register.fields import Registration
from pipeline.register.protocol import Method

LEARNED = False


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Make the method.

    Args:
        params: section ``affine``, ``optimisation``, ``affine_iterations`` and ``seed``.
        model: none is needed.
    """
    from pipeline.register import start
    from pipeline.register.deform import Deformer

    align = start.aligner(params)
    deformer = Deformer(params["optimisation"], None)

    def register(
        moving: sitk.Image, fixed: sitk.Image, moving_mask: sitk.Image, fixed_mask: sitk.Image
    ) -> Registration:
        affine = align(moving, fixed, moving_mask, fixed_mask)
        return deformer(moving, fixed, (moving_mask, fixed_mask), affine)

    return register
