"""The protocol of each subject: series, lattices, sequence timings, what is missing or broken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.phantom.acquisition import Series
from pipeline.phantom.contrast import TISSUES, Flair, Mprage, Sequence, Tse, nulling_time
from pipeline.phantom.deformation import CENTRE, rotation
from pipeline.phantom.lattice import AXIAL, CORONAL, SAGITTAL, Lattice, Matrix, generator

#: Field of view, mm: left-right, front-back, head-foot.
FIELD = np.array([192.0, 240.0, 216.0])
#: Middle of the field of view from the middle of the head, mm: the face lies in front.
FRONT = np.array([0.0, -5.0, 0.0])
#: Head-foot cover of the series in thick slices, mm, and slice thickness in in-plane voxels.
COVER = 180.0
THICKNESS = {"T2w": 3, "FLAIR": 2}
CONTRASTS = ("T1w", "T2w", "FLAIR")

MISSING_SLICES = "missing-slices"
TRUNCATED = "truncated"
#: Folder of the truth of each broken subject; they do not depend on the number of the others.
BROKEN = {"X001": MISSING_SLICES, "X002": TRUNCATED}


@dataclass(frozen=True)
class Plan:
    """What one subject is and how it is scanned.

    Attributes:
        folder: P001, P002, …; X001 and X002 are the broken ones.
        number: 1, 2, …, which decides orientation, lesion and what is missing.
        contrasts: acquired contrasts.
        broken: "", "missing-slices" or "truncated".
        name: of the T1w's orientation, as the protocol names it: sag, tra, cor.
        direction: 3x3 of the T1w's lattice.
        tilt: 3x3 rotation of the thick slices.
    """

    folder: str
    number: int
    seed: int
    lesion: bool
    contrasts: tuple[str, ...]
    broken: str
    name: str
    direction: Matrix
    tilt: Matrix


def plan(folder: str, seed: int) -> Plan:
    """Plan of one subject; it depends on its folder and the seed only.

    Even subjects have a lesion, every third lacks FLAIR; orientations change with the number.
    """
    number = int(folder[1:])
    broken = BROKEN.get(folder, "")
    contrasts = CONTRASTS[:2] if number % 3 == 0 else CONTRASTS
    rng = generator(seed, folder, "protocol")
    name, base = (("sag", SAGITTAL), ("tra", AXIAL), ("sag", SAGITTAL), ("cor", CORONAL))[
        (number - 1) % 4
    ]
    oblique = rotation(rng.uniform(-8.0, 8.0, 3)) if number % 2 == 0 else np.eye(3)
    tilt = rotation(np.array([rng.uniform(4.0, 14.0), *rng.uniform(-3.0, 3.0, 2)]))
    return Plan(
        folder=folder,
        number=number,
        seed=seed,
        lesion=number % 2 == 0 and not broken,
        contrasts=("T1w",) if broken else contrasts,
        broken=broken,
        name=name,
        direction=oblique @ base,
        tilt=tilt if number % 3 != 1 else np.eye(3),
    )


def volume(plan: Plan, spacing: float, offset: Matrix) -> Series:
    """The isotropic 3D series (T1w) around a head at ``offset`` mm."""
    base = np.abs(np.round(plan.direction)).astype(int)
    extent = base.T @ FIELD
    size = _even(extent / spacing)
    lattice = Lattice.centred(size, (spacing,) * 3, CENTRE + offset + FRONT, plan.direction)
    return Series(lattice, volumetric=True)


def slices(plan: Plan, suffix: str, spacing: float, offset: Matrix) -> Series:
    """A series of thick, nearly axial slices (T2w, FLAIR) around a head at ``offset`` mm."""
    thickness = THICKNESS[suffix] * spacing
    nx, ny, _ = _even(np.array([216.0, 240.0, 0.0]) / spacing)
    size = (nx, ny, int(np.ceil(COVER / thickness)))
    centre = CENTRE + offset + FRONT + np.array([0.0, 0.0, -3.0])
    lattice = Lattice.centred(size, (spacing, spacing, thickness), centre, plan.tilt)
    return Series(lattice, volumetric=False)


def _even(counts: Matrix) -> tuple[int, int, int]:
    x, y, z = (2 * int(np.ceil(count / 2.0 - 1e-6)) for count in counts)
    return x, y, z


def sequence(plan: Plan, suffix: str) -> Sequence:
    """Pulse sequence of a contrast; the timings vary between subjects as between two scanners."""
    second = generator(plan.seed, plan.folder, "scanner").random() < 0.5
    if suffix == "T1w":
        return Mprage(2300.0, 900.0, 2.98, 9.0) if second else Mprage(2000.0, 880.0, 2.6, 8.0)
    if suffix == "T2w":
        return Tse(5000.0, 96.0) if second else Tse(4500.0, 104.0)
    tr = 9000.0 if second else 8500.0
    return Flair(tr, 125.0 if second else 132.0, round(nulling_time(TISSUES["csf"].t1, tr), -1))
