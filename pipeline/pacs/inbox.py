"""The private folder that pulled instances go into, and the ledger of what is there.

``OUT_DIR/STUDY/SERIES/INSTANCE.dcm``, each name a keyed hash of the UID, so that a path tells
nothing. The key and the ledger stand in ``OUT_DIR-private``, beside it, so that an index of OUT_DIR
sees DICOM only. Both folders are for their owner alone (mode 0700): the files hold the patients.
"""

from __future__ import annotations

import base64
import hmac
import io
import os
import secrets
import threading
from pathlib import Path

from pipeline import files
from pipeline.errors import VoxelwayError, from_os_error
from pipeline.ingest.identity import private_folder
from pipeline.pacs.archive import SeriesRef

LEDGER = "pulled.tsv"
KEY = "pull.key"
_LETTERS = 16


class Inbox:
    """Instances on disk. An instance counts as there when its file has the size of the ledger.

    Raises:
        VoxelwayError: E-DIR-WRITE, E-DISK-FULL when the folders can't be made.
    """

    def __init__(self, root: Path) -> None:
        self.root = private_folder(root)
        self.private = private_folder(root.with_name(root.name + "-private"))
        self._key = _key(self.private / KEY)
        self._ledger = self.private / LEDGER
        self._sizes = _read_ledger(self._ledger)
        self._lock = threading.Lock()

    def label(self, uid: str) -> str:
        """What stands for a UID in names and messages, as ``i7x2kqa5mbdpq3st``."""
        digest = hmac.digest(self._key, uid.encode(), "sha256")
        return "i" + base64.b32encode(digest).decode("ascii").lower()[: _LETTERS - 1]

    def folder(self, ref: SeriesRef) -> Path:
        """Where the instances of a series go."""
        return self.root / self.label(ref.study) / self.label(ref.series)

    def has(self, ref: SeriesRef, instance: str) -> bool:
        """Whether an instance is there, whole."""
        path = self.folder(ref) / f"{self.label(instance)}.dcm"
        return self._whole(path)

    def count(self, ref: SeriesRef) -> int:
        """How many instances of a series are there."""
        return sum(self._whole(path) for path in self.folder(ref).glob("*.dcm"))

    def _whole(self, path: Path) -> bool:
        expected = self._sizes.get(path.relative_to(self.root).as_posix())
        try:
            return expected is not None and path.stat().st_size == expected
        except OSError:
            return False

    def put(self, ref: SeriesRef, content: bytes) -> str:
        """Write one instance of a series; returns its SOPInstanceUID, empty when it is not of it.

        Raises:
            VoxelwayError: E-DISK-FULL, E-DIR-WRITE.
        """
        study, series, instance = _uids(content)
        if (study, series) != (ref.study, ref.series) or not instance:
            return ""
        path = self.folder(ref) / f"{self.label(instance)}.dcm"
        with self._lock:
            with files.atomic(path) as part:
                part.write_bytes(content)
            self._note(path.relative_to(self.root).as_posix(), len(content))
        return instance

    def _note(self, name: str, size: int) -> None:
        self._sizes[name] = size
        try:
            with self._ledger.open("a", encoding="ascii") as handle:
                handle.write(f"{name}\t{size}\n")
        except OSError as error:
            raise from_os_error(error, str(self._ledger)) from error


def _uids(content: bytes) -> tuple[str, str, str]:
    """Study, series and instance of a file; empty texts when it can't be read."""
    import pydicom

    names = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
    try:
        head = pydicom.dcmread(
            io.BytesIO(content), stop_before_pixels=True, specific_tags=list(names)
        )
        study, series, instance = (str(head.get(name, "") or "") for name in names)
    except Exception:
        # whatever a damaged header makes the parser raise, the instance is not one that was wanted
        return "", "", ""
    return study, series, instance


def _read_ledger(path: Path) -> dict[str, int]:
    """Name → size; a last line that was cut off does not count."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    pairs = (line.rstrip("\n").split("\t") for line in lines if line.endswith("\n"))
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _key(path: Path) -> bytes:
    """The key of the names, made at first use (mode 0600)."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(secrets.token_hex(32) + "\n")
    except FileExistsError:
        pass
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (ValueError, OSError) as error:
        raise VoxelwayError("E-FILE-READ", "The key can't be read", where=str(path)) from error
    if len(key) < 32:
        raise VoxelwayError("E-FILE-READ", "The key is too short", where=str(path))
    return key
