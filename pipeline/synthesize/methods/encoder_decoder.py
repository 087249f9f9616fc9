"""A U-Net in volumes with absolute errors and no adversary: the baseline of the networks.

Trained by ``voxelway train synthesize --method encoder_decoder``.
"""

from __future__ import annotations

from pipeline.synthesize.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
