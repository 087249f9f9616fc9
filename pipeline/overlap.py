"""Reading for the next unit and writing for the last one while one is worked on.

ITK, zlib and hashlib let go of the lock of Python while they read, pack and hash: threads suffice.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import SimpleITK as sitk  # noqa: N813

from pipeline import files

Result = TypeVar("Result")
Reader = Callable[..., sitk.Image]


class Behind:
    """Does the end of each piece of work while the next one goes on, one end at a time.

    Args:
        enabled: if not, everything is done at once.
    """

    def __init__(self, enabled: bool) -> None:
        self._pool = ThreadPoolExecutor(1, "behind") if enabled else None
        self._last: Future[Any] | None = None

    def do(self, work: Callable[[], Result]) -> Callable[[], Result]:
        """Begin to do it, when what was begun before has ended.

        Returns:
            A function that waits for the result; it raises what the work raised.

        Raises:
            BaseException: what the work before raised.
        """
        if self._pool is None:
            found = work()
            return lambda: found
        if self._last is not None:
            self._last.result()
        self._last = self._pool.submit(work)
        return self._last.result

    def close(self) -> None:
        """Wait for what was begun."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)


@dataclass(frozen=True)
class Asked:
    """A file that was read, and how."""

    reader: Reader
    path: Path
    options: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Read:
    """What a file held, and its SHA-256."""

    image: sitk.Image
    digest: str
    stamp: tuple[int, int, int]


class Ahead:
    """Reads what will be asked for next, by what was asked for last.

    A file that is not what was foretold, has changed since or can't be read is left to who asks.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "ahead")
        self._asked: list[Asked] = []
        self._kept: dict[Asked, Future[Read]] = {}

    def begin(self, foretold: Callable[[Path], Path | None]) -> None:
        """Start to read for the next unit; what was read for another is let go.

        Args:
            foretold: path that was asked for → the path that will be; None for one that won't.
        """
        for future in self._kept.values():
            future.cancel()
        self._kept = {}
        for one in self._asked:
            path = foretold(one.path)
            if path is not None and path.is_file():
                ask = Asked(one.reader, path, one.options)
                self._kept[ask] = self._pool.submit(_read, ask)
        self._asked = []

    def take(self, ask: Asked) -> Read | None:
        """What was read ahead, once; None where the file must be read now."""
        self._asked.append(ask)
        future = self._kept.pop(ask, None)
        if future is None or future.cancel():
            return None
        try:
            found = future.result()
            return found if found.stamp == _stamp(ask.path) else None
        except Exception:
            # who asks meets the same and says what it means
            return None

    def close(self) -> None:
        """Let go of everything."""
        self._kept = {}
        self._pool.shutdown(wait=True, cancel_futures=True)


def _read(ask: Asked) -> Read:
    stamp = _stamp(ask.path)
    digest = files.sha256(ask.path)
    return Read(ask.reader(ask.path, **dict(ask.options)), digest, stamp)


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns
