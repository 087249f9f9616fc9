"""``voxelway train synthesize``: a patch regression, or a network, by ``synthesize.method``.

Where ``synthesize.augmentation`` names a generator of training cases, that is trained instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def train(params: Mapping[str, Any], out: Path, results: Path | None) -> int:
    """Train what the method asks for and write the bundle.

    Args:
        params: section ``synthesize`` and the seed.
        out: folder of the bundle.
        results: results folder with manifest.tsv and the output of superres; or None.

    Raises:
        VoxelwayError: those of :func:`pipeline.synthesize.regression.train`,
            :func:`pipeline.synthesize.learning.run.train` and
            :func:`pipeline.synthesize.augmentation.train.train`.
    """
    if params["augmentation"]["generator"]:
        from pipeline.synthesize.augmentation import train as augmentation

        return augmentation.train(params, out, results)
    if params["method"] == "patch_regression":
        from pipeline.synthesize import regression

        return regression.train(params, out, results)
    from pipeline.synthesize.learning import run

    return run.train(params, out, results)
