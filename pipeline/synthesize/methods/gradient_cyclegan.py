"""Cycle-consistent translation that keeps the edges of its source (Hiasa et al. 2018).

doi:10.1007/978-3-030-00536-8_4.

Trained by ``voxelway train synthesize --method gradient_cyclegan``.
"""

from __future__ import annotations

from pipeline.synthesize.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
