"""`voxelway status RESULTS --watch`: how far a run is, what fails, when it ends."""

from __future__ import annotations

import fcntl
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import files, status
from pipeline.errors import Exit, VoxelwayError
from pipeline.ingest import manifest
from pipeline.paths import STAGES, Results, Unit

#: Seconds between two looks; a look at a large cohort takes longer, and so is taken less often.
INTERVAL = 5.0


@dataclass
class Watched:
    """What was seen of a run; each status is read again only when it was written again.

    Attributes:
        results: the results folder.
        ages: stage and unit → age of the status that was read.
        seen: the same → that status.
    """

    results: Results
    ages: dict[tuple[str, Unit], int] = field(default_factory=dict)
    seen: dict[tuple[str, Unit], status.Status] = field(default_factory=dict)

    def look(self, units: Sequence[Unit]) -> list[status.Status]:
        """Read what was written since the last look; the new statuses."""
        new = []
        for key in ((stage, unit) for unit in units for stage in STAGES):
            try:
                age = self.results.status(*key).stat().st_mtime_ns
            except OSError:
                self.seen.pop(key, None)
                self.ages.pop(key, None)
                continue
            if self.ages.get(key) == age:
                continue
            try:
                found = status.read(self.results, key[1], key[0])
            except VoxelwayError:  # it was taken away meanwhile
                found = None
            if found is not None:
                self.ages[key], self.seen[key] = age, found
                new.append(found)
        return new

    def seconds(self) -> dict[str, float]:
        """Stage → mean seconds of a unit that it worked on."""
        spent: dict[str, list[float]] = {}
        for (stage, _), found in self.seen.items():
            if found.status != "skipped":
                spent.setdefault(stage, []).append(found.seconds)
        return {stage: statistics.fmean(values) for stage, values in spent.items()}

    def work(self, units: int) -> tuple[float, float]:
        """Seconds of work done and in all; a stage without a unit yet counts as the others do."""
        means = self.seconds()
        usual = statistics.fmean(means.values()) if means else 1.0
        counts = Counter(stage for stage, _ in self.seen)
        done = sum(counts[stage] * means.get(stage, usual) for stage in STAGES)
        return done, sum(units * means.get(stage, usual) for stage in STAGES)


def running(results: Results) -> Counter[str]:
    """Stage → jobs that have begun a log and not ended, while a run is alive."""
    found: Counter[str] = Counter()
    begun = (results.private / "run.lock").stat().st_mtime
    for stage in STAGES:
        for log in (results.root / "logs" / stage).glob("*.log"):
            age = log.stat().st_mtime
            target = _target(results, stage, log.stem)
            if age >= begun and not (target.is_file() and target.stat().st_mtime >= age):
                found[stage] += 1
    return found


def _target(results: Results, stage: str, job: str) -> Path:
    if job.startswith("sub-"):
        return results.status(stage, Unit.parse(job))
    return results.shard(stage, job)


def alive(results: Results) -> bool:
    """Whether a run holds these results."""
    try:
        with (results.private / "run.lock").open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def watch(root: Path, *, interval: float = INTERVAL) -> Exit:
    """Tell of a run until it ends: a line that is rewritten on a terminal, else one a change.

    Returns:
        ``Exit.SOME`` when a stage failed for any subject, else ``Exit.DONE``.
    """
    results = Results(root)
    if not alive(results):
        print("No run works on these results")
    watched, first, told = Watched(results), None, ""
    while True:
        goes_on = alive(results)
        start = time.monotonic()
        units = _units(results)
        for one in watched.look(units):
            if one.status == "failed":
                name = f"sub-{one.subject}_ses-{one.session}"
                _say(f"FAILED  {name}  {one.stage}  {one.code}  {one.message}", over=bool(told))
        done, whole = watched.work(len(units))
        first = first or (start, done)
        line = _line(results, watched, len(units), end=_end(first, start, done, whole))
        if line != told:
            _say(line, over=bool(told), stays=not goes_on)
            told = line
        if not goes_on:
            failed = any(one.status == "failed" for one in watched.seen.values())
            return Exit.SOME if failed else Exit.DONE
        time.sleep(max(interval, 10 * (time.monotonic() - start)))


def _units(results: Results) -> list[Unit]:
    if not results.manifest.is_file():
        return []
    return manifest.units(manifest.read_manifest(results.manifest))


def _end(first: tuple[float, float], now: float, done: float, whole: float) -> str:
    """When the rest is done, if it goes on as since the first look; empty while that is unknown."""
    passed, gained = now - first[0], done - first[1]
    if gained <= 0 or done >= whole:
        return ""
    left = (whole - done) * passed / gained
    return time.strftime("%d %b %H:%M", time.localtime(time.time() + left))


def _line(results: Results, watched: Watched, units: int, *, end: str) -> str:
    done, whole = watched.work(units)
    parts = [f"{100 * done / whole if whole else 0:.0f} %"]
    parts.append(f"{len(watched.seen)} of {units * len(STAGES)} stages of {units} sessions")
    failed = sum(one.status == "failed" for one in watched.seen.values())
    if failed:
        parts.append(f"{failed} failed")
    if alive(results):
        now = running(results)
        jobs = ", ".join(f"{count} {stage}" for stage, count in now.items())
        parts.append(f"running: {jobs}" if jobs else "running: none yet")
    if end:
        parts.append(f"ends about {end}")
    return " · ".join(parts)


def _say(text: str, *, over: bool, stays: bool = True) -> None:
    if sys.stdout.isatty():
        # what stood there is wiped; a line that will be written over does not end
        print(("\r\x1b[K" if over else "") + text, end="\n" if stays else "", flush=True)
    else:
        print(text, flush=True)


def used(results: Results, rule: str) -> dict[str, tuple[float, float]]:
    """Job → seconds and peak MB that Snakemake measured."""
    found = {}
    for path in (results.root / "benchmarks" / rule).glob("*.tsv"):
        rows = files.read_tsv(path)
        try:
            found[path.stem] = (float(rows[-1]["s"]), float(rows[-1]["max_rss"]))
        except (IndexError, KeyError, ValueError):
            continue  # a job too short to be measured has "NA"
    return found
