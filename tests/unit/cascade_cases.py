"""Cascades of networks whose weights are set by hand, so that every answer is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import torch
from torch import Tensor, nn

from pipeline import labels
from pipeline.bundles.networks import Loaded
from pipeline.segment.cascade import run
from pipeline.segment.cascade.plan import CascadePlan, Intensity, Level

#: Steepness of the hand-set classifiers: a difference of 0.1 in intensity is a logit of 20.
SHARP = 2000.0


class Nearest(nn.Module):
    """A convolution of 1 x 1 x 1: each voxel takes the class whose intensity is the nearest.

    Args:
        levels: intensity of every class, the background's first.
        inputs: channels; all but the first are looked past.
        sharp: steepness.
    """

    def __init__(self, levels: Sequence[float], inputs: int = 1, sharp: float = SHARP) -> None:
        super().__init__()
        self.divisor = (2, 2, 2)
        self.layer = nn.Conv3d(inputs, len(levels), 1)
        middle = torch.tensor(levels, dtype=torch.float32)
        with torch.no_grad():
            self.layer.weight.zero_()
            self.layer.weight[:, 0, 0, 0, 0] = sharp * middle
            self.layer.bias.copy_(-sharp * middle**2 / 2)

    def forward(self, image: Tensor) -> list[Tensor]:
        assert all(n % 2 == 0 for n in image.shape[2:])
        return [self.layer(image)]


class Halves(nn.Module):
    """Bright voxels are class 1 in the first half of the x axis, class 2 in the second."""

    divisor = (1, 1, 1)

    def forward(self, image: Tensor) -> list[Tensor]:
        value = image[:, :1]
        count = value.shape[-1]
        first = (
            (torch.arange(count, device=value.device) < count / 2).to(value.dtype).expand_as(value)
        )
        bright = 20.0 * (value - 0.5)
        return [torch.cat([torch.zeros_like(value), bright + 40.0 * (first - 1),
                           bright - 40.0 * first], dim=1)]  # fmt: skip


def level(name: str, classes: Sequence[Sequence[int]], **over: Any) -> Level:
    """A level of 2 mm without a box, with any change."""
    groups = tuple(tuple(group) for group in classes)
    return replace(Level(name, (2.0, 2.0, 2.0), (16, 16, 16), groups), **over)


def plan(*levels: Level, facts: Mapping[str, Any] | None = None, **over: Any) -> CascadePlan:
    """A plan of one image of any contrast with intensities 0 to 1; labels 1 and 2 are a pair."""
    indices = sorted({label for one in levels for label in one.labels})
    pairs = {1: 2, 2: 1}
    rows = tuple(
        {"index": n, "name": f"part-{n}", "color": labels.color_of(n), "pair": pairs.get(n)}
        for n in indices
    )
    made = CascadePlan(("any",), rows, levels, Intensity("window", 0.0, 1.0), facts or {})
    return replace(made, **over)


class Fake:
    """Puts hand-made networks in place of those of a bundle."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.patch = patch

    def __call__(
        self, made: CascadePlan, networks: Mapping[str, nn.Module], **metadata: Any
    ) -> Path:
        """Path of the bundle that is not there."""
        content = {"inputs": {"plan": made.as_json()}, **metadata}
        loaded = Loaded(dict(networks), content)
        self.patch.setattr(run, "load", lambda path, stage: loaded)
        return Path("bundle")


def picture(
    values: np.ndarray,
    spacing: Sequence[float] = (2.0, 2.0, 2.0),
    turn: Sequence[float] = (0.0, 0.0, 0.0),
) -> sitk.Image:
    """Image of (z, y, x) values, turned about x, y, z by degrees, at an odd place."""
    image = sitk.GetImageFromArray(values.astype(np.float32))
    image.SetSpacing([float(v) for v in spacing])
    rotation = sitk.Euler3DTransform()
    rotation.SetRotation(*np.deg2rad(turn).tolist())
    image.SetDirection(rotation.GetMatrix())
    image.SetOrigin((-31.0, 12.5, 7.25))
    return image


def brick(
    size: Sequence[int], parts: Sequence[tuple[Sequence[int], Sequence[int], float]]
) -> np.ndarray:
    """Array (z, y, x) of ``size`` x, y, z with bricks from x, y, z to x, y, z of an intensity."""
    values = np.zeros(tuple(size)[::-1])
    for (x, y, z), (u, v, w), intensity in parts:
        values[z:w, y:v, x:u] = intensity
    return values
