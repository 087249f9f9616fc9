"""Reads files side by side: many at a time, few in flight, and none can end the others."""

from __future__ import annotations

import multiprocessing
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from itertools import chain, islice

from pipeline.ingest.archives import is_archive, read_archive
from pipeline.ingest.headers import Header, Reject, read_header
from pipeline.progress import shown
from pipeline.quiet import quiet

#: What was read of one file: a header or a reason why there is none, several of an archive.
Read = tuple[str, list[Header | Reject]]

#: Below so many files, starting processes takes longer than reading.
WORTH_PROCESSES = 1000
#: An archive counts as many files.
ARCHIVE_COUNTS = 500
#: More readers than this wait for the disk.
MOST_PROCESSES = 16
CHUNK = 64


def read_file(path: str) -> list[Header | Reject]:
    """Read one file, or all members of an archive; never raises for what is in it."""
    return read_archive(path) if is_archive(path) else [read_header(path)]


def _read_chunk(paths: Sequence[str]) -> list[Read]:
    with quiet():
        return [(path, read_file(path)) for path in paths]


def read_files(paths: Iterable[str], count: int) -> Iterator[Read]:
    """Read files on the cores that we may use, in their order; shows how far it is.

    Args:
        paths: may be made while they are read; few are held at a time.
        count: how many they are.
    """
    workers = min(MOST_PROCESSES, len(os.sched_getaffinity(0)))
    stream = iter(paths)
    first = list(islice(stream, WORTH_PROCESSES))
    weight = sum(ARCHIVE_COUNTS if is_archive(path) else 1 for path in first)
    if workers > 1 and weight >= WORTH_PROCESSES:
        chunks = _chunks(iter(first), stream)
        yield from shown(_side_by_side(chunks, workers), count, "headers", unit="file")
        return
    with quiet():
        read = ((path, read_file(path)) for path in chain(first, stream))
        yield from shown(read, count, "headers", unit="file")


def _chunks(*streams: Iterator[str]) -> Iterator[list[str]]:
    """Paths in groups for one reader; an archive comes alone."""
    chunk: list[str] = []
    for path in (path for stream in streams for path in stream):
        if is_archive(path):
            yield [path]
            continue
        chunk.append(path)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _side_by_side(chunks: Iterator[list[str]], workers: int) -> Iterator[Read]:
    if not _can_start():
        yield from ((path, read_file(path)) for chunk in chunks for path in chunk)
        return
    waiting: deque[list[str]] = deque()
    ended = False
    while not ended:
        with _pool(workers) as pool, suppress(BrokenProcessPool):
            futures: deque[Future[list[Read]]] = deque()
            for chunk in chunks:
                waiting.append(chunk)
                futures.append(pool.submit(_read_chunk, chunk))
                if len(futures) > 4 * workers:
                    yield from futures.popleft().result()
                    waiting.popleft()
            while futures:
                yield from futures.popleft().result()
                waiting.popleft()
            ended = True
        # a reader was ended from outside or by what it read: those that were at it, one by one
        while waiting:
            yield from _carefully(waiting.popleft())


def _can_start() -> bool:
    """Whether readers start at all: they import the program that runs, which may be a notebook."""
    with _pool(1) as pool, suppress(BrokenProcessPool):
        return pool.submit(os.getpid).result() > 0
    return False


def _carefully(paths: Sequence[str]) -> Iterator[Read]:
    """Read one file after the other in a process apart, so that it is known which one ends it."""
    left = deque(paths)
    while left:
        with _pool(1) as pool, suppress(BrokenProcessPool):
            while left:
                found = pool.submit(read_file, left[0]).result()
                yield left.popleft(), found
        if left:
            what = "Reading it ended the reader, perhaps for want of memory"
            path = left.popleft()
            yield path, [Reject(path, "D-UNREADABLE", what, again=True)]


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.ingest.archives", "pydicom"])
    pool = ProcessPoolExecutor(workers, mp_context=context)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
