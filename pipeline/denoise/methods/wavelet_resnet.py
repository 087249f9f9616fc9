"""A residual network on wavelet coefficients (Kang et al. 2018, doi:10.1109/TMI.2018.2823756).

See :mod:`pipeline.networks.wavelet_resnet`.

Trained by ``voxelway train denoise --method wavelet_resnet``.
"""

from __future__ import annotations

from pipeline.denoise.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
