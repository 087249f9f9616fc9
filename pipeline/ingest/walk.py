"""Finds the files below a folder, of any depth and shape, each once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import VoxelwayError


@dataclass(frozen=True, slots=True)
class Found:
    """One file: size in bytes, times of its content and of its entry in nanoseconds.

    All three are -1 for what can't be looked at; reading it will say why. The second time can't
    be set by a program, so it tells of a file that was replaced by one of the same size and age.
    """

    path: str
    size: int = -1
    mtime_ns: int = -1
    ctime_ns: int = -1

    @classmethod
    def of(cls, path: str, told: os.stat_result) -> Found:
        """A file with what the system tells of it."""
        return cls(path, told.st_size, told.st_mtime_ns, told.st_ctime_ns)


class Walk:
    """One pass over a folder. Symbolic links are followed, each target is found once.

    Attributes:
        root: the folder, without links.
        folders: the folders that were read, with their age in nanoseconds.
        count: files found so far.
    """

    def __init__(self, root: Path, without: Sequence[Path] = ()) -> None:
        """Look at the folder.

        Raises:
            VoxelwayError: E-CONFIG-PATH when the folder does not exist.
        """
        self.root = root.resolve()
        if not self.root.is_dir():
            what = "The DICOM folder does not exist" if not root.exists() else "This is no folder"
            raise VoxelwayError("E-CONFIG-PATH", what, where=str(self.root))
        self.folders: dict[str, int] = {}
        self.count = 0
        self._links: list[str] = []
        self._seen: set[tuple[int, int]] = set()
        self._visited = {_place(os.stat(path)) for path in without if path.exists()}  # noqa: PTH116

    def files(self) -> Iterator[Found]:
        """The files, folder by folder; links to files last.

        Raises:
            VoxelwayError: E-DCM-FOLDER when there are none.
        """
        todo = [str(self.root)]
        while todo:
            folder = todo.pop()
            try:
                told = os.stat(folder)  # noqa: PTH116
                if _place(told) in self._visited:
                    continue
                self._visited.add(_place(told))
                below, found = self._read(folder)
            except OSError:
                # a folder that can't be read is reported like such a file, and stops nothing
                below, found = [], [Found(folder)]
            else:
                # the age was taken first: what arrives while the folder is read counts as new
                self.folders[folder] = told.st_mtime_ns
            todo += below
            self.count += len(found)
            yield from found
        for item in filter(None, map(self._follow, sorted(self._links))):
            self.count += 1
            yield item
        if not self.count:
            hint = "Point `dicom` at a folder with DICOM files, at any depth"
            where = str(self.root)
            raise VoxelwayError("E-DCM-FOLDER", "The folder is empty", where=where, hint=hint)

    def _read(self, folder: str) -> tuple[list[str], list[Found]]:
        """The folders and the files in a folder; links to files are kept for the end."""
        below, found = [], []
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda item: item.name):
                try:
                    if entry.is_dir():
                        below.append(entry.path)
                    elif entry.is_symlink():
                        self._links.append(entry.path)
                    elif entry.is_file():
                        told = entry.stat()
                        if told.st_nlink < 2 or self._new(told):
                            found.append(Found.of(entry.path, told))
                except OSError:
                    found.append(Found(entry.path))
        return below, found

    def _follow(self, link: str) -> Found | None:
        """The file that a link leads to, unless it was found itself or by another link."""
        try:
            told = os.stat(link)  # noqa: PTH116
            beside = os.stat(os.path.dirname(os.path.realpath(link)))  # noqa: PTH116, PTH120
        except OSError:
            return Found(link)
        if not stat.S_ISREG(told.st_mode) or _place(beside) in self._visited:
            return None
        return Found.of(link, told) if self._new(told) else None

    def _new(self, told: os.stat_result) -> bool:
        place = _place(told)
        if place in self._seen:
            return False
        self._seen.add(place)
        return True


def _place(told: os.stat_result) -> tuple[int, int]:
    return told.st_dev, told.st_ino
