"""Linear interpolation, a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import images
from pipeline.superres.request import Method, Request, Restored

LEARNED = False


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Nothing to load."""

    def run(request: Request) -> Restored:
        return Restored(images.resample(request.image, request.grid, request.transform, order=1))

    return run
