"""Training volumes of restoration: folders of images, and a cohort's own, split by subject."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import files, images
from pipeline.denoise import noise
from pipeline.errors import VoxelwayError
from pipeline.training import split

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Volume:
    """One image to learn from.

    Attributes:
        subject: ``SET/SUBJECT``; a subject is on one side only.
        contrast: suffix.
        values: (Z, Y, X), cropped to the mask and a rim; the robust range in the mask is one.
        mask: brain or foreground, same shape.
        spacing: mm, (z, y, x).
        noise: deviation of the image's own noise, share of the range; 0 for made-up truth.
        emptied: whether what lies outside the mask is zero.
        digest: SHA-256 of the file, 16 digits.
        weight: how often it is drawn, beside the others.
        magnitude: whether its noise is that of magnitudes (Rician).
        guide: another contrast on the same voxels, its robust range one; or None.
    """

    subject: str
    contrast: str
    values: Values
    mask: NDArray[np.bool_]
    spacing: tuple[float, float, float]
    noise: float
    emptied: bool
    digest: str
    weight: float = 1.0
    magnitude: bool = True
    guide: Values | None = None


@dataclass(frozen=True)
class Source:
    """A folder of images: an entry of ``STAGE.learning.data``.

    Attributes:
        name: name of the set, for the model card; entries of one set share it.
        folder: where the files are.
        files: pattern from the folder, one file a subject, as ``sub-*_T1w.nii.gz``.
        contrast: suffix of the images.
        licence: of the set, for the model card.
        noise_free: whether the images are made up and hold no noise.
        held_out: patterns of subjects that are not read at all.
        validation: patterns of subjects to validate on; None takes the last ones.
        weight: how often the folder is drawn from, beside the others.
        window: intensities at 0 and 1 of the volumes' values, and what lies beyond is cut off; None
            takes the robust range in the mask for 1, and cuts nothing off.
        guide: suffix of another contrast that lies beside each file on the same voxels; or empty.
    """

    name: str
    folder: Path
    files: str
    contrast: str
    licence: str
    noise_free: bool = False
    held_out: tuple[str, ...] = ()
    validation: tuple[str, ...] | None = None
    weight: float = 1.0
    window: tuple[float, float] | None = None
    guide: str = ""

    @classmethod
    def of(cls, entry: Mapping[str, Any], window: tuple[float, float] | None = None) -> Source:
        """Read an entry of the configuration."""
        chosen = entry.get("validation")
        return cls(
            str(entry["name"]),
            Path(str(entry["folder"])),
            str(entry["files"]),
            str(entry["contrast"]),
            str(entry["licence"]),
            bool(entry.get("noise_free", False)),
            tuple(entry.get("held_out", ())),
            None if chosen is None else tuple(chosen),
            float(entry.get("weight", 1.0)),
            window,
            str(entry.get("guide", "")),
        )

    def paths(self) -> list[tuple[Path, str]]:
        """Files with their subjects, in the order of the names, without those held out.

        Raises:
            VoxelwayError: E-TRAIN-DATA when there is none, or two of one subject.
        """
        found: dict[str, Path] = {}
        for path in sorted(self.folder.glob(self.files)):
            subject = subject_of(path)
            if _any(subject, self.held_out):
                continue
            if subject in found:
                what = f"{path} and {found[subject]} are of one subject"
                raise VoxelwayError("E-TRAIN-DATA", what, where=self.name)
            found[subject] = path
        if not found:
            what = f"No file {self.files} of the set {self.name}"
            hint = "learning.data names the folders; the model card says where they are from"
            raise VoxelwayError("E-TRAIN-DATA", what, where=str(self.folder), hint=hint)
        return [(path, subject) for subject, path in found.items()]


def subject_of(path: Path) -> str:
    """``sub-X`` of a BIDS name; the folder's name for other files."""
    first = path.name.split("_")[0]
    return first if first.startswith("sub-") else path.parent.name


def read_sides(sources: Sequence[Source], share: float) -> tuple[list[Volume], list[Volume]]:
    """Volumes to train on and to validate on; no subject is on both sides.

    Args:
        sources: folders.
        share: of the subjects of a source without ``validation`` that is validated on, at least
            one, the last in the order of the names.

    Raises:
        VoxelwayError: E-TRAIN-DATA, E-TRAIN-SPLIT, E-IMG-*.
    """
    sides: tuple[list[Volume], list[Volume]] = ([], [])
    for source in sources:
        found = source.paths()
        last = len(found) - max(1, math.ceil(share * len(found)))
        for number, (path, subject) in enumerate(found):
            later = number >= last
            if source.validation is not None:
                later = _any(subject, source.validation)
            volume = read_volume(source, path, subject)
            if source.guide:
                volume = _guided(volume, source, path)
            sides[int(later)].append(replace(volume, weight=source.weight / len(found)))
    check(*sides)
    return sides


def check(train: Sequence[Volume], validation: Sequence[Volume]) -> None:
    """Refuse sides that share a subject, and a side that is empty.

    Raises:
        VoxelwayError: E-TRAIN-SPLIT, E-TRAIN-DATA.
    """
    names = [[item.subject for item in side] for side in (train, validation)]
    split.check(*names, apart=split.APART, given=split.GIVEN)


def read_volume(source: Source, path: Path, subject: str, mask_path: Path | None = None) -> Volume:
    """Read one image; its mask is the file's, or what is not empty.

    Raises:
        VoxelwayError: E-IMG-*, E-SIGNAL when its noise can't be estimated.
    """
    image = images.read_image(path)
    mask = noise.foreground(image) if mask_path is None else images.read_labels(mask_path)
    mask = sitk.Cast(mask > 0, sitk.sitkUInt8)
    images.check_same_grid(image, mask, path.name)
    if source.window is not None:
        # CT: slices lie along the first axis of the values
        image, mask = (sitk.DICOMOrient(one, "LPS") for one in (image, mask))
    found = noise.estimate(image, mask)
    values, inside = images.array(image), images.bool_array(mask)
    low, width = _scale(values, inside, found, source.window)
    shares = (values - np.float32(low)) / np.float32(width)
    if source.window is not None:
        shares = np.clip(shares, 0.0, 1.0)
    box = noise.around(inside, rim=8)
    outside = values[~inside]
    z, y, x = reversed(image.GetSpacing())
    return Volume(
        subject=f"{source.name}/{subject}",
        contrast=source.contrast,
        values=np.ascontiguousarray(shares[box]),
        mask=np.ascontiguousarray(inside[box]),
        spacing=(z, y, x),
        noise=0.0 if source.noise_free else found.sigma / width,
        emptied=bool(outside.size and (outside == 0).mean() > 0.98),
        digest=files.sha256(path)[:16],
        magnitude=found.model == "rician",
    )


def _guided(volume: Volume, source: Source, path: Path) -> Volume:
    """With the contrast beside the file, cut as the volume is.

    Raises:
        VoxelwayError: E-TRAIN-DATA without one; E-IMG-GRID where it is on other voxels, E-IMG-*.
    """
    ending = f"{source.contrast}.nii.gz"
    beside = path.with_name(f"{path.name.removesuffix(ending)}{source.guide}.nii.gz")
    if not path.name.endswith(ending) or not beside.is_file():
        what = f"{path.name} has no {source.guide} beside it"
        hint = (
            f"Names that differ in the suffix alone are needed: …{ending}, …{source.guide}.nii.gz"
        )
        raise VoxelwayError("E-TRAIN-DATA", what, where=str(path), hint=hint)
    image, other = images.read_image(path), images.read_image(beside)
    images.check_same_grid(image, other, beside.name)
    mask = noise.foreground(image)
    inside, values = images.bool_array(mask), images.array(other)
    low, high = np.percentile(values[inside], [0.5, 99.5])
    if not high > low:
        raise VoxelwayError("E-SIGNAL", "The guide is constant in the head", where=str(beside))
    shares = values[noise.around(inside, rim=8)] / np.float32(high - low)
    both = volume.digest + files.sha256(beside)[:16]
    return replace(volume, guide=np.ascontiguousarray(shares), digest=both)


def _scale(
    values: Values,
    inside: NDArray[np.bool_],
    found: noise.Noise,
    window: tuple[float, float] | None,
) -> tuple[float, float]:
    """The intensity that becomes 0, and how far above it is what becomes 1."""
    if window is not None:
        return window[0], window[1] - window[0]
    if found.percent > 0:
        return 0.0, found.width
    low, high = np.percentile(values[inside], [0.5, 99.5])
    return 0.0, float(high - low)


def _any(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
