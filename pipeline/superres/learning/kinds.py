"""What each architecture is given: an interpolated image, or slices at a fixed factor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from pipeline.restore.volumes import Volume
from pipeline.superres.learning import draw, fixed, guided


class Held(Protocol):
    """Validation samples, a known number."""

    def __len__(self) -> int: ...

    def __call__(self, rng: np.random.Generator, index: int) -> dict[str, Any]:
        """Sample ``index``."""


Sides = tuple[Sequence[Volume], Sequence[Volume]]
Samples = tuple[Callable[[np.random.Generator, int], dict[str, Any]], Held]


@dataclass(frozen=True)
class Kind:
    """How a network is fed.

    Attributes:
        samples: training and validation samples from volumes and section ``superres``.
        inputs: what the bundle's metadata says of it, from section ``superres``.
    """

    samples: Callable[[Sides, Mapping[str, Any]], Samples]
    inputs: Callable[[Mapping[str, Any]], dict[str, Any]]


def _interpolated(sides: Sides, params: Mapping[str, Any]) -> Samples:
    learning = params["learning"]
    if int(params["network"]["arguments"].get("guides", 0)):
        return guided.Patches(sides[0], learning), guided.Held(sides[1], learning)
    return draw.Patches(sides[0], learning), draw.Held(sides[1], learning)


def _slices(sides: Sides, params: Mapping[str, Any]) -> Samples:
    factor, learning = int(params["network"]["arguments"]["factor"]), params["learning"]
    return (
        fixed.Patches(sides[0], learning, factor),
        fixed.Held(sides[1], learning, factor),
    )


INTERPOLATED = Kind(
    _interpolated,
    lambda params: {
        "given": "interpolated",
        "guides": int(params["network"]["arguments"].get("guides", 0)),
    },
)
SLICES = Kind(
    _slices,
    lambda params: {
        "given": "slices",
        "factor": int(params["network"]["arguments"]["factor"]),
    },
)

KINDS = {
    "anyscale": INTERPOLATED,
    "srcnn": INTERPOLATED,
    "channel_splitting": INTERPOLATED,
    "subpixel": SLICES,
    "saint": SLICES,
}


def kind_of(architecture: str) -> Kind:
    """How the network of an architecture of this stage is fed."""
    return KINDS[architecture]
