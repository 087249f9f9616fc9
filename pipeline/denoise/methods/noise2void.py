"""A network trained from noisy images alone, with a blind spot.

Krull et al. 2019, doi:10.1109/CVPR.2019.00223; see :mod:`pipeline.denoise.learning.noise_only`.

Trained by ``voxelway train denoise --method noise2void``.
"""

from __future__ import annotations

from pipeline.denoise.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
