"""What is compared: the field's histogram matching, our patch regression, our networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray
from torch import Tensor

from pipeline import images
from pipeline.synthesize import patches, train, translation
from pipeline.synthesize.fit import Samples, fit
from pipeline.synthesize.learning.cases import Scan
from pipeline.synthesize.network import predict

Floats = NDArray[np.float32]
#: A scan → the made contrast, (Z, Y, X), in medians of the brain.
Predictor = Callable[[Scan], Floats]
SOURCE, TARGET = "T1w", "T2w"
QUANTILES = np.linspace(0.0, 1.0, 257)


def histogram(scans: Sequence[Scan]) -> Predictor:
    """The source through the monotonic map that gives it the target's mean distribution.

    Nyúl and Udupa 1999, doi:10.1002/(SICI)1522-2594(199912)42:6<1072::AID-MRM11>3.0.CO;2-M.
    """
    curves = [np.quantile(_brain(scan, TARGET), QUANTILES) for scan in scans]
    mean = np.mean(curves, axis=0)

    def make(scan: Scan) -> Floats:
        own = np.quantile(_brain(scan, SOURCE), QUANTILES)
        values = np.interp(scan.contrasts[SOURCE].numpy(), own, mean)
        return np.where(scan.rim.numpy(), values, 0.0).astype(np.float32)

    return make


def _brain(scan: Scan, suffix: str) -> Floats:
    return np.asarray(scan.contrasts[suffix].numpy()[scan.mask.numpy()])


def regression(scans: Sequence[Scan], params: Mapping[str, Any]) -> Predictor:
    """What the stage's ``patch_regression`` fits."""
    step, most = float(params["patch_step"]), int(params["voxels_per_subject"])
    parts = [_samples(scan, step, most, number) for number, scan in enumerate(scans)]
    whole = parts[0]
    for more in parts[1:]:
        whole = whole + more
    weights = fit(whole, 1, params, int(params.get("seed", 0)))

    def make(scan: Scan) -> Floats:
        rim = scan.rim.numpy()
        source = as_image(scan.contrasts[SOURCE], scan)
        seen = patches.features([source], patches.voxel_points(source, rim), step)
        values = np.zeros(rim.shape, np.float32)
        values[rim] = predict(weights, seen)[0]
        return np.maximum(values, 0.0)

    return make


def _samples(scan: Scan, step: float, most: int, seed: int) -> Samples:
    target = scan.targets[TARGET]
    source, seen = as_image(scan.contrasts[SOURCE], scan), target.seen.numpy()
    points, values = patches.voxel_points(source, seen), target.values.numpy()[seen]
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.choice(len(values), min(most, len(values)), replace=False))
    shifts = target.across.numpy().astype(float)
    across = [patches.features([source], points[chosen] + shift, step) for shift in shifts]
    return Samples(np.stack(across, axis=1), values[chosen])


def network(params: Mapping[str, Any], out: Path) -> Predictor:
    """Train one of the networks and use its bundle as the stage does."""
    train.train(params, out, None)
    method = translation.create(params, out)
    level = translation.Network(out).outputs["levels"][TARGET]

    def make(scan: Scan) -> Floats:
        mask = images.like(scan.mask.numpy(), as_image(scan.contrasts[SOURCE], scan))
        made = method({SOURCE: as_image(scan.contrasts[SOURCE], scan)}, mask, TARGET)
        return images.array(made.image) / np.float32(level)

    return make


def as_image(values: Tensor, scan: Scan) -> sitk.Image:
    """A tensor of a scan as an image with its spacing."""
    image = sitk.GetImageFromArray(values.numpy().astype(np.float32))
    image.SetSpacing((scan.spacing,) * 3)
    return image
