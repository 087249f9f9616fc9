"""Patch regression: the network that ``voxelway train synthesize`` fitted to this cohort."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.bundles import Bundle, read_bundle
from pipeline.errors import VoxelwayError
from pipeline.synthesize import patches
from pipeline.synthesize.network import predict
from pipeline.synthesize.protocol import Made, Method

LEARNED = True
LIGHT = True


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Load the bundle.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT.
    """
    if model is None:
        hint = "`voxelway train synthesize --results R --out BUNDLE` makes one"
        raise VoxelwayError("E-MODEL-MISSING", "patch_regression needs a bundle", hint=hint)
    bundle = read_bundle(model, "synthesize")

    def make(sources: Mapping[str, sitk.Image], mask: sitk.Image, target: str) -> Made:
        chosen = choose(bundle, target, set(sources))
        names = tuple(str(name) for name in chosen["sources"])
        return _make(bundle, chosen, {name: sources[name] for name in names}, mask)

    return make


def choose(bundle: Bundle, target: str, available: set[str]) -> dict[str, Any]:
    """The model for a target that uses most of the available sources.

    Raises:
        VoxelwayError: E-TRAIN-DATA, E-MODEL-INPUT.
    """
    for item in bundle.metadata["absent"]:
        if item["target"] == target:
            hint = "Add subjects with this contrast, or leave it out of synthesize.targets"
            raise VoxelwayError("E-TRAIN-DATA", f"No model for {target}: {item['reason']}",
                                hint=hint)  # fmt: skip
    models = [item for item in bundle.metadata["models"] if item["target"] == target]
    usable = [item for item in models if set(item["sources"]) <= available]
    if not usable:
        known = "; ".join(" + ".join(item["sources"]) for item in models) or "none"
        have = " + ".join(sorted(available)) or "no contrast"
        what = f"No model makes {target} from {have}; it can be made from: {known}"
        raise VoxelwayError("E-MODEL-INPUT", what, where=bundle.path.name)
    best: dict[str, Any] = max(usable, key=lambda item: len(item["sources"]))
    return best


def _make(
    bundle: Bundle, chosen: Mapping[str, Any], sources: Mapping[str, sitk.Image], mask: sitk.Image
) -> Made:
    shape = bundle.metadata["architecture"]
    rim = patches.grown(mask, float(shape["margin_mm"]))
    given = [patches.ready(image, mask, rim, name) for name, image in sources.items()]
    inside = images.bool_array(rim)
    seen = patches.features(given, patches.voxel_points(rim, inside), float(shape["patch_step_mm"]))
    prefix = f"{chosen['name']}/"
    weights = {
        name.removeprefix(prefix): values
        for name, values in bundle.tensors.items()
        if name.startswith(prefix)
    }
    mean, spread = predict(weights, seen)
    level = float(chosen["level"])
    # magnitude images are not negative
    result = [
        _placed(np.maximum(mean, 0.0) * level, inside, rim),
        _placed(spread * level, inside, rim),
    ]
    return Made(result[0], result[1], tuple(sources))


def _placed(values: np.ndarray, inside: np.ndarray, grid: sitk.Image) -> sitk.Image:
    whole = np.zeros(inside.shape, np.float32)
    whole[inside] = values
    return images.like(whole, grid)
