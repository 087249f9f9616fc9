"""The network for any factor, trained against a critic: sharper to look at, worse in PSNR.

After Lyu et al. 2020, doi:10.1109/TMI.2020.2974858, with least squares (Mao et al. 2017,
doi:10.1109/ICCV.2017.304). What it adds is likely, not measured.
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
