"""The cohort page made anew while a run goes on: seldom, by one job at a time.

Each job that wrote a subject page calls :func:`refresh`. Most calls find that the last refresh is
too fresh and end at once. The run's last word is the workflow's own `cohort` job, which writes the
same files and the tables beside them.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline import files
from pipeline.errors import VoxelwayError, from_exception
from pipeline.ingest import manifest
from pipeline.paths import Results
from pipeline.report.cohort.page import write_page

#: Least seconds between two refreshes, and least share of the time that goes into none.
LEAST_PAUSE, PAUSE_FACTOR = 60.0, 20.0
#: A lock that is older belongs to a job that died.
LOCK_SECONDS, LOCK_FACTOR = 600.0, 10.0


def refresh(results: Results, params: Mapping[str, Any], now: float | None = None) -> bool:
    """Write the cohort page if that is due and nobody else does.

    Never fails: the caller's own work is done already, and the page comes at the end of the run.

    Args:
        results: the results folder.
        params: section ``report`` of the configuration, with ``seed``.
        now: seconds since the epoch, of this machine's clock without.

    Returns:
        Whether it was written.
    """
    now = time.time() if now is None else now
    try:
        if not _due(results, now):
            return False
        with _lock(_lock_path(results), now, _last(results)[1]) as mine:
            # another job may have been done between the two looks
            if not mine or not _due(results, now):
                return False
            started = time.monotonic()
            units = manifest.units(manifest.read_manifest(results.manifest))
            write_page(results, units, params)
            spent = {"at": now, "seconds": round(time.monotonic() - started, 3)}
            files.write_json(_marker(results), spent)
            return True
    except Exception as error:  # a page that is late is no reason to lose a subject
        told = from_exception(error, str(results.cohort_page))
        print(f"warning: the cohort page was not refreshed: {told}", file=sys.stderr)
        return False


def _marker(results: Results) -> Path:
    return results.root / "logs" / "cohort" / "refreshed.json"


def _lock_path(results: Results) -> Path:
    return results.root / "logs" / "cohort" / "refresh.lock"


def _last(results: Results) -> tuple[float, float]:
    """When the last refresh was and what it cost, in seconds; zeros before the first."""
    try:
        told = files.read_json(_marker(results))
        return float(told["at"]), float(told["seconds"])
    except (VoxelwayError, TypeError, KeyError, ValueError):
        return 0.0, 0.0


def _due(results: Results, now: float) -> bool:
    at, cost = _last(results)
    # a time in the future is that of another machine's clock, or was set back since
    return not 0 <= now - at < max(LEAST_PAUSE, PAUSE_FACTOR * cost)


@contextmanager
def _lock(path: Path, now: float, cost: float) -> Iterator[bool]:
    """Whether this job holds the lock file; it is removed at the end.

    A file that must not exist yet works on network disks where locks of the kernel do not. One
    that is too old is moved away first, so that of two jobs which find it one alone goes on.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_dead(path, now, max(LOCK_SECONDS, LOCK_FACTOR * cost))
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    except FileExistsError:
        yield False
        return
    os.write(handle, f"{os.getpid()}\n".encode())
    os.close(handle)
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)


def _clear_dead(path: Path, now: float, longest: float) -> None:
    try:
        if abs(now - path.stat().st_mtime) < longest:
            return
        with tempfile.TemporaryDirectory(prefix=".part-", dir=path.parent) as aside:
            path.rename(Path(aside) / path.name)
    except FileNotFoundError:
        return
