"""The auto-encoder whose features the loss ``features`` compares: trained first, then left alone.

Yoo et al. 2017 (ssEMnet), doi:10.1007/978-3-319-67558-9_29. It is trained before the registration
and not beside it: features that still change would make the loss of a later validation another
measure than that of an earlier one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from pipeline.training.plan import Plan
from pipeline.training.recipe import Networks, Player
from pipeline.training.trainer import fit

AUTOENCODER = "autoencoder"


class Reconstruction:
    """Trains the auto-encoder to give back both images of each pair.

    Args:
        network: of :mod:`pipeline.networks.autoencoder`.
        identity: hash of configuration, code and data.
    """

    metric = "loss"
    mode: Literal["min", "max"] = "min"

    def __init__(self, network: nn.Module, identity: str) -> None:
        self.networks = {AUTOENCODER: network}
        self.players: Sequence[Player] = [Player(AUTOENCODER, (AUTOENCODER,))]
        self.identity = identity

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Mean squared error of the reconstruction, in squared units of the images."""
        both = torch.cat([batch["moving"], batch["fixed"]])
        made = networks[AUTOENCODER](both).image
        return {"loss": (made - both).square().mean()}

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """The same of a validation pair."""
        return {"loss": float(self.losses(networks, AUTOENCODER, batch)["loss"].detach())}


def train(
    recipe: Reconstruction,
    pairs: tuple[Dataset[Any], Dataset[Any]],
    plan: Plan,
    steps: int,
    folder: Path,
) -> None:
    """Train the auto-encoder, or read what was trained, and freeze it at its best.

    Args:
        recipe: its network gets the weights.
        pairs: training and validation samples with ``moving`` and ``fixed``.
        plan: of the registration; rate and batch are taken from it.
        steps: of this training.
        folder: for its checkpoints and log.

    Raises:
        VoxelwayError: those of :func:`pipeline.training.trainer.fit`.
    """
    own = dataclasses.replace(
        plan,
        steps=steps,
        validate_every=min(plan.validate_every, steps),
        warmup=min(plan.warmup, steps // 10),
        patience=0,
        # a small network: the processes of several devices would cost more than they save
        devices=1,
    )
    fitted = fit(recipe, *pairs, own, folder)
    network = recipe.networks[AUTOENCODER]
    best = {name: torch.from_numpy(values) for name, values in fitted.weights[AUTOENCODER].items()}
    network.load_state_dict(best)
    network.requires_grad_(False)
