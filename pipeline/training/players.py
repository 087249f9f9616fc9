"""Networks on their device, an optimiser a player, and what one step of the training does."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from pipeline.errors import VoxelwayError
from pipeline.training.muon import Muon
from pipeline.training.plan import Plan
from pipeline.training.recipe import Player, Recipe
from pipeline.training.small import keep_exact


@dataclass(frozen=True)
class _Seat:
    player: Player
    parameters: list[nn.Parameter]
    learning_rate: float
    #: the optimiser, and the same as the precision has it
    optimiser: torch.optim.Optimizer
    wrapped: Any


class Players:
    """Sets up the recipe's networks and moves its players.

    Args:
        fabric: launched.
        recipe: its networks are moved to the device.
        plan: rates, clipping, seed.
    """

    def __init__(self, fabric: Fabric, recipe: Recipe, plan: Plan) -> None:
        self.fabric, self.recipe, self.plan = fabric, recipe, plan
        self.trainable = {
            name: [p for p in network.parameters() if p.requires_grad]
            for name, network in recipe.networks.items()
        }
        self.networks = {name: self._ready(name) for name in recipe.networks}
        self.seats = [self._seat(player) for player in recipe.players]

    def _ready(self, name: str) -> nn.Module:
        network = self.recipe.networks[name]
        keep_exact(network)
        if not self.trainable[name] and self.fabric.world_size > 1:
            # nothing to share between processes, and DDP refuses it
            moved: nn.Module = self.fabric.to_device(network)
            return moved
        ready: nn.Module = self.fabric.setup_module(network)
        return ready

    def _seat(self, player: Player) -> _Seat:
        own = [p for name in player.networks for p in self.trainable[name]]
        rate = self.plan.learning_rate if player.learning_rate is None else player.learning_rate
        kind = Muon if self.plan.optimizer == "muon" else torch.optim.Adam
        optimiser = kind(own, lr=rate, betas=player.betas)
        return _Seat(player, own, rate, optimiser, self.fabric.setup_optimizers(optimiser))

    def step(self, number: int, batches: Sequence[Any]) -> dict[str, float]:
        """Let every player whose turn it is move once, in order.

        Args:
            number: of the step, from 1. All random numbers depend on it and the seed only, so
                that a training that goes on from here draws the same ones.
            batches: one, or several whose gradients are averaged.

        Returns:
            Losses by ``PLAYER/NAME``, means over the batches.

        Raises:
            VoxelwayError: E-TRAIN-DIVERGED for a loss that is not finite.
        """
        seed_all(self.plan.seed, number, self.fabric.global_rank)
        for network in self.networks.values():
            network.train()
        found: dict[str, float] = {}
        for seat in self.seats:
            if number % seat.player.every == 0:
                losses = self._move(seat, number, batches)
                found |= {f"{seat.player.name}/{key}": value for key, value in losses.items()}
        return found

    def _move(self, seat: _Seat, number: int, batches: Sequence[Any]) -> dict[str, float]:
        name = seat.player.name
        for group in seat.optimiser.param_groups:
            group["lr"] = seat.learning_rate * self.plan.rate(number)
        seat.optimiser.zero_grad(set_to_none=True)
        totals: Tensor | None = None
        names: list[str] = []
        with self._others_fixed(seat), self._unsynchronised():
            for batch in batches:
                losses = self.recipe.losses(self.networks, name, batch)
                self.fabric.backward(losses["loss"] / len(batches))
                names = list(losses)
                values = torch.stack([value.detach().float() for value in losses.values()])
                totals = values if totals is None else totals + values
        assert totals is not None
        means = dict(zip(names, self._average(totals / len(batches)).tolist(), strict=True))
        if not np.isfinite(means["loss"]):
            raise _diverged(name, means, number, self.plan)
        self._average_gradients(seat.parameters)
        if self.plan.clip > 0:
            network = self.networks[seat.player.networks[0]]
            self.fabric.clip_gradients(
                network, seat.wrapped, max_norm=self.plan.clip, error_if_nonfinite=False
            )
        seat.wrapped.step()
        return means

    @contextmanager
    def _others_fixed(self, seat: _Seat) -> Iterator[None]:
        moving = {id(parameter) for parameter in seat.parameters}
        others = [p for own in self.trainable.values() for p in own if id(p) not in moving]
        for parameter in others:
            parameter.requires_grad_(False)
        try:
            yield
        finally:
            for parameter in others:
                parameter.requires_grad_(True)

    @contextmanager
    def _unsynchronised(self) -> Iterator[None]:
        with ExitStack() as stack:
            if self.fabric.world_size > 1:
                for name, network in self.networks.items():
                    if self.trainable[name]:
                        stack.enter_context(self.fabric.no_backward_sync(network))
            yield

    def _average(self, values: Tensor) -> Tensor:
        if self.fabric.world_size == 1:
            return values
        mean: Tensor = self.fabric.all_reduce(values, reduce_op="mean")
        return mean

    def _average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        if self.fabric.world_size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        grads = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = self._average(torch.cat([grad.reshape(-1) for grad in grads]))
        parts = torch.split(flat, [grad.numel() for grad in grads])
        for grad, mean in zip(grads, parts, strict=True):
            grad.copy_(mean.view_as(grad))

    def rates(self) -> dict[str, float]:
        """Learning rate of each player's last move."""
        return {
            f"{seat.player.name}/learning_rate": float(seat.optimiser.param_groups[0]["lr"])
            for seat in self.seats
        }

    def state(self) -> dict[str, Any]:
        """Optimisers and the scale of half precision, for a checkpoint."""
        optimisers = {seat.player.name: seat.optimiser.state_dict() for seat in self.seats}
        return {"optimisers": optimisers, "scale": self.fabric.strategy.precision.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        for seat in self.seats:
            seat.optimiser.load_state_dict(state["optimisers"][seat.player.name])
        self.fabric.strategy.precision.load_state_dict(state["scale"])


def seed_all(*numbers: int) -> None:
    """Seed Python, numpy and torch (CPU and GPU) from a few numbers."""
    high, low = np.random.SeedSequence(list(numbers)).generate_state(2)
    random.seed(int(high))
    np.random.seed(int(high))
    torch.manual_seed(int(high) << 31 ^ int(low))


def _diverged(player: str, losses: dict[str, float], number: int, plan: Plan) -> VoxelwayError:
    shown = ", ".join(f"{key} {value:.4g}" for key, value in losses.items())
    what = f"The loss of {player} at step {number} is not finite ({shown})"
    lower = f"Lower training.learning_rate ({plan.learning_rate:g})"
    clip = "set training.clip to 1" if plan.clip == 0 else f"lower training.clip ({plan.clip:g})"
    hint = f"{lower}, {clip}, raise training.warmup, or set training.precision to 32"
    return VoxelwayError("E-TRAIN-DIVERGED", what, hint=hint)
