"""Fully convolutional networks in a cascade: each sees what the one before made.

Nie et al. 2017, doi:10.1007/978-3-319-66179-7_48: reconstruction, adversary, gradients.

Trained by ``voxelway train synthesize --method context_cascade``.
"""

from __future__ import annotations

from pipeline.synthesize.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
