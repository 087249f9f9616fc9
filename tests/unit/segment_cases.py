"""Made-up label maps and images that tests of the segmentation's training share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import config, images


def label_map(seed: int, edge: int = 32) -> sitk.Image:
    """Head (label 9) with two blobs, 1 on the low side of x and 2 on the high one, 1 mm voxels."""
    rng = np.random.default_rng(seed)
    values = np.zeros((edge, edge, edge), np.uint16)
    values[3:-3, 3:-3, 3:-3] = 9
    low = [int(n) for n in rng.integers(5, 8, 3)]
    z, y = (slice(n, n + 10) for n in low[:2])
    values[z, y, low[2] : low[2] + 8] = 1
    values[z, y, edge - low[2] - 8 : edge - low[2]] = 2
    image = sitk.GetImageFromArray(values)
    image.SetOrigin((-5.0, 3.0, 10.0))
    return image


def picture(labels: sitk.Image, seed: int) -> sitk.Image:
    """Image in which the blobs are brighter than the head, with noise."""
    values = sitk.GetArrayFromImage(labels)
    table = np.zeros(10, np.float32)
    table[[1, 2, 9]] = (300.0, 200.0, 100.0)
    noise = np.random.default_rng(seed).normal(0.0, 5.0, values.shape)
    return images.like((table[values] + noise).astype(np.float32), labels)


def write_cases(folder: Path, count: int, with_images: bool) -> None:
    """``labels/case_K.nii.gz`` and, with images, ``images/case_K.nii.gz``."""
    for name in ("labels", "images"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        labels = label_map(number)
        if with_images:
            images.write_image(picture(labels, number), folder / f"images/case_{number}.nii.gz")
            labels = sitk.ChangeLabel(labels, {9: 0})
        images.write_image(labels, folder / f"labels/case_{number}.nii.gz")


def table(folder: Path) -> Path:
    """dseg.tsv of the blobs."""
    path = folder / "dseg.tsv"
    path.write_text("index\tname\tcolor\n1\tleft-blob\t#112233\n2\tright-blob\t#332211\n")
    return path


def section(folder: Path, with_images: bool, **learning: Any) -> dict[str, Any]:
    """Section ``segment`` that trains two tiny levels on the cases of a folder."""
    entry: dict[str, Any] = {
        "name": "blobs",
        "folder": str(folder),
        "labels": "labels/case_*.nii.gz",
        "licence": "CC0",
    }
    if with_images:
        entry["images"] = {"T1w": "images/case_{case}.nii.gz"}
    tiny = {"channels": [4, 8], "strides": [1, 2], "kernels": [3, 3], "deep_supervision": False}
    chosen = {
        "labels": str(table(folder)),
        "levels": [
            {"name": "coarse", "spacing": 4, "patch": [8, 8, 8], "arguments": tiny},
            {"name": "fine", "spacing": 2, "patch": [8, 8, 8], "arguments": tiny, "margin": 4},
        ],
        "draw": {"highest": 9},
        "data": [entry],
        **learning,
    }
    training = {"steps": 4, "batch": 2, "validate_every": 4, "precision": 32, "learning_rate": 0.01}
    return {**config.section("segment", {"learning": chosen, "training": training}), "seed": 3}
