"""Files that claim to be the same object: a series that was sent or exported twice.

An object's SOPInstanceUID is unique in the world (PS3.5, 9.1). Two files with the same one are
copies when their data sets are the same to the byte; the meta header before it names the sender
and may differ. Anything else is a contradiction that nobody can solve from the files.
"""

from __future__ import annotations

import hashlib
import io
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pipeline.ingest import archives
from pipeline.ingest.findings import Finding
from pipeline.ingest.headers import Header

if TYPE_CHECKING:
    from pipeline.ingest.cache import Cache

#: Gives checksums of the data sets of files, one each, empty for one that can't be read.
Contents = Callable[[Sequence[Header]], list[str]]


@dataclass(frozen=True)
class Sent:
    """The files of a series.

    Attributes:
        kept: one file of each object; of objects whose files differ, all.
        copies: the other files, equal to one of those.
        differing: number of objects of which files differ.
    """

    kept: tuple[Header, ...]
    copies: tuple[Header, ...]
    differing: int


def sort(headers: Sequence[Header], contents: Contents) -> Sent:
    """Tell copies from contradictions; the first file of each object in the order of paths stays.

    Args:
        headers: files of one series.
        contents: asked only for files that share their SOPInstanceUID with another.
    """
    objects: dict[str, list[Header]] = {}
    for header in headers:
        if header.sop_uid:
            objects.setdefault(header.sop_uid, []).append(header)
    several = [sorted(found, key=_place) for found in objects.values() if len(found) > 1]
    if not several:
        return Sent(tuple(headers), (), 0)
    asked = [header for found in several for header in found]
    sums = dict(zip(map(_place, asked), contents(asked), strict=True))
    copies: set[tuple[str, str]] = set()
    differing = 0
    for found in several:
        same = _same(found, [sums[_place(header)] for header in found])
        differing += not same
        copies.update(_place(header) for header in found[1:] if same)
    return Sent(
        tuple(header for header in headers if _place(header) not in copies),
        tuple(header for header in headers if _place(header) in copies),
        differing,
    )


def _place(header: Header) -> tuple[str, str]:
    return header.path, header.member


def _same(found: list[Header], sums: list[str]) -> bool:
    told = {replace(header, path="", member="", size=0, mtime_ns=0) for header in found}
    return "" not in sums and len(set(sums)) == 1 and len(told) == 1


def copies_told(sent: Sent) -> Finding:
    """Why copies are left out."""
    what = f"{len(sent.copies)} files are copies of others of the series, equal to the byte"
    return Finding("D-COPY", what)


def difference_told(sent: Sent) -> Finding:
    """Why a series whose files contradict each other is refused."""
    what = f"{sent.differing} objects are there in several versions that differ"
    return Finding("D-COPY-DIFFERS", f"{what}; keep the right ones and take the others away")


def contents(known: Cache) -> Contents:
    """Checksums from the cache; those that it lacks are made and kept there."""

    def give(headers: Sequence[Header]) -> list[str]:
        sums = known.sums(headers)
        missing = [header for header, told in zip(headers, sums, strict=True) if told is None]
        made = _checksums(missing)
        for header in missing:
            known.keep_sum(header, made.get(_place(header), ""))
        return [told or made.get(_place(h), "") for h, told in zip(headers, sums, strict=True)]

    return give


def _checksums(headers: Sequence[Header]) -> dict[tuple[str, str], str]:
    """Checksums of files and members, by their place."""
    found = {_place(h): file_checksum(h.path) for h in headers if not h.member}
    for path in sorted({header.path for header in headers if header.member}):
        wanted = {header.member for header in headers if header.path == path}
        with suppress(Exception):
            for member in archives.members(path):
                if member.place.member in wanted and member.stream is not None:
                    found[path, member.place.member] = checksum(member.stream)
    return found


def checksum(stream: IO[bytes]) -> str:
    """SHA-256 of a DICOM file without preamble and meta header; empty when nothing is behind it."""
    start = stream.read(132)
    digest = hashlib.sha256()
    rest = _after_meta(stream) if start[128:] == b"DICM" else start
    digest.update(rest)
    length = len(rest)
    while block := stream.read(1 << 20):
        digest.update(block)
        length += len(block)
    return digest.hexdigest() if length else ""


def _after_meta(stream: IO[bytes]) -> bytes:
    """Skip the meta header (explicit VR, little endian); what was read beyond it."""
    head = stream.read(12)
    if len(head) == 12 and head[:8] == b"\x02\x00\x00\x00UL\x04\x00":
        skipped = struct.unpack("<I", head[8:])[0]
        stream.seek(skipped, io.SEEK_CUR)
        return b""
    return head


def file_checksum(path: str) -> str:
    """As :func:`checksum`; empty when the file can't be read."""
    try:
        with Path(path).open("rb") as stream:
            return checksum(stream)
    except OSError:
        return ""
