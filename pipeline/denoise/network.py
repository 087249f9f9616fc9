"""A denoising network of a bundle, on an image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import device, images, threads
from pipeline.bundles.networks import load
from pipeline.denoise.request import Box, Request, in_content
from pipeline.errors import VoxelwayError
from pipeline.networks.drunet import DRUNet
from pipeline.networks.refiner import Refiner
from pipeline.restore import tiles

NAME = "denoise"
#: Largest edge of the tiles, voxels, and memory for a voxel of one, bytes: features of a few layers
#: at once. What works at half the resolution needs little, and large tiles share less.
TILE, BYTES_PER_VOXEL = 96, 1200.0
HALVED_TILE, HALVED_BYTES_PER_VOXEL = 144, 500.0
#: What neighbouring tiles share, voxels.
OVERLAP = 16
#: Axes along which the copies of a tile are mirrored, in the order in which they are taken.
MIRRORED = ((), (2, 3, 4), (2,), (3, 4), (3,), (2, 4), (4,), (2, 3))
Values = NDArray[np.float32]
Estimates = Callable[[Values], Values]


class Network:
    """Loaded once for any number of images.

    Args:
        bundle: of stage ``denoise``.
        refines: whether it starts from what other filters left.
        copies: the image and mirrored copies of it, whose mean is the result; 1 to 8.

    Attributes:
        contrasts: suffixes that it was trained on.
        window: intensities that it was trained on (CT numbers, HU); None for any.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM; E-MODEL-INPUT, for a network that starts
            from something else, too.
    """

    def __init__(self, bundle: Path, *, refines: bool = False, copies: int = 1) -> None:
        loaded = load(bundle, NAME)
        network = loaded.network(NAME, bundle)
        if isinstance(network, Refiner) is not refines:
            what = "The network starts from the noisy image, not from what other filters left"
            if not refines:
                what = "The network starts from what other filters left, not from the noisy image"
            hint = "Name the method that it was trained for: refined_filters has its own networks"
            raise VoxelwayError("E-MODEL-INPUT", what, where=str(bundle), hint=hint)
        self.contrasts = tuple(loaded.metadata["inputs"].get("contrasts", ()))
        self.mirrored = MIRRORED[:copies]
        self.window = loaded.metadata["inputs"].get("window")
        self.device = device.choose()
        self.network = device.ready(network, self.device)
        torch.set_num_threads(threads.count())

    def __call__(self, request: Request, first: Estimates | None = None) -> Values:
        """The image without noise, (z, y, x), in its own intensities.

        Args:
            request: of the image.
            first: for networks that start from other filters, what these make of an image:
                (z, y, x) → (estimates, z, y, x).
        """
        if self.window is not None:
            return self._within(images.array(request.image), request)

        def work(values: Values, box: Box) -> Values:
            given = [values[None], _level(request, box)[None]]
            if first is not None:
                given.append(first(values))
            found = self._restored(given, request.noise.width)
            return np.maximum(found, 0.0) if request.noise.model == "rician" else found

        return in_content(request, work)

    def _within(self, values: Values, request: Request) -> Values:
        """What lies beyond the window keeps what it has beyond."""
        low, high = (np.float32(end) for end in self.window)
        seen = np.clip(values, low, high) - low
        whole = tuple(slice(0, n) for n in values.shape)
        given = [seen[None], _level(request, whole)[None]]
        found = self._restored(given, float(high - low))
        return np.asarray(values + (found - seen), dtype=np.float32)

    def _restored(self, given: Sequence[Values], scale: float) -> Values:
        both = torch.from_numpy(np.concatenate(given) / np.float32(scale))
        halved = isinstance(self.network, DRUNet)
        most = (HALVED_BYTES_PER_VOXEL, HALVED_TILE) if halved else (BYTES_PER_VOXEL, TILE)
        edge = tiles.fitting(most[0], 16, most[1], self.device)
        found = tiles.run(self._tile, both, edge, min(OVERLAP, edge // 4))
        return found[0].numpy() * np.float32(scale)

    @torch.inference_mode()
    def _tile(self, both: Tensor) -> Tensor:
        on_device = both.to(self.device)
        total = torch.zeros_like(on_device[:, :1])
        for axes in self.mirrored:
            with device.autocast(self.device):
                found: Tensor = self.network(*_separate(on_device.flip(axes)))
            total += found.flip(axes)
        return total / len(self.mirrored)


def _separate(given: Tensor) -> tuple[Tensor, ...]:
    """The image, the level, and what other filters made of it, if any: (B, n, Z, Y, X)."""
    image, level, estimates = given[:, :1], given[:, 1:2], given[:, 2:]
    return (image, level, estimates) if estimates.shape[1] else (image, level)


def _level(request: Request, box: Box) -> Values:
    """Deviation of the noise that the network is told, for each voxel of the box."""
    shape = [part.stop - part.start for part in box]
    level = np.full(shape, request.noise.sigma * request.strength, dtype=np.float32)
    if request.field is not None:
        level *= request.field[box]
    return level
