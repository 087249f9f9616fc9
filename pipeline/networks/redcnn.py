"""RED-CNN: a residual encoder-decoder without pooling, in 2, 2.5 or 3 dimensions.

Chen et al. 2017, Low-dose CT with a residual encoder-decoder convolutional neural network,
doi:10.1109/TMI.2017.2715284: convolutions without padding, as many transposed ones, three
shortcuts. Here it can be told the noise level as one more channel, and its output may be negative.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from pipeline.networks import slices
from pipeline.networks.parts import check_features

LAYERS = 5


class REDCNN(nn.Module):
    """Five convolutions, five transposed ones; 1.85 million parameters by default.

    Args:
        dimensions: 2, 2.5 or 3; three dimensions want a kernel of 3 and fewer features.
        features: width of every layer.
        kernel: edge of the kernels, odd.
        neighbours: planes on each side that 2.5 dimensions see.
        told: whether the noise level is one more channel.

    Raises:
        ValueError: for arguments that do not fit.
    """

    def __init__(
        self,
        dimensions: slices.Dimensions = "2",
        features: int = 96,
        kernel: int = 5,
        neighbours: int = 1,
        told: bool = True,
    ) -> None:
        super().__init__()
        slices.check_dimensions(dimensions)
        check_features("features", [features])
        if kernel < 3 or kernel % 2 == 0:
            raise ValueError(f"kernel is odd and at least 3, not {kernel}")
        self.dimensions, self.neighbours, self.told = dimensions, neighbours, told
        self.least = LAYERS * (kernel - 1) + 1
        inputs = slices.channels(dimensions, neighbours, told)
        convolution = slices.convolution_type(dimensions)
        transposed = nn.ConvTranspose3d if dimensions == "3" else nn.ConvTranspose2d
        widths = [inputs, *[features] * LAYERS]
        self.down = nn.ModuleList(
            convolution(widths[k], widths[k + 1], kernel) for k in range(LAYERS)
        )
        outputs = [*[features] * (LAYERS - 1), 1]
        self.up = nn.ModuleList(transposed(features, width, kernel) for width in outputs)

    def forward(self, image: Tensor, level: Tensor) -> Tensor:
        """Restore (B, 1, Z, Y, X); the level has that shape, or (B, 1, 1, 1, 1)."""
        return slices.apply(
            self._restore, image, level if self.told else None, self.dimensions, self.neighbours
        )

    def _restore(self, values: Tensor) -> Tensor:
        shape = values.shape[2:]
        pads = [n for size in reversed(shape) for n in (0, max(0, self.least - size))]
        values = functional.pad(values, pads, mode="replicate")
        # the plane that is restored stands in the middle of its neighbours
        middle = self.neighbours if self.dimensions == "2.5" else 0
        kept = [values[:, middle : middle + 1]]
        for number, layer in enumerate(self.down, start=1):
            values = functional.relu(layer(values))
            if number in (2, 4):
                kept.append(values)
        for number, layer in enumerate(self.up, start=1):
            values = layer(values)
            if number in (1, 3, 5):
                values = values + kept.pop()
            if number < LAYERS:
                values = functional.relu(values)
        box = (slice(None), slice(None), *(slice(0, size) for size in shape))
        return values[box]


ARCHITECTURE = REDCNN
