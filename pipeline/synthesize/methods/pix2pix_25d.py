"""pix2pix in planes that see their neighbours, in one or three orientations.

Isola et al. 2017, doi:10.1109/CVPR.2017.632; the discriminator judges volumes, so that planes fit.

Trained by ``voxelway train synthesize --method pix2pix_25d``.
"""

from __future__ import annotations

from pipeline.synthesize.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
