"""The truth folder of one subject: what evaluate compares with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.phantom.lattice import Floats
from pipeline.phantom.subject import Subject

#: Steps that stored floats are rounded to, so that they compress: signal, millimetres, gain.
SIGNAL_STEP = 1.0 / 16.0
FIELD_STEP = 1.0 / 128.0
GAIN_STEP = 1.0 / 4096.0


def write(subject: Subject, folder: Path) -> None:
    """Write labels, fields, motion and noise-free contrasts below ``folder``."""
    lattice = subject.truth.lattice
    for suffix, values in subject.truth.contrasts.items():
        image = lattice.image(_rounded(values, SIGNAL_STEP))
        images.write_image(image, folder / f"{suffix}.nii.gz")
    images.write_image(lattice.image(subject.truth.labels), folder / "dseg.nii.gz")
    images.write_image(lattice.image(subject.truth.brain), folder / "brain_mask.nii.gz")
    for suffix, scan in subject.series.items():
        grid = scan.lattice
        clean = grid.image(_rounded(scan.clean, SIGNAL_STEP))
        images.write_image(clean, folder / f"native_{suffix}.nii.gz")
        gain = grid.image(_rounded(scan.bias, GAIN_STEP))
        images.write_image(gain, folder / f"bias_{suffix}.nii.gz")
        if suffix == "T1w":
            continue
        with files.atomic(folder / f"{suffix}_to_T1w.mat") as part:
            sitk.WriteTransform(scan.to_t1w, str(part))
    shape = subject.shape
    for name, field in (("field", shape.field()), ("velocity", shape.velocity)):
        image = shape.lattice.image(_rounded(field, FIELD_STEP))
        images.write_image(image, folder / f"{name}.nii.gz")
    files.write_json(folder / "subject.json", facts(subject))


def facts(subject: Subject) -> dict[str, object]:
    """What was drawn for the subject, in plain numbers."""
    return {
        "Lesion": subject.plan.lesion,
        "VentricleWallMovement": round(subject.shape.ventricle, 3),
        "Affine": np.round(subject.shape.matrix, 6).tolist(),
        "NoiseSigma": {name: round(item.sigma, 4) for name, item in subject.series.items()},
        "NoiseModel": "rician",
    }


def _rounded(values: Floats, step: float) -> Floats:
    return np.asarray(np.round(values / np.float32(step)) * np.float32(step), dtype=np.float32)
