"""Structures by a learned cascade, from coarse to fine (Roth et al. 2018,
doi:10.1016/j.compmedimag.2018.03.001); the bundle holds its plan and its networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.segment.case import HeadMethod

LEARNED = True


def create(params: Mapping[str, Any], model: Path | None) -> HeadMethod:
    """Load the networks once; parameters are in the sections ``cascade`` and ``crop``."""
    from pipeline.segment.cascade.method import Structures

    assert model is not None  # methods.create has seen to it
    return Structures(model, params)
