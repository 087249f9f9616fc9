"""A U-Net in volumes against a discriminator of patches (Isola et al. 2017).

doi:10.1109/CVPR.2017.632.

Trained by ``voxelway train synthesize --method pix2pix``.
"""

from __future__ import annotations

from pipeline.synthesize.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
