"""``voxelway push``: files sent to an archive, each accounted for."""

from __future__ import annotations

import csv
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.errors import Exit, VoxelwayError, from_os_error
from pipeline.pacs.archive import Archive, Item, Sent, connect
from pipeline.pacs.pace import Patience
from pipeline.pacs.peer import Peer
from pipeline.progress import Progress
from pipeline.quiet import quiet

COLUMNS = ("file", "bytes", "mtime_ns", "peer", "status", "code", "message")
STORED = "stored"


def push(peer: Peer, paths: Sequence[Path], report: Path | None = None) -> int:
    """Send files, and folders with all below, to an archive.

    Args:
        peer: the archive; its ``via`` decides between C-STORE and STOW-RS.
        paths: files and folders.
        report: a table that gets a row a file (mode 0600, it names the files); files that stand in
            it as stored at this peer, unchanged since, are not sent again.

    Returns:
        0 when the archive has all; 5 when it has some; 4 when it has none; 3 without DICOM.

    Raises:
        VoxelwayError: E-DCM-NONE, E-CONFIG-PATH; what stops the call, as E-PACS-UNREACHABLE.
    """
    with quiet():
        ledger = _Ledger(report, peer.name)
        todo = [path for path in _files(paths) if not ledger.has(path)]
        items, refused = _headers(todo)
        if not items and not ledger.known:
            raise VoxelwayError("E-DCM-NONE", f"None of the {len(todo)} files can be sent")
        counts = Counter({STORED: 0})
        with Progress("push", len(items), unit="instance") as progress:
            for sent in refused:
                _account(sent, ledger, counts)
            if items:
                archive = connect(peer)
                try:
                    _send_all(archive, items, ledger, counts, progress)
                finally:
                    archive.close()
    return _verdict(counts, ledger.known)


def _files(paths: Iterable[Path]) -> list[Path]:
    found: list[Path] = []
    for number, path in enumerate(paths, 1):
        if path.is_dir():
            found += sorted(item for item in path.rglob("*") if item.is_file())
        elif path.is_file():
            found.append(path)
        else:
            # the name of the file may hold a patient's
            raise VoxelwayError("E-CONFIG-PATH", f"Path {number} of the command does not exist")
    return list(dict.fromkeys(found))


def _headers(paths: Iterable[Path]) -> tuple[list[Item], list[Sent]]:
    """What can be sent, by association, and what can't be read."""
    items, refused = [], []
    for path in paths:
        try:
            items.append(_item(path))
        except Exception as error:
            # whatever a damaged file makes the parser raise, the others are sent
            what = f"The file is no DICOM with a file meta header ({type(error).__name__})"
            refused.append(Sent(Item(path, 0, 0, "", "", ""), "D-NOT-DICOM", what))
    return sorted(items, key=lambda item: (item.sop_class, item.transfer_syntax)), refused


def _item(path: Path) -> Item:
    import pydicom

    state = path.stat()
    meta = pydicom.filereader.read_file_meta_info(path)
    return Item(
        path,
        state.st_size,
        state.st_mtime_ns,
        str(meta.MediaStorageSOPClassUID),
        str(meta.MediaStorageSOPInstanceUID),
        str(meta.TransferSyntaxUID),
    )


def _send_all(
    archive: Archive,
    items: Sequence[Item],
    ledger: _Ledger,
    counts: Counter[str],
    progress: Progress,
) -> None:
    """Send until each item has its answer; after a break, only those without one."""
    waiting = {item.path: item for item in items}
    patience = Patience(archive.peer.retries, archive.peer.backoff)
    while waiting:
        try:
            for sent in archive.send(list(waiting.values())):
                waiting.pop(sent.item.path, None)
                _account(sent, ledger, counts)
                progress.step()
                patience.gained()
        except VoxelwayError as error:
            _tell(counts, ledger.known, len(waiting))
            patience.spend(error)
    _tell(counts, ledger.known, 0)


def _account(sent: Sent, ledger: _Ledger, counts: Counter[str]) -> None:
    ledger.note(sent)
    counts[sent.code or STORED] += 1
    if sent.code and counts[sent.code] == 1:
        print(f"{sent.code}: {sent.message}. The first of its kind.", file=sys.stderr)


def _tell(counts: Counter[str], before: int, waiting: int) -> None:
    parts = [f"{counts[STORED]} stored"]
    parts += [f"{number} {code}" for code, number in sorted(counts.items()) if code != STORED]
    parts += [f"{before} were there"] if before else []
    parts += [f"{waiting} to go"] if waiting else []
    print(", ".join(parts), flush=True)


def _verdict(counts: Counter[str], before: int) -> int:
    bad = sum(number for code, number in counts.items() if code != STORED)
    if not bad:
        return Exit.DONE
    return Exit.SOME if counts[STORED] + before else Exit.OUTSIDE


class _Ledger:
    """The report as a table that grows; of several rows on one file the last counts.

    Raises:
        VoxelwayError: E-CONFIG-PATH when the file is another table; E-DIR-WRITE.
    """

    def __init__(self, path: Path | None, peer: str) -> None:
        self._path, self._peer = path, peer
        self._stored: dict[str, tuple[str, str]] = {}
        self.known = 0
        if path is None:
            return
        try:
            if path.is_file():
                self._read(path)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "w", encoding="utf-8") as stream:
                    stream.write("\t".join(COLUMNS) + "\n")
        except OSError as error:
            raise from_os_error(error, str(path)) from error

    def _read(self, path: Path) -> None:
        with path.open(encoding="utf-8", newline="") as handle:
            table = csv.DictReader(handle, delimiter="\t")
            if tuple(table.fieldnames or ()) != COLUMNS:
                what = "The file exists and is no report of `voxelway push`"
                raise VoxelwayError("E-CONFIG-PATH", what, where=str(path))
            for row in table:
                if row["peer"] == self._peer and row["status"] == STORED:
                    self._stored[row["file"]] = (row["bytes"], row["mtime_ns"])
                elif row["peer"] == self._peer:
                    self._stored.pop(row["file"], None)

    def has(self, path: Path) -> bool:
        """Whether the peer has this file as it is now; counts those."""
        state = path.stat()
        there = self._stored.get(_name(path)) == (str(state.st_size), str(state.st_mtime_ns))
        self.known += there
        return there

    def note(self, sent: Sent) -> None:
        """Add a row."""
        if self._path is None:
            return
        item = sent.item
        values = (_name(item.path), item.size, item.mtime_ns, self._peer,
                  "refused" if sent.code else STORED, sent.code, sent.message)  # fmt: skip
        try:
            with self._path.open("a", encoding="utf-8", newline="") as handle:
                csv.writer(handle, delimiter="\t", lineterminator="\n").writerow(values)
        except OSError as error:
            raise from_os_error(error, str(self._path)) from error


def _name(path: Path) -> str:
    return path.resolve().as_posix()
