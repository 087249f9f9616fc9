"""Heads with T1w and T2w on each other: of the phantom, or of a user's folder after alignment."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import config, files, images
from pipeline.errors import VoxelwayError
from pipeline.paths import sidecar
from pipeline.synthesize.learning import cases
from pipeline.synthesize.learning.cases import Scan, Source

#: Deviation of the Rician noise of the phantom's images, share of the brain's median.
NOISE = 0.03
SUFFIXES = ("T1w", "T2w")
MARGIN = 4.0


def phantom(work: Path, subjects: int, spacing: float) -> Path:
    """Images with noise, masks, labels and the truth without noise, below ``work/cases``."""
    from pipeline.phantom.cohort import write_subject

    for number in range(1, subjects + 1):
        name = f"P{number:03d}"
        truth = work / "phantom" / "truth" / name
        if not (truth / "subject.json").is_file():
            write_subject(name, work / "phantom", spacing, 0)
            shutil.rmtree(work / "phantom" / "dicom")
        _noisy(truth, work / "cases" / f"sub-{name}", number)
    return work / "cases"


def _noisy(truth: Path, folder: Path, seed: int) -> None:
    name = folder.name
    for one in ("brain_mask", "dseg"):
        labels = images.read_labels(truth / f"{one}.nii.gz")
        images.write_image(labels, folder / f"{name}_{one.split('_')[-1]}.nii.gz")
    mask = images.bool_array(images.read_labels(truth / "brain_mask.nii.gz"))
    rng = np.random.default_rng([seed, 7])
    for suffix in SUFFIXES:
        clean = images.read_image(truth / f"{suffix}.nii.gz")
        values = images.array(clean)
        sigma = NOISE * float(np.median(values[mask]))
        noise = rng.normal(0.0, sigma, (2, *values.shape))
        noisy = np.hypot(values + noise[0], noise[1]).astype(np.float32)
        images.write_image(images.like(noisy, clean), folder / f"{name}_{suffix}.nii.gz")
        images.write_image(clean, folder / f"{name}_true-{suffix}.nii.gz")


def real(data: Path, work: Path) -> Path:
    """Subjects of a BIDS-like folder, stripped, corrected and aligned by our own preprocessing.

    Args:
        data: holds ``sub-*_T1w.nii.gz`` and one of ``sub-*_T2w``, ``sub-*_inplaneT2`` at any depth.
        work: gets ``cases``, which is kept for a later run.

    Raises:
        VoxelwayError: E-IMG-INPUT without a subject that has both.
    """
    out = work / "cases"
    for t1w in sorted(data.glob("**/sub-*_T1w.nii.gz")):
        name = t1w.name.split("_")[0]
        others = [*data.glob(f"**/{name}_T2w.nii.gz"), *data.glob(f"**/{name}_inplaneT2.nii.gz")]
        if others and not (out / name / f"{name}_mask.nii.gz").is_file():
            print(f"aligning {name}", file=sys.stderr)
            _aligned(name, t1w, others[0], out / name)
    if not list(out.glob("sub-*/*_T2w.nii.gz")):
        raise VoxelwayError("E-IMG-INPUT", "No subject with T1w and T2w", where=str(data))
    return out


def _aligned(name: str, t1w: Path, t2w: Path, folder: Path) -> None:
    from pipeline.preprocess import alignment
    from pipeline.preprocess import stage as preprocess

    section = {**config.section("preprocess"), "seed": 0}
    prepared = preprocess.prepare(section, None)
    first, second = images.read_image(t1w), images.read_image(t2w)
    brain = sitk.Cast(preprocess.find_brain(first, "T1w", prepared, name).mask, sitk.sitkUInt8)
    found = alignment.align(first, brain, second, section["alignment"], where=name)
    there = images.resample(brain, second, found.transform.GetInverse(), labels=True)
    moved = _placed(preprocess.clean(second, there, "T2w", section).image, found.transform)
    corrected = preprocess.clean(first, brain, "T1w", section).image
    images.write_image(corrected, folder / f"{name}_T1w.nii.gz")
    images.write_image(moved, folder / f"{name}_T2w.nii.gz")
    thick = max(second.GetSpacing())
    files.write_json(sidecar(folder / f"{name}_T2w.nii.gz"), {"SliceThickness": thick})
    images.write_image(brain, folder / f"{name}_mask.nii.gz")


def _placed(image: sitk.Image, transform: sitk.Transform) -> sitk.Image:
    """An image in the anchor's space without resampling: its origin and axes move."""
    back = transform.GetInverse()
    start = np.asarray(back.TransformPoint((0.0, 0.0, 0.0)))
    rows = [np.asarray(back.TransformPoint(tuple(row))) - start for row in np.eye(3)]
    turned = np.stack(rows, axis=1) @ np.asarray(image.GetDirection()).reshape(3, 3)
    moved = sitk.Image(image)
    moved.SetOrigin(back.TransformPoint(image.GetOrigin()))
    moved.SetDirection(turned.ravel().tolist())
    return moved


def entry(folder: Path, held_out: Sequence[str], validation: Sequence[str]) -> dict[str, object]:
    """What the configuration's ``learning.data`` says of the folder."""
    return {
        "name": "bench", "folder": str(folder),
        "files": {suffix: f"sub-*/sub-*_{suffix}.nii.gz" for suffix in SUFFIXES},
        "mask": "sub-*/sub-*_mask.nii.gz", "licence": "of the user",
        "held_out": list(held_out), "validation": list(validation),
    }  # fmt: skip


def read(folder: Path, spacing: float, *, true: bool = False) -> dict[str, Scan]:
    """Subject → scan; ``true`` reads what holds no noise, where there is such."""
    head = "true-" if true else ""
    patterns = {suffix: f"sub-*/sub-*_{head}{suffix}.nii.gz" for suffix in SUFFIXES}
    mask, labels = "sub-*/sub-*_mask.nii.gz", "sub-*/sub-*_dseg.nii.gz"
    if true and not list(folder.glob(patterns["T2w"])):
        return {}
    source = Source("bench", folder, patterns, "", mask, labels, validation=())
    scans = cases.read_folders([source], 0.1, spacing, MARGIN)
    return {scan.subject.partition("/")[2]: scan for scan in scans}
