"""Scores of a made T2w: likeness in the brain, lesion contrast, Dice of tissues."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from pipeline import config, images
from pipeline.evaluate.similarity import fit_linear, similarity
from pipeline.labels import TISSUES
from pipeline.methods import create
from pipeline.segment import tissues
from pipeline.segment.case import Case
from pipeline.synthesize.learning import profile
from pipeline.synthesize.learning.cases import Scan
from tests.benchmarks.synthesize.methods import SOURCE, TARGET, as_image

Floats = NDArray[np.float32]
#: Fewest voxels of a lesion whose contrast is told.
FEWEST = 30


def likeness(made: Floats, truth: Scan) -> dict[str, float]:
    """PSNR, SSIM, NCC in the brain after the best gain and offset; lesion contrast.

    Where the target's slices are thick, what was made is averaged across them.
    """
    target, mask = truth.targets[TARGET], truth.mask.numpy()
    wide = profile.average(from_numpy(made)[None, None], target.kernel[None])[0, 0].numpy()
    reference = target.values.numpy()
    found = similarity(wide, reference, mask)
    row = {name: found[name] for name in ("psnr", "ssim", "ncc")}
    return {**row, "lesion": _lesion(wide, reference, mask, truth.labels)}


def _lesion(
    made: Floats, reference: Floats, mask: NDArray[np.bool_], labels: Tensor | None
) -> float:
    """(lesion - white matter) of the made image over that of the truth; NaN without a lesion."""
    if labels is None:
        return math.nan
    numbers = labels.numpy()
    index = {item.name: item.index for item in TISSUES}
    lesion, white = mask & (numbers == index["lesion"]), mask & (numbers == index["WM"])
    if lesion.sum() < FEWEST:
        return math.nan
    gain, _ = fit_linear(made, reference, mask)
    contrasts = [gain * (float(made[lesion].mean()) - float(made[white].mean())),
                 float(reference[lesion].mean()) - float(reference[white].mean())]  # fmt: skip
    return contrasts[0] / contrasts[1]


def dice(scan: Scan, second: Floats, truth: Tensor) -> dict[str, float]:
    """Dice of CSF, GM and WM with the truth, labelled from T1w and a second image by ``em``."""
    params: dict[str, Any] = config.section("segment", {"method": "em"})
    mask = images.like(scan.mask.numpy(), as_image(scan.contrasts[SOURCE], scan))
    given = {
        SOURCE: as_image(scan.contrasts[SOURCE], scan),
        TARGET: as_image(from_numpy(second), scan),
    }
    method = create("segment", "em", params, None)
    case = Case(given, mask, {}, {}, frozenset({TARGET}))
    found = tissues.cascade(case, method, params, scan.name)
    numbers = images.array(found.fine.segmentation.labels).astype(int)
    wanted = truth.numpy()
    scores = {
        item.name: _overlap(numbers == item.index, wanted == item.index) for item in TISSUES[:3]
    }
    return {"dice": float(np.mean(list(scores.values())))}


def _overlap(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    total = int(a.sum() + b.sum())
    return 2.0 * int((a & b).sum()) / total if total else math.nan


def finite(row: Mapping[str, Any], key: str) -> float:
    """A number of a row; NaN where it is absent."""
    value = row.get(key)
    return float(value) if value not in (None, "") else math.nan
