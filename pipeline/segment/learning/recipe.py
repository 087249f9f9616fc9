"""How a level's network is trained: losses of a batch, Dice of a validation sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pipeline.segment.cascade import planes, window
from pipeline.segment.cascade.plan import Level
from pipeline.segment.learning import samples
from pipeline.training.losses import segmentation
from pipeline.training.recipe import Networks, Player


class LevelRecipe:
    """One network of a level.

    Args:
        name: of the network.
        level: of the plan.
        network: maps (B, inputs, Z, Y, X) to logits, finest first.
        losses: entries of ``segment.learning.losses``.
        names: of the output channels but the background's.
        frozen: heads of the names of parameters that stay as they are (fine-tuning).
        identity: hash of configuration, code and data.
    """

    metric = "dice"
    mode: Literal["min", "max"] = "max"

    def __init__(
        self,
        name: str,
        level: Level,
        network: nn.Module,
        losses: Sequence[Mapping[str, Any]],
        names: Sequence[str],
        frozen: Sequence[str],
        identity: str,
    ) -> None:
        self.name, self.level = name, level
        self.names, self.identity = list(names), identity
        self.networks: dict[str, nn.Module] = {name: network}
        self.players = [Player(name, (name,))]
        self.sum = segmentation.build(losses)
        for key, parameter in network.named_parameters():
            if any(key.startswith(head) for head in frozen):
                parameter.requires_grad_(False)

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch."""
        outputs = networks[self.name](batch["image"])
        return self.sum(outputs, batch["target"])

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """Mean Dice over the structures of the sample, planes left aside: their places jump."""
        found = self.judged(networks, batch, divide=False)
        return {"dice": sum(found.values()) / len(found) if found else 0.0}

    def judged(
        self,
        networks: Networks,
        batch: Any,
        mirror: Sequence[int] | None = None,
        divide: bool = True,
    ) -> dict[str, float]:
        """Dice of each structure that the sample has, by its name.

        Args:
            networks: whose mean posterior is judged.
            batch: of one sample.
            mirror: which channel, without the background's, each one becomes in a mirrored image,
                to take the mean with what is found there; None takes the image alone.
            divide: whether the level's planes divide what is found, as in inference.
        """
        target: Tensor = batch["target"]
        valid = target >= 0
        found = self._mean(networks, batch["image"])
        if mirror is not None:
            other = self._mean(networks, batch["image"].flip(-1)).flip(-1)
            found = found + other[:, [0, *(channel + 1 for channel in mirror)]]
        if divide and self.level.planes:
            parted = planes.divided(found[0].cpu().numpy(), self.level)
            found = torch.from_numpy(parted).to(found.device)[None]
        predicted = torch.where(valid, found.argmax(dim=1), 0)
        count = len(self.names) + 1
        both = torch.bincount(predicted[(predicted == target) & valid], minlength=count)
        ours = torch.bincount(predicted[valid], minlength=count)
        theirs = torch.bincount(target[valid], minlength=count)
        return {
            name: float(2 * both[channel] / (ours[channel] + theirs[channel]))
            for channel, name in enumerate(self.names, start=1)
            if int(theirs[channel]) > 0
        }

    def _mean(self, networks: Networks, image: Tensor) -> Tensor:
        """Mean posterior (B, C, Z, Y, X) of the networks."""
        heat = self.level.temperature
        found = [
            window.softmax(samples.logits(network, self.level, image), heat)
            for network in networks.values()
        ]
        return torch.stack(found).mean(dim=0)
