"""The mixture of a patch prior, from clean images, by expectation maximisation.

Zoran & Weiss 2011, doi:10.1109/ICCV.2011.6126278; Dempster, Laird & Rubin 1977. Each block counts
for its most likely component, with that probability.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.networks.patch_mixture import BLOCK, SIDE
from pipeline.restore.volumes import Volume

#: Blocks that are drawn, and rounds over them; the first rounds see a quarter each.
BLOCKS, ROUNDS, QUARTERS = 240_000, 10, 6
#: Variance that every component has at least along each axis, share of the range squared.
LEAST = 1e-5
#: Blocks that a component's covariance is drawn towards the mean with.
PRIOR = 20.0


def learn(volumes: Sequence[Volume], components: int, seed: int) -> tuple[Tensor, Tensor]:
    """Covariances (K, 64, 64) and shares (K,) of blocks less their means.

    Args:
        volumes: clean images, drawn from by their weights.
        components: K.
        seed: of the blocks and of the first guess.
    """
    rng = np.random.default_rng([seed, 4])
    blocks = torch.from_numpy(draw(volumes, BLOCKS, rng))
    spread = float(blocks.square().mean())
    first = blocks[torch.from_numpy(rng.integers(len(blocks), size=components))]
    wide = 0.3 * spread * torch.eye(BLOCK)
    covariances = 0.5 * first[:, :, None] * first[:, None, :] + wide
    shares = torch.full((components,), 1.0 / components)
    quarters = blocks.chunk(4)
    for turn in range(ROUNDS):
        seen = quarters[turn % 4] if turn < QUARTERS else blocks
        covariances, shares = refined(seen, covariances, shares, spread)
    return covariances, shares


def refined(
    blocks: Tensor, covariances: Tensor, shares: Tensor, spread: float
) -> tuple[Tensor, Tensor]:
    """One round: what each component explains, and what it is from that.

    Args:
        blocks: (N, 64).
        covariances: (K, 64, 64).
        shares: (K,).
        spread: variance of all blocks, for components that explain few.
    """
    count = len(shares)
    total, sums = torch.zeros_like(covariances), torch.zeros(count)
    filters, constant = _whitening(covariances, shares)
    for part in torch.split(blocks, 16384):
        likely = torch.softmax(_log_likelihood(part, filters, constant), dim=1)
        sums += likely.sum(dim=0)
        share, best = likely.max(dim=1)
        for number in torch.unique(best).tolist():
            mine = best == number
            chosen = part[mine]
            total[number] += (chosen * share[mine, None]).T @ chosen
    shrunk = total + PRIOR * 0.2 * spread * torch.eye(BLOCK)
    return shrunk / (sums + PRIOR)[:, None, None], (sums + 1.0) / (sums + 1.0).sum()


def _whitening(covariances: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    factors = torch.linalg.cholesky(covariances + LEAST * torch.eye(BLOCK))
    unit = torch.eye(BLOCK).expand_as(factors)
    filters = torch.linalg.solve_triangular(factors, unit, upper=False).transpose(1, 2)
    size = factors.diagonal(dim1=1, dim2=2).log().sum(dim=1)
    return filters, shares.log() - size


def _log_likelihood(blocks: Tensor, filters: Tensor, constant: Tensor) -> Tensor:
    found = [(blocks @ one).square().sum(dim=1) for one in filters]
    return constant - 0.5 * torch.stack(found, dim=1)


def draw(volumes: Sequence[Volume], count: int, rng: np.random.Generator) -> np.ndarray:
    """Blocks from inside the masks, turned and mirrored at random, less their means: (N, 64)."""
    weights = np.asarray([one.weight for one in volumes], dtype=np.float64)
    numbers = rng.multinomial(count, weights / weights.sum())
    parts = [_of(one, int(n), rng) for one, n in zip(volumes, numbers, strict=True) if n]
    blocks = np.concatenate(parts)
    blocks -= blocks.mean(axis=1, keepdims=True)
    return blocks[rng.permutation(len(blocks))]


def _of(volume: Volume, count: int, rng: np.random.Generator) -> np.ndarray:
    """Blocks of one volume; its edge is repeated where a block reaches over it."""
    padded = np.pad(volume.values, SIDE // 2, mode="edge")
    places = np.argwhere(volume.mask)
    places = places[rng.integers(len(places), size=count)]
    steps = np.indices((SIDE,) * 3).reshape(3, BLOCK)
    order = rng.permuted(np.tile(np.arange(3), (count, 1)), axis=1)
    mirrored = rng.random((count, 3, 1)) < 0.5
    offsets = np.where(mirrored, SIDE - 1 - steps[order], steps[order])
    z, y, x = np.moveaxis(places[:, :, None] + offsets, 1, 0)
    return np.asarray(padded[z, y, x], dtype=np.float32)
