"""Phantom subjects as an unpaired training would find them, and the pairs to test on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.labels import Label
from pipeline.synthesize.learning import cases
from pipeline.synthesize.learning.cases import Scan, Source

#: Voxels of the phantom, mm; noise of the images, share of the brain's median.
PHANTOM_MM = 4.0
NOISE = 0.03
#: Subjects with the source, with the target, to validate on, and to test on.
COUNTS = {"source": 5, "target": 5, "validation": 2, "test": 4}
LABELS = ("CSF", "GM", "WM")
SEED = 3000


@dataclass(frozen=True)
class Data:
    """Scans on one grid.

    Attributes:
        source: labelled, with the source contrast alone.
        target: other subjects, with the target contrast alone.
        target_labelled: the same with their labels, for the upper bound.
        validation: both contrasts.
        test: both, noisy.
        truth: the same subjects without noise.
    """

    source: list[Scan]
    target: list[Scan]
    target_labelled: list[Scan]
    validation: list[Scan]
    test: list[Scan]
    truth: list[Scan]


def read(folder: Path, source: str, target: str) -> Data:
    """Make the subjects where they do not exist, and read them."""
    write(folder)
    both, given, wanted = (source, target), (source,), (target,)

    def of(side: str, suffixes: tuple[str, ...], labelled: bool, kind: str = "") -> list[Scan]:
        entry = Source(
            side, folder / side,
            {suffix: f"sub-*_{suffix}{kind}.nii.gz" for suffix in suffixes}, "made up",
            "sub-*_mask.nii.gz", "sub-*_dseg.nii.gz" if labelled else "",
            validation=("*",) if side == "validation" else (),
        )  # fmt: skip
        return cases.read_folders([entry], 0.5, PHANTOM_MM, 4.0)

    return Data(
        of("source", given, True), of("target", wanted, False), of("target", wanted, True),
        of("validation", both, True), of("test", both, True), of("test", both, True, "clean"),
    )  # fmt: skip


def write(folder: Path) -> None:
    """Images, masks and tissue labels of all subjects; those that exist are left."""
    number = 0
    for side, count in COUNTS.items():
        for _ in range(count):
            number += 1
            _subject(folder, side, f"P{number:03d}")


def _subject(folder: Path, side: str, name: str) -> None:
    from pipeline.phantom.cohort import write_subject

    truth = folder / "phantom" / "truth" / name
    start = folder / side / f"sub-{name}"
    if Path(f"{start}_dseg.nii.gz").is_file():
        return
    if not (truth / "dseg.nii.gz").is_file():
        write_subject(name, folder / "phantom", PHANTOM_MM, SEED)
    mask = images.read_labels(truth / "brain_mask.nii.gz")
    inside = images.bool_array(mask)
    rng = np.random.default_rng([SEED, int(name[1:])])
    for suffix in ("T1w", "T2w"):
        clean = images.read_image(truth / f"{suffix}.nii.gz")
        values = images.array(clean)
        level = NOISE * float(np.median(values[inside]))
        noisy = np.hypot(*(values * part + rng.normal(0, level, values.shape) for part in (1, 0)))
        images.write_image(clean, Path(f"{start}_{suffix}clean.nii.gz"))
        images.write_image(images.like(noisy.astype("f4"), clean), Path(f"{start}_{suffix}.nii.gz"))
    images.write_image(mask, Path(f"{start}_mask.nii.gz"))
    labels = images.read_labels(truth / "dseg.nii.gz")
    # lesions of single subjects teach nothing here
    values = sitk.GetArrayFromImage(labels)
    kept = np.where(values <= len(LABELS), values, 0).astype(np.uint8)
    images.write_image(images.like(kept, labels), Path(f"{start}_dseg.nii.gz"))


def write_table(path: Path, known: tuple[Label, ...]) -> Path:
    """The tissues' table of labels without the lesions."""
    rows = [{"index": one.index, "name": one.name, "color": one.color} for one in known
            if one.name in LABELS]  # fmt: skip
    files.write_tsv(path, ("index", "name", "color"), rows)
    return path
