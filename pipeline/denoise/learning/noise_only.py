"""Training from noisy images alone: nothing clean is ever seen.

Consensus: two images of the same anatomy with independent noise, and a network that must make of
each what the other shows on average (Wu et al. 2019, doi:10.1007/978-3-030-32251-9_81; Lehtinen et
al. 2018, doi:10.48550/arXiv.1803.04189). The two are made from the one noisy image and its
estimated level: y + a s n and y - s n / a have independent noise if n is white and Gaussian of
deviation one (Pang et al. 2021, Recorrupted-to-Recorrupted, doi:10.1109/CVPR46437.2021.00208).

Blind spot: voxels are hidden, and guessed from those around them (Krull et al. 2019, Noise2Void,
doi:10.1109/CVPR.2019.00223).

A network that is trained on magnitudes finds their mean, which noise lifts; the loss therefore
compares the mean magnitude of what is restored with the noisy target (Koay & Basser 2006,
doi:10.1016/j.jmr.2006.01.016).
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from pipeline.denoise.learning.recipe import NAME, score, voxel_weight
from pipeline.training.losses import restoration
from pipeline.training.recipe import Networks, Player

#: Limits of the share a; small ones leave the input nearly as it is, and the target noisy.
SHARES = (0.3, 1.0)
#: Share of the voxels that are hidden at a time.
HIDDEN = 0.02


class NoiseOnly:
    """What both ways share; batches hold ``noisy`` and ``level``, validation also ``clean``.

    Args:
        network: called with (image, level).
        identity: hash of configuration, code and data.
    """

    metric: str = "psnr"
    mode: Literal["min", "max"] = "max"

    def __init__(self, network: nn.Module, identity: str) -> None:
        self.networks: dict[str, nn.Module] = {NAME: network}
        self.players = [Player(NAME, (NAME,))]
        self.identity = identity

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch."""
        raise NotImplementedError

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """PSNR (dB) of the result against the image before noise was added, and the gain."""
        return score(networks[NAME], batch)


class Consensus(NoiseOnly):
    """Two independent images from one; each is restored and compared with the other."""

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Mean of both directions, squared errors in units of the target's noise."""
        noisy, level, rician = batch["noisy"], batch["level"], batch["rician"]
        low, high = SHARES
        share = low + (high - low) * torch.rand((len(noisy), 1, 1, 1, 1), device=noisy.device)
        drawn = torch.randn_like(noisy)
        # seen with deviations of s (1 + a²)^½ and s (1 + 1/a²)^½
        images = (noisy + share * level * drawn, noisy - level * drawn / share)
        levels = tuple(level * (1.0 + ratio**2).sqrt() for ratio in (share, 1.0 / share))
        total = noisy.new_zeros(())
        for source, target in ((0, 1), (1, 0)):
            restored = networks[NAME](images[source], levels[source])
            error = seen(restored, level, rician) - images[target]
            scale = levels[target] + restoration.FLOOR
            total = total + restoration.weighted((error / scale).square(), voxel_weight(batch))
        return {"loss": 0.5 * total}


class BlindSpot(NoiseOnly):
    """Some voxels show a neighbour's value; the network is asked for their own, noisy one."""

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Squared errors at hidden voxels, in units of the noise."""
        noisy, level = batch["noisy"], batch["level"]
        hidden = torch.rand_like(noisy) < HIDDEN
        given = torch.where(hidden, neighbours(noisy), noisy)
        restored = networks[NAME](given, level)
        error = (seen(restored, level, batch["rician"]) - noisy) / (level + restoration.FLOOR)
        weight = hidden * voxel_weight(batch)
        return {"loss": restoration.weighted(error.square(), weight)}


def neighbours(image: Tensor) -> Tensor:
    """For each voxel the value of another one at most two voxels away, at random."""
    found = torch.empty_like(image)
    choice = torch.randint(0, 124, image.shape, device=image.device)
    # the 125 places of the window without its middle
    places = [(a, b, c) for a in range(-2, 3) for b in range(-2, 3) for c in range(-2, 3)]
    places.remove((0, 0, 0))
    for number, shift in enumerate(places):
        found = torch.where(choice == number, image.roll(shift, dims=(2, 3, 4)), found)
    return found


def seen(restored: Tensor, level: Tensor, rician: Tensor) -> Tensor:
    """Mean of what a scanner shows of a signal: the signal, or the mean of its magnitude.

    Args:
        restored: (B, 1, Z, Y, X), signal.
        level: deviation of the noise, same shape.
        rician: (B,), 1 for magnitude images, 0 for Gaussian noise.
    """
    sigma = level.clamp_min(1e-5)
    # further away the mean is the signal, and the Bessel functions' rest is lost in rounding
    quarter = (restored / sigma).clamp(-30.0, 30.0).square() / 4.0
    bessel = (1.0 + 2.0 * quarter) * torch.special.i0e(quarter)
    bessel = bessel + 2.0 * quarter * torch.special.i1e(quarter)
    magnitude = torch.where(
        restored.abs() > 30.0 * sigma, restored.abs(), sigma * (torch.pi / 2.0) ** 0.5 * bessel
    )
    return torch.where(rician.view(-1, 1, 1, 1, 1) > 0.5, magnitude, restored)
