"""Cycle-consistent translation, learned from scans of different people (Zhu et al. 2017).

doi:10.1109/ICCV.2017.244.

Trained by ``voxelway train synthesize --method cyclegan``.
"""

from __future__ import annotations

from pipeline.synthesize.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
