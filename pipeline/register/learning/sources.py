"""Folders of training images and label maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import VoxelwayError


@dataclass(frozen=True)
class Source:
    """One set of files.

    Attributes:
        name: name of the set, for the model card.
        files: pattern from the folder, as ``sub-*_T1w.nii.gz``; one file a subject.
        folder: where they are.
        contrast: suffix of the images; None for label maps with FreeSurfer's numbers.
        strip: whether the images show whole heads: the brain is cut out then.
        licence: of the set, for the model card.
        mask: brain of the one image of this source; None where images are stripped already.
        subject: of the one image of this source; None takes it from the file's name.
    """

    name: str
    folder: Path
    files: str
    contrast: str | None
    strip: bool
    licence: str
    mask: Path | None = None
    subject: str | None = None

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> Source:
        """Read an entry of ``register.learning.data``."""
        return cls(
            str(entry["name"]),
            Path(str(entry["folder"])),
            str(entry["files"]),
            entry.get("contrast"),
            bool(entry.get("strip", False)),
            str(entry["licence"]),
        )


def find(sources: Sequence[Source]) -> Iterator[tuple[Source, Path, str]]:
    """Every file of every source with its subject, in the order of the names.

    Raises:
        VoxelwayError: E-TRAIN-DATA when a source has no file, or two of one subject.
    """
    for source in sources:
        paths = sorted(source.folder.glob(source.files))
        if not paths:
            what = f"No file {source.files} of the set {source.name}"
            hint = (
                "register.learning.data names the folders; the model card says where they are from"
            )
            raise VoxelwayError("E-TRAIN-DATA", what, where=str(source.folder), hint=hint)
        seen: dict[str, Path] = {}
        for path in paths:
            subject = (
                source.subject
                or path.name.split(".")[0].removeprefix("sub-").split("_desc")[0].split("_T")[0]
            )
            if subject in seen:
                what = f"{path.name} and {seen[subject].name} are of one subject"
                raise VoxelwayError("E-TRAIN-DATA", what, where=str(source.folder))
            seen[subject] = path
            yield source, path, subject
