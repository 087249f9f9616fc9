"""Adversaries: what a generator and its critic ask of each other.

``bce``: cross entropy, the generator's not saturating (Goodfellow et al. 2014,
doi:10.48550/arXiv.1406.2661); ``wgan_gp``: Wasserstein distance with a gradient penalty
(Gulrajani et al. 2017, doi:10.48550/arXiv.1704.00028); ``lsgan``: least squares (Mao et al. 2017,
doi:10.1109/ICCV.2017.304).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import VoxelwayError

#: Scores of images.
Critic = Callable[[Tensor], Tensor]

#: Loss of a critic that can't tell made images from real ones; a distance has none.
CHANCES = {"bce": math.log(2.0), "lsgan": 0.25}

#: Architecture and arguments of the critic of each kind.
CRITICS: dict[str, tuple[str, dict[str, Any]]] = {
    "bce": ("image_critic", {}),
    "wgan_gp": ("image_critic", {}),
    "lsgan": ("critic", {"inputs": 1}),
}


@dataclass(frozen=True)
class Adversary:
    """An entry ``adversarial`` of a list of losses.

    Attributes:
        kind: ``bce``, ``wgan_gp`` or ``lsgan``.
        weight: of the generator's part.
        critic_steps: moves of the critic for one of the generator.
        penalty: weight of the gradient penalty of ``wgan_gp``.
    """

    kind: str = "wgan_gp"
    weight: float = 1.0
    critic_steps: int = 4
    penalty: float = 10.0

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Adversary:
        """Read an entry.

        Raises:
            VoxelwayError: E-CONFIG-VALUE for an unknown kind or arguments that do not fit.
        """
        arguments = {key: value for key, value in entry.items() if key != "name"}
        try:
            made = cls(**arguments)
        except TypeError as error:
            what = f"The arguments do not fit the loss adversarial: {error}"
            raise VoxelwayError("E-CONFIG-VALUE", what) from error
        if made.kind not in CRITICS or made.critic_steps < 1:
            what = f"adversarial: kind {made.kind!r}, critic_steps {made.critic_steps}"
            hint = f"kind is {' or '.join(CRITICS)}, critic_steps 1 or more"
            raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint)
        return made

    def generator(self, critic: Critic, restored: Tensor) -> Tensor:
        """What the generator minimises."""
        if self.kind == "wgan_gp":
            return -critic(restored).mean()
        if self.kind == "bce":
            return functional.softplus(-critic(restored)).mean()
        return 0.5 * (critic(restored) - 1.0).square().mean()

    def critic(self, critic: Critic, restored: Tensor, target: Tensor) -> dict[str, Tensor]:
        """What the critic minimises; the restored image needs no gradient."""
        if self.kind == "lsgan":
            real = 0.5 * (critic(target) - 1.0).square().mean()
            return {"loss": real + 0.5 * critic(restored).square().mean()}
        if self.kind == "bce":
            real = 0.5 * functional.softplus(-critic(target)).mean()
            return {"loss": real + 0.5 * functional.softplus(critic(restored)).mean()}
        distance = critic(target).mean() - critic(restored).mean()
        penalty = gradient_penalty(critic, restored, target)
        found = {"distance": distance.detach(), "penalty": penalty.detach()}
        return {"loss": self.penalty * penalty - distance, **found}


def gradient_penalty(critic: Critic, a: Tensor, b: Tensor) -> Tensor:
    """Mean of (norm of the gradient - 1)² at random places between two batches."""
    share = torch.rand((len(a), 1, 1, 1, 1), device=a.device, dtype=a.dtype)
    between = (share * a + (1.0 - share) * b).detach().requires_grad_(True)
    with torch.enable_grad():
        scores = critic(between).sum()
        (slope,) = torch.autograd.grad(scores, between, create_graph=True)
    penalty: Tensor = (slope.flatten(1).norm(dim=1) - 1.0).square().mean()
    return penalty
