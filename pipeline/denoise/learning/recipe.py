"""How a denoising network is trained: losses of a batch, scores of a validation sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pipeline.training.losses import restoration
from pipeline.training.recipe import Networks, Player

NAME = "denoise"
#: How much a voxel outside the mask counts beside one inside.
OUTSIDE = 0.2


class Supervised:
    """Noisy images against the same without the added noise.

    Args:
        network: called with (image, level).
        terms: entries of ``denoise.learning.losses``.
        identity: hash of configuration, code and data.
    """

    metric = "psnr"
    mode: Literal["min", "max"] = "max"

    def __init__(
        self, network: nn.Module, terms: Sequence[Mapping[str, Any]], identity: str
    ) -> None:
        self.networks: dict[str, nn.Module] = {NAME: network}
        self.players: list[Player] = [Player(NAME, (NAME,))]
        self.terms = restoration.build(terms)
        self.identity = identity

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch."""
        restored = networks[NAME](batch["noisy"], batch["level"])
        return self.terms(restored, batch["clean"], voxel_weight(batch), batch["level"])

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """PSNR (dB) of the result, and what it is better than the input."""
        return score(networks[NAME], batch)


def voxel_weight(batch: Any) -> Tensor:
    """How much each voxel counts."""
    inside: Tensor = batch["inside"]
    return OUTSIDE + (1.0 - OUTSIDE) * inside


def score(network: nn.Module, batch: Any) -> dict[str, float]:
    """PSNR (dB) inside the mask, and the gain over the noisy image."""
    restored = network(batch["noisy"], batch["level"])
    after = psnr(restored, batch["clean"], batch["inside"])
    before = psnr(batch["noisy"], batch["clean"], batch["inside"])
    return {"psnr": after, "gain": after - before}


def psnr(image: Tensor, reference: Tensor, inside: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for a range of one."""
    error = restoration.weighted((image - reference).square(), inside)
    return float(-10.0 * torch.log10(error.clamp_min(1e-12)))
