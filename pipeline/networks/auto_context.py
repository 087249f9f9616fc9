"""A cascade of fully convolutional networks: each sees the sources and what the one before made.

Nie et al. 2017, doi:10.1007/978-3-319-66179-7_48 (context-aware synthesis); auto-context: Tu and
Bai 2010, doi:10.1109/TPAMI.2009.186. Without pooling; wider surroundings come from dilated
convolutions in place of their large kernels, at a tenth of the cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pipeline.networks.estimates import Head, check_counts, with_given
from pipeline.networks.parts import check_features

SLOPE = 0.1


class Stage(nn.Module):
    """One fully convolutional network.

    Args:
        inputs: channels.
        targets: number of contrasts that it makes.
        width: of all layers.
        dilations: one a layer of three voxels.
    """

    def __init__(self, inputs: int, targets: int, width: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.head = nn.Conv3d(inputs, width, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Conv3d(width, width, 3, padding=step, dilation=step) for step in dilations
        )
        self.last = Head(width, targets, 3)
        for layer in (self.head, *self.layers):
            nn.init.kaiming_normal_(cast(Tensor, layer.weight), a=SLOPE)
            nn.init.zeros_(cast(Tensor, layer.bias))

    def forward(self, values: Tensor) -> Tensor:
        """(B, 2 T, Z, Y, X) of (B, inputs, Z, Y, X)."""
        act = nn.functional.leaky_relu
        values = act(self.head(values), SLOPE)
        for number, layer in enumerate(self.layers):
            found = act(layer(values), SLOPE)
            # every second layer is a way round, so that deep ones learn
            values = found if number % 2 == 0 else 0.5 * (values + found)
        return cast(Tensor, self.last(values))


class AutoContext(nn.Module):
    """Stages that each improve on the one before; 0.1 million parameters by default.

    Each stage learns from its own loss: what it is given of the stage before carries no gradient.

    Args:
        inputs: number of contrasts that it may be given.
        targets: number of contrasts that it makes.
        stages: networks, two or more.
        width: channels of all layers.
        dilations: of the layers of three voxels after the first.

    Raises:
        ValueError: for arguments that do not fit.
    """

    def __init__(
        self,
        inputs: int,
        targets: int,
        stages: int = 2,
        width: int = 16,
        dilations: Sequence[int] = (1, 2, 4, 4, 2, 1),
    ) -> None:
        super().__init__()
        check_counts(inputs, targets)
        check_features("width", [width])
        check_features("dilations", dilations)
        if stages < 2:
            raise ValueError(f"stages is 2 or more, not {stages}")
        wide = 2 * inputs + targets
        self.stages = nn.ModuleList(
            Stage(2 * inputs if k == 0 else wide, targets, width, dilations) for k in range(stages)
        )
        self.targets, self.estimates = targets, stages

    def forward(self, sources: Tensor, given: Tensor) -> list[Tensor]:
        """An estimate a stage; see :mod:`pipeline.networks.estimates`."""
        whole = with_given(sources, given)
        found: list[Tensor] = []
        for stage in self.stages:
            before = [found[-1][:, : self.targets].detach().to(whole.dtype)] if found else []
            found.append(stage(torch.cat([whole, *before], dim=1)))
        return found


ARCHITECTURE = AutoContext
