"""One subject: from the shared anatomy to its series and its truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline.phantom import acquisition, deformation, head, lesion, protocol
from pipeline.phantom.acquisition import Series
from pipeline.phantom.anatomy import Anatomy
from pipeline.phantom.contrast import TISSUES, Sequence, Tissue
from pipeline.phantom.deformation import CENTRE, Shape
from pipeline.phantom.lattice import Floats, Lattice, Matrix, generator, sample, smooth_noise
from pipeline.phantom.protocol import CONTRASTS, Plan

#: Mean of the brain's grey and white matter in the stored units of the scanner.
LEVEL = 500.0
#: Noise as a share of the white matter's signal (of T1w) or of the brain's (of the others).
NOISE = {"T1w": (0.026, 0.034), "T2w": (0.030, 0.040), "FLAIR": (0.030, 0.040)}
BIAS = (0.15, 0.20)
#: Standard deviation of the tissues' own variation in T1w, T2w and FLAIR, and its scale in mm.
TEXTURE = 0.015
TEXTURE_MM = 6.0
#: Largest value that twelve bits hold.
CEILING = 4095.0
#: Slices of the object that are computed at a time, which bounds the memory.
SLAB = 24


@dataclass(frozen=True)
class Scan:
    """One acquired series.

    Attributes:
        lattice: the acquired voxels.
        stored: what the scanner stores, (z, y, x), uint16.
        clean: the same without noise and bias, in the same units.
        bias: the gain that was applied.
        sigma: of the noise in either channel.
        to_t1w: maps points of the T1w's space to points of this series' space.
    """

    lattice: Lattice
    stored: NDArray[np.uint16]
    clean: Floats
    bias: Floats
    sigma: float
    to_t1w: sitk.Euler3DTransform

    @property
    def acquired(self) -> sitk.Image:
        """What the scanner stores, as an image."""
        return self.lattice.image(self.stored)


@dataclass(frozen=True)
class Truth:
    """Noise-free contrasts, labels and brain on the T1w's lattice, (z, y, x)."""

    lattice: Lattice
    contrasts: Mapping[str, Floats]
    labels: NDArray[np.uint8]
    brain: NDArray[np.uint8]


@dataclass(frozen=True)
class Subject:
    """All of one subject."""

    plan: Plan
    spacing: float
    shape: Shape
    series: Mapping[str, Scan]
    truth: Truth
    sequences: Mapping[str, Sequence]


def make(plan: Plan, anatomy: Anatomy, spacing: float) -> Subject:
    """Make one subject: shape, tissues, contrasts, series."""
    shape = deformation.draw(anatomy, plan.seed, plan.folder)
    series = protocol.volume(plan, spacing, shape.offset)
    fine = acquisition.fine_lattice(series.lattice, volumetric=True)
    fractions = tissue_fractions(plan, anatomy, shape, fine)
    sequences = {suffix: protocol.sequence(plan, suffix) for suffix in CONTRASTS}
    wanted = plan.contrasts if plan.broken else CONTRASTS
    signals = {suffix: _signals(plan, suffix, sequences[suffix]) for suffix in wanted}
    objects = {s: _object(plan, fractions, s, signals[s], fine) for s in wanted}
    truth = _truth(series, fractions, objects)
    scans: dict[str, Scan] = {}
    for suffix in plan.contrasts:
        order = _Order(plan, suffix, spacing, shape.offset, _reference(suffix, signals[suffix]))
        scans[suffix] = _acquire(order, fine.image(objects[suffix]))
    return Subject(plan, spacing, shape, scans, truth, sequences)


def tissue_fractions(
    plan: Plan, anatomy: Anatomy, shape: Shape, fine: Lattice
) -> dict[str, Floats]:
    """Fraction of every tissue on the object's lattice."""
    around = head.draw(anatomy, plan.seed, plan.folder)
    mass = lesion.draw(anatomy, shape, plan.seed, plan.folder) if plan.lesion else None
    result = {name: np.zeros(fine.shape, np.float32) for name in TISSUES}
    result["brain"] = np.zeros(fine.shape, np.float32)
    for start, stop in _slabs(fine.shape[0]):
        points = fine.points(start, stop)
        there = shape.to_template(points)
        inside = around.inside(there)
        parts = _slab(anatomy, around, mass, points[:, inside], there[:, inside])
        for name, part in parts.items():
            result[name][start:stop][inside] = part
    return result


def _slabs(count: int) -> Iterator[tuple[int, int]]:
    for start in range(0, count, SLAB):
        yield start, min(start + SLAB, count)


def _slab(
    anatomy: Anatomy,
    around: head.Head,
    mass: lesion.Lesion | None,
    points: Floats,
    there: Floats,
) -> dict[str, Floats]:
    """Fractions at subject points (3, n) that come from template points ``there``."""

    def at(values: Floats) -> Floats:
        return sample(values, anatomy.lattice, there, outside="constant")

    csf, gm, wm = at(anatomy.csf), at(anatomy.gm), at(anatomy.wm)
    brain = csf + gm + wm
    parts = around.fractions(there, brain)
    cord = parts["wm"]
    parts |= {"csf": parts["csf"] + csf, "gm": gm, "wm": wm, "brain": brain}
    if mass is not None:
        whole, core = mass.fractions(points)
        # a lesion takes white matter, a little of the deep grey matter, and spares the cortex
        hit = whole * np.clip(1.5 * wm + 0.25 * gm, 0.0, 1.0)
        inner = hit * core / np.maximum(whole, 1e-6)
        parts["csf"] = parts["csf"] - hit * csf
        parts |= {"gm": gm * (1.0 - hit), "wm": wm * (1.0 - hit)}
        parts |= {"core": inner * brain, "lesion": (hit - inner) * brain}
    parts["wm"] = parts["wm"] + cord
    return parts


def _own(tissue: Tissue, rng: np.random.Generator) -> Tissue:
    """The tissue's values in this subject: a few per cent around the literature's."""
    t1, t2, pd = 1.0 + np.clip(rng.normal(0.0, 0.02, 3), -0.05, 0.05)
    return replace(tissue, t1=tissue.t1 * t1, t2=tissue.t2 * t2, pd=tissue.pd * pd)


def _signals(plan: Plan, suffix: str, sequence: Sequence) -> dict[str, float]:
    """Signal of every tissue in stored units."""
    rng = generator(plan.seed, plan.folder, "tissues")
    signals = {name: sequence.signal(_own(tissue, rng)) for name, tissue in TISSUES.items()}
    scale = LEVEL / (0.5 * (signals["gm"] + signals["wm"]))
    scale *= float(generator(plan.seed, plan.folder, "gain", suffix).uniform(0.8, 1.2))
    scale = min(scale, 0.7 * CEILING / max(signals.values()))
    return {name: scale * signal for name, signal in signals.items()}


def _object(
    plan: Plan,
    fractions: Mapping[str, Floats],
    suffix: str,
    signals: Mapping[str, float],
    fine: Lattice,
) -> Floats:
    """The object in stored units, with the tissues' own variation."""
    values = np.zeros(fine.shape, np.float32)
    for name, signal in signals.items():
        values += np.float32(signal) * fractions[name]
    return values * (1.0 + np.float32(TEXTURE) * texture(plan, suffix, fine))


def texture(plan: Plan, suffix: str, fine: Lattice) -> Floats:
    """The tissues' own smooth variation in a contrast, of unit deviation."""
    rng = generator(plan.seed, plan.folder, "texture", suffix)
    extent = np.asarray(fine.size) * np.asarray(fine.spacing)
    nx, ny, nz = (int(n) for n in np.ceil(extent / 3.0) + 1)
    coarse = Lattice((nx, ny, nz), (3.0, 3.0, 3.0), fine.origin, fine.direction)
    noise = smooth_noise(coarse, TEXTURE_MM, rng)[0]
    image = sitk.Resample(coarse.image(noise), fine.empty(), sitk.Transform(), sitk.sitkLinear)
    return np.asarray(sitk.GetArrayFromImage(image), dtype=np.float32)


def _truth(series: Series, fractions: Mapping[str, Floats], objects: Mapping[str, Floats]) -> Truth:
    contrasts = {
        suffix: np.abs(acquisition.acquire(values, series)) for suffix, values in objects.items()
    }
    brain = acquisition.acquire(fractions["brain"], series) > 0.5
    # the fluid outside the brain is not labelled, and goes with the mask
    names = ("csf", "gm", "wm", "lesion", "core")
    shares = np.stack([acquisition.acquire(fractions[name], series) for name in names])
    labels = np.where(brain, shares.argmax(axis=0) + 1, 0).astype(np.uint8)
    return Truth(series.lattice, contrasts, labels, brain.astype(np.uint8))


@dataclass(frozen=True)
class _Order:
    plan: Plan
    suffix: str
    spacing: float
    offset: Matrix
    #: signal that the noise is a share of
    reference: float


def _reference(suffix: str, signals: Mapping[str, float]) -> float:
    if suffix == "T1w":
        return signals["wm"]
    return 0.5 * (signals["gm"] + signals["wm"])


def _acquire(order: _Order, thing: sitk.Image) -> Scan:
    rng = generator(order.plan.seed, order.plan.folder, "acquisition", order.suffix)
    centre = CENTRE + order.offset
    if order.suffix == "T1w":
        series = protocol.volume(order.plan, order.spacing, order.offset)
        moved = acquisition.motion(np.zeros(3), np.zeros(3), centre)
        values = sitk.GetArrayFromImage(thing)
    else:
        series = protocol.slices(order.plan, order.suffix, order.spacing, order.offset)
        moved = _patient_motion(rng, centre)
        fine = acquisition.fine_lattice(series.lattice, volumetric=False).empty()
        # the object lies in the T1w's space: sample it where the moved head came from
        back = moved.GetInverse()
        values = sitk.GetArrayFromImage(sitk.Resample(thing, fine, back, sitk.sitkLinear))
    clean = np.abs(acquisition.acquire(values, series))
    bias = acquisition.bias_field(series.lattice, float(rng.uniform(*BIAS)), rng)
    sigma = float(rng.uniform(*NOISE[order.suffix])) * order.reference
    noisy = acquisition.rician(clean * bias, sigma, rng)
    stored = np.clip(np.round(noisy), 0.0, CEILING).astype(np.uint16)
    return Scan(series.lattice, stored, clean, bias, sigma, moved)


def _patient_motion(rng: np.random.Generator, centre: Matrix) -> sitk.Euler3DTransform:
    """About 1 to 2.5 degrees and 1 to 3 mm in all, between two series."""
    degrees = rng.uniform(0.8, 2.5, 3) * rng.choice([-1.0, 1.0], 3) / np.sqrt(3.0)
    shift = rng.uniform(1.0, 3.0, 3) * rng.choice([-1.0, 1.0], 3) / np.sqrt(3.0)
    return acquisition.motion(degrees, shift, centre)
