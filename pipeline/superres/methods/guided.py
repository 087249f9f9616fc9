"""The network for any factor with a second contrast of the subject as a guide.

A thick T2w gets from the isotropic T1w beside it where the edges are. Train it with
``network.arguments: {guides: 1}``.
"""

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
