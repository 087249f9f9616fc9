"""What every way of talking to an archive offers, and what passes between it and us."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import VoxelwayError
from pipeline.pacs.peer import Peer
from pipeline.pacs.request import Request

#: Attributes that the archive is asked for, at the levels of DICOM's query model (PS3.4 C.6.2).
OF_STUDY = ("StudyInstanceUID", "PatientID", "AccessionNumber", "StudyDate", "StudyDescription")
OF_SERIES = ("SeriesInstanceUID", "Modality", "SeriesDescription", "NumberOfSeriesRelatedInstances")
OF_INSTANCE = ("SOPInstanceUID", "SOPClassUID")

#: Takes one instance as a file of DICOM PS3.10 and tells whether it was wanted.
Take = Callable[[bytes], bool]


@dataclass(frozen=True)
class SeriesRef:
    """One series in the archive; ``count`` is how many instances it is said to have, or None."""

    study: str
    series: str
    count: int | None


@dataclass(frozen=True)
class Item:
    """One file to be sent: its place and what its header says it is."""

    path: Path
    size: int
    mtime_ns: int
    sop_class: str
    sop_instance: str
    transfer_syntax: str


@dataclass(frozen=True)
class Sent:
    """What became of an item: empty ``code`` when the archive has it now."""

    item: Item
    code: str = ""
    message: str = ""


class Archive(Protocol):
    """A PACS, by DIMSE or DICOMweb. Every method raises coded errors E-PACS-*."""

    peer: Peer

    def studies(self, keys: Mapping[str, str]) -> list[dict[str, str]]:
        """Studies that match, with :data:`OF_STUDY`."""

    def series(self, study: str, keys: Mapping[str, str]) -> list[dict[str, str]]:
        """Series of a study, with :data:`OF_SERIES`."""

    def instances(self, ref: SeriesRef) -> dict[str, str]:
        """Instances of a series: SOPInstanceUID → SOPClassUID (may be empty)."""

    def fetch(self, ref: SeriesRef, wanted: Mapping[str, str], whole: bool, take: Take) -> None:
        """Have instances sent and hand each to ``take``; returning does not mean all came.

        Args:
            ref: their series.
            wanted: SOPInstanceUID → SOPClassUID; empty when the archive does not name instances.
            whole: whether all instances of the series are wanted.
            take: as :data:`Take`.
        """

    def send(self, items: Sequence[Item]) -> Iterator[Sent]:
        """Send files; one answer an item, in any order. Breaking off raises E-PACS-UNREACHABLE."""

    def close(self) -> None:
        """Let go of the connection."""


def connect(peer: Peer) -> Archive:
    """The archive by the way that its configuration names."""
    if peer.via == "web":
        from pipeline.pacs.web import Web

        return Web(peer)
    from pipeline.pacs.dimse import Dimse

    return Dimse(peer)


def look_up(archive: Archive, request: Request) -> list[SeriesRef]:
    """The series that a request stands for, in the order of their UIDs.

    Answers that do not fit the request are passed over: not every archive knows every key, and a
    wrong patient must not come in.

    Raises:
        VoxelwayError: E-PACS-NONE when there is none; what the archive raises.
    """
    found: dict[tuple[str, str], SeriesRef] = {}
    for study in archive.studies(request.of_study):
        uid = study.get("StudyInstanceUID", "")
        if not uid or not request.takes(study):
            continue
        for series in archive.series(uid, request.keys):
            name = series.get("SeriesInstanceUID", "")
            if name and request.takes(series):
                found[uid, name] = SeriesRef(uid, name, _count(series))
    if not found:
        hint = "Look whether the archive holds it, and whether it may be seen by our AE title"
        raise VoxelwayError("E-PACS-NONE", "No series matches", where=request.where, hint=hint)
    return [ref for _, ref in sorted(found.items())]


def _count(series: Mapping[str, Any]) -> int | None:
    text = str(series.get("NumberOfSeriesRelatedInstances", "")).strip()
    return int(text) if text.isdigit() else None
