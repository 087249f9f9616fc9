"""Finds the files below a folder and reads their headers side by side."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from pipeline.errors import VoxelwayError
from pipeline.ingest.headers import Common, Header, Reject, read_header

#: Below so many files, starting processes takes longer than reading.
WORTH_PROCESSES = 1000
#: More readers than this wait for the disk.
MOST_PROCESSES = 16
CHUNK = 64


@dataclass
class Tree:
    """Files below a folder, sorted, and the folders that were read with their age."""

    files: list[str] = field(default_factory=list)
    folders: dict[str, int] = field(default_factory=dict)


def walk(root: Path, without: Sequence[Path] = ()) -> Tree:
    """List the files below ``root``; symbolic links are followed, each target once.

    Raises:
        VoxelwayError: E-CONFIG-PATH when the folder does not exist, E-DCM-FOLDER when it is empty.
    """
    root = root.resolve()
    if not root.is_dir():
        what = "The DICOM folder does not exist" if not root.exists() else "This is no folder"
        raise VoxelwayError("E-CONFIG-PATH", what, where=str(root))
    tree, seen = Tree(), set[tuple[int, int]]()
    skipped = {str(path.resolve()) for path in without}
    todo = [str(root)]
    while todo:
        folder = todo.pop()
        if folder not in skipped and _new(folder, seen):
            todo.extend(_list(folder, tree, seen))
    if not tree.files:
        hint = "Point `dicom` at a folder with DICOM files, at any depth"
        raise VoxelwayError("E-DCM-FOLDER", "The folder is empty", where=str(root), hint=hint)
    tree.files.sort()
    return tree


def _list(folder: str, tree: Tree, seen: set[tuple[int, int]]) -> list[str]:
    """Add a folder's files to the tree; return the folders in it."""
    below = []
    try:
        # the age is taken first: what arrives while the folder is read counts as new
        age = os.stat(folder).st_mtime_ns  # noqa: PTH116
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda item: item.name):
                if entry.is_dir():
                    below.append(entry.path)
                elif entry.is_file():
                    if _new(entry.path, seen):
                        tree.files.append(entry.path)
                elif entry.is_symlink():
                    # it leads nowhere: reading it will say so
                    tree.files.append(entry.path)
    except OSError:
        # a folder that can't be read is reported like such a file, and stops nothing
        tree.files.append(folder)
        return []
    tree.folders[folder] = age
    return below


def _new(path: str, seen: set[tuple[int, int]]) -> bool:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return False
    place = (found.st_dev, found.st_ino)
    if place in seen:
        return False
    seen.add(place)
    return True


def read_headers(paths: Sequence[str]) -> tuple[list[Header], list[Reject]]:
    """Read the headers of all files, in the order of ``paths``, on the cores that we may use."""
    headers: list[Header] = []
    rejects: list[Reject] = []
    shared: dict[Common, Common] = {}
    for found in _progress(_read(paths), len(paths)):
        if isinstance(found, Reject):
            rejects.append(found)
        else:
            # one copy of what the files of a series have in common
            common = shared.setdefault(found.common, found.common)
            headers.append(replace(found, common=common))
    return headers, rejects


def _read(paths: Sequence[str]) -> Iterator[Header | Reject]:
    workers = min(MOST_PROCESSES, len(os.sched_getaffinity(0)))
    if workers < 2 or len(paths) < WORTH_PROCESSES:
        yield from map(read_header, paths)
        return
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(read_header, paths, chunksize=CHUNK)


def _progress(items: Iterable[Header | Reject], total: int) -> Iterator[Header | Reject]:
    """A bar on a terminal, a line a minute in a log."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, total=total, unit="file", desc="headers")
        return
    told = time.monotonic()
    for count, item in enumerate(items, 1):
        if time.monotonic() - told > 60:
            told = time.monotonic()
            print(f"headers: {count} of {total} files", file=sys.stderr)
        yield item
