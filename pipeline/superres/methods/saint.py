"""SAINT: two planes across the slices restored by 2D networks, then fused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.superres.request import Method

LEARNED = True


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Load the bundle once."""
    from pipeline.superres import network

    return network.create(params, model, "saint")
