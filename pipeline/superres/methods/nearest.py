"""Nearest neighbour: the acquired voxels as they are, the plainest baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.superres.request import Method, Request, Restored

LEARNED = False


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Nothing to load."""

    def run(request: Request) -> Restored:
        image = sitk.Cast(request.image, sitk.sitkFloat32)
        return Restored(images.resample(image, request.grid, request.transform, labels=True))

    return run
