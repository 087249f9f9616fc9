"""What the gate says of a series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.ingest.headers import Header, Reject


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a series.

    Attributes:
        code: a key of the table of codes.
        message: what, with the numbers.
        paths: the files that stand out; empty where it is the series as a whole.
        repair: whether conversion can put it right.
        accept: whether the series is still a sound image when it is taken as it is.
        lost: slices that are missing, where they can be counted.
    """

    code: str
    message: str
    paths: tuple[str, ...] = ()
    repair: bool = False
    accept: bool = False
    lost: int = 0


def place(header: Header | Reject) -> str:
    """Where a file is: its path, and its name within the archive where that is one."""
    return f"{header.path}|{header.member}" if header.member else header.path
