"""Files that are whole or absent: temporary name in the same folder, then a rename."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from pipeline.errors import VoxelwayError, from_os_error

#: How the names of files begin that are not whole yet.
PART = ".part-"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; rename it when the block ends without an error.

    The temporary name keeps the suffixes, because readers and writers of images go by them.
    """
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        suffixes = "".join(path.suffixes[-2:]) if path.name.endswith(".gz") else path.suffix
        handle, name = tempfile.mkstemp(prefix=PART, suffix=suffixes, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes files private; results are shared as the user's umask says
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what a process that was killed left half-written in a folder."""
    for path in folder.glob(PART + "*"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


@contextmanager
def whole_folder(path: Path, names: Collection[str], kind: str) -> Iterator[Path]:
    """Give a temporary folder; it takes the place of ``path`` when the block ends without an error.

    Args:
        path: the folder; one that exists is replaced if it holds files of ``names`` at most.
        names: files that such a folder may hold, or patterns of them.
        kind: what the folder is, for the error.

    Raises:
        VoxelwayError: E-CONFIG-PATH when ``path`` holds other files, E-DISK-FULL, E-DIR-WRITE.
    """
    part: Path | None = None
    try:
        if path.is_dir() and not all(_any(item.name, names) for item in path.iterdir()):
            what = f"The folder holds files that are not of a {kind}"
            hint = "Choose a new folder, or empty this one"
            raise VoxelwayError("E-CONFIG-PATH", what, where=str(path), hint=hint)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=PART, dir=path.parent))
        yield part
        # temporary folders and what some libraries write are private; results are shared
        umask = _umask()
        for item in part.iterdir():
            item.chmod(0o666 & ~umask)
        part.chmod(0o777 & ~umask)
        _take_place(part, path)
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _any(name: str, patterns: Collection[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _take_place(part: Path, path: Path) -> None:
    if not path.exists():
        part.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=PART, dir=path.parent))
    try:
        path.rename(old / path.name)
        part.rename(path)
    finally:
        shutil.rmtree(old, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8")


def write_text_if_changed(path: Path, text: str) -> bool:
    """Write a text file only when its content differs, so that its age means something."""
    try:
        if path.read_text(encoding="utf-8") == text:
            return False
    except (OSError, UnicodeDecodeError):
        pass
    write_text(path, text)
    return True


def write_json(path: Path, content: Any) -> None:
    """Write JSON with sorted keys, whole."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        VoxelwayError: E-FILE-READ when the file is absent or no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    except ValueError as error:
        raise VoxelwayError("E-FILE-READ", f"No valid JSON: {error}", where=str(path)) from error


def write_tsv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a tab-separated table, whole; None becomes an empty field."""
    with atomic(path) as part, part.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, columns, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: _field(row.get(key)) for key in columns})


def _field(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split())


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Read a tab-separated table; every field is text.

    Raises:
        VoxelwayError: E-FILE-READ when the file can't be read.
    """
    try:
        with path.open(encoding="utf-8", newline="") as handle:
            return list(csv.DictReader(handle, delimiter="\t"))
    except OSError as error:
        raise from_os_error(error, str(path)) from error


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    try:
        with path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise from_os_error(error, str(path)) from error
