"""A convolutional denoising auto-encoder (Gondara 2016, doi:10.1109/ICDMW.2016.0041).

The historic baseline, not told the noise level.

Trained by ``voxelway train denoise --method cnn_dae``.
"""

from __future__ import annotations

from pipeline.denoise.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
