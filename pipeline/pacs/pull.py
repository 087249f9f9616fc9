"""``voxelway pull``: series looked up, fetched, counted; what is there is not asked for again."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from pipeline import files
from pipeline.errors import Exit, VoxelwayError
from pipeline.pacs.archive import Archive, SeriesRef, connect, look_up
from pipeline.pacs.inbox import Inbox
from pipeline.pacs.pace import PASSING, PASSING_OF_RETRIEVAL, Patience, persist
from pipeline.pacs.peer import Peer
from pipeline.pacs.request import Request
from pipeline.progress import Progress
from pipeline.quiet import quiet

REPORT = "report.tsv"
#: After these, further rows would meet the same: the call ends, and can be repeated.
FINAL = (
    "E-PACS-UNREACHABLE", "E-PACS-AE", "E-PACS-REJECTED", "E-PACS-TLS", "E-PACS-AUTH",
    "E-DISK-FULL", "E-DIR-WRITE",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of one series of one row, or of a row without a series.

    ``study`` and ``series`` are the names of the folders; ``expected`` and ``received`` count
    instances, ``before`` those of them that were there already.
    """

    row: int
    study: str = ""
    series: str = ""
    expected: int = 0
    received: int = 0
    before: int = 0
    code: str = ""
    message: str = ""


def pull(peer: Peer, requests: Sequence[Request], out: Path, *, dry: bool = False) -> int:
    """Pull what is asked for into a private folder.

    Args:
        peer: the archive.
        requests: what to pull.
        out: the folder; beside it, ``OUT-private`` gets the ledger and a report.
        dry: only look up and count.

    Returns:
        0 when every row is complete; 5 when some are; else the exit status of the first fault.

    Raises:
        VoxelwayError: what stops the whole call: E-PACS-UNREACHABLE, E-PACS-AE, E-PACS-TLS,
            E-PACS-AUTH, E-PACS-CREDENTIALS, E-DISK-FULL, E-DIR-WRITE.
    """
    with quiet():
        archive = connect(peer)
        try:
            if dry:
                return _count(archive, requests)
            inbox = Inbox(out)
            outcomes: list[Outcome] = []
            try:
                with Progress("pull", unit="instance") as progress:
                    for request in requests:
                        outcomes += _row(archive, inbox, request, progress)
            finally:
                _report(inbox, outcomes)
        finally:
            archive.close()
    return _verdict(requests, outcomes)


def _patience(archive: Archive, passing: Collection[str] = PASSING) -> Patience:
    return Patience(archive.peer.retries, archive.peer.backoff, passing)


def _count(archive: Archive, requests: Sequence[Request]) -> int:
    faults = []
    for request in requests:
        try:
            found = persist(_patience(archive), partial(look_up, archive, request))
        except VoxelwayError as error:
            if error.code in FINAL:
                raise
            print(str(error), file=sys.stderr)
            faults.append(error.exit)
            continue
        number = sum(ref.count or 0 for ref in found)
        unknown = sum(ref.count is None for ref in found)
        text = f"{request.where}: {len(found)} series, {number} instances"
        print(text + (f", and {unknown} series of unknown size" if unknown else ""))
    return _exit(len(requests), faults)


def _row(archive: Archive, inbox: Inbox, request: Request, progress: Progress) -> list[Outcome]:
    """Fetch all series of one row; a series that fails does not stop the others."""
    try:
        found = persist(_patience(archive), partial(look_up, archive, request))
    except VoxelwayError as error:
        if error.code in FINAL:
            raise
        print(str(error), file=sys.stderr)
        return [Outcome(request.row, code=error.code, message=error.message)]
    progress.expect(sum(ref.count or 0 for ref in found))
    outcomes = []
    for ref in found:
        transfer = _Transfer(archive, inbox, ref, progress)
        fault: VoxelwayError | None = None
        try:
            transfer.run()
        except VoxelwayError as error:
            if error.code in FINAL:
                raise
            place = f"{request.where}, series {inbox.label(ref.series)}"
            fault = VoxelwayError(error.code, error.what, where=place, hint=error.hint)
            print(str(fault), file=sys.stderr)
        outcomes.append(transfer.outcome(request.row, fault))
    _tell(request, outcomes)
    return outcomes


class _Transfer:
    """One series: what it should have, what is there, and the attempts to fetch the rest."""

    def __init__(self, archive: Archive, inbox: Inbox, ref: SeriesRef, progress: Progress) -> None:
        self._archive, self._inbox, self._ref, self._progress = archive, inbox, ref, progress
        self._patience = _patience(archive, PASSING_OF_RETRIEVAL)
        self._named: dict[str, str] = {}
        self._before = inbox.count(ref)

    def run(self) -> None:
        """Fetch until the set is complete.

        Raises:
            VoxelwayError: E-PACS-INCOMPLETE, or what stood in the way.
        """
        if self._ref.count is not None and 0 < self._ref.count <= self._before:
            self._progress.step(self._ref.count)
            return
        self._named = persist(self._patience, partial(self._archive.instances, self._ref))
        there = len(self._named) - len(self._missing())
        self._progress.step(there)
        while True:
            have = self._inbox.count(self._ref)
            try:
                if not self._complete():
                    self._fetch()
                self._check()
                return
            except VoxelwayError as error:
                if self._inbox.count(self._ref) > have:
                    self._patience.gained()
                self._patience.spend(error)

    def _missing(self) -> dict[str, str]:
        return {
            uid: kind for uid, kind in self._named.items() if not self._inbox.has(self._ref, uid)
        }

    def _fetch(self) -> None:
        missing = self._missing()
        if self._named and not missing:
            # the archive counts more than it names: by now it may name them
            self._named = self._archive.instances(self._ref)
            missing = self._missing()
            if not missing:
                return
        whole = len(missing) == len(self._named)
        self._archive.fetch(self._ref, missing, whole, self._take)

    def _take(self, content: bytes) -> bool:
        if not self._inbox.put(self._ref, content):
            return False
        self._progress.step()
        return True

    @property
    def _expected(self) -> int:
        """How many instances the archive speaks of, by name or by number."""
        return max(len(self._named), self._ref.count or 0)

    def _complete(self) -> bool:
        return 0 < self._expected <= self._inbox.count(self._ref) and not self._missing()

    def _check(self) -> None:
        if self._complete():
            return
        number = self._inbox.count(self._ref)
        if not self._expected:
            what = f"The archive does not say how many instances there are; {number} came"
        else:
            what = f"{number} of {self._expected} instances came"
        hint = "Run the same command again: it asks only for what is missing"
        raise VoxelwayError("E-PACS-INCOMPLETE", what, hint=hint)

    def outcome(self, row: int, fault: VoxelwayError | None) -> Outcome:
        """What became of it."""
        ref, received = self._ref, self._inbox.count(self._ref)
        return Outcome(
            row,
            self._inbox.label(ref.study),
            self._inbox.label(ref.series),
            self._expected,
            received,
            self._before,
            fault.code if fault else "",
            fault.message if fault else "",
        )


def _tell(request: Request, outcomes: Sequence[Outcome]) -> None:
    number = sum(item.received for item in outcomes)
    before = sum(item.before for item in outcomes)
    text = f"{request.where}: {len(outcomes)} series, {number} instances"
    print(text + (f", {before} of them were there" if before else ""), flush=True)


def _report(inbox: Inbox, outcomes: Sequence[Outcome]) -> None:
    """Write the report of this call beside the ledger; it holds no identifier."""
    columns = tuple(Outcome.__dataclass_fields__)
    files.write_tsv(inbox.private / REPORT, columns, [asdict(item) for item in outcomes])


def _verdict(requests: Sequence[Request], outcomes: Sequence[Outcome]) -> int:
    bad = {item.row: VoxelwayError(item.code, "").exit for item in outcomes if item.code}
    return _exit(len(requests), list(bad.values()))


def _exit(rows: int, faults: Sequence[Exit]) -> int:
    if not faults:
        return Exit.DONE
    return Exit.SOME if len(faults) < rows else faults[0]
