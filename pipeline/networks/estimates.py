"""What networks that make one contrast from others share: their inputs, and the last layer.

Such a network is called with ``sources`` (B, C, Z, Y, X) and ``given`` (B, C), 1 for a contrast
that is there, and returns a list of estimates, the last one final: (B, 2 T, Z, Y, X), means of T
targets and then logarithms of their variances.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from pipeline.networks.parts import check_features

#: Middle and half of the range of the variance's logarithm, in squared units of the image:
#: deviations from 0.002 to 0.6. Approached softly, so that training can leave the ends.
LOG_VARIANCE = (-6.5, 5.5)
#: Where it starts, before the soft limits: a deviation of about 0.4.
START = 7.0


class Head(nn.Module):
    """Features to means and logarithms of variances.

    The variance looks at the features and leaves them as they are, so that a network which can
    tell where it errs is not a worse one (Skafte et al. 2019, doi:10.48550/arXiv.1906.03260).

    Args:
        inputs: width of the features.
        targets: number of contrasts that are made.
        dims: 2 or 3.
    """

    def __init__(self, inputs: int, targets: int, dims: int) -> None:
        super().__init__()
        layer = nn.Conv3d if dims == 3 else nn.Conv2d
        self.mean = layer(inputs, targets, 1)
        self.spread = layer(inputs, targets, 1)
        # images are in medians of the brain
        nn.init.ones_(cast(Tensor, self.mean.bias))
        nn.init.zeros_(self.spread.weight)
        # large at first: a young network errs, and a told certainty would be a huge loss
        nn.init.constant_(cast(Tensor, self.spread.bias), START)

    def forward(self, features: Tensor) -> Tensor:
        """(B, 2 T, ...) of (B, inputs, ...)."""
        middle, half = LOG_VARIANCE
        # half precision is too coarse for what is compared with the image
        mean = self.mean(features).float()
        raw = self.spread(features.detach()).float()
        return torch.cat([mean, middle + half * torch.tanh(raw / half)], dim=1)


def with_given(sources: Tensor, given: Tensor) -> Tensor:
    """Sources and, as further channels, which of them are there; (B, 2 C, Z, Y, X).

    Raises:
        ValueError: for shapes that do not fit.
    """
    if sources.ndim != 5 or given.shape != sources.shape[:2]:
        shapes = f"{tuple(sources.shape)} and {tuple(given.shape)}"
        raise ValueError(f"sources are (B, C, Z, Y, X) and given is (B, C), not {shapes}")
    told = given[:, :, None, None, None].to(sources.dtype).expand_as(sources)
    return torch.cat([sources, told], dim=1)


def check_counts(inputs: int, targets: int) -> None:
    """Refuse numbers of contrasts below one, with a ValueError."""
    check_features("inputs", [inputs])
    check_features("targets", [targets])
