"""Fusion over orthogonal views: a network for each axis as the slices' normal, averaged.

Wang et al. 2018, doi:10.1007/978-3-319-75238-9_16, average the probabilities of three views;
Perslev et al. 2019, doi:10.1007/978-3-030-32245-8_4, of more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import networks
from pipeline.networks.segmenter import Segmenter


class MultiView(Segmenter):
    """The mean probability of networks that each see the volume along another axis.

    Args:
        inputs: channels of the image.
        outputs: classes, the background among them.
        dims: 3.
        network: name of the network of a view, as ``anisotropic`` or ``slicewise``.
        arguments: of it, but for inputs and outputs.
        views: axes that are the slices' normal, 0 to 2 (Z, Y, X).
        shared: one network for all views, instead of one each.

    Raises:
        ValueError: for arguments that do not fit.
        VoxelwayError: E-MODEL-INPUT when the network can't be made.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int = 3,
        network: str = "anisotropic",
        arguments: Mapping[str, Any] | None = None,
        views: Sequence[int] = (0, 1, 2),
        shared: bool = False,
    ) -> None:
        if dims != 3 or not views or not set(views) <= {0, 1, 2}:
            raise ValueError("dims is 3, views are axes 0 to 2, one at least")
        given = {**(arguments or {}), "inputs": inputs, "outputs": outputs}
        made = [networks.build(network, given) for _ in range(1 if shared else len(views))]
        divisors = [_along(one, view) for one, view in zip(made * len(views), views, strict=False)]
        divisor = [math.lcm(*axis) for axis in zip(*divisors, strict=True)]
        super().__init__(inputs, outputs, dims, divisor)
        self.views = tuple(views)
        self.shared = shared
        self.networks = nn.ModuleList(made)

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logarithms of the mean probabilities (B, outputs, *S), the only entry of a list.

        Raises:
            ValueError: for other channels, or sizes that are no multiple of ``divisor``.
        """
        self.check(image)
        found = []
        for number, view in enumerate(self.views):
            network = self.networks[0 if self.shared else number]
            logits = network(image.movedim(2 + view, 2))[0]
            # half precision is too coarse for logarithms of probabilities
            found.append(torch.log_softmax(logits.movedim(2, 2 + view).float(), dim=1))
        mean = torch.logsumexp(torch.stack(found), dim=0) - math.log(len(found))
        return [mean]


def _along(network: nn.Module, view: int) -> list[int]:
    """Divisor of a network on a volume whose axis ``view`` it gets as the first."""
    if not isinstance(network, Segmenter) or network.dims != 3:
        raise ValueError("the network of a view is a segmentation network of volumes")
    first, *others = network.divisor
    others.insert(view, first)
    return others


ARCHITECTURE = MultiView
