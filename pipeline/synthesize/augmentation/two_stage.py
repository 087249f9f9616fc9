"""``label_gan``: a label map from noise, then an image from the label map.

Two conditional steps, each with a critic; the second one's critic judges whether what came out is
real, and what it rejects is made anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import networks
from pipeline.synthesize.augmentation import from_labels, samples
from pipeline.synthesize.augmentation.from_labels import (
    CRITIC,
    GENERATOR,
    LabelRecipe,
    both_sides,
    fixed_boxes,
    painted,
)
from pipeline.synthesize.augmentation.from_noise import box, fresh
from pipeline.synthesize.augmentation.kinds import Job, Made, Request, Sources
from pipeline.synthesize.augmentation.samples import one_hot
from pipeline.training.bundle import Architecture
from pipeline.training.collapse import Limits, Watch
from pipeline.training.losses.adversary import CHANCES, Adversary
from pipeline.training.recipe import Networks, Player

SHAPE, SHAPE_CRITIC = "shape", "shape_critic"

judge = from_labels.judge


class TwoStageRecipe(LabelRecipe):
    """Both steps, trained side by side: the second one on real label maps.

    Args:
        made: all four networks.
        classes: the background among them.
        l1: weight of the mean difference of the image, for one of the adversary.
        fixed: real boxes and their classes, for the diversity.
        limits: of collapse.
        identity: hash of configuration, code and data.
    """

    def __init__(
        self, made: Mapping[str, nn.Module], classes: int, l1: float,
        fixed: tuple[Tensor, Tensor], limits: Limits, identity: str,
    ) -> None:  # fmt: skip
        super().__init__(made[GENERATOR], made[CRITIC], classes, l1, fixed, limits, identity)
        self.networks |= {SHAPE: made[SHAPE], SHAPE_CRITIC: made[SHAPE_CRITIC]}
        self.players += [Player(one, (one,), betas=(0.5, 0.999)) for one in (SHAPE_CRITIC, SHAPE)]
        self.shapes = Adversary("bce", critic_steps=1)
        chances = {**self.watch.chances, f"{SHAPE_CRITIC}/loss": CHANCES["bce"]}
        # noise has no label map to hold on to: it is where all samples may come to look alike
        self.watch = Watch(limits, chances, self._shapes)

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch."""
        if player not in (SHAPE, SHAPE_CRITIC):
            return super().losses(networks, player, batch)
        real = 2.0 * one_hot(batch["labels"], self.classes) - 1.0
        made = networks[SHAPE](fresh(self.networks[SHAPE], len(real), real.device))
        if player == SHAPE_CRITIC:
            return self.shapes.critic(networks[SHAPE_CRITIC], made.detach(), real)
        return {"loss": self.shapes.generator(networks[SHAPE_CRITIC], made)}

    def _shapes(self, networks: Networks) -> tuple[Tensor, Tensor]:
        device = next(self.networks[SHAPE].parameters()).device
        real = 2.0 * one_hot(self.fixed[1].to(device), self.classes) - 1.0
        return networks[SHAPE](fresh(self.networks[SHAPE], len(real), device)), real


def prepare(request: Request) -> Job:
    """Recipe and samples of a training."""
    section, count = request.section, len(request.known) + 1
    base, channels = int(section["features"]), request.channels
    widths = [base, 2 * base, 4 * base]
    shape = {
        "latent": int(section["latent"]), "outputs": count,
        "size": list(samples.size_of(section)), "features": widths[::-1],
    }  # fmt: skip
    generator = {
        "classes": count, "outputs": channels, "features": widths, "noise": int(section["noise"]),
    }  # fmt: skip
    architectures = {
        GENERATOR: Architecture("noisy_unet", generator),
        CRITIC: Architecture("critic", {"inputs": channels + count, "features": widths}),
        SHAPE: Architecture("dcgan", shape),
        SHAPE_CRITIC: Architecture("image_critic", {"inputs": count, "features": widths}),
    }
    torch.manual_seed(request.plan.seed)
    made = {name: networks.build(one.name, one.arguments) for name, one in architectures.items()}
    recipe = TwoStageRecipe(
        made, count, float(section["l1"]), fixed_boxes(request), Limits.of(section["collapse"]),
        request.identity,
    )  # fmt: skip
    return Job(recipe, *both_sides(request), architectures)


def make(networks: Mapping[str, nn.Module], sources: Sources, rng: np.random.Generator) -> Made:
    """A label map from noise, and its image."""
    torch.manual_seed(int(rng.integers(2**31)))
    with torch.no_grad():
        shape = networks[SHAPE](fresh(networks[SHAPE], 1, torch.device("cpu")))[0]
    classes = shape.argmax(dim=0).numpy()
    return painted(networks, classes, box(sources), len(sources.known) + 1)
