"""The weights that a training begins with: fresh ones, or those of a bundle (fine-tuning)."""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pipeline import models
from pipeline.bundles import Bundle, read_bundle
from pipeline.errors import VoxelwayError


@dataclass(frozen=True)
class Start:
    """What a training begins with.

    Attributes:
        bundle: where the weights are from; None leaves all fresh.
    """

    bundle: Bundle | None

    @classmethod
    def of(cls, stage: str, given: str) -> Start:
        """Read the bundle of ``learning.start``: its name, if it ships for the stage, or path.

        Raises:
            VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT for another stage.
        """
        return cls(read_bundle(models.located(stage, given), stage) if given else None)

    @property
    def digest(self) -> str:
        """SHA-256 of the weights; empty for fresh ones."""
        return "" if self.bundle is None else str(self.bundle.metadata["weights"]["sha256"])

    def fill(self, network: nn.Module, *names: str) -> None:
        """Give a network the bundle's weights where their shapes agree; the others stay fresh.

        So more blocks, other classes or one more channel of the input can be begun with, too.

        Args:
            network: gets the weights.
            names: of the network in the bundle; the first of which a weight fits is taken.

        Raises:
            VoxelwayError: E-MODEL-INPUT when no weight fits.
        """
        if self.bundle is None:
            return
        own = network.state_dict()
        for name in names:
            tensors = {key: self.bundle.tensors.get(f"{name}/{key}") for key in own}
            fitting = {
                key: torch.from_numpy(np.array(values))
                for key, values in tensors.items()
                if values is not None and values.shape == tuple(own[key].shape)
            }
            if fitting:
                network.load_state_dict({**own, **fitting})
                count = f"{len(fitting)} of {len(own)} tensors"
                print(f"{name} begins with {count} of {self.bundle.path}", file=sys.stderr)
                return
        what = f"The bundle has no weights that fit the network {names[0]}"
        hint = "Take the architecture of its metadata.json, or leave learning.start empty"
        raise VoxelwayError("E-MODEL-INPUT", what, where=str(self.bundle.path), hint=hint)
