"""Features of image patches from our own encoder, learned from real images on the one trainer.

The networks that the field takes for it were trained on photographs; this one is the auto-encoder
of the perceptual losses, trained on real patches of the contrast that is judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from pipeline import networks
from pipeline.networks.autoencoder import AutoEncoder
from pipeline.synthesize.judging.distances import Floats
from pipeline.training import judging
from pipeline.training.data import SeededSamples
from pipeline.training.plan import Plan
from pipeline.training.recipe import Networks, Player
from pipeline.training.trainer import fit

Values = NDArray[np.float32]

NAME, ARCHITECTURE = "encoder", "autoencoder"
#: Patches encoded at once, and patches that tell how features are spread.
BATCH, REFERENCES = 16, 128


@dataclass(frozen=True)
class Picture:
    """An image to cut patches from.

    Attributes:
        subject: patches of one subject are alike and are kept together.
        values: (Z, Y, X), brain about 1.
        mask: voxels that patches are centred on, same shape.
    """

    subject: str
    values: Values
    mask: NDArray[np.bool_]


class Encoding:
    """Recipe: the auto-encoder gives its patches back. Batches hold ``image``."""

    metric: str = "error"
    mode: Literal["min", "max"] = "min"

    def __init__(self, network: nn.Module, identity: str) -> None:
        self.networks: dict[str, nn.Module] = {NAME: network}
        self.players = [Player(NAME, (NAME,))]
        self.identity = identity

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Mean absolute error of a batch."""
        image = batch["image"]
        return {"loss": functional.l1_loss(networks[NAME](image).image, image)}

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """The same of a validation sample."""
        return {"error": float(self.losses(networks, NAME, batch)["loss"])}


def patches(picture: Picture, side: int, count: int, rng: np.random.Generator) -> Tensor:
    """Cubes about random voxels of the mask, (count, 1, S, S, S); zeros beyond the image.

    Raises:
        ValueError: for an empty mask.
    """
    places = np.argwhere(picture.mask)
    if not len(places):
        raise ValueError(f"the mask of {picture.subject} is empty")
    padded = np.pad(picture.values, side // 2 + 1)
    cubes = []
    for place in places[rng.integers(len(places), size=count)]:
        z, y, x = place + 1
        cubes.append(padded[z : z + side, y : y + side, x : x + side])
    return torch.from_numpy(np.stack(cubes)[:, None].astype(np.float32))


@dataclass(frozen=True)
class Encoder:
    """A trained encoder, and how the features of real patches are spread.

    Attributes:
        network: an auto-encoder of :mod:`pipeline.networks.autoencoder`, for evaluation, on the
            CPU.
        centre, scale: mean and deviation of each feature over real patches, (d,). Without them
            the features that vary most would be the only ones that count.
    """

    network: AutoEncoder
    centre: Floats
    scale: Floats

    def describe(self, cubes: Tensor) -> Floats:
        """Features (n, d) of patches (n, 1, Z, Y, X), in deviations of real ones."""
        return (raw(self.network, cubes) - self.centre) / self.scale


def learn(
    real: Sequence[Picture], side: int, steps: int, seed: int, folder: Path, identity: str
) -> Encoder:
    """Train an encoder on patches of real images.

    Args:
        real: training images; none that will be judged.
        side: of the patches, voxels.
        steps: of the training, eight patches each.
        seed: of weights and patches.
        folder: for checkpoints; the same call goes on from there.
        identity: hash of the images.
    """
    torch.manual_seed(seed)
    network = networks.build(ARCHITECTURE, {})
    assert isinstance(network, AutoEncoder)
    recipe = Encoding(network, f"{identity} {side}")

    def draw(rng: np.random.Generator, number: int) -> dict[str, Any]:
        picture = real[int(rng.integers(len(real)))]
        return {"image": patches(picture, side, 1, rng)[0].numpy()}

    plan = Plan(steps, 8, 0.002, validate_every=steps, precision=32, seed=seed)
    held = SeededSamples(draw, seed + 1, 8)
    fitted = fit(recipe, SeededSamples(draw, seed), held, plan, folder)
    judging.use(recipe, fitted)
    seen = SeededSamples(draw, seed + 2, REFERENCES)
    cubes = np.stack([seen[number]["image"] for number in range(REFERENCES)])
    found = raw(network, torch.from_numpy(cubes))
    scale = found.std(axis=0)
    return Encoder(network, found.mean(axis=0), np.where(scale > 1e-6, scale, 1.0))


@torch.no_grad()
def raw(network: AutoEncoder, cubes: Tensor) -> Floats:
    """Mean over space of each channel of every depth, (n, d): fine texture counts as do shapes."""
    rows = []
    for start in range(0, len(cubes), BATCH):
        values, found = cubes[start : start + BATCH], []
        for layer in network.encoder:
            values = layer(values)
            found.append(values.double().mean(dim=(2, 3, 4)))
        rows.append(torch.cat(found, dim=1))
    whole: Floats = torch.cat(rows).numpy()
    return whole
