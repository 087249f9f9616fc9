"""Linear interpolation, a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline.superres.request import Method, Request

LEARNED = False


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Nothing to load."""

    def run(request: Request) -> sitk.Image:
        return sitk.Resample(
            request.image, request.grid, request.transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32
        )

    return run
