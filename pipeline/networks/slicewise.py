"""A 2D network on each slice of a volume, with the slices beside it as more channels (2.5D).

Slices as channels: Roth et al. 2014, doi:10.1007/978-3-319-10404-1_65, has the three planes through
a voxel; here it is the neighbours of each slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from pipeline import networks
from pipeline.networks.segmenter import Segmenter


class Slicewise(Segmenter):
    """Volumes in and out, slice by slice along the first axis.

    Args:
        inputs: channels of the image.
        outputs: classes, the background among them.
        dims: 3.
        network: name of the 2D network.
        arguments: of it, but for inputs, outputs and dims.
        slices: that the network sees at a time; odd; 1 is plain 2D.
        deep_supervision: of the network.

    Raises:
        ValueError: for arguments that do not fit.
        VoxelwayError: E-MODEL-INPUT when the 2D network can't be made.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int = 3,
        network: str = "unet",
        arguments: Mapping[str, Any] | None = None,
        slices: int = 3,
        deep_supervision: bool = False,
    ) -> None:
        if dims != 3 or slices < 1 or slices % 2 == 0:
            raise ValueError("dims is 3, slices is odd and 1 or more")
        given = dict(arguments or {})
        if deep_supervision:
            given["deep_supervision"] = True
        made = networks.build(
            network, {**given, "inputs": inputs * slices, "outputs": outputs, "dims": 2}
        )
        if not isinstance(made, Segmenter):
            raise ValueError(f"{network} is no segmentation network")
        super().__init__(inputs, outputs, dims, (1, *made.divisor), deep_supervision)
        self.slices = slices
        self.network = made

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits of (B, inputs, Z, Y, X), finest first: (B, outputs, Z, Y_k, X_k).

        Raises:
            ValueError: for other channels, or sizes that are no multiple of ``divisor``.
        """
        self.check(image)
        batch, _, count = image.shape[:3]
        beside = self.slices // 2
        # the first and last slice stand in for those beyond them
        padded = functional.pad(image, (0, 0, 0, 0, beside, beside), mode="replicate")
        seen = torch.cat([padded[:, :, k : k + count] for k in range(self.slices)], dim=1)
        flat: list[Tensor] = self.network(seen.transpose(1, 2).flatten(0, 1))
        return [one.view(batch, count, *one.shape[1:]).transpose(1, 2) for one in flat]


ARCHITECTURE = Slicewise
