"""Training cases of segmentation: images with their labels, or label maps without an image."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import files, images
from pipeline.errors import VoxelwayError
from pipeline.segment.cascade.volume import canonical
from pipeline.training import split


@dataclass(frozen=True)
class Source:
    """A folder of training cases: an entry of ``segment.learning.data``.

    Attributes:
        name: of the set, for the model card.
        folder: where the files are.
        labels: pattern of the label files from the folder; one a case.
        images: contrast → pattern with ``{case}`` where the label file's ``*`` is; empty for label
            maps that images are drawn from.
        licence: of the set, for the model card.
        merge: label of the file → label that is learned; 0 is the background.
        held_out: patterns of cases that are not read at all.
        validation: patterns of cases to validate on; None leaves the choice to the folds.
    """

    name: str
    folder: Path
    labels: str
    images: Mapping[str, str]
    licence: str
    merge: Mapping[int, int]
    held_out: tuple[str, ...] = ()
    validation: tuple[str, ...] | None = None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Source:
        """Read an entry of the configuration."""
        chosen = entry.get("validation")
        return cls(
            str(entry["name"]),
            Path(str(entry["folder"])),
            str(entry["labels"]),
            {str(key): str(value) for key, value in entry.get("images", {}).items()},
            str(entry["licence"]),
            {int(key): int(value) for key, value in entry.get("merge", {}).items()},
            tuple(entry.get("held_out", ())),
            None if chosen is None else tuple(chosen),
        )

    def paths(self) -> dict[str, Path]:
        """Case → label file, in the order of the names, without those held out.

        Raises:
            VoxelwayError: E-TRAIN-DATA when there is none.
        """
        head, _, tail = self.labels.rpartition("/")[2].partition("*")
        found = {}
        for path in sorted(self.folder.glob(self.labels)):
            case = path.name.removeprefix(head)
            case = case.removesuffix(tail) if tail else case
            if not matches(case, self.held_out):
                found[case] = path
        if not found:
            what = f"No file {self.labels} of the set {self.name}"
            hint = "segment.learning.data names the folders; the card says where they are from"
            raise VoxelwayError("E-TRAIN-DATA", what, where=str(self.folder), hint=hint)
        return found


@dataclass(frozen=True)
class Case:
    """One case in memory, its axes nearest to LPS.

    Attributes:
        name: ``SET/CASE``; a case is on one side of a split only.
        labels: uint16; classes that are not learned may be in it, as tissues outside the brain
            that images are drawn from.
        images: one a contrast of the plan, on the grid of the labels; empty for a label map.
        digest: SHA-256 of the files, 16 digits.
        side: ``val`` when its source says that it is to be validated on, else empty.
        subject: whose case it is; all of one subject are on one side. The name where it is empty.
    """

    name: str
    labels: sitk.Image
    images: tuple[sitk.Image, ...]
    digest: str
    side: str = ""
    subject: str = ""

    @property
    def person(self) -> str:
        """What must not be on both sides of a split."""
        return self.subject or self.name


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a case's name fits any pattern."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def read(sources: Sequence[Source], known: Sequence[int]) -> list[Case]:
    """Read the cases of folders; label maps are cut to what is not background.

    Args:
        sources: folders.
        known: labels that are learned.

    Raises:
        VoxelwayError: E-TRAIN-DATA without a case, or for label maps beside images; E-IMG-GRID for
            labels on another grid than their image; E-LABELS for labels of an image that are not
            known.
    """
    kinds = {tuple(sorted(source.images)) for source in sources}
    if len(kinds) > 1:
        what = f"The sets have different contrasts: {sorted(kinds)}"
        hint = "Train label maps, and sets of other contrasts, on their own"
        raise VoxelwayError("E-TRAIN-DATA", what, hint=hint)
    found = []
    for source in sources:
        for case, path in source.paths().items():
            found.append(_read(source, case, path, known))
    return found


def _read(source: Source, case: str, path: Path, known: Sequence[int]) -> Case:
    labels = _merged(images.read_labels(path), source.merge)
    paths = [_image_path(source, case, pattern) for pattern in source.images.values()]
    pictures = [images.read_image(item) for item in paths]
    for picture in pictures:
        images.check_same_grid(labels, picture, str(path))
    if pictures:
        check_labels(labels, known, path)
    else:
        labels = _cut(labels, path)
    digest = "".join(files.sha256(item)[:16] for item in (path, *paths))
    chosen = source.validation is not None and matches(case, source.validation)
    return Case(
        f"{source.name}/{case}",
        canonical(labels),
        tuple(canonical(picture) for picture in pictures),
        digest,
        "val" if chosen else "",
        f"{source.name}/{path.name.split('_')[0]}" if path.name.startswith("sub-") else "",
    )


def _image_path(source: Source, case: str, pattern: str) -> Path:
    path = source.folder / pattern.replace("{case}", case)
    if not path.is_file():
        what = f"The case {case} of the set {source.name} has labels and no image {path.name}"
        raise VoxelwayError("E-TRAIN-DATA", what, where=str(path))
    return path


def _merged(labels: sitk.Image, merge: Mapping[int, int]) -> sitk.Image:
    if not merge:
        return labels
    values = sitk.GetArrayFromImage(labels)
    table = np.arange(max(int(values.max()), *merge) + 1, dtype=np.uint16)
    for old, new in merge.items():
        table[old] = new
    return images.like(table[values], labels)


def check_labels(labels: sitk.Image, known: Sequence[int], path: Path) -> None:
    """Refuse labels that are not learned.

    Raises:
        VoxelwayError: E-LABELS with the labels.
    """
    values = np.unique(sitk.GetArrayViewFromImage(labels))
    strange = sorted(set(values.tolist()) - {0, *known})
    if strange:
        what = f"Labels {strange[:10]} are not among those that are learned"
        hint = "Add them to segment.learning.labels, or merge them (0 is the background)"
        raise VoxelwayError("E-LABELS", what, where=str(path), hint=hint)


def check_present(cases: Sequence[Case], known: Sequence[int]) -> None:
    """Refuse to learn what no case has.

    Raises:
        VoxelwayError: E-TRAIN-DATA with the labels.
    """
    seen: set[int] = set()
    for case in cases:
        seen.update(np.unique(sitk.GetArrayViewFromImage(case.labels)).tolist())
    absent = sorted(set(known) - seen)
    if absent:
        what = f"No case has the labels {absent[:10]}"
        hint = "Take them out of segment.learning.labels, or add cases that have them"
        raise VoxelwayError("E-TRAIN-DATA", what, hint=hint)


def _cut(labels: sitk.Image, path: Path) -> sitk.Image:
    """The box around everything that is not background."""
    found = np.argwhere(sitk.GetArrayViewFromImage(labels))
    if not len(found):
        raise VoxelwayError("E-TRAIN-DATA", "The label map is empty", where=str(path))
    low, high = found.min(axis=0)[::-1], found.max(axis=0)[::-1] + 1
    return sitk.RegionOfInterest(labels, (high - low).tolist(), low.tolist())


def folds(
    cases: Sequence[Case], count: int, share: float, seed: int
) -> list[tuple[list[Case], list[Case]]]:
    """Sides to train on and to validate on, one pair a member of the ensemble.

    Args:
        cases: of at least two subjects.
        count: with more than one, every subject is validated on in one fold and trained on in all
            others; with one, those that their source names, or the last share of a random order.
        share: of the cases that are validated on when there is one fold.
        seed: of the order.

    All cases of a subject are on one side.

    Raises:
        VoxelwayError: E-TRAIN-DATA when there are fewer subjects than folds, or one only;
            E-TRAIN-SPLIT when sources put a subject on both sides.
    """
    people = list(dict.fromkeys(case.person for case in cases))
    if len(people) < max(2, count):
        what = f"{len(people)} subjects for {count} folds; at least {max(2, count)} are needed"
        hint = "Add subjects, or lower segment.learning.folds"
        raise VoxelwayError("E-TRAIN-DATA", what, hint=hint)
    named = [case for case in cases if case.side == "val"]
    if count == 1 and named:
        return [_checked([case for case in cases if case.side != "val"], named)]
    order = [people[i] for i in np.random.default_rng(seed).permutation(len(people))]
    if count == 1:
        parts = [set(order[: max(1, math.ceil(share * len(people)))])]
    else:
        parts = [set(order[fold::count]) for fold in range(count)]
    return [
        (
            [case for case in cases if case.person not in part],
            [case for case in cases if case.person in part],
        )
        for part in parts
    ]


def _checked(train: list[Case], held: list[Case]) -> tuple[list[Case], list[Case]]:
    names = [[case.person for case in side] for side in (train, held)]
    split.check(*names, apart=split.APART, given="Shorten `validation` of the sets")
    return train, held
