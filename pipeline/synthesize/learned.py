"""What all networks of synthesis share: a bundle becomes a method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.synthesize.protocol import Method


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Load the network once, for any number of heads.

    Args:
        params: section ``synthesize``.
        model: bundle of stage ``synthesize``.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT.
    """
    from pipeline.synthesize import translation

    return translation.create(params, model)
