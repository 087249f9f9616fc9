"""Bilateral filter (Tomasi & Manduchi 1998): near voxels of like intensity are averaged."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline.denoise.request import Method, Request, restore_geometry, voxel_units

LEARNED = False
#: Width of the neighbourhood in voxels, and of the range in units of sigma.
DOMAIN, RANGE = 0.7, 3.0


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """The range's width is proportional to the noise level times the strength."""

    def run(request: Request) -> sitk.Image:
        width = RANGE * request.noise.sigma * request.strength
        smooth = sitk.Bilateral(voxel_units(request.image), DOMAIN, width)
        return restore_geometry(smooth, request.image)

    return run
