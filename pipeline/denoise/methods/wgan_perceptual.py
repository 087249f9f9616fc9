"""Wasserstein GAN with a perceptual loss (Yang et al. 2018, doi:10.1109/TMI.2018.2827462).

The features are those of an auto-encoder that learns in the same run.

Trained by ``voxelway train denoise --method wgan_perceptual``.
"""

from __future__ import annotations

from pipeline.denoise.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
