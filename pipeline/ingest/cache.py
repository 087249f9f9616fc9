"""Headers that were read before, in one file of the private folder: the index reads no file twice.

An SQLite database, with a checksum behind its end. It is worked on in a copy that takes the place
of the old one when it is whole, so that neither a crash nor a second index nor a network folder
without locks can damage it. What is damaged anyway, or was read by other code, is dropped.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path
from typing import IO

from pipeline.errors import from_os_error
from pipeline.ingest import packed
from pipeline.ingest.headers import Header, Reject
from pipeline.ingest.identity import normalised
from pipeline.ingest.walk import Found
from pipeline.paths import Results

#: Seconds after which what was read so far is put in place, in case that the machine stops.
CHECKPOINT = 600.0
#: Seconds after which a copy that a killed index left behind is removed.
FORGOTTEN = 7 * 86400.0
PAGE = 4096
BLOCK = 1 << 20

TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE files (id INTEGER PRIMARY KEY, path BLOB UNIQUE, size INT, mtime INT, ctime INT,
                    seen INT, done INT);
CREATE TABLE series (id INTEGER PRIMARY KEY, uid BLOB UNIQUE);
CREATE TABLE commons (id INTEGER PRIMARY KEY, digest BLOB UNIQUE, patient BLOB, image INT,
                      content TEXT);
CREATE TABLE headers (file INT, series INT, common INT, member BLOB, content TEXT, sum TEXT);
CREATE TABLE rejects (file INT, content TEXT);
CREATE INDEX headers_of_series ON headers (series, common);
CREATE INDEX headers_of_file ON headers (file);
CREATE INDEX rejects_of_file ON rejects (file);
"""
MARK = """
INSERT INTO files (path, size, mtime, ctime, seen, done) VALUES (?, ?, ?, ?, 1, 0)
ON CONFLICT (path) DO UPDATE SET seen = 1,
    done = done AND size = excluded.size AND mtime = excluded.mtime AND ctime = excluded.ctime,
    size = excluded.size, mtime = excluded.mtime, ctime = excluded.ctime
"""


def place(results: Results) -> Path:
    """The file with the headers of a results folder."""
    return results.private / "headers.sqlite"


class Cache:
    """Headers of all files below one folder; used within :func:`opened`."""

    def __init__(self, path: Path, base: sqlite3.Connection, part: Path) -> None:
        self.path, self.base, self.part = path, base, part
        self._saved = time.monotonic()
        self._commons: dict[object, int] = {}

    def start(self) -> None:
        """Begin a walk: no file was seen yet."""
        self.base.execute("UPDATE files SET seen = 0")

    def mark(self, found: Iterable[Found]) -> None:
        """Note files that the walk saw; those whose size or times changed are to be read."""
        rows = ((packed.text(f.path), f.size, f.mtime_ns, f.ctime_ns) for f in found)
        self.base.executemany(MARK, rows)

    def forget(self) -> None:
        """End a walk: drop what is gone, and what was read of files that changed."""
        execute = self.base.execute
        for table in ("headers", "rejects"):
            stale = "SELECT id FROM files WHERE NOT seen OR NOT done"
            execute(f"DELETE FROM {table} WHERE file IN ({stale})")
        if execute("DELETE FROM files WHERE NOT seen").rowcount:
            execute("DELETE FROM commons WHERE id NOT IN (SELECT common FROM headers)")
            execute("DELETE FROM series WHERE id NOT IN (SELECT series FROM headers)")

    def count(self, *, unread: bool = False) -> int:
        """Number of files, or of those that are still to be read."""
        where = "WHERE NOT done" if unread else ""
        return int(self.base.execute(f"SELECT count(*) FROM files {where}").fetchone()[0])

    def unread(self) -> Iterator[str]:
        """Paths of files to be read, in order."""
        last = b""
        query = "SELECT path FROM files WHERE NOT done AND path > ? ORDER BY path LIMIT ?"
        while rows := self.base.execute(query, (last, PAGE)).fetchall():
            for (path,) in rows:
                yield packed.untext(path)
            last = rows[-1][0]

    def store(self, path: str, read: Sequence[Header | Reject]) -> None:
        """Keep what was read of one file or archive."""
        execute = self.base.execute
        (file,) = execute("SELECT id FROM files WHERE path = ?", (packed.text(path),)).fetchone()
        for item in read:
            if isinstance(item, Reject):
                execute("INSERT INTO rejects VALUES (?, ?)", (file, packed.dump(item)))
            else:
                execute("INSERT INTO headers VALUES (?, ?, ?, ?, ?, NULL)", self._row(file, item))
        again = any(isinstance(item, Reject) and item.again for item in read)
        execute("UPDATE files SET done = ? WHERE id = ?", (not again, file))
        if time.monotonic() - self._saved > CHECKPOINT:
            self.save()

    def _row(self, file: int, header: Header) -> tuple[object, ...]:
        common = header.common
        number = self._commons.get(common)
        if number is None:
            if len(self._commons) > PAGE:
                self._commons.clear()
            content = packed.dump(common)
            values = (
                hashlib.sha256(content.encode()).digest(),
                packed.text(normalised(common.patient_id)),
                header.is_image,
                content,
            )
            number = self._number("commons", "digest, patient, image, content", values)
            self._commons[common] = number
        series = self._number("series", "uid", (packed.text(common.series_uid),))
        return file, series, number, packed.text(header.member), packed.dump(header)

    def _number(self, table: str, columns: str, values: tuple[object, ...]) -> int:
        """The id of a row that is there once, known by its first column."""
        key = columns.split(",")[0]
        query = f"SELECT id FROM {table} WHERE {key} = ?"
        row = self.base.execute(query, values[:1]).fetchone()
        if row is not None:
            return int(row[0])
        marks = ", ".join("?" * len(values))
        done = self.base.execute(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)
        return int(done.lastrowid or 0)

    def rejects(self) -> Iterator[Reject]:
        """Files without a header, by path."""
        query = """SELECT path, content FROM rejects JOIN files ON files.id = file
                   ORDER BY path, content"""
        for path, content in self.base.execute(query):
            yield packed.reject(packed.untext(path), content)

    def has_images(self) -> bool:
        """Whether any file is an image."""
        query = "SELECT 1 FROM headers JOIN commons ON commons.id = common WHERE image LIMIT 1"
        return self.base.execute(query).fetchone() is not None

    def patients(self) -> list[tuple[str, list[int]]]:
        """Numbers of the series of each patient, by normalised PatientID.

        A series is its images' patient's. Series of none or of several come one by one, under the
        empty name.
        """
        query = """SELECT uid, series, image, min(patient), max(patient)
                   FROM (SELECT DISTINCT series, common FROM headers)
                   JOIN commons ON commons.id = common JOIN series ON series.id = series
                   GROUP BY series, image"""
        owners: dict[int, tuple[bytes, bool, bytes]] = {}
        for uid, series, image, least, greatest in self.base.execute(query):
            if series not in owners or image:
                owners[series] = (least if least == greatest else b"", bool(image), uid)
        order = sorted((owner, uid, series) for series, (owner, _, uid) in owners.items())
        found: list[tuple[str, list[int]]] = []
        for owner, members in groupby(order, key=lambda item: item[0]):
            numbers = [series for _, _, series in members]
            each = [numbers] if owner else [[number] for number in numbers]
            found += [(packed.untext(owner), part) for part in each]
        return found

    def series(self, number: int) -> list[Header]:
        """The files of one series, by path and member."""
        query = """SELECT path, member, headers.content, commons.id, commons.content
                   FROM headers JOIN files ON files.id = file JOIN commons ON commons.id = common
                   WHERE series = ? ORDER BY path, member"""
        commons = {}
        found = []
        for path, member, content, common, told in self.base.execute(query, (number,)):
            if common not in commons:
                commons[common] = packed.common(told)
            found.append(
                packed.header(packed.untext(path), packed.untext(member), commons[common], content)
            )
        return found

    def sums(self, headers: Sequence[Header]) -> list[str | None]:
        """Checksums that :meth:`keep_sum` kept."""
        query = """SELECT sum FROM headers JOIN files ON files.id = file
                   WHERE path = ? AND member = ?"""
        keys = [(packed.text(header.path), packed.text(header.member)) for header in headers]
        rows = [self.base.execute(query, key).fetchone() for key in keys]
        return [None if row is None else row[0] for row in rows]

    def keep_sum(self, header: Header, value: str) -> None:
        """Keep the checksum of a file's content."""
        query = """UPDATE headers SET sum = ? WHERE member = ?
                   AND file = (SELECT id FROM files WHERE path = ?)"""
        self.base.execute(query, (value, packed.text(header.member), packed.text(header.path)))

    def save(self) -> None:
        """Put what is known so far in place."""
        self.base.commit()
        _publish(self.part, self.path)
        self._saved = time.monotonic()


def drop(results: Results) -> None:
    """Remove the headers that were kept."""
    place(results).unlink(missing_ok=True)


@contextmanager
def opened(results: Results, root: Path) -> Iterator[Cache]:
    """The headers that were read below ``root``; what is added is kept, also after an error.

    Args:
        results: their private folder must exist.
        root: the DICOM folder.

    Raises:
        VoxelwayError: E-DIR-WRITE, E-DISK-FULL.
    """
    path = place(results)
    try:
        _clear(path)
        with _working_copy(path) as part:
            base = _usable(part, root)
            try:
                cache = Cache(path, base, part)
                yield cache
            finally:
                cache.save()
                base.close()
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    except sqlite3.OperationalError as error:
        # of the disk, SQLite says no more than this
        fault = OSError(errno.ENOSPC if "full" in str(error) else errno.EIO, str(error))
        raise from_os_error(fault, str(path)) from error


@contextmanager
def reading(results: Results, root: Path) -> Iterator[Cache | None]:
    """The headers that were read below ``root``, nothing is kept; None where there are none."""
    path = place(results)
    if not path.is_file():
        yield None
        return
    with _working_copy(path) as part:
        base = _connect(part)
        try:
            yield Cache(path, base, part) if _fits(base, root) else None
        finally:
            base.close()


@contextmanager
def _working_copy(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(prefix=".part-headers-", suffix=".sqlite", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as target:
            whole = not path.is_file() or _copy(path, target)
        if not whole:
            print("The index of headers is damaged; all files are read again", file=sys.stderr)
            part.write_bytes(b"")
        yield part
    finally:
        part.unlink(missing_ok=True)


def _copy(path: Path, target: IO[bytes]) -> bool:
    """Copy all but the checksum; whether that fits."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        left = max(0, path.stat().st_size - digest.digest_size)
        while block := source.read(min(BLOCK, left)):
            digest.update(block)
            target.write(block)
            left -= len(block)
        return source.read() == digest.digest()


def _publish(part: Path, path: Path) -> None:
    """Copy the database, its checksum behind it, to its place."""
    digest = hashlib.sha256()
    handle, name = tempfile.mkstemp(prefix=".part-headers-", suffix=".new", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as target, part.open("rb") as source:
            while block := source.read(BLOCK):
                digest.update(block)
                target.write(block)
            target.write(digest.digest())
            target.flush()
            os.fsync(target.fileno())
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def _clear(path: Path) -> None:
    """Remove what an index that was killed left behind long ago."""
    for left in path.parent.glob(".part-headers-*"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > FORGOTTEN:
                left.unlink()


def _usable(part: Path, root: Path) -> sqlite3.Connection:
    """The database, emptied when other code made it or it is of another folder."""
    base = _connect(part)
    if _fits(base, root):
        return base
    base.close()
    part.write_bytes(b"")
    base = _connect(part)
    base.executescript(TABLES)
    facts = {"code": packed.version(), "root": _root(root)}
    base.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
    return base


def _fits(base: sqlite3.Connection, root: Path) -> bool:
    try:
        facts = dict(base.execute("SELECT name, value FROM facts").fetchall())
    except sqlite3.DatabaseError:
        return False
    return facts == {"code": packed.version(), "root": _root(root)}


def _root(root: Path) -> str:
    return packed.text(str(root.resolve())).hex()


def _connect(part: Path) -> sqlite3.Connection:
    # the copy is ours alone: no locks, which some network folders lack, and no journal on the disk
    base = sqlite3.connect(f"{part.resolve().as_uri()}?nolock=1", uri=True)
    for setting in ("journal_mode = MEMORY", "synchronous = OFF", "temp_store = MEMORY"):
        base.execute(f"PRAGMA {setting}")
    return base
