"""How super-resolution networks are trained: losses of a batch, scores of a validation patch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pipeline.errors import VoxelwayError
from pipeline.superres.learning import losses
from pipeline.training.recipe import Networks, Player

NAME = "superres"
CRITIC = "critic"
#: Voxels of a patch above this are judged.
TISSUE = 0.05
#: Root mean square that no patch counts as less than, where differences are relative.
LEAST = 0.01


class SuperresRecipe:
    """Trains a network of this stage; with a critic, an adversarial one.

    The critic sees the sharp patch beside the interpolated one, or the restored one beside it, and
    both sides minimise squares (Mao et al. 2017, doi:10.1109/ICCV.2017.304).

    Args:
        network: called with (image, condition).
        terms: entries of ``superres.learning.losses``.
        critic: of two channels, or None.
        adversarial: weight of its judgement beside the losses.
        identity: hash of configuration, code and data.
        relative: whether a patch's differences are told in units of those of its interpolation:
            else the thickest slices, where most is missed, drown the others.

    Raises:
        VoxelwayError: E-CONFIG-VALUE for relative differences of a loss that takes none.
    """

    metric = "gain"
    mode: Literal["min", "max"] = "max"

    def __init__(
        self, network: nn.Module, terms: Sequence[Mapping[str, Any]], critic: nn.Module | None,
        adversarial: float, identity: str, *, relative: bool = False,
    ) -> None:  # fmt: skip
        self.networks: dict[str, nn.Module] = {NAME: network}
        self.players = [Player(NAME, (NAME,))]
        self.loss = losses.build(terms)
        if relative and any(entry["name"] == "ssim" for entry in terms):
            what = "superres.learning.relative is not for the loss ssim, which is so by itself"
            raise VoxelwayError("E-CONFIG-VALUE", what)
        self.relative = relative
        self.adversarial = adversarial
        self.identity = identity
        if critic is not None:
            self.networks[CRITIC] = critic
            self.players.append(Player(CRITIC, (CRITIC,), betas=(0.5, 0.999)))

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch."""
        image, truth = batch["image"], batch["target"]
        made = seen(networks[NAME](image, batch["condition"]), batch)
        if player == CRITIC:
            real, false = (_judge(networks, one, truth, image) for one in (truth, made.detach()))
            return {"loss": ((real - 1).square().mean() + false.square().mean()) / 2}
        unit = missed(batch) if self.relative else torch.ones_like(truth[:, :1, :1, :1, :1])
        found = self.loss(made / unit, truth / unit)
        if CRITIC in networks:
            fooled = (_judge(networks, made, truth, image) - 1).square().mean()
            found["loss"] = found["loss"] + self.adversarial * fooled
            found["adversarial"] = fooled.detach()
        return found

    def sample(self, networks: Networks, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Input as if interpolated, restored and sharp image, (B, 1, Z, Y, X), for pictures."""
        image, truth = batch["image"], batch["target"]
        return interpolated(image, truth), networks[NAME](image, batch["condition"]), truth

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """PSNR in the tissue, and what it gains over the network's input, dB."""
        image, truth = batch["image"], batch["target"]
        made = networks[NAME](image, batch["condition"])
        tissue = truth > TISSUE
        before = psnr(seen(interpolated(image, truth), batch), truth, tissue)
        after = psnr(seen(made, batch), truth, tissue)
        return {"gain": after - before, "psnr": after}


def interpolated(image: Tensor, truth: Tensor) -> Tensor:
    """What the network is measured against: its input, repeated where that is slices."""
    image = image[:, :1]
    if image.shape != truth.shape:
        image = nn.functional.interpolate(
            image, size=truth.shape[2:], mode="trilinear", align_corners=False
        )
    return image


def seen(made: Tensor, batch: Any) -> Tensor:
    """A patch that differs from the sharp one by what is known of it.

    Where the sharp one is from thick slices, what these would not see does not count: ``seen`` of
    the batch has a projection (B, 2, P, P) along Y and X, see
    :meth:`pipeline.superres.learning.thick.Box.seen`. Without it all is known.
    """
    if "seen" not in batch:
        return made
    with torch.autocast(made.device.type, enabled=False):
        truth, known = batch["target"], batch["seen"][:, :, None, None]
        error = known[:, 0] @ (made.float() - truth)
        found: Tensor = truth + error @ known[:, 1].transpose(-1, -2)
        return found


def missed(batch: Any) -> Tensor:
    """Root mean square of what each patch's interpolation misses, (B, 1, 1, 1, 1)."""
    truth = batch["target"]
    error = seen(interpolated(batch["image"], truth), batch) - truth
    root: Tensor = (error.square().mean(dim=(1, 2, 3, 4), keepdim=True) + LEAST**2).sqrt()
    return root


def _judge(networks: Networks, image: Tensor, truth: Tensor, given: Tensor) -> Tensor:
    found: Tensor = networks[CRITIC](torch.cat([image, interpolated(given, truth)], dim=1))
    return found


def psnr(made: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Peak signal to noise in dB, the peak at 1; over the mask, or over all where that is empty."""
    chosen = mask if bool(mask.any()) else torch.ones_like(mask)
    error = (made.float() - truth)[chosen].square().mean().clamp_min(1e-12)
    return float(-10.0 * torch.log10(error))
