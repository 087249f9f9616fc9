"""Translation that is learned together with a segmenter of the target (Huo et al. 2019).

doi:10.1109/TMI.2018.2876633. The training also writes ``BUNDLE.segmenter``: ``voxelway segment IN
OUT --method cascade --model BUNDLE.segmenter`` labels acquired images of the target with it.

Trained by ``voxelway train synthesize --method synseg``.
"""

from __future__ import annotations

from pipeline.synthesize.learned import create

LEARNED = True

__all__ = ["LEARNED", "create"]
