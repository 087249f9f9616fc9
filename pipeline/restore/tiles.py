"""Large volumes tile by tile: overlaps are blended with Gaussian weights, memory sets the size."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

Box = tuple[slice, slice, slice]

#: Deviation of the blending weights, share of the tile's edge.
WIDTH = 0.25
#: Tiles of a row are a multiple of this long, voxels, as the halvings of networks like it.
MULTIPLE = 8
#: Share of the free memory that one tile may take.
SHARE = 0.5


def boxes(shape: Sequence[int], tile: int, overlap: int) -> Iterator[Box]:
    """Tiles that cover a volume, each within it, neighbours overlapping by ``overlap`` or more.

    As few along each axis as ``tile`` allows, and no longer than that number needs: little is
    computed twice.

    Args:
        shape: Z, Y, X.
        tile: largest edge of the tiles, voxels; an axis that is shorter has one tile.
        overlap: voxels, less than the tile.

    Raises:
        ValueError: for an overlap that leaves no step.
    """
    if not 0 <= overlap < tile:
        raise ValueError(f"an overlap of {overlap} voxels leaves no step for tiles of {tile}")
    yield from itertools.product(*(_spans(size, tile, overlap) for size in shape))


def _spans(size: int, tile: int, overlap: int) -> list[slice]:
    """Of the tiles along one axis, all of one length."""
    count = len(starts(size, tile, tile - overlap))
    whole = -(-(size + (count - 1) * overlap) // count)
    length = min(size, tile, whole + -whole % MULTIPLE)
    return [slice(start, start + length) for start in _even(size, length, count)]


def starts(size: int, tile: int, step: int) -> list[int]:
    """Starts at even distances, so that no overlap is much wider than another."""
    if size <= tile:
        return [0]
    return _even(size, tile, -(-(size - tile) // step) + 1)


def _even(size: int, tile: int, count: int) -> list[int]:
    if count == 1:
        return [0]
    return [round(k * (size - tile) / (count - 1)) for k in range(count)]


def weights(shape: Sequence[int]) -> Tensor:
    """Gaussian weights of a tile, (Z, Y, X), at most one, never zero."""
    lines = []
    for size in shape:
        place = (torch.arange(size, dtype=torch.float32) + 0.5) / size - 0.5
        lines.append(torch.exp(-0.5 * (place / WIDTH) ** 2))
    z, y, x = lines
    return (z[:, None, None] * y[None, :, None] * x[None, None, :]).clamp_min(1e-3)


def run(function: Callable[[Tensor], Tensor], volumes: Tensor, tile: int, overlap: int) -> Tensor:
    """Apply a function tile by tile.

    Args:
        function: (1, C, z, y, x) → (1, D, z, y, x), on the device that it likes.
        volumes: (C, Z, Y, X) on the CPU.
        tile: edge of the tiles, voxels.
        overlap: voxels that neighbours share.

    Returns:
        (D, Z, Y, X), float32, on the CPU.
    """
    shape = volumes.shape[1:]
    found = list(boxes(shape, tile, overlap))
    if len(found) == 1:
        return function(volumes[None])[0].float().cpu()
    total: Tensor | None = None
    sums = torch.zeros(shape)
    for box in found:
        part = function(volumes[(slice(None), *box)][None])[0].float().cpu()
        weight = weights(part.shape[1:])
        if total is None:
            total = torch.zeros((len(part), *shape))
        total[(slice(None), *box)] += part * weight
        sums[box] += weight
    assert total is not None
    return total / sums


def fitting(bytes_per_voxel: float, multiple: int, largest: int, device: torch.device) -> int:
    """Largest edge of a cube whose work fits into the free memory.

    Args:
        bytes_per_voxel: memory that the network needs for a voxel of its input.
        multiple: the edge is a multiple of it.
        largest: no larger than this.
        device: where the network runs.
    """
    voxels = SHARE * free_bytes(device) / bytes_per_voxel
    edge = int(np.floor(voxels ** (1 / 3) / multiple)) * multiple
    return int(np.clip(edge, min(4 * multiple, largest), largest))


def free_bytes(device: torch.device) -> int:
    """Memory that is free on a device."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)
