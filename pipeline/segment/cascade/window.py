"""A segmentation network over a volume: in one piece, or by a window that slides over it.

Windows overlap, and their logits are blended with Gaussian weights (Isensee et al. 2021, nnU-Net,
doi:10.1038/s41592-020-01008-z). Which way is taken depends on the sizes alone, never on the memory
that happens to be free: the same image gives the same voxels.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline import progress
from pipeline.device import autocast
from pipeline.restore import tiles
from pipeline.segment.cascade import memory

#: A volume up to so many patches long goes through in one piece: a network that takes any size
#: does not mind, and the overlaps of windows would cost more.
ONCE = 1.5
Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Way:
    """How a volume goes through a network.

    Attributes:
        size: Z, Y, X that the volume is filled up to.
        patch: Z, Y, X of the window; the same as ``size`` for one piece.
        starts: first voxels of the windows.
    """

    size: Shape
    patch: Shape
    starts: tuple[Shape, ...]

    @property
    def whole(self) -> bool:
        """Whether there is one piece."""
        return len(self.starts) == 1


def divisor(network: nn.Module) -> Shape:
    """What the network's sizes are multiples of, Z, Y, X."""
    steps = tuple(int(n) for n in getattr(network, "divisor", (1, 1, 1)))
    z, y, x = (1,) * (3 - len(steps)) + steps
    return z, y, x


def way(shape: Sequence[int], patch: Sequence[int], steps: Sequence[int], overlap: float) -> Way:
    """Windows over a volume.

    Args:
        shape: Z, Y, X of the volume.
        patch: Z, Y, X that the network was trained on; a smaller volume is filled up to it.
        steps: divisor of the network.
        overlap: share of the patch that neighbours have in common, 0 to below 1.
    """
    size, edge, axes = [], [], []
    for own, wanted, step in zip(shape, patch, steps, strict=True):
        window = math.ceil(wanted / step) * step
        filled = math.ceil(max(own, window) / step) * step
        if own <= ONCE * window:
            window = filled
        else:
            filled = max(own, window)
        stride = max(1, round(window * (1 - overlap)))
        size.append(filled)
        edge.append(window)
        axes.append(tiles.starts(filled, window, stride))
    starts = tuple((z, y, x) for z, y, x in itertools.product(*axes))
    return Way((size[0], size[1], size[2]), (edge[0], edge[1], edge[2]), starts)


def needed(network: nn.Module, inputs: int, route: Way, images: int) -> float:
    """Bytes that ``images`` of a batch take on the device at once."""
    return memory.bytes_per_voxel(network, inputs, route.patch) * math.prod(route.patch) * images


@torch.inference_mode()
def logits(
    network: nn.Module,
    values: Tensor,
    route: Way,
    device: torch.device,
) -> Tensor:
    """Logits of a batch of volumes.

    Args:
        network: on the device, in the mode of evaluation; (B, C, Z, Y, X) → a list, finest first.
        values: (B, C, Z, Y, X), scaled, on the CPU.
        route: of :func:`way` for their shape.
        device: where the network runs; see :func:`pipeline.device.autocast`.

    Returns:
        (B, K, Z, Y, X), float32, on the device.
    """
    filled = fill(values, route.size)
    whole = route.whole
    found = _run(network, filled, device) if whole else _slid(network, filled, route, device)
    own = zip(starts(values, route.size), values.shape[2:], strict=True)
    z, y, x = (slice(first, first + count) for first, count in own)
    return found[..., z, y, x]


def starts(values: Tensor, size: Sequence[int]) -> Shape:
    """First voxel of (B, C, Z, Y, X) in the volume of this size that it is filled up to."""
    z, y, x = ((wanted - own) // 2 for wanted, own in zip(size, values.shape[2:], strict=True))
    return z, y, x


def fill(values: Tensor, size: Sequence[int]) -> Tensor:
    """Fill up (B, C, Z, Y, X) on all sides, each channel with its lowest value.

    A small image is in the middle, as in training: a network learns where in its patch things are.
    """
    if tuple(size) == tuple(values.shape[2:]):
        return values
    result = values.amin(dim=(2, 3, 4), keepdim=True).expand(*values.shape[:2], *size).clone()
    own = zip(starts(values, size), values.shape[2:], strict=True)
    z, y, x = (slice(first, first + count) for first, count in own)
    result[..., z, y, x] = values
    return result


def _slid(network: nn.Module, values: Tensor, route: Way, device: torch.device) -> Tensor:
    total: Tensor | None = None
    sums = torch.zeros(route.size, device=device)
    weight = tiles.weights(route.patch).to(device)
    for start in progress.shown(route.starts, len(route.starts), "segment", unit="window"):
        z, y, x = (slice(a, a + n) for a, n in zip(start, route.patch, strict=True))
        part = _run(network, values[:, :, z, y, x], device)
        if total is None:
            total = torch.zeros((*part.shape[:2], *route.size), device=device)
        total[:, :, z, y, x] += part * weight
        sums[z, y, x] += weight
    assert total is not None
    return total.div_(sums)


def _run(network: nn.Module, values: Tensor, device: torch.device) -> Tensor:
    on_device = values.to(device)
    with autocast(device):
        if getattr(network, "dims", 3) == 2:
            found = _slices(network, on_device)
        else:
            found = network(on_device)[0]
    return found.float()


def _slices(network: nn.Module, values: Tensor) -> Tensor:
    """A network of two dimensions, slice by slice along Z."""
    images, _, depth = values.shape[:3]
    found: Tensor = network(values.transpose(1, 2).flatten(0, 1))[0]
    return found.reshape(images, depth, *found.shape[1:]).transpose(1, 2)


@torch.inference_mode()
def softmax(scores: Tensor, temperature: float) -> Tensor:
    """Shares of the classes, (B, K, Z, Y, X), in the memory of the logits."""
    return functional.softmax(scores.div_(temperature), dim=1)
