"""A residual U-Net that is told the noise level, one model for all levels.

After Zhang et al. 2022, DRUNet, doi:10.1109/TPAMI.2021.3088914, in three dimensions
(:mod:`pipeline.networks.drunet`); trained by ``voxelway train denoise``.
"""

from __future__ import annotations

from pipeline.denoise.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
