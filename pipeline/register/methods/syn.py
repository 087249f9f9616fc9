"""Symmetric diffeomorphic normalization (SyN) after an affine, by ANTs.

Avants et al. 2008, doi:10.1016/j.media.2007.06.004. Mutual information by default, which takes any
contrast; cross-correlation is better and many times slower.
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
        params: section ``syn``, ``affine_iterations`` and ``seed``.
        model: none is needed.
    """
    from pipeline.register.engine import affine_settings, ants_register

    syn = params["syn"]
    settings = {
        "type_of_transform": "SyN",
        "syn_metric": {"mattes": "mattes", "cc": "CC"}[syn["metric"]],
        "syn_sampling": int(syn["bins"] if syn["metric"] == "mattes" else syn["radius"]),
        "reg_iterations": tuple(int(n) for n in syn["iterations"]),
        "grad_step": float(syn["gradient_step"]),
        "flow_sigma": float(syn["smoothing"]),
        "total_sigma": float(syn["total_smoothing"]),
        **affine_settings(params),
    }

    def register(
        moving: sitk.Image, fixed: sitk.Image, moving_mask: sitk.Image, fixed_mask: sitk.Image
    ) -> Registration:
        return ants_register(moving, fixed, moving_mask, fixed_mask, settings)

    return register
