"""A residual network for any factor from 1 to 6, told how the image was acquired."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.superres.request import Method

LEARNED = True


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Load the bundle once."""
    from pipeline.superres import network

    return network.create(params, model, "anyscale")
