"""Training scans: several contrasts of one head on one isotropic grid, from folders of images."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
import torch
from torch import Tensor

from pipeline import files, images
from pipeline.denoise import noise
from pipeline.errors import VoxelwayError
from pipeline.paths import sidecar
from pipeline.restore.volumes import subject_of
from pipeline.synthesize import patches
from pipeline.synthesize.learning import alignment, profile, space
from pipeline.synthesize.learning.alignment import Bools, Floats
from pipeline.synthesize.learning.profile import Target
from pipeline.synthesize.samples import THICK
from pipeline.training import split

#: Points across a slice.
POINTS = 5


@dataclass(frozen=True)
class Scan:
    """One head to learn from; all tensors are (Z, Y, X) on one grid, axes nearest to LPS.

    Attributes:
        name: ``SET/CASE``.
        subject: ``SET/SUBJECT``; a subject is on one side only.
        contrasts: suffix → float32 in medians of the brain, zero outside the rim.
        targets: the same contrasts as what was measured, see :class:`profile.Target`.
        mask: brain, bool.
        rim: brain and margin, bool.
        labels: int64, or None.
        spacing: edge of the voxels, mm.
        levels: suffix → median of the brain in the image's own scale.
        split: ``train`` or ``val``.
        digest: SHA-256 of the files, 16 digits.
    """

    name: str
    subject: str
    contrasts: dict[str, Tensor]
    targets: dict[str, Target]
    mask: Tensor
    rim: Tensor
    labels: Tensor | None
    spacing: float
    levels: dict[str, float]
    split: str
    digest: str


@dataclass(frozen=True)
class Source:
    """A folder of cases: an entry of ``synthesize.learning.data``.

    Attributes:
        name: of the set, for the card.
        folder: where the files are.
        files: suffix → pattern from the folder, one file a subject.
        licence: of the set.
        mask: pattern of brain masks; where empty, what is not background in the first contrast.
        labels: pattern of label maps, or empty.
        held_out: patterns of subjects that are not read.
        validation: patterns of subjects to validate on; None takes the last ones.
        paired: whether contrasts of one subject lie on each other; else each is a scan of its own.
    """

    name: str
    folder: Path
    files: Mapping[str, str]
    licence: str
    mask: str = ""
    labels: str = ""
    held_out: tuple[str, ...] = ()
    validation: tuple[str, ...] | None = None
    paired: bool = True

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Source:
        """Read an entry of the configuration."""
        chosen = entry.get("validation")
        return cls(
            str(entry["name"]),
            Path(str(entry["folder"])),
            {str(key): str(value) for key, value in entry["files"].items()},
            str(entry["licence"]),
            str(entry.get("mask", "")),
            str(entry.get("labels", "")),
            tuple(entry.get("held_out", ())),
            None if chosen is None else tuple(chosen),
            bool(entry.get("paired", True)),
        )

    def paths(self, pattern: str) -> dict[str, Path]:
        """Subject → file of a pattern, without those held out.

        Raises:
            VoxelwayError: E-TRAIN-DATA for two files of one subject.
        """
        found: dict[str, Path] = {}
        for path in sorted(self.folder.glob(pattern)) if pattern else []:
            subject = subject_of(path)
            if _any(subject, self.held_out):
                continue
            if subject in found:
                what = f"{path} and {found[subject]} are of one subject"
                raise VoxelwayError("E-TRAIN-DATA", what, where=self.name)
            found[subject] = path
        return found


@dataclass(frozen=True)
class Raw:
    """What a scan is made of, still on the grids that it was read on.

    Attributes:
        images: suffix → image; the first one gives the axes.
        mask: brain, on the grid of the first.
        natives: suffix → its thick slices as acquired, the map from patient space of the first to
            theirs, and the thickness in mm; thin contrasts are not in it.
        labels: on any grid, or None.
    """

    name: str
    subject: str
    images: Mapping[str, sitk.Image]
    mask: sitk.Image
    natives: Mapping[str, tuple[sitk.Image, sitk.Transform, float]] = field(default_factory=dict)
    labels: sitk.Image | None = None
    digest: str = ""


def read_folders(
    sources: Sequence[Source], share: float, spacing: float, margin: float
) -> list[Scan]:
    """Scans of folders, each with its split.

    Args:
        sources: folders.
        share: of the subjects of a source without ``validation`` that is validated on, the last.
        spacing: of the grid, mm.
        margin: rim around the brain, mm.

    Raises:
        VoxelwayError: E-TRAIN-DATA, E-OVERLAP for contrasts that do not lie on each other, E-IMG-*.
    """
    return [scan for source in sources for scan in _of_source(source, share, spacing, margin)]


def _of_source(source: Source, share: float, spacing: float, margin: float) -> Iterator[Scan]:
    found = {suffix: source.paths(pattern) for suffix, pattern in source.files.items()}
    subjects = sorted({subject for paths in found.values() for subject in paths})
    if not subjects:
        what = f"No file {', '.join(source.files.values())} of the set {source.name}"
        raise VoxelwayError("E-TRAIN-DATA", what, where=str(source.folder))
    masks, labels = source.paths(source.mask), source.paths(source.labels)
    last = len(subjects) - max(1, math.ceil(share * len(subjects)))
    for number, subject in enumerate(subjects):
        later = number >= last
        if source.validation is not None:
            later = _any(subject, source.validation)
        own = {suffix: paths[subject] for suffix, paths in found.items() if subject in paths}
        groups = [own] if source.paired else [{key: value} for key, value in own.items()]
        for group in groups:
            name = subject if source.paired else f"{subject} {next(iter(group))}"
            raw = _raw(source, name, subject, group, masks.get(subject), labels.get(subject))
            yield replace(make(raw, spacing, margin), split="val" if later else "train")


def _raw(
    source: Source, name: str, subject: str, paths: Mapping[str, Path], mask: Path | None,
    labels: Path | None,
) -> Raw:  # fmt: skip
    read = {suffix: images.read_image(path) for suffix, path in paths.items()}
    first = next(iter(read.values()))
    brain = noise.foreground(first) if mask is None else images.read_labels(mask) > 0
    brain = images.resample(sitk.Cast(brain != 0, sitk.sitkUInt8), first, labels=True)
    images.check_mask(brain, name)
    still = sitk.Transform(3, sitk.sitkIdentity)
    natives = {
        suffix: (read[suffix], still, thick)
        for suffix, path in paths.items()
        if (thick := thickness(read[suffix], path)) > 0
    }
    used = [*paths.values(), *([mask] if mask else []), *([labels] if labels else [])]
    return Raw(
        f"{source.name}/{name}", f"{source.name}/{subject}", read, brain, natives,
        images.read_labels(labels) if labels else None, digest(used),
    )  # fmt: skip


def thickness(image: sitk.Image, path: Path) -> float:
    """Thickness of an image's slices, mm; 0 for voxels that are nearly cubes."""
    edges = image.GetSpacing()
    if max(edges) <= THICK * min(edges):
        return 0.0
    told = files.read_json(sidecar(path)).get("SliceThickness") if sidecar(path).is_file() else None
    return float(told) if told else float(max(edges))


def digest(paths: Sequence[Path]) -> str:
    """One hash of several files, 16 digits."""
    import hashlib

    whole = "".join(files.sha256(path) for path in paths)
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def make(raw: Raw, spacing: float, margin: float) -> Scan:
    """Bring a head's contrasts onto one grid.

    Raises:
        VoxelwayError: E-OVERLAP for a contrast that does not lie on the first, E-SIGNAL.
    """
    region = patches.grown(raw.mask, margin)
    grid = space.around(region, spacing)
    rim, mask = space.inside(region, grid), space.inside(raw.mask, grid)
    values, targets, levels = {}, {}, {}
    for suffix, image in raw.images.items():
        where = f"{raw.name} {suffix}"
        on_image = images.resample(sitk.Cast(raw.mask, sitk.sitkUInt8), image, labels=True)
        levels[suffix] = space.level(image, on_image, where)
        found = np.where(rim, images.array(space.onto(image, grid)) / levels[suffix], 0.0)
        values[suffix] = found.astype(np.float32)
        first = next(iter(values.values()))
        if len(values) > 1:
            alignment.check(first, values[suffix], mask, spacing, where)
        targets[suffix] = _target(raw, suffix, grid, values[suffix], levels[suffix], rim)
    labels = None
    if raw.labels is not None:
        on_grid = images.resample(raw.labels, grid, labels=True)
        labels = torch.from_numpy(sitk.GetArrayFromImage(on_grid).astype(np.int64))
    tensors = {suffix: torch.from_numpy(found) for suffix, found in values.items()}
    return Scan(
        raw.name, raw.subject, tensors, targets, torch.from_numpy(mask), torch.from_numpy(rim),
        labels, spacing, levels, "train", raw.digest,
    )  # fmt: skip


def _target(
    raw: Raw, suffix: str, grid: sitk.Image, values: Floats, level: float, rim: Bools
) -> Target:  # fmt: skip
    given = raw.natives.get(suffix)
    if given is None or given[2] <= THICK * max(grid.GetSpacing()):
        seen = rim & space.covered(raw.images[suffix], grid)
        return Target(torch.from_numpy(values), torch.from_numpy(seen), profile.delta())
    native, to_native, thick = given
    steps = ((np.arange(POINTS) + 0.5) / POINTS - 0.5) * thick
    # the normal on the grid: what the slices' axis is taken to by the inverse of a rigid map
    back = to_native.GetInverse()
    origin = np.asarray(back.TransformPoint((0.0, 0.0, 0.0)))
    axis = int(np.argmax(native.GetSpacing()))
    own = np.asarray(native.GetDirection()).reshape(3, 3)[:, axis]
    normal = np.asarray(back.TransformPoint(own.tolist())) - origin
    normal /= np.linalg.norm(normal)
    moved = images.array(images.resample(native, grid, to_native, order=1)) / level
    seen = rim & profile.middle(native, to_native, grid)
    points = profile.across(steps.tolist(), normal, grid)
    return Target(
        torch.from_numpy(np.where(rim, moved, 0.0).astype(np.float32)),
        torch.from_numpy(seen),
        profile.kernel(points, max(grid.GetSpacing())),
        points,
    )


def sides(scans: Sequence[Scan]) -> tuple[list[Scan], list[Scan]]:
    """Scans to train on and to validate on.

    Raises:
        VoxelwayError: E-TRAIN-SPLIT when a subject is on both, E-TRAIN-DATA when one is empty.
    """
    train = [scan for scan in scans if scan.split == "train"]
    validation = [scan for scan in scans if scan.split == "val"]
    names = [[scan.subject for scan in side] for side in (train, validation)]
    split.check(*names, apart=split.APART, given=split.GIVEN)
    return train, validation


def _any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
