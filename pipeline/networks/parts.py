"""Parts that several networks are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks import spatial
from pipeline.networks.deformation import Deformation

Field = Literal["displacement", "velocity"]
Resolution = Literal["full", "half"]


def pair(moving: Tensor, fixed: Tensor) -> Tensor:
    """Both images as two channels.

    Raises:
        ValueError: when they are not two (B, 1, Z, Y, X) of one shape.
    """
    if moving.shape != fixed.shape or moving.ndim != 5 or moving.shape[1] != 1:
        shapes = f"{tuple(moving.shape)} and {tuple(fixed.shape)}"
        raise ValueError(f"the images are two (B, 1, Z, Y, X) of one shape, not {shapes}")
    return torch.cat([moving, fixed], dim=1)


def on_padded(network: Callable[[Tensor], Tensor], images: Tensor, factor: int) -> Tensor:
    """Run a network on images filled up with zeros, at the ends, to multiples of ``factor``."""
    pads = [n for size in reversed(images.shape[2:]) for n in (0, -size % factor)]
    return network(functional.pad(images, pads))


def crop(volume: Tensor, shape: Sequence[int]) -> Tensor:
    """The first voxels along each axis: what :func:`on_padded` added goes."""
    z, y, x = shape
    return volume[:, :, :z, :y, :x]


def double(field: Tensor) -> Tensor:
    """A field on voxels of half the edge, where each voxel has become two by two by two.

    Its values double with the voxels. Unlike :func:`spatial.resize`, which keeps the corners,
    this does not depend on the shape, and undoes pooling by two.
    """
    return 2 * functional.interpolate(
        field, scale_factor=2.0, mode="trilinear", align_corners=False
    )


def deform(predicted: Tensor, shape: Sequence[int], field: Field, steps: int) -> Deformation:
    """Turn a predicted field, at full or half resolution, into maps of the full grid.

    Args:
        predicted: (B, 3, ...), the network's last layer, perhaps padded, in its own voxels.
        shape: Z, Y, X of the images; the prediction is at half resolution if it is smaller.
        field: what the prediction is.
        steps: squarings of the integration of a velocity.
    """
    # half precision is too coarse for positions
    predicted = predicted if predicted.dtype == torch.float64 else predicted.float()
    half = predicted.shape[2] < shape[0]

    def full(small: Tensor) -> Tensor:
        return crop(double(small) if half else small, shape)

    if field == "displacement":
        return Deformation(full(predicted), None, None)
    displacement = full(spatial.integrate(predicted, steps))
    inverse = full(spatial.integrate(-predicted, steps))
    return Deformation(displacement, inverse, predicted)


def nearly_zero(layer: nn.Conv3d | nn.Linear) -> None:
    """Weights so small that a last layer starts at no displacement, yet has a gradient."""
    nn.init.normal_(layer.weight, std=1e-5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the shape (or divides it by the stride), then a leaky ReLU."""
    layer = nn.Conv3d(inputs, outputs, kernel, stride, padding=kernel // 2)
    nn.init.kaiming_normal_(layer.weight, a=0.2)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layer, nn.LeakyReLU(0.2))


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse an argument that is not among the choices, with a ValueError."""
    if value not in choices:
        raise ValueError(f"{name} is {' or '.join(choices)}, not {value!r}")


def check_features(name: str, features: Sequence[int]) -> None:
    """Refuse an empty list of widths and widths below one, with a ValueError."""
    if not features or min(features) < 1:
        raise ValueError(f"{name} has one width or more, each 1 or more, not {list(features)}")
