"""U-Net whose skips pass a gate that looks at the coarser features.

Oktay et al. 2018, Attention U-Net: learning where to look for the pancreas,
doi:10.48550/arXiv.1804.03999.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks import segmenter
from pipeline.networks.segmenter import Level
from pipeline.networks.unet import UNet


class Gate(nn.Module):
    """Additive attention: a weight from 0 to 1 for each voxel of the features.

    Args:
        features: channels of the features that are weighed.
        coarser: channels of those that weigh them.
        stride: from the ones to the others.
    """

    def __init__(self, features: int, coarser: int, stride: tuple[int, ...]) -> None:
        super().__init__()
        dims, inner = len(stride), max(features // 2, 1)
        convolution = segmenter.CONVOLUTIONS[dims]
        self.seen = convolution(features, inner, stride, stride, bias=False)
        self.asked = convolution(coarser, inner, 1)
        self.weight = convolution(inner, 1, 1)
        self.mode = {2: "bilinear", 3: "trilinear"}[dims]

    def forward(self, features: Tensor, coarser: Tensor) -> Tensor:
        """(B, C, *S) features and (B, D, *S / stride) coarser ones → weighed (B, C, *S)."""
        both = functional.relu(self.seen(features) + self.asked(coarser))
        weights = self.weight(both).sigmoid()
        return features * functional.interpolate(weights, size=features.shape[2:], mode=self.mode)


class AttentionUNet(UNet):
    """U-Net with attention gates; arguments as :class:`UNet`'s, 1.4 million parameters in 3D."""

    def skip(self, finer: Level, coarser: Level) -> nn.Module:
        """A gate, whose question comes from the decoder one level below."""
        return Gate(finer.outputs, coarser.outputs, coarser.stride)


ARCHITECTURE = AttentionUNet
