"""WGAN-GP with a structural loss over scales (You et al. 2018, doi:10.1109/ACCESS.2018.2858196).

In three dimensions, so that neighbouring slices are seen.

Trained by ``voxelway train denoise --method smgan``.
"""

from __future__ import annotations

from pipeline.denoise.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
