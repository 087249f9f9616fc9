"""Affine registration alone: twelve parameters, mutual information, by ANTs."""

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
        params: ``affine_iterations`` and ``seed``.
        model: none is needed.
    """
    from pipeline.register.engine import affine_settings, ants_register

    settings = {"type_of_transform": "Affine", **affine_settings(params)}

    def register(
        moving: sitk.Image, fixed: sitk.Image, moving_mask: sitk.Image, fixed_mask: sitk.Image
    ) -> Registration:
        return ants_register(moving, fixed, moving_mask, fixed_mask, settings)

    return register
