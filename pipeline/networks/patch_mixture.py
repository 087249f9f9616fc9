"""A Gaussian mixture as the prior of small blocks, and the estimate of an image under it.

Zoran & Weiss 2011, From learning models of natural image patches to whole image restoration,
doi:10.1109/ICCV.2011.6126278. Each block of 4x4x4 voxels, less its mean, comes from the component
that explains it best; the Wiener filter of that component shrinks it in the component's own basis.
The estimates of overlapping blocks are averaged. The mixture is learned from clean images
(:mod:`pipeline.denoise.learning.mixture`) and knows no noise level: one serves all.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.denoise import dct

SIDE, BLOCK = dct.SIDE, dct.BLOCK
#: Blocks of two cubic lattices of this step, one in the middle of the other: each voxel lies in 16
#: blocks, which are nearly as good as all 64 that there are, at a quarter of the work.
STEP = 2
STARTS = (0, 1)
#: Bases are kept larger by this factor, so that a training moves them in small steps.
PACE = 10.0
#: Smallest level that is believed, share of the range.
SMALLEST = 0.004
#: Blocks that components are chosen for at a time.
AT_ONCE = 8192


class PatchMixture(nn.Module):
    """Components with a basis and the variance along it; fresh ones are DCTs of several strengths.

    Args:
        components: of the mixture.

    Raises:
        ValueError: for fewer than one.
    """

    share: Tensor
    voxels: Tensor

    def __init__(self, components: int = 64) -> None:
        super().__init__()
        if components < 1:
            raise ValueError(f"components: {components}")
        bases = torch.from_numpy(dct.basis().T.copy()).expand(components, -1, -1)
        self.basis = nn.Parameter(PACE * bases.clone())
        strengths = torch.linspace(math.log(1e-5), math.log(0.1), components)
        self.power = nn.Parameter(strengths[:, None].repeat(1, BLOCK))
        # kernels that take a block apart into its voxels
        voxels = torch.eye(BLOCK).reshape(BLOCK, 1, SIDE, SIDE, SIDE)
        self.register_buffer("voxels", voxels, persistent=False)
        self.register_buffer("share", torch.full((components,), -math.log(components)))

    @torch.no_grad()
    def fill(self, covariances: Tensor, shares: Tensor) -> None:
        """Take a mixture over.

        Args:
            covariances: (K, 64, 64), of blocks less their means, robust range one.
            shares: (K,), of the components, sum one.
        """
        variances, vectors = torch.linalg.eigh(covariances)
        self.basis.copy_(PACE * vectors)
        self.power.copy_(variances.clamp_min(1e-9).log())
        self.share.copy_(shares.log())

    def forward(self, image: Tensor, level: Tensor) -> Tensor:
        """Restore images.

        Args:
            image: (B, 1, Z, Y, X) of any shape, robust range about one.
            level: deviation of the noise, same units; (B, 1, Z, Y, X), or (B, 1, 1, 1, 1).
        """
        whole = level.expand_as(image)
        z, y, x = image.shape[2:]
        pads = [n for size in (x, y, z) for n in (0, size % STEP)]
        with torch.autocast(image.device.type, enabled=False):
            padded = functional.pad(image.float(), pads, mode="replicate")
            levels = functional.pad(whole.float(), pads, mode="replicate").clamp_min(SMALLEST)
            restored = signal(self.estimate(padded, levels), levels, padded)
            removed = ((padded - restored) / levels)[:, :, :z, :y, :x]
            return image - whole * removed

    def estimate(self, noisy: Tensor, level: Tensor) -> Tensor:
        """Mean of what the blocks of an image are estimated to be.

        Args:
            noisy: (B, 1, Z, Y, X), float32, sides even.
            level: deviation of the noise, same shape, above zero.
        """
        padded = functional.pad(noisy, [SIDE] * 6, mode="replicate")
        levels = functional.pad(level, [SIDE] * 6, mode="replicate")
        total, weights = torch.zeros_like(padded), torch.zeros_like(padded)
        for start in STARTS:
            part = padded[:, :, start:, start:, start:]
            variance = functional.avg_pool3d(levels[:, :, start:, start:, start:], SIDE, STEP)
            values, weight = self._restored(part, variance.square())
            z, y, x = (start + size for size in values.shape[2:])
            total[:, :, start:z, start:y, start:x] += values
            weights[:, :, start:z, start:y, start:x] += weight
        inner = slice(SIDE, -SIDE)
        return total[:, :, inner, inner, inner] / weights[:, :, inner, inner, inner]

    def _restored(self, image: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted sum of the restored blocks of one lattice, and of their weights."""
        kernel = self.voxels
        blocks = functional.conv3d(image, kernel, stride=STEP)
        means = blocks.mean(dim=1, keepdim=True)
        rows, noise = _rows(blocks - means), _rows(variance)[:, 0]
        shrunk, weight = self._shrunk(rows, noise, self.choose(rows, noise))
        count, _, *lattice = blocks.shape
        weight = weight.reshape(count, 1, *lattice)
        shrunk = shrunk.reshape(count, *lattice, BLOCK).movedim(-1, 1)
        values = functional.conv_transpose3d((shrunk + means) * weight, kernel, stride=STEP)
        ones = torch.ones_like(kernel[:1])
        return values, functional.conv_transpose3d(weight, ones, stride=STEP)

    @torch.no_grad()
    def choose(self, blocks: Tensor, noise: Tensor) -> Tensor:
        """Component that explains each block best, (N,).

        Args:
            blocks: (N, 64), without their means.
            noise: (N,), variance; its mean is what the choice takes for all of the blocks.
        """
        spread = self.power.exp() + noise.mean()
        filters = (self.basis / PACE / spread.sqrt()[:, None, :]).transpose(0, 1)
        filters = filters.reshape(BLOCK, -1)
        constant = self.share - 0.5 * spread.log().sum(dim=1)
        found = []
        for part in torch.split(blocks, AT_ONCE):
            distance = (part @ filters).square().reshape(len(part), -1, BLOCK).sum(dim=2)
            found.append((constant - 0.5 * distance).argmax(dim=1))
        return torch.cat(found)

    def _shrunk(self, blocks: Tensor, noise: Tensor, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Each block, Wiener filtered in the basis of its component, and its weight."""
        order = chosen.argsort(stable=True)
        counts = torch.bincount(chosen, minlength=len(self.share)).tolist()
        bases, powers = self.basis / PACE, self.power.exp()
        results, weights = [], []
        parts = zip(*(torch.split(one[order], counts) for one in (blocks, noise)), strict=True)
        for basis, power, (part, variance) in zip(bases, powers, parts, strict=True):
            gain = power / (power + variance[:, None])
            results.append((part @ basis * gain) @ basis.T)
            weights.append((1.0 + gain.square().sum(dim=1)).reciprocal())
        back = order.argsort()
        return torch.cat(results)[back], torch.cat(weights)[back]


def signal(mean: Tensor, level: Tensor, noisy: Tensor) -> Tensor:
    """What the mean of magnitudes is without the lift by the noise.

    The second moment of the Rice distribution stands in for the first (Gudbjartsson & Patz 1995,
    doi:10.1002/mrm.1910340618). An image with negative values is no magnitude, and stays.

    Args:
        mean: (B, 1, Z, Y, X).
        level: deviation of the noise, same shape.
        noisy: what ``mean`` is an estimate of.
    """
    magnitude = noisy.amin(dim=(1, 2, 3, 4), keepdim=True) >= 0.0
    # the root's slope has no bound at zero
    lowered = (mean.square() - level.square()).clamp_min(1e-6).sqrt()
    return torch.where(magnitude, lowered, mean)


def _rows(values: Tensor) -> Tensor:
    """(B, C, z, y, x) → (B·z·y·x, C)."""
    return values.movedim(1, -1).reshape(-1, values.shape[1])


ARCHITECTURE = PatchMixture
