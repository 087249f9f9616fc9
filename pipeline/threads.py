"""How many threads a process may use for what gives the same result with any number of them."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

#: Threads that the caller allows, or that the machine has where the caller says nothing.
VARIABLE = "VOXELWAY_THREADS"

#: Portions of a work are a multiple of this many, so that a few threads end together.
TOGETHER = 4

Item = TypeVar("Item")
Result = TypeVar("Result")


def announce() -> None:
    """Remember what the caller allows, before the command line asks libraries for one thread.

    Snakemake sets OMP_NUM_THREADS to the threads of the job; who calls a verb by hand usually does
    not, and gets every core that the process may run on.
    """
    given = os.environ.get("OMP_NUM_THREADS", "")
    count = int(given) if given.isdigit() else len(os.sched_getaffinity(0))
    os.environ.setdefault(VARIABLE, str(max(1, count)))


def count() -> int:
    """Threads that :func:`announce` found; one where it was not called."""
    return int(os.environ.get(VARIABLE, "1"))


def use_threads() -> None:
    """Let SimpleITK and torch use them. ANTs is left alone: its sums depend on their number."""
    import SimpleITK as sitk  # noqa: N813
    import torch

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(count())
    torch.set_num_threads(count())


def map_torch(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in the order of the items, each from torch on one thread; several at a time.

    Numbers do not depend on how many threads there are.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(count()) as pool:
            yield from pool.map(work, items)
    finally:
        torch.set_num_threads(before)


def portions(count: int, most: int, least: int = 1) -> list[slice]:
    """Portions of about equal length of ``count`` things in a row, whatever the threads.

    Args:
        count: one or more.
        most: things of a portion.
        least: things of a portion, where there are so many.
    """
    wanted = -(-count // max(most, 1))
    number = max(1, min(wanted + -wanted % TOGETHER, count // max(least, 1)))
    ends = [count * part // number for part in range(number + 1)]
    return [slice(start, end) for start, end in itertools.pairwise(ends)]
