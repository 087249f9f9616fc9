"""A network trained from noisy images alone, by consensus of two versions of each.

Wu et al. 2019, doi:10.1007/978-3-030-32251-9_81; see :mod:`pipeline.denoise.learning.noise_only`.

Trained by ``voxelway train denoise --method consensus``.
"""

from __future__ import annotations

from pipeline.denoise.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
