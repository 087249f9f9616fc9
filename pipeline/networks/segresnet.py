"""SegResNet, MONAI's, behind the interface of segmentation networks.

Myronenko 2018, doi:10.1007/978-3-030-11726-9_28, without the branch of the auto-encoder.
"""

from __future__ import annotations

from collections.abc import Sequence

from monai.networks.nets import SegResNetDS
from torch import Tensor, nn

from pipeline.networks import segmenter
from pipeline.networks.parts import check_features
from pipeline.networks.segmenter import Segmenter


class SegResNet(Segmenter):
    """Residual encoder, small decoder, group normalisation; 1.2 million parameters in 3D.

    Args:
        inputs: channels of the image.
        outputs: classes, the background among them.
        dims: 2 or 3.
        features: channels of the first level, a multiple of 8; they double with each level.
        blocks: residual blocks of the encoder, one number a level.
        spacing: of the voxels, mm, in the order of the axes, for kernels and strides that follow
            it; isotropic if None.
        dropout: share of the channels left out after the first convolution.
        deep_supervision: logits of every level but the deepest, while training.

    Raises:
        ValueError: for arguments that do not fit each other.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        dims: int = 3,
        features: int = 8,
        blocks: Sequence[int] = (1, 2, 2, 4),
        spacing: Sequence[float] | None = None,
        dropout: float = 0.0,
        deep_supervision: bool = False,
    ) -> None:
        segmenter.check_dims(dims)
        segmenter.check_share(dropout)
        check_features("blocks", blocks)
        if features % 8 or features < 8 or len(blocks) < 2:
            raise ValueError("features is a multiple of 8, and there are two levels or more")
        if spacing is not None and len(spacing) != dims:
            raise ValueError(f"spacing has {dims} numbers")
        network = SegResNetDS(
            spatial_dims=dims,
            init_filters=features,
            in_channels=inputs,
            out_channels=outputs,
            norm=("group", {"num_groups": 8}),
            blocks_down=tuple(blocks),
            dsdepth=len(blocks) - 1 if deep_supervision else 1,
            resolution=None if spacing is None else tuple(spacing),
        )
        super().__init__(inputs, outputs, dims, network.shape_factor(), deep_supervision)
        first = network.encoder.conv_init
        network.encoder.conv_init = nn.Sequential(first, segmenter.dropout(dims, dropout))
        self.network = network

    def forward(self, image: Tensor) -> list[Tensor]:
        """Logits of (B, inputs, *S), finest first: (B, outputs, *S), coarser if supervised.

        Raises:
            ValueError: for other channels, or sizes that are no multiple of ``divisor``.
        """
        self.check(image)
        found = self.network(image)
        return list(found) if isinstance(found, list) else [found]


ARCHITECTURE = SegResNet
