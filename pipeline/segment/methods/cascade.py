"""Structures by a learned cascade, from coarse to fine (Roth et al. 2018,
doi:10.1016/j.compmedimag.2018.03.001); the bundle holds its plan and its networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import models
from pipeline.segment.case import HeadMethod

LEARNED = True
#: mm around a structure that the model which divides it looks at.
MARGIN = 8.0
#: Least Dice of a structure's parts with it.
AGREEMENT = 0.5


def create(params: Mapping[str, Any], model: Path | None) -> HeadMethod:
    """Load the networks once; parameters are in the sections ``cascade`` and ``crop``."""
    from pipeline.segment.cascade.method import Structures

    assert model is not None  # methods.create has seen to it
    whole = Structures(model, params)
    entries = params["cascade"]["divide"]
    if not entries:
        return whole
    from pipeline.segment.cascade.division import Divided, Division

    divisions = [
        Division(
            tuple(int(label) for label in entry["labels"]),
            str(entry["model"]),
            Structures(models.located("segment", str(entry["model"])), params),
            float(entry.get("margin", MARGIN)),
            float(entry.get("agreement", AGREEMENT)),
        )
        for entry in entries
    ]
    return Divided(whole, whole.table, divisions)
