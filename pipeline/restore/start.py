"""The weights that a training begins with: fresh ones, or those of a bundle."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from pipeline import models
from pipeline.bundles.networks import Loaded, load
from pipeline.errors import VoxelwayError


@dataclass(frozen=True)
class Start:
    """What a training begins with.

    Attributes:
        place: folder of the bundle.
        loaded: its networks; None leaves all weights fresh.
    """

    place: Path
    loaded: Loaded | None

    @classmethod
    def of(cls, stage: str, given: str) -> Start:
        """Read the bundle of ``learning.start``: its name, if it ships for the stage, or path.

        Raises:
            VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT for another stage.
        """
        place = models.located(stage, given)
        return cls(place, load(place, stage) if given else None)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights; empty for fresh ones."""
        return "" if self.loaded is None else str(self.loaded.metadata["weights"]["sha256"])

    def fill(self, networks: Mapping[str, nn.Module]) -> None:
        """Give networks what the bundle's networks of the same names learned.

        A network may have parts that the bundle's lacks, as more blocks: these stay fresh.

        Raises:
            VoxelwayError: E-MODEL-INPUT for another architecture.
        """
        known = self.loaded.networks if self.loaded is not None else {}
        for name, network in networks.items():
            if name in known:
                self._fill(network, name, known[name].state_dict())

    def _fill(self, network: nn.Module, name: str, learned: Mapping[str, Tensor]) -> None:
        assert self.loaded is not None  # nothing was learned by fresh weights
        own = network.state_dict()
        unlike = [key for key, values in learned.items() if not _fits(own.get(key), values)]
        if unlike:
            described = self.loaded.metadata["architecture"][name]
            what = f"Training can't begin with these weights: {unlike[0]} does not fit the network"
            known = f"architecture: {described['name']}, arguments: {dict(described['arguments'])}"
            hint = f"Give network: {{{known}}}, or leave learning.start empty"
            raise VoxelwayError("E-MODEL-INPUT", what, where=str(self.place), hint=hint)
        network.load_state_dict({**own, **learned})
        count = f"{len(learned)} tensors, {len(own) - len(learned)} more are fresh"
        print(f"begins with the weights of {self.place}: {count}", file=sys.stderr)


def _fits(own: Tensor | None, learned: Tensor) -> bool:
    return own is not None and own.shape == learned.shape
