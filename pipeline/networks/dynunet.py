"""DynUNet, MONAI's form of nnU-Net's network, behind the interface of segmentation networks.

Isensee et al. 2021, nnU-Net, doi:10.1038/s41592-020-01008-z.
"""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import DynUNet as MonaiDynUNet
from torch import Tensor

from pipeline.networks import segmenter
from pipeline.networks.segmenter import Segmenter, Sizes


class DynUNet(Segmenter):
    """U-Net with transposed convolutions; 1.4 million parameters by default in 3D.

    Args:
        inputs: channels of the image.
        outputs: classes, the background among them.
        dims: 2 or 3.
        channels: widths, one a level, finest first; three levels or more.
        kernels: sizes, one entry a level, each a number or one an axis; odd; 3 if None.
        strides: the same, from the level before; 1 at the first level and 2 after if None.
        residual: blocks with a shortcut.
        dropout: share of the voxels of each feature left out after every convolution.
        deep_supervision: logits of every level but the deepest, while training.

    Raises:
        ValueError: for arguments that do not fit each other.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int = 3,
        channels: Sequence[int] = (16, 32, 64, 128),
        kernels: Sizes | None = None,
        strides: Sizes | None = None,
        residual: bool = False,
        dropout: float = 0.0,
        deep_supervision: bool = False,
    ) -> None:
        segmenter.check_share(dropout)
        sizes, steps = segmenter.grids(channels, kernels, strides, dims)
        super().__init__(inputs, outputs, dims, segmenter.product(steps), deep_supervision)
        network = MonaiDynUNet(
            spatial_dims=dims,
            in_channels=inputs,
            out_channels=outputs,
            kernel_size=sizes,
            strides=steps,
            upsample_kernel_size=steps[1:],
            filters=list(channels),
            dropout=dropout or None,
            deep_supervision=deep_supervision,
            deep_supr_num=max(len(channels) - 2, 1),
            res_block=residual,
        )
        # MONAI registers its layers twice, which can't be saved without pickle
        self.layers, self.output = network.skip_layers, network.output_block
        self.heads: list[Tensor] = network.heads

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits of (B, inputs, *S), finest first: (B, outputs, *S), coarser if supervised.

        Raises:
            ValueError: for other channels, or sizes that are no multiple of ``divisor``.
        """
        self.check(image)
        # past MONAI's own forward, which would interpolate the coarser logits to the finest grid
        finest = self.output(self.layers(image))
        coarser = list(self.heads) if self.supervised else []
        # the layers write there, and would keep the graph until the next image
        self.heads[:] = [finest.new_empty(0)] * len(self.heads)
        return [finest, *coarser]


ARCHITECTURE = DynUNet
