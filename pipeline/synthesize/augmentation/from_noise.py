"""``dcgan``, ``lapgan``, ``pggan``: an image with its labels, both from noise.

The labels are channels beside the image's, so that the generator learns both together and what it
makes can train a segmenter: Bowles et al. 2018, GAN augmentation,
doi:10.48550/arXiv.1810.10863.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from torch import Tensor, nn

from pipeline import networks
from pipeline.networks.lapgan import Lapgan, pyramid
from pipeline.networks.pggan import Pggan
from pipeline.networks.pggan_critic import PgganCritic
from pipeline.synthesize.augmentation import samples, scores
from pipeline.synthesize.augmentation.from_labels import (
    CRITIC,
    GENERATOR,
    both_sides,
    fixed_boxes,
    number_of,
)
from pipeline.synthesize.augmentation.kinds import Job, Made, Request, Sources
from pipeline.synthesize.augmentation.samples import Classes, Floats, one_hot
from pipeline.training.bundle import Architecture
from pipeline.training.collapse import Limits, Watch
from pipeline.training.losses.adversary import CHANCES, Adversary
from pipeline.training.recipe import Networks, Player

#: Generator → kind of its adversary, decay of its optimisers.
ADVERSARIES: dict[str, tuple[str, tuple[float, float]]] = {
    "dcgan": ("bce", (0.5, 0.999)),
    "lapgan": ("lsgan", (0.5, 0.999)),
    "pggan": ("wgan_gp", (0.0, 0.99)),
}


class NoiseRecipe:
    """A generator from noise, and its critic.

    Args:
        name: of :data:`ADVERSARIES`.
        made: generator and critic.
        classes: the background among them.
        fixed: real boxes and their classes, for the diversity.
        limits: of collapse.
        identity: hash of configuration, code and data.
    """

    metric = "texture"
    mode: Literal["min", "max"] = "min"

    def __init__(
        self, name: str, made: Mapping[str, nn.Module], classes: int,
        fixed: tuple[Tensor, Tensor], limits: Limits, identity: str,
    ) -> None:  # fmt: skip
        kind, betas = ADVERSARIES[name]
        self.networks: dict[str, nn.Module] = dict(made)
        # the critic first: a generator learns from one that has looked
        self.players = [Player(one, (one,), betas=betas) for one in (CRITIC, GENERATOR)]
        self.adversary = Adversary(kind, critic_steps=1)
        self.classes, self.fixed, self.identity = classes, fixed, identity
        chances = {f"{CRITIC}/loss": CHANCES[kind]} if kind in CHANCES else {}
        self.watch = Watch(limits, chances, self._pair)

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch."""
        for network in self.networks.values():
            if isinstance(network, Pggan | PgganCritic):
                network.progress.fill_(float(batch["progress"].max()))
        real = joined(batch["image"], batch["labels"], self.classes)
        if isinstance(self.networks[GENERATOR], Lapgan):
            return self._pyramid(networks, player, real)
        made = networks[GENERATOR](fresh(self.networks[GENERATOR], len(real), real.device))
        if player == CRITIC:
            return self.adversary.critic(networks[CRITIC], made.detach(), real)
        return {"loss": self.adversary.generator(networks[CRITIC], made)}

    def _pyramid(self, networks: Networks, player: str, real: Tensor) -> dict[str, Tensor]:
        """Mean over the scales, each of which grows the real image of the one below."""
        generator = self.networks[GENERATOR]
        truth = pyramid(real, number_of(generator, "levels"))
        noise = fresh(generator, len(real), real.device)
        made = networks[GENERATOR](noise, truth[:-1])
        total = real.new_zeros(())
        for level, (ours, theirs) in enumerate(zip(made, truth, strict=True)):

            def critic(images: Tensor, level: int = level) -> Tensor:
                found: Tensor = networks[CRITIC](images, level)
                return found

            if player == CRITIC:
                total = total + self.adversary.critic(critic, ours.detach(), theirs)["loss"]
            else:
                total = total + self.adversary.generator(critic, ours)
        return {"loss": total / len(truth)}

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """Distance of the textures of what is made and the batch's images."""
        real = batch["image"]
        noise = fresh(self.networks[GENERATOR], len(real), real.device)
        made = finest(networks[GENERATOR](noise))[:, : real.shape[1]]
        return {"texture": scores.texture(made, real)}

    def _pair(self, networks: Networks) -> tuple[Tensor, Tensor]:
        image, classes = self.fixed
        generator = self.networks[GENERATOR]
        device = next(generator.parameters()).device
        real = joined(image, classes, self.classes).to(device)
        return finest(networks[GENERATOR](fresh(generator, len(real), device))), real


def joined(image: Tensor, classes: Tensor, count: int) -> Tensor:
    """Image and one-hot labels as channels, all from -1 to 1."""
    return torch.cat([image, 2.0 * one_hot(classes, count) - 1.0], dim=1)


def fresh(generator: nn.Module, count: int, device: torch.device) -> Tensor:
    """Noise (count, latent)."""
    return torch.randn(count, number_of(generator, "latent"), device=device)


def finest(made: Tensor | Sequence[Tensor]) -> Tensor:
    """The last scale of a generator that gives several."""
    return made if isinstance(made, Tensor) else made[-1]


def described(request: Request) -> dict[str, Architecture]:
    """Networks of a generator from noise."""
    section = request.section
    name, base, latent = str(section["generator"]), int(section["features"]), int(section["latent"])
    channels = request.channels + len(request.known) + 1
    size = list(samples.size_of(section))
    shared = {"latent": latent, "outputs": channels, "size": size}
    if name == "dcgan":
        generator = Architecture("dcgan", {**shared, "features": [4 * base, 2 * base, base]})
        widths = [base, 2 * base, 4 * base]
        critic = Architecture("image_critic", {"inputs": channels, "features": widths})
    elif name == "lapgan":
        generator = Architecture("lapgan", {**shared, "features": base, "levels": 2})
        widths = [base, 2 * base]
        critic = Architecture(
            "lapgan_critic", {"inputs": channels, "levels": 2, "features": widths}
        )
    else:
        widths = [4 * base, 4 * base, 2 * base, base]
        generator = Architecture("pggan", {**shared, "features": widths})
        critic = Architecture("pggan_critic", {"inputs": channels, "features": widths[::-1]})
    return {GENERATOR: generator, CRITIC: critic}


def prepare(request: Request) -> Job:
    """Recipe and samples of a training."""
    architectures = described(request)
    torch.manual_seed(request.plan.seed)
    made = {name: networks.build(one.name, one.arguments) for name, one in architectures.items()}
    recipe = NoiseRecipe(
        str(request.section["generator"]), made, len(request.known) + 1, fixed_boxes(request),
        Limits.of(request.section["collapse"]), request.identity,
    )  # fmt: skip
    return Job(recipe, *both_sides(request), architectures)


def make(networks: Mapping[str, nn.Module], sources: Sources, rng: np.random.Generator) -> Made:
    """An image with its labels."""
    torch.manual_seed(int(rng.integers(2**31)))
    generator = networks[GENERATOR]
    with torch.no_grad():
        made = finest(generator(fresh(generator, 1, torch.device("cpu"))))[0].numpy()
    channels = len(made) - len(sources.known) - 1
    image, classes = made[:channels], made[channels:].argmax(axis=0)
    score = judge(networks, image, classes, len(sources.known) + 1)
    return Made(image, classes, box(sources), score)


def box(sources: Sources) -> sitk.Image:
    """Grid of the size that was trained on, about the origin, its axes those of LPS."""
    z, y, x = samples.size_of(sources.section)
    grid = sitk.Image([x, y, z], sitk.sitkUInt8)
    grid.SetSpacing((float(sources.section["spacing"]),) * 3)
    return grid


def judge(networks: Mapping[str, nn.Module], image: Floats, classes: Classes, count: int) -> float:
    """The critic's score; of images of the size that it was trained on."""
    critic, generator = networks[CRITIC], networks[GENERATOR]
    z, y, x = getattr(generator, "size")  # noqa: B009
    both = joined(
        torch.from_numpy(samples.fitted(image, (z, y, x)))[None],
        torch.from_numpy(samples.fitted(classes, (z, y, x)))[None],
        count,
    )
    with torch.no_grad():
        if isinstance(generator, Lapgan):
            return float(critic(both, number_of(generator, "levels")).mean())
        return float(critic(both).mean())
