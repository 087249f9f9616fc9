"""How a denoising network is trained: losses of a batch, scores of a validation sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.training.losses import restoration
from pipeline.training.losses.adversary import Adversary
from pipeline.training.recipe import Networks, Player

NAME, CRITIC, AUTOENCODER = "denoise", "critic", "autoencoder"
#: How much a voxel outside the mask counts beside one inside.
OUTSIDE = 0.2
#: Losses that need a network beside the one that is trained.
WITH_NETWORKS = ("adversarial", "perceptual")


class Supervised:
    """Noisy images against the same without the added noise.

    Args:
        network: called with (image, level).
        terms: entries of ``denoise.learning.losses``: terms of
            :mod:`pipeline.training.losses.restoration`, ``adversarial`` and ``perceptual``.
        others: networks that losses ask beside it, by name: the critic, and the auto-encoder whose
            features ``perceptual`` compares and which learns in the same run.
        identity: hash of configuration, code and data.
    """

    metric = "psnr"
    mode: Literal["min", "max"] = "max"

    def __init__(
        self,
        network: nn.Module,
        terms: Sequence[Mapping[str, Any]],
        others: Mapping[str, nn.Module],
        identity: str,
    ) -> None:
        self.networks: dict[str, nn.Module] = {NAME: network, **others}
        self.identity = identity
        plain = [entry for entry in terms if entry["name"] not in WITH_NETWORKS]
        self.terms = restoration.build(plain) if plain else None
        self.adversary = next(
            (Adversary.of(entry) for entry in terms if entry["name"] == "adversarial"), None
        )
        self.perceptual = sum(
            float(entry.get("weight", 1.0)) for entry in terms if entry["name"] == "perceptual"
        )
        self.players = self._players()

    def _players(self) -> list[Player]:
        """The critic moves first, so that the generator's first move has something to learn."""
        if self.adversary is None:
            first, own = [], Player(NAME, (NAME,))
        else:
            betas = (0.5, 0.9)
            first = [Player(CRITIC, (CRITIC,), betas=betas)]
            own = Player(NAME, (NAME,), every=self.adversary.critic_steps, betas=betas)
        beside = [Player(AUTOENCODER, (AUTOENCODER,))] if self.perceptual else []
        return [*beside, *first, own]

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch."""
        clean: Tensor = batch["clean"]
        if player == AUTOENCODER:
            return {"loss": functional.l1_loss(networks[AUTOENCODER](clean).image, clean)}
        if player == CRITIC:
            assert self.adversary is not None
            with torch.no_grad():
                restored = restore(networks[NAME], batch)
            return self.adversary.critic(networks[CRITIC], restored, clean)
        restored = restore(networks[NAME], batch)
        return self._generator(networks, restored, batch)

    def _generator(self, networks: Networks, restored: Tensor, batch: Any) -> dict[str, Tensor]:
        clean: Tensor = batch["clean"]
        found: dict[str, Tensor] = {"loss": restored.new_zeros(())}
        if self.terms is not None:
            found = self.terms(restored, clean, voxel_weight(batch), batch["level"])
        total = found["loss"]
        if self.perceptual:
            value = perceptual(networks[AUTOENCODER], restored, clean)
            found["perceptual"] = value.detach()
            total = total + self.perceptual * value
        if self.adversary is not None:
            value = self.adversary.generator(networks[CRITIC], restored)
            found["adversarial"] = value.detach()
            total = total + self.adversary.weight * value
        return {**found, "loss": total}

    def sample(self, networks: Networks, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy, restored and clean image, (B, 1, Z, Y, X), for pictures."""
        restored = restore(networks[NAME], batch)
        return batch["noisy"], restored, batch["clean"]

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """PSNR (dB) of the result, and what it is better than the input."""
        return score(networks[NAME], batch)


def restore(network: nn.Module, batch: Any) -> Tensor:
    """What a network makes of a batch; one that refines a filter gets its result, too."""
    further = [batch["filtered"]] if "filtered" in batch else []
    return cast(Tensor, network(batch["noisy"], batch["level"], *further))


def perceptual(autoencoder: nn.Module, restored: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference of an encoder's features."""
    wanted = autoencoder(target, decode=False).features.detach()
    return functional.mse_loss(autoencoder(restored, decode=False).features, wanted)


def voxel_weight(batch: Any) -> Tensor:
    """How much each voxel counts."""
    inside: Tensor = batch["inside"]
    return OUTSIDE + (1.0 - OUTSIDE) * inside


def score(network: nn.Module, batch: Any) -> dict[str, float]:
    """PSNR (dB) inside the mask, and the gain over the noisy image."""
    restored = restore(network, batch)
    after = psnr(restored, batch["clean"], batch["inside"])
    before = psnr(batch["noisy"], batch["clean"], batch["inside"])
    return {"psnr": after, "gain": after - before}


def psnr(image: Tensor, reference: Tensor, inside: Tensor) -> float:
    """Peak signal-to-noise ratio in dB for a range of one."""
    error = restoration.weighted((image - reference).square(), inside)
    return float(-10.0 * torch.log10(error.clamp_min(1e-12)))
