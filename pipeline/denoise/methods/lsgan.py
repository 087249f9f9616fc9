"""Least-squares GAN that predicts the noise (Ma et al. 2020, doi:10.1109/ACCESS.2020.2986388).

Structure and absolute errors beside the adversary.

Trained by ``voxelway train denoise --method lsgan``.
"""

from __future__ import annotations

from pipeline.denoise.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
