"""``spade``: an image from a label map, with a critic that sees both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import images, networks
from pipeline.segment.learning.cases import Case
from pipeline.synthesize.augmentation import samples, scores
from pipeline.synthesize.augmentation.kinds import Job, Made, Request, Sources
from pipeline.synthesize.augmentation.samples import Classes, Crops, Floats, one_hot
from pipeline.training.bundle import Architecture
from pipeline.training.collapse import Limits, Watch
from pipeline.training.data import SeededSamples
from pipeline.training.losses.adversary import Adversary
from pipeline.training.recipe import Networks, Player

GENERATOR, CRITIC = "generator", "critic"
#: Loss of a least-squares critic that can't tell.
CHANCE = 0.25
#: Samples that the diversity is taken of.
WATCHED = 4


class LabelRecipe:
    """A generator from labels and noise, and its critic.

    Args:
        generator: called with one-hot labels and noise.
        critic: called with images and one-hot labels as channels.
        classes: the background among them.
        weights: ``l1`` beside the adversary, for one of it.
        fixed: real boxes and their classes, for the diversity.
        limits: of collapse.
        identity: hash of configuration, code and data.
    """

    metric = "texture"
    mode: Literal["min", "max"] = "min"

    def __init__(
        self, generator: nn.Module, critic: nn.Module, classes: int, l1: float,
        fixed: tuple[Tensor, Tensor], limits: Limits, identity: str,
    ) -> None:  # fmt: skip
        self.networks: dict[str, nn.Module] = {GENERATOR: generator, CRITIC: critic}
        self.players = [
            Player(GENERATOR, (GENERATOR,), betas=(0.5, 0.999)),
            Player(CRITIC, (CRITIC,), betas=(0.5, 0.999)),
        ]
        self.classes, self.l1, self.fixed = classes, l1, fixed
        self.adversary = Adversary("lsgan", critic_steps=1)
        self.identity = identity
        self.watch = Watch(limits, {f"{CRITIC}/loss": CHANCE}, self._pair)

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch."""
        real, labels = batch["image"], one_hot(batch["labels"], self.classes)
        made = made_from(networks[GENERATOR], labels)
        if player == CRITIC:
            return self.adversary.critic(_beside(networks, labels), made.detach(), real)
        fooled = self.adversary.generator(_beside(networks, labels), made)
        difference = (made - real).abs().mean()
        return {
            "loss": fooled + self.l1 * difference,
            "adversarial": fooled.detach(),
            "l1": difference.detach(),
        }

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """Distance of the textures, and the mean difference."""
        labels = one_hot(batch["labels"], self.classes)
        made = made_from(networks[GENERATOR], labels)
        difference = float((made - batch["image"]).abs().mean())
        return {"texture": scores.texture(made, batch["image"]), "l1": difference}

    def _pair(self, networks: Networks) -> tuple[Tensor, Tensor]:
        real, classes = self.fixed
        device = next(self.networks[GENERATOR].parameters()).device
        labels = one_hot(classes.to(device), self.classes)
        return made_from(networks[GENERATOR], labels), real.to(device)


def made_from(generator: nn.Module, labels: Tensor) -> Tensor:
    """Images for one-hot labels (B, K, Z, Y, X), with fresh noise."""
    shape = [n // number_of(generator, "divisor") for n in labels.shape[2:]]
    noise = torch.randn(len(labels), number_of(generator, "noise"), *shape, device=labels.device)
    made: Tensor = generator(labels, noise)
    return made


def number_of(network: nn.Module, name: str) -> int:
    """A number that an architecture says of itself, as ``divisor``."""
    return int(getattr(network, name))


def _beside(networks: Networks, labels: Tensor) -> Any:
    return lambda image: networks[CRITIC](torch.cat([image, labels], dim=1))


def prepare(request: Request) -> Job:
    """Recipe and samples of a training."""
    section, count = request.section, len(request.known) + 1
    base = int(section["features"])
    generator = {
        "classes": count, "outputs": request.channels, "features": [4 * base, 2 * base, base],
        "noise": int(section["noise"]), "hidden": base,
    }  # fmt: skip
    critic = {"inputs": request.channels + count, "features": [base, 2 * base, 4 * base]}
    architectures = {
        GENERATOR: Architecture("spade", generator), CRITIC: Architecture("critic", critic)
    }  # fmt: skip
    torch.manual_seed(request.plan.seed)
    made = {name: networks.build(one.name, one.arguments) for name, one in architectures.items()}
    recipe = LabelRecipe(
        made[GENERATOR], made[CRITIC], count, float(section["l1"]),
        fixed_boxes(request), Limits.of(section["collapse"]), request.identity,
    )  # fmt: skip
    return Job(recipe, *both_sides(request), architectures)


def both_sides(request: Request) -> tuple[SeededSamples, SeededSamples]:
    """Boxes to train on, and one of each validation case."""
    seed = request.plan.seed
    drawn = Crops(request.train, request.section, request.known, request.total)
    held = Crops(request.validation, request.section, request.known, 0)
    return SeededSamples(drawn, seed), SeededSamples(held, seed + 1, len(request.validation))


def fixed_boxes(request: Request) -> tuple[Tensor, Tensor]:
    """Real boxes that the diversity of made ones is measured against."""
    crops = Crops(request.train, request.section, request.known, 1)
    return samples.batch_of(crops, WATCHED)


def make(networks: Mapping[str, nn.Module], sources: Sources, rng: np.random.Generator) -> Made:
    """An image for the label map of a case under a random transform."""
    case = sources.cases[int(rng.integers(len(sources.cases)))]
    classes, grid = moved(case, sources, rng)
    torch.manual_seed(int(rng.integers(2**31)))
    return painted(networks, classes, grid, len(sources.known) + 1)


def moved(case: Case, sources: Sources, rng: np.random.Generator) -> tuple[Classes, Any]:
    """Classes of a case under a random transform, and their grid."""
    grid = images.spaced_grid(case.labels, (float(sources.section["spacing"]),) * 3)
    variety = samples.variety_of(sources.section)
    scene = samples.scene_of(case, sources.known, variety, rng)
    return samples.classes_of(scene.labels(grid), sources.known), grid


def painted(networks: Mapping[str, nn.Module], classes: Classes, grid: Any, count: int) -> Made:
    """The image of a label map of any size."""
    generator = networks[GENERATOR]
    divisor = number_of(generator, "divisor")
    size = whole_multiples(classes.shape, divisor)
    labels = one_hot(torch.from_numpy(samples.fitted(classes, size))[None], count)
    with torch.no_grad():
        image = made_from(generator, labels)[0].numpy()
    image = samples.fitted(image, (classes.shape[0], classes.shape[1], classes.shape[2]))
    return Made(image, classes, grid, judge(networks, image, classes, count))


def whole_multiples(shape: Sequence[int], divisor: int) -> samples.Size:
    """The sizes, each filled up to a multiple."""
    z, y, x = (-(-int(n) // divisor) * divisor for n in shape)
    return z, y, x


def judge(networks: Mapping[str, nn.Module], image: Floats, classes: Classes, count: int) -> float:
    """Mean score of the critic."""
    labels = one_hot(torch.from_numpy(classes)[None], count)
    with torch.no_grad():
        found = networks[CRITIC](torch.cat([torch.from_numpy(image)[None], labels], dim=1))
    return float(found.mean())
