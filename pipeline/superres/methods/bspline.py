"""Cubic B-spline in one interpolation, corrected until it explains the acquired slices.

Interpolation takes a thick slice's mean for a point's value, so edges across slices stay blurred;
the back-projection undoes what the slice profile did, as far as the noise allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import images
from pipeline.superres.backprojection import refine
from pipeline.superres.request import Method, Request, Restored

LEARNED = False


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Nothing to load."""

    def run(request: Request) -> Restored:
        plain = images.resample(request.image, request.grid, request.transform)
        return Restored(refine(plain, request))

    return run
