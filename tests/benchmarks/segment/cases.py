"""Images with labels, of the user or of the phantom, and the folds of a cross-validation."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.errors import VoxelwayError
from pipeline.evaluate.overlap import overlap

ENDING = ".nii.gz"
#: Voxels of the phantom's subjects, mm: coarse, so that a run without data takes minutes.
PHANTOM_MM = 5.0


@dataclass(frozen=True)
class Case:
    """One image and its labels."""

    name: str
    image: Path
    labels: Path


def read(folder: Path) -> list[Case]:
    """Pairs of FOLDER/images and FOLDER/labels, which have the same names, in their order.

    Raises:
        VoxelwayError: E-USAGE without a pair, or for one without the other.
    """
    names = [
        {path.name.removesuffix(ENDING) for path in (folder / side).glob(f"*{ENDING}")}
        for side in ("images", "labels")
    ]
    if not names[0] or names[0] != names[1]:
        odd = sorted(names[0] ^ names[1])[:3]
        what = f"{folder}: images and labels are not pairs ({', '.join(odd) or 'none'})"
        raise VoxelwayError("E-USAGE", what, hint="FOLDER/images and FOLDER/labels, same names")
    return [
        Case(name, folder / "images" / f"{name}{ENDING}", folder / "labels" / f"{name}{ENDING}")
        for name in sorted(names[0])
    ]


def phantom(folder: Path, count: int, seed: int) -> list[Case]:
    """T1w and labels of made-up subjects, made where they do not exist."""
    from pipeline.phantom.cohort import write_subject

    found = []
    for number in range(1, count + 1):
        name = f"P{number:03d}"
        truth = folder / "truth" / name
        if not (truth / "T1w.nii.gz").is_file():
            write_subject(name, folder, PHANTOM_MM, seed + number)
        found.append(Case(name, truth / "T1w.nii.gz", truth / "dseg.nii.gz"))
    return found


def split(cases: Sequence[Case], fold: int, folds: int, seed: int) -> tuple[list[Case], list[Case]]:
    """Cases to train on and to test on.

    Args:
        cases: in the order of their names.
        fold: 0 to ``folds`` - 1.
        folds: 2 or more; every case is tested in one of them.
        seed: of the order that the folds are dealt out in.

    Raises:
        VoxelwayError: E-USAGE for another fold, or fewer cases than folds.
    """
    if not 0 <= fold < folds or folds < 2 or len(cases) < folds:
        what = f"fold {fold} of {folds}, {len(cases)} cases"
        raise VoxelwayError("E-USAGE", what, hint="Folds count from 0, a case each at least")
    order = np.random.default_rng(seed).permutation(len(cases))
    tested = {int(index) for index in order[fold::folds]}
    train = [case for index, case in enumerate(cases) if index not in tested]
    return train, [case for index, case in enumerate(cases) if index in tested]


def lay_out(cases: Sequence[Case], folder: Path) -> None:
    """Links to the cases as FOLDER/images and FOLDER/labels, made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    for side in ("images", "labels"):
        (folder / side).mkdir(parents=True)
    for case in cases:
        for side, source in (("images", case.image), ("labels", case.labels)):
            (folder / side / f"{case.name}{ENDING}").symlink_to(source.resolve())


def labels_of(cases: Sequence[Case]) -> list[int]:
    """Labels that the cases have, without the background."""
    found: set[int] = set()
    for case in cases:
        found.update(np.unique(sitk.GetArrayFromImage(images.read_labels(case.labels))).tolist())
    return sorted(found - {0})


def dice(found: Path, truth: Path, labels: Sequence[int]) -> dict[int, float]:
    """Dice of each label; NaN where neither has it.

    Raises:
        VoxelwayError: E-IMG-GRID when the grids differ.
    """
    made, wanted = images.read_labels(found), images.read_labels(truth)
    images.check_same_grid(made, wanted, str(found))
    ours, theirs = (sitk.GetArrayViewFromImage(one) for one in (made, wanted))
    return {one: overlap(ours == one, theirs == one, voxel_ml=1.0)["dice"] for one in labels}
