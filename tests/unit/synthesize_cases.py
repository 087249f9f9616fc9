"""A small made-up cohort as superres, denoise and preprocess would leave it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import files, images, status
from pipeline.ingest.manifest import COLUMNS
from pipeline.paths import Results, Unit, sidecar

SIZE, SPACING, THICKNESS = (24, 24, 24), 5.0, 15.0
#: Intensity of fluid, grey and white matter; FLAIR is no function of T1w's order.
SIGNALS = {"T1w": (0.25, 0.6, 1.0), "T2w": (1.0, 0.55, 0.35), "FLAIR": (0.1, 0.9, 0.7)}


def grid() -> sitk.Image:
    image = sitk.Image(SIZE, sitk.sitkFloat32)
    image.SetSpacing((SPACING,) * 3)
    image.SetOrigin((-11.5 * SPACING,) * 3)
    return image


def anatomy(seed: int) -> tuple[NDArray[np.int_], NDArray[np.bool_]]:
    """Labels 0 fluid, 1 grey, 2 white of random shapes in a ball; the ball."""
    rng = np.random.default_rng(seed)
    noise = images.like(rng.standard_normal(SIZE).astype("f4"), grid())
    smooth = images.array(sitk.SmoothingRecursiveGaussian(noise, 1.75 * SPACING))
    labels = np.digitize(smooth, np.quantile(smooth, [0.25, 0.6]))
    zyx = np.stack(np.meshgrid(*[np.arange(n) - 11.5 for n in SIZE], indexing="ij"))
    return labels, np.sqrt((zyx**2).sum(0)) < 10.5


def truth(seed: int, suffix: str) -> NDArray[np.float32]:
    labels, _ = anatomy(seed)
    return np.asarray(SIGNALS[suffix], np.float32)[labels]


def thick(values: NDArray[np.float32]) -> sitk.Image:
    """Mean of three voxels along z: slices of 15 mm."""
    mean = values.reshape(8, 3, 24, 24).mean(axis=1)
    image = sitk.GetImageFromArray(mean.astype("f4"))
    image.SetSpacing((SPACING, SPACING, THICKNESS))
    image.SetOrigin((-11.5 * SPACING, -11.5 * SPACING, -10.5 * SPACING))
    return image


def add(results: Results, number: int, contrasts: dict[str, float]) -> Unit:
    """One unit; ``contrasts``: suffix → factor of its intensities. FLAIR has thick slices."""
    unit = Unit(f"S{number}", "01")
    rng = np.random.default_rng(100 + number)
    _, ball = anatomy(number)
    images.write_image(
        images.like(ball, grid()),
        results.image("superres", unit, "mask", space="T1w", desc="brain"),
    )
    for suffix, factor in contrasts.items():
        noisy = factor * (truth(number, suffix) + rng.normal(0, 0.01, SIZE)).astype("f4")
        native = thick(noisy) if suffix == "FLAIR" else images.like(noisy, grid())
        path = results.image("denoise", unit, suffix, desc="denoised")
        images.write_image(native, path)
        files.write_json(sidecar(path), {"SliceThickness": max(native.GetSpacing())})
        common = images.resample(native, grid(), order=1)
        images.write_image(common, results.image("superres", unit, suffix, space="T1w",
                                                 desc="superres"))  # fmt: skip
        if suffix != "T1w":
            path = results.transform("preprocess", unit, suffix, "T1w", extension=".mat")
            sitk.WriteTransform(sitk.Euler3DTransform(), str(_made(path)))
    status.write(results, unit, status.Status(unit.subject, "01", "superres", "ok"))
    return unit


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def manifest(results: Results, units: dict[Unit, tuple[str, list[str]]]) -> None:
    """``units``: unit → split and contrasts."""
    rows = []
    for unit, (split, contrasts) in units.items():
        for suffix in contrasts:
            row = dict.fromkeys(COLUMNS, "1")
            row |= {"subject": unit.subject, "session": unit.session, "suffix": suffix,
                    "split": split, "modality": "MR"}  # fmt: skip
            rows.append(row)
    files.write_tsv(results.manifest, COLUMNS, rows)


def cohort(root: Path) -> tuple[Results, dict[str, Unit]]:
    """Three training units, a test unit with all contrasts, and one without FLAIR."""
    results = Results(root)
    every = {"T1w": 1.0, "T2w": 1.0, "FLAIR": 1.0}
    units = {f"train{n}": add(results, n, every) for n in (1, 2, 3)}
    units["test"] = add(results, 4, {"T1w": 0.7, "T2w": 1.0, "FLAIR": 2.0})
    units["lacks"] = add(results, 5, {"T1w": 1.3, "T2w": 1.0})
    listed = {unit: ("train", list(every)) for name, unit in units.items() if "train" in name}
    listed[units["test"]] = ("test", list(every))
    listed[units["lacks"]] = ("train", ["T1w", "T2w"])
    manifest(results, listed)
    return results, units
