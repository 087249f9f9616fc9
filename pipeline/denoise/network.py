"""A denoising network of a bundle, on an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from pipeline import device, images, threads
from pipeline.bundles.networks import load
from pipeline.denoise.noise import around
from pipeline.denoise.request import Request
from pipeline.errors import VoxelwayError
from pipeline.networks.refiner import Refiner
from pipeline.restore import tiles

NAME = "denoise"
#: Edge of the tiles and what neighbours share, voxels.
TILE, OVERLAP = 96, 16
#: Memory for a voxel of a tile, bytes: features of a few layers at once.
BYTES_PER_VOXEL = 1200.0
Values = NDArray[np.float32]


class Network:
    """Loaded once for any number of images.

    Args:
        bundle: of stage ``denoise``.
        refines: whether it starts from what another filter left.

    Attributes:
        contrasts: suffixes that it was trained on.
        window: intensities that it was trained on (CT numbers, HU); None for any.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM; E-MODEL-INPUT, for a network that starts
            from something else, too.
    """

    def __init__(self, bundle: Path, *, refines: bool = False) -> None:
        loaded = load(bundle, NAME)
        network = loaded.network(NAME, bundle)
        if isinstance(network, Refiner) is not refines:
            what = "The network starts from the noisy image, not from what non-local means left"
            if not refines:
                what = "The network starts from what non-local means left, not from the noisy image"
            hint = "Name the method that it was trained for: refined_nlm has networks of its own"
            raise VoxelwayError("E-MODEL-INPUT", what, where=str(bundle), hint=hint)
        self.contrasts = tuple(loaded.metadata["inputs"].get("contrasts", ()))
        self.window = loaded.metadata["inputs"].get("window")
        self.device = device.choose()
        self.network = network.to(self.device).eval()
        torch.set_num_threads(threads.count())

    def __call__(self, request: Request, filtered: Values | None = None) -> Values:
        """The image without noise, (z, y, x), in its own intensities.

        Args:
            request: of the image.
            filtered: what another filter made of it, same shape, for networks that start from it.
        """
        values = images.array(request.image)
        if self.window is not None:
            return self._within(values, request)
        box = around(values != 0, rim=8)
        result = values.copy()
        given = [values[box], _level(request, box)]
        if filtered is not None:
            given.append(filtered[box])
        result[box] = self._restored(given, request.noise.width)
        # an emptied background is no measurement: it stays empty
        empty = ndimage.binary_opening(values == 0, np.ones((3, 3, 3), dtype=bool))
        result[empty] = 0.0
        if request.noise.model == "rician":
            np.maximum(result, 0.0, out=result)
        return result

    def _within(self, values: Values, request: Request) -> Values:
        """What lies beyond the window keeps what it has beyond."""
        low, high = (np.float32(end) for end in self.window)
        seen = np.clip(values, low, high) - low
        whole = tuple(slice(0, n) for n in values.shape)
        found = self._restored([seen, _level(request, whole)], float(high - low))
        return np.asarray(values + (found - seen), dtype=np.float32)

    def _restored(self, given: Sequence[Values], scale: float) -> Values:
        both = torch.from_numpy(np.stack(given) / np.float32(scale))
        edge = tiles.fitting(BYTES_PER_VOXEL, 16, TILE, self.device)
        found = tiles.run(self._tile, both, edge, min(OVERLAP, edge // 4))
        return found[0].numpy() * np.float32(scale)

    @torch.inference_mode()
    def _tile(self, both: Tensor) -> Tensor:
        on_device = both.to(self.device)
        with device.autocast(self.device):
            found: Tensor = self.network(*torch.split(on_device, 1, dim=1))
        return found


def _level(request: Request, box: tuple[slice, ...]) -> Values:
    """Deviation of the noise that the network is told, for each voxel of the box."""
    shape = [part.stop - part.start for part in box]
    level = np.full(shape, request.noise.sigma * request.strength, dtype=np.float32)
    if request.field is not None:
        level *= request.field[box]
    return level
