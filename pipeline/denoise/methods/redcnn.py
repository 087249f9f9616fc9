"""RED-CNN: a residual encoder-decoder (Chen et al. 2017, doi:10.1109/TMI.2017.2715284).

2, 2.5 or 3 dimensions by ``network.arguments``.

Trained by ``voxelway train denoise --method redcnn``.
"""

from __future__ import annotations

from pipeline.denoise.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
