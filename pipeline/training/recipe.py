"""What a stage tells the trainer: its networks, who moves when, losses and validation scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor, nn

#: Networks by name, as the trainer hands them over: on the device, in the plan's precision.
Networks = Mapping[str, nn.Module]


@dataclass(frozen=True)
class Player:
    """Networks that one optimiser of the plan's kind moves.

    Attributes:
        name: what the losses are asked for, and the head of the names in the log.
        networks: names of the networks whose parameters it moves.
        learning_rate: the largest of the schedule; None takes the plan's.
        every: it moves on every n-th step.
        betas: Adam's decay of the mean and of the square of the gradient.
    """

    name: str
    networks: tuple[str, ...]
    learning_rate: float | None = None
    every: int = 1
    betas: tuple[float, float] = (0.9, 0.999)


class Recipe(Protocol):
    """What is trained. A stage writes one; :func:`pipeline.training.trainer.fit` runs it.

    Attributes:
        networks: every network of the training by name; those of no player stay as they are.
        players: they move one after the other, in this order, on the same batch of each step.
        metric: the validation score that chooses the best model and stops early.
        mode: whether a smaller or a larger metric is better.
        identity: what the training rests on beside the plan: a hash of the configuration, the
            code and the data. A checkpoint of another identity is not continued.
    """

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """Networks by name."""

    @property
    def players(self) -> Sequence[Player]:
        """Who moves, in order."""

    @property
    def metric(self) -> str:
        """Name of the deciding score."""

    @property
    def mode(self) -> Literal["min", "max"]:
        """Which metric is better."""

    @property
    def identity(self) -> str:
        """Hash of configuration, code and data."""

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch; scalars.

        Args:
            networks: use these and call them (``networks["register"](x)``), not the ones that
                the recipe holds: they carry the precision. Their outputs are float32.
            player: whose move it is; the parameters of all others need no gradient meanwhile.
            batch: of the training data, on the device.

        Returns:
            ``loss`` is minimised, the others are logged.
        """

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """Scores of one validation batch, which holds one sample; averaged over the samples."""
