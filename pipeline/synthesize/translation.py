"""A network of a bundle that makes contrasts, on the images of one head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from torch import Tensor

from pipeline import device, images, threads
from pipeline.bundles.networks import load
from pipeline.errors import VoxelwayError
from pipeline.restore import tiles
from pipeline.synthesize import patches
from pipeline.synthesize.learning import space
from pipeline.synthesize.protocol import Made, Method

NAME = "synthesize"
#: Edge of the tiles and what neighbours share, voxels.
TILE, OVERLAP = 80, 16
#: Memory for a voxel of a tile, bytes: features of a few layers at once.
BYTES_PER_VOXEL = 1500.0
#: Orders of the axes (Z, Y, X) that put each in the place of the planes' normal.
ORDERS = {"all": ((0, 1, 2), (1, 0, 2), (2, 0, 1))}


class Network:
    """Loaded once for any number of heads.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT.
    """

    def __init__(self, bundle: Path) -> None:
        loaded = load(bundle, NAME)
        network = loaded.network(NAME, bundle)
        about = loaded.metadata
        self.name = bundle.name
        self.contrasts = tuple(str(name) for name in about["inputs"]["contrasts"])
        self.spacing = float(about["inputs"]["spacing_mm"])
        self.margin = float(about["inputs"]["margin_mm"])
        self.outputs: Mapping[str, Any] = about["outputs"]
        self.orders = ORDERS.get(str(self.outputs.get("orientations")), ((0, 1, 2),))
        self.factor = float(about.get("calibration", {}).get("spread_factor", 1.0))
        self.device = device.choose()
        self.network = device.ready(network, self.device)
        torch.set_num_threads(threads.count())

    def usable(self, available: Sequence[str], target: str) -> list[str]:
        """Contrasts that the target is made from.

        Raises:
            VoxelwayError: E-TRAIN-DATA, E-MODEL-INPUT.
        """
        for item in self.outputs.get("absent", ()):
            if item["target"] == target:
                hint = "Add subjects with this contrast, or leave it out of synthesize.targets"
                what = f"No model for {target}: {item['reason']}"
                raise VoxelwayError("E-TRAIN-DATA", what, hint=hint)
        if target not in self.outputs["contrasts"]:
            known = ", ".join(self.outputs["contrasts"])
            what = f"The model does not make {target} (but {known})"
            raise VoxelwayError("E-MODEL-INPUT", what, where=self.name)
        found = [name for name in self.contrasts if name in available and name != target]
        if not found:
            have = " + ".join(sorted(available)) or "no contrast"
            known = " or ".join(name for name in self.contrasts if name != target)
            what = f"The model makes {target} from {known}, not from {have}"
            raise VoxelwayError("E-MODEL-INPUT", what, where=self.name)
        return found

    def __call__(self, sources: Mapping[str, sitk.Image], mask: sitk.Image, target: str) -> Made:
        """Make a target; see :class:`pipeline.synthesize.protocol.Method`."""
        used = self.usable(list(sources), target)
        region = patches.grown(mask, self.margin)
        grid = space.around(region, self.spacing)
        volumes = self._ready({name: sources[name] for name in used}, mask, region, grid)
        given = torch.tensor([[float(name in used) for name in self.contrasts]])
        mean, deviation = self._estimate(volumes, given, self._number(target))
        level = float(self.outputs["levels"][target])
        rim = images.bool_array(region)
        # magnitude images are not negative
        made = np.maximum(_back(mean * level, grid, mask, order=3), 0.0)
        spread = np.maximum(_back(deviation * level * self.factor, grid, mask, order=1), 0.0)
        return Made(
            images.like(np.where(rim, made, 0.0).astype(np.float32), mask),
            images.like(np.where(rim, spread, 0.0).astype(np.float32), mask),
            tuple(used),
        )

    def _number(self, target: str) -> int:
        return list(self.outputs["contrasts"]).index(target)

    def _ready(
        self, sources: Mapping[str, sitk.Image], mask: sitk.Image, region: sitk.Image,
        grid: sitk.Image,
    ) -> Tensor:  # fmt: skip
        """Sources as the network was trained on them, zero for those that are missing."""
        rim = space.inside(region, grid)
        volumes = torch.zeros((len(self.contrasts), *rim.shape))
        for name, image in sources.items():
            values = images.array(space.onto(image, grid)) / space.level(image, mask, name)
            volumes[self.contrasts.index(name)] = torch.from_numpy(np.where(rim, values, 0.0))
        return volumes

    @torch.inference_mode()
    def _estimate(
        self, volumes: Tensor, given: Tensor, number: int
    ) -> tuple[space.Floats, space.Floats]:
        """Mean and deviation over the orientations, in medians of the brain."""
        means, variances = [], []
        edge = tiles.fitting(BYTES_PER_VOXEL, 16, TILE, self.device)
        for order in self.orders:
            turned = volumes.permute(0, *(axis + 1 for axis in order))

            def tile(part: Tensor) -> Tensor:
                estimates = self.network(part.to(self.device), given.to(self.device))
                last: Tensor = estimates[-1]
                half = last.shape[1] // 2
                return torch.cat([last[:, [number]], last[:, [half + number]].exp()], dim=1)

            found = tiles.run(tile, turned, edge, min(OVERLAP, edge // 4))
            back = found.permute(0, *(order.index(axis) + 1 for axis in range(3)))
            means.append(back[0])
            variances.append(back[1])
        mean = torch.stack(means)
        # what the orientations do not agree on is doubt, too
        variance = torch.stack(variances).mean(dim=0) + mean.var(dim=0, unbiased=False)
        return mean.mean(dim=0).numpy(), variance.sqrt().numpy()


def _back(values: space.Floats, grid: sitk.Image, reference: sitk.Image, order: int) -> Any:
    image = images.like(values.astype(np.float32), grid)
    return images.array(images.resample(image, reference, order=order))


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Load the bundle once.

    Args:
        params: section ``synthesize``.
        model: bundle of stage ``synthesize``.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT.
    """
    assert model is not None  # methods.create has seen to it
    return Network(model)
