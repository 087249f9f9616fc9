"""Residual generator of image translation: down twice, residual blocks, up again.

Johnson et al. 2016, doi:10.1007/978-3-319-46475-6_43, as the generator of Zhu et al. 2017,
doi:10.1109/ICCV.2017.244; here also in 3D, and by default without instance normalisation: with it
the result at a voxel depends on whatever else its tile shows.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks.estimates import Head, check_counts, with_given
from pipeline.networks.parts import check_choice, check_features

NORMALISATIONS = ("none", "instance")


class _Block(nn.Module):
    """x + f(x) with two convolutions; f starts at nearly nothing."""

    def __init__(self, width: int, layer: Any, normalise: Any) -> None:
        super().__init__()
        first, second = (layer(width, width, 3, padding=1) for _ in range(2))
        with torch.no_grad():
            second.weight.mul_(0.1)
        self.layers = nn.Sequential(first, normalise(width), nn.ReLU(), second, normalise(width))

    def forward(self, values: Tensor) -> Tensor:
        """Same shape."""
        return values + cast(Tensor, self.layers(values))


class ResnetGenerator(nn.Module):
    """Makes contrasts from others; 0.9 million parameters by default in 3D.

    Args:
        inputs: number of contrasts that it may be given.
        targets: number of contrasts that it makes.
        features: channels at full resolution; twice and four times as many below.
        blocks: residual blocks at the lowest resolution.
        dimensions: ``3``, or ``2.5`` for planes with those beside them.
        neighbours: planes on each side that 2.5 dimensions see.
        normalisation: ``none`` or ``instance``.

    Raises:
        ValueError: for arguments that do not fit.
    """

    def __init__(
        self,
        inputs: int,
        targets: int,
        features: int = 16,
        blocks: int = 4,
        dimensions: str = "3",
        neighbours: int = 1,
        normalisation: str = "none",
    ) -> None:
        super().__init__()
        check_counts(inputs, targets)
        check_choice("dimensions", dimensions, ("2.5", "3"))
        check_choice("normalisation", normalisation, NORMALISATIONS)
        check_features("features and blocks", [features, blocks])
        if neighbours < 0:
            raise ValueError(f"neighbours is 0 or more, not {neighbours}")
        self.dims = 3 if dimensions == "3" else 2
        self.neighbours = 0 if self.dims == 3 else neighbours
        self.factor = 4
        layer: Any = nn.Conv3d if self.dims == 3 else nn.Conv2d
        instance: Any = nn.InstanceNorm3d if self.dims == 3 else nn.InstanceNorm2d
        norm: Any = instance if normalisation == "instance" else nn.Identity
        channels = inputs * (2 * self.neighbours + 1) + inputs
        widths = [features, 2 * features, 4 * features]
        layers: list[nn.Module] = [layer(channels, features, 5, padding=2), norm(features)]
        for k in range(2):
            layers += [nn.ReLU(), layer(widths[k], widths[k + 1], 3, stride=2, padding=1)]
            layers.append(norm(widths[k + 1]))
        layers += [nn.ReLU(), *(_Block(widths[-1], layer, norm) for _ in range(blocks))]
        for k in (1, 0):
            # enlarged, then convolved: transposed convolutions leave a checkerboard
            layers += [nn.Upsample(scale_factor=2.0), layer(widths[k + 1], widths[k], 3, padding=1)]
            layers += [norm(widths[k]), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.last = Head(features, targets, self.dims)

    def forward(self, sources: Tensor, given: Tensor) -> list[Tensor]:
        """One estimate; see :mod:`pipeline.networks.estimates`."""
        whole = with_given(sources, given)
        if self.dims == 3:
            return [self._estimate(whole)]
        n, (count, inputs, z) = self.neighbours, sources.shape[:3]
        beside = functional.pad(sources, (0, 0, 0, 0, n, n), mode="replicate")
        planes = [beside[:, :, k : k + z] for k in range(2 * n + 1)]
        flat = torch.cat([*planes, whole[:, inputs:]], dim=1).transpose(1, 2).flatten(0, 1)
        found = self._estimate(flat)
        return [found.reshape(count, z, *found.shape[1:]).transpose(1, 2)]

    def _estimate(self, values: Tensor) -> Tensor:
        shape = values.shape[2:]
        pads = [n for size in reversed(shape) for n in (0, -size % self.factor)]
        found = cast(Tensor, self.last(self.layers(functional.pad(values, pads))))
        for axis, size in enumerate(shape, start=2):
            found = found.narrow(axis, 0, size)
        return found


ARCHITECTURE = ResnetGenerator
