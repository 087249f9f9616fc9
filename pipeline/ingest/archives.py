"""Members of .zip, .tar, .tar.gz and .tgz files: headers read and series unpacked one by one.

Nothing is unpacked for the index; a conversion unpacks the members of its own series, under
numbers for names, into a temporary folder. An archive that breaks off is refused as a whole,
because nobody can tell what else it held.
"""

from __future__ import annotations

import dataclasses
import gzip
import io
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO, cast

from pipeline.errors import VoxelwayError
from pipeline.ingest.headers import Header, Place, Reject, is_dicom, read_stream
from pipeline.ingest.source import Source, SourceFile

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")
#: A member up to this size is held in memory while its header is read, a larger one on the disk.
IN_MEMORY = 64 << 20
#: Larger members are refused: no image is, but a file made to fill the disk.
MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class Member:
    """One file within an archive; ``stream`` can be read once, forwards, before the next member.

    Where there is none, ``fault`` tells why.
    """

    place: Place
    stream: IO[bytes] | None
    fault: str = ""


def is_archive(path: str) -> bool:
    """Whether a file is looked into, by its name."""
    return path.lower().endswith(SUFFIXES)


def read_archive(path: str) -> list[Header | Reject]:
    """Read the headers of all members; of members with one name the last counts.

    Never raises for what is in the archive: what is damaged becomes a :class:`Reject`.
    """
    found: dict[str, Header | Reject] = {}
    try:
        for member in members(path):
            found[member.place.member] = _read(member)
    except (EOFError, tarfile.ReadError, zlib.error):
        return [Reject(path, "D-TRUNCATED", f"The archive is cut off or damaged{_after(found)}")]
    except OSError as error:
        what = f"The archive can't be read ({error.strerror or type(error).__name__})"
        return [Reject(path, "D-UNREADABLE", what, again=error.errno is not None)]
    except Exception as error:
        what = f"The archive can't be read ({type(error).__name__}){_after(found)}"
        return [Reject(path, "D-UNREADABLE", what)]
    return list(found.values()) or [Reject(path, "D-UNREADABLE", "The archive holds no file")]


def _after(found: dict[str, Header | Reject]) -> str:
    return f"; none of its files is taken, {len(found)} could be read" if found else ""


def _read(member: Member) -> Header | Reject:
    place = member.place
    if member.stream is None:
        return place.reject("D-UNREADABLE", member.fault)
    if is_archive(place.member):
        what = "An archive within an archive; unpack the outer one"
        return place.reject("D-UNREADABLE", what)
    if place.size > MOST_BYTES:
        return place.reject("D-UNREADABLE", "It has more than 4 GB; unpack the archive")
    try:
        start = member.stream.read(132)
        if not is_dicom(start):
            return read_stream(place, io.BytesIO(start))
        with _held(place.size) as whole:
            whole.write(start)
            shutil.copyfileobj(member.stream, whole, 1 << 20)
            whole.seek(0)
            return read_stream(place, cast(BinaryIO, whole))
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        if not isinstance(member.stream, zipfile.ZipExtFile):
            raise  # a tar can't be read on behind it
        what = f"The archive holds it damaged ({type(error).__name__})"
        return place.reject("D-UNREADABLE", what)


def _held(size: int) -> IO[bytes]:
    return io.BytesIO() if size <= IN_MEMORY else tempfile.TemporaryFile(prefix="voxelway-")


def members(path: str) -> Iterator[Member]:
    """The files of an archive, in its order."""
    return _zipped(path) if path.lower().endswith(".zip") else _tarred(path)


def _zipped(path: str) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            stamp = int("".join(f"{part:02d}" for part in info.date_time))
            place = Place(path, info.file_size, stamp, info.filename)
            if info.flag_bits & 1:
                yield Member(place, None, "The archive holds it encrypted")
                continue
            try:
                stream = archive.open(info)
            except (zipfile.BadZipFile, NotImplementedError) as error:
                what = f"The archive holds it damaged ({type(error).__name__})"
                yield Member(place, None, what)
                continue
            with stream:
                yield Member(place, stream)


class _Strict(tarfile.TarInfo):
    """The header of a member; tarfile takes one that is damaged for the end of the archive."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Strict:
        try:
            return super().frombuf(buf, encoding, errors)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise EOFError("damaged header") from error


def _tarred(path: str) -> Iterator[Member]:
    with Path(path).open("rb") as raw, ExitStack() as stack:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        inner: IO[bytes] = raw
        if packed:
            inner = cast(IO[bytes], stack.enter_context(gzip.open(raw)))
        # as a stream: going back in compressed bytes would mean to begin again
        archive = stack.enter_context(tarfile.open(fileobj=inner, mode="r|", tarinfo=_Strict))
        for info in archive:
            stream = archive.extractfile(info) if info.isreg() else None
            if stream is not None:
                stamp = int(min(max(info.mtime, 0), 1e10) * 1e9)
                yield Member(Place(path, info.size, stamp, info.name), stream)
        # the checksum of the whole is behind its last byte
        while inner.read(1 << 20):
            pass


@contextmanager
def unpacked(source: Source) -> Iterator[Source]:
    """Give the same source with plain files only, those of archives in a temporary folder.

    Raises:
        VoxelwayError: D-UNREADABLE when a member vanished or changed since the index,
            E-DISK-FULL.
    """
    if not any(item.member for item in source.files):
        yield source
        return
    with tempfile.TemporaryDirectory(prefix="voxelway-") as name:
        yield dataclasses.replace(source, files=plain(source.files, Path(name)))


def plain(items: Sequence[SourceFile], folder: Path) -> tuple[SourceFile, ...]:
    """The files as they are, members of archives as files in ``folder``; in the same order."""
    _room(items, folder)
    found = {n: item for n, item in enumerate(items) if not item.member}
    for path in sorted({item.path for item in items if item.member}):
        wanted = {i.member: (n, i) for n, i in enumerate(items) if i.path == path and i.member}
        try:
            found.update(_unpack(path, wanted, folder))
        except VoxelwayError:
            raise
        except Exception as error:
            raise _changed(f"can't be read any more ({type(error).__name__})") from error
    if len(found) < len(items):
        raise _changed(f"lacks {len(items) - len(found)} files as they were")
    return tuple(found[n] for n in range(len(items)))


def _unpack(
    path: str, wanted: dict[str, tuple[int, SourceFile]], folder: Path
) -> dict[int, SourceFile]:
    found: dict[int, SourceFile] = {}
    for member in members(path):
        place = member.place
        if place.member not in wanted or member.stream is None:
            continue
        n, item = wanted[place.member]
        if (place.size, place.mtime_ns) != (item.size, item.mtime_ns):
            # the name may come again; then the last one counts, as in the index
            found.pop(n, None)
            continue
        target = folder / f"{n:06d}.dcm"
        with target.open("wb") as stream:
            shutil.copyfileobj(member.stream, stream, 1 << 20)
        stat = target.stat()
        found[n] = SourceFile(str(target), stat.st_size, stat.st_mtime_ns)
    return found


def _changed(what: str) -> VoxelwayError:
    hint = "Run `voxelway index` again"
    return VoxelwayError("D-UNREADABLE", f"An archive of the series {what}", hint=hint)


def _room(items: Sequence[SourceFile], folder: Path) -> None:
    needed = sum(item.size for item in items if item.member) + (1 << 20)
    free = shutil.disk_usage(folder).free
    if free < needed:
        what = f"The temporary folder has {free >> 20} MB left, {(needed >> 20) + 1} MB are needed"
        hint = "Free some space there, or set TMPDIR to another folder"
        raise VoxelwayError("E-DISK-FULL", what, where=tempfile.gettempdir(), hint=hint)
