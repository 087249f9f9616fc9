"""How registration networks are trained: losses of a batch, scores of a validation pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pipeline.networks.deformation import Deformation
from pipeline.networks.filters import coarser
from pipeline.networks.forces import alike
from pipeline.networks.pyramid import Pyramid
from pipeline.networks.spatial import jacobian_determinant, resize, warp
from pipeline.register.learning.cases import FULL
from pipeline.training.losses import registry
from pipeline.training.losses.outcome import Outcome
from pipeline.training.recipe import Networks, Player

NAME = "register"
CRITIC = "critic"

#: Losses that compare intensities as they are: nothing to ask of two different contrasts.
ONE_CONTRAST = ("lncc", "mse", "features", "adversarial")
#: What a loss needs of a pair, where not every pair has it.
NEEDS = {"dice": "labels_fixed", "supervision": "target_field"}


class RegistrationRecipe:
    """Trains any registration network; a pyramid level by level.

    Args:
        network: of pipeline.networks, called with (moving, fixed).
        terms: entries of ``register.learning.losses``.
        others: networks that losses ask beside it, by name: a critic, which learns along, and an
            auto-encoder, which stays as it is.
        identity: hash of configuration, code and data.
        window: edge in voxels of the box at the finest level of a pyramid that a step looks at
            (0: all of it): a step there costs more than all others together.
    """

    metric = "loss"
    mode: Literal["min", "max"] = "min"

    def __init__(
        self,
        network: nn.Module,
        terms: Sequence[Mapping[str, Any]],
        others: Mapping[str, nn.Module],
        identity: str,
        window: int = 0,
    ) -> None:
        self.networks = {NAME: network, **others}
        self.players = [Player(NAME, (NAME,))]
        self.critic = registry.build([{"name": CRITIC}])
        if CRITIC in others:
            self.players.append(Player(CRITIC, (CRITIC,), betas=(0.5, 0.999)))
        self.terms = {str(entry["name"]): registry.build([entry]) for entry in terms}
        self.levels = len(network.factors) if isinstance(network, Pyramid) else 0
        self.factors = network.factors if isinstance(network, Pyramid) else ()
        self.identity = identity
        self.window = window

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch: of all levels together."""
        outcomes = self._outcomes(networks, batch, self.window)
        if player == CRITIC:
            return self.critic(replace(outcomes[-1], networks=networks))
        alike = bool(batch["alike"].all())
        named: dict[str, Tensor] = {}
        total = batch["fixed"].new_zeros(())
        for outcome in outcomes:
            for name, value in self._values(outcome, networks, alike).items():
                named[name] = value.detach()
                total = total + value
        return {"loss": total, **named}

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """What every pair has: the loss at the finest level and the share of folds."""
        found = self.judged(networks, batch)
        return {name: found[name] for name in ("loss", "folds")}

    def judged(self, networks: Networks, batch: Any) -> dict[str, float]:
        """The scores, and each term of the loss that this pair can have."""
        moving, fixed = batch["moving"], batch["fixed"]
        found = networks[NAME](moving, fixed)
        outcome = self._outcome(batch, moving, found)
        values = self._values(outcome, networks, bool(batch["alike"].all()))
        determinant = jacobian_determinant(found.displacement)[fixed > 0]
        scores = {
            "loss": float(sum(values.values())),
            "folds": float((determinant <= 0).float().mean()),
        }
        return scores | {name: float(value) for name, value in values.items()}

    def _values(self, outcome: Outcome, networks: Networks, alike: bool) -> dict[str, Tensor]:
        values = {}
        for name, term in self.terms.items():
            if name in ONE_CONTRAST and not alike:
                continue
            if name in NEEDS and getattr(outcome, NEEDS[name]) is None:
                continue
            values[name] = term(replace(outcome, networks=networks))["loss"]
        return values

    def _outcomes(self, networks: Networks, batch: Any, window: int) -> list[Outcome]:
        moving, fixed = batch["moving"], batch["fixed"]
        if not self.levels:
            found = networks[NAME](moving, fixed)
            return [self._outcome(batch, moving, found)]
        same = alike(moving, fixed)
        outcomes = []
        field: Tensor | None = None
        for level, factor in enumerate(self.factors):
            last = level == self.levels - 1
            small = {name: _at(factor, name, values) for name, values in batch.items()}
            shape = small["fixed"].shape[2:]
            start = small["fixed"].new_zeros((len(fixed), 3, *shape))
            if field is not None:
                start = resize(field, shape)
            box = _box(shape, window if last else 0)
            part = {name: _cut(values, box) for name, values in small.items()}
            # a displacement that also holds where the box is: the moving image stays whole
            places = _cut(start, box) + _corner(box, start)
            network = networks[NAME]
            found = network(small["moving"], part["fixed"], level=level, start=places, same=same)
            whole = found.displacement - _corner(box, start)
            found = Deformation(whole, None, None)
            labels = small.get("moving_labels")
            outcomes.append(self._outcome(part, small["moving"], found, box, labels))
            field = whole.detach()
        return outcomes

    def _outcome(
        self,
        batch: Mapping[str, Any],
        moving: Tensor,
        found: Deformation,
        box: tuple[slice, ...] = (),
        moving_labels: Tensor | None = None,
    ) -> Outcome:
        """What the losses look at; ``batch`` holds the box, ``moving`` and its labels the whole."""
        fixed, displacement = batch["fixed"], found.displacement
        places = displacement + _corner(box, displacement)
        labels = batch.get("moving_labels") if moving_labels is None else moving_labels
        fixed_labels = batch.get("fixed_labels")
        return Outcome(
            moving=_cut(moving, box) if box else moving,
            fixed=fixed,
            warped=warp(moving, places),
            displacement=found.deformable,
            inverse=found.inverse,
            velocity=found.velocity,
            mask=(fixed > 0).to(fixed.dtype),
            labels_warped=None if labels is None else warp(_shares(labels), places),
            labels_fixed=None if fixed_labels is None else _shares(fixed_labels),
            target_field=batch.get("target_field"),
            target_mask=batch.get("target_mask"),
        )


def _shares(labels: Tensor) -> Tensor:
    return labels.float() / FULL if labels.dtype == torch.uint8 else labels


def _at(factor: float, name: str, values: Any) -> Any:
    """A batch's entry at a coarser level."""
    if not isinstance(values, Tensor) or values.ndim < 5 or factor == 1:
        return values
    if name == "target_field":
        shape = [max(4, round(n / factor)) for n in values.shape[2:]]
        return resize(values, shape)
    if values.dtype == torch.uint8:
        values = values.float() / FULL
    return coarser(values, factor)


def _box(shape: Sequence[int], window: int) -> tuple[slice, ...]:
    """A random box, of the network's random numbers; the whole for no window."""
    slices = []
    for n in shape:
        size = min(window or n, n)
        start = int(torch.randint(n - size + 1, (1,)))
        slices.append(slice(start, start + size))
    return tuple(slices)


def _corner(box: tuple[slice, ...], like: Tensor) -> Tensor:
    return like.new_tensor([part.start for part in box] or [0, 0, 0]).view(1, 3, 1, 1, 1)


def _cut(values: Any, box: tuple[slice, ...]) -> Any:
    if not isinstance(values, Tensor) or values.ndim < 5:
        return values
    z, y, x = box
    return values[..., z, y, x]
