"""Where structures lie in other subjects, as the start of a network's answer.

The last channels of the input are each voxel's prior shares of the classes; their logarithm is
added to the logits, so that the network learns what the image says against them: by Bayes' rule the
posterior is the prior times the likelihood. Atlases have been used so since Van Leemput et al.
1999, doi:10.1109/42.811270.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Added to every share: what no training case shows is unlikely, not impossible.
FLOOR = 0.01


class Prior(nn.Module):
    """The atlas, kept with the weights of its network.

    Args:
        shape: K classes but the background, then Z, Y, X of the atlas' grid.

    Attributes:
        shares: (K, Z, Y, X), uint8, 255 where every training case has the class.
    """

    shares: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        if len(shape) != 4 or min(shape) < 1:
            raise ValueError(f"a prior has K, Z, Y, X, not {list(shape)}")
        self.register_buffer("shares", torch.zeros(*(int(n) for n in shape), dtype=torch.uint8))

    @property
    def classes(self) -> int:
        """Classes but the background."""
        return int(self.shares.shape[0])


def lean(network: nn.Module, shape: Sequence[int]) -> None:
    """Let a segmentation network start from the prior in the last channels of its input.

    Args:
        network: (B, C + K, *S) → a list of logits (B, K + 1, *S_k).
        shape: of :class:`Prior`.
    """
    network.add_module("prior", Prior(shape))
    network.register_forward_hook(_lean)


def _lean(network: nn.Module, given: tuple[Any, ...], found: list[Tensor]) -> list[Tensor]:
    prior = network.prior
    assert isinstance(prior, Prior)
    share = given[0][:, -prior.classes :].float()
    rest = (1.0 - share.sum(dim=1, keepdim=True)).clamp_min(0.0)
    whole = torch.cat([rest, share], dim=1)
    return [logits + _log(whole, logits.shape[2:]) for logits in found]


def _log(share: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(share.shape[2:]) != tuple(size):
        share = functional.interpolate(share, size=tuple(size), mode="area")
    return torch.log(share + FLOOR)
