"""Runs a stage over units or files: one load, one subject's failure stays its own."""

from __future__ import annotations

import itertools
import json
import random
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline import __version__, decisions, files, made, models, status
from pipeline.errors import Exit, VoxelwayError, from_exception
from pipeline.methods import stage_code
from pipeline.overlap import Ahead, Behind
from pipeline.paths import STAGES, Results, Unit
from pipeline.task import UnitTask

#: A unit of several whose work ended the process this often is given up, so that others go on.
MOST_DEATHS = 3
#: Start of the line that a log has for each load of a model.
MODEL_LOADED = "model loaded:"


class Stage(Protocol):
    """What a ``pipeline/STAGE/stage.py`` module offers.

    ``NAME``: the stage. ``REQUIRES``: stages that must have ended well for the unit.
    ``prepare(params, model)``: loads methods and models once. ``run_unit(task, prepared)``: reads,
    computes and writes for one unit. ``OVERLAP = True``, if it reads nothing that it wrote for the
    unit: images are then read ahead and written behind where a call has several units.
    """

    NAME: str
    REQUIRES: tuple[str, ...]

    def prepare(self, params: Mapping[str, Any], model: Path | None) -> Any:
        """Load once what every unit needs."""

    def run_unit(self, task: UnitTask, prepared: Any) -> None:
        """Work on one unit."""


@dataclass(frozen=True)
class Setup:
    """What all units of one call share."""

    results: Results
    params: Mapping[str, Any]
    model: Path | None = None
    #: refused units are recorded and do not fail the call, as the workflow wants it
    keep_going: bool = False


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and, when loaded, torch; one ITK thread, whose sums do not vary."""
    import numpy as np
    import SimpleITK as sitk  # noqa: N813

    random.seed(seed)
    np.random.seed(seed % 2**32)
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    if "torch" in sys.modules:
        import torch

        torch.manual_seed(seed)


def run_units(stage: Stage, units: Sequence[Unit], setup: Setup) -> Exit:
    """Run a stage for each unit and write its status; what stands and still holds is passed over.

    Refused input (exit 3) and faults of our own stop the unit only. Failures of the outside
    (exit 4: disk, memory, programs) end the call without a status, so that it is run again; then
    units that are done are passed over, and one whose work ended the process comes last. A unit
    whose input was damaged after it was written has no status either: the next run makes it anew.

    Raises:
        VoxelwayError: of exit 4, or E-IMG-CHANGED when the other units have been worked on.
    """
    call = _Call(stage, setup, several=len(units) > 1)
    _describe(setup.results, stage.NAME)
    outcomes = call.all(sorted(units, key=call.deaths))
    if call.damaged:
        raise call.damaged[0]
    return Exit.DONE if setup.keep_going else verdict([state == "ok" for state in outcomes])


class _Call:
    """One call of a stage: what its units share is loaded when the first one needs it."""

    def __init__(self, stage: Stage, setup: Setup, *, several: bool) -> None:
        self.stage, self.setup, self.several = stage, setup, several
        self.code = stage_code(stage.NAME, setup.params)
        self.model = models.identity(stage.NAME, setup.params, setup.model)
        self.decided = decisions.of(setup.results)
        self.overlap = several and bool(getattr(stage, "OVERLAP", False))
        self.ahead = Ahead() if self.overlap else None
        self.before: Unit | None = None
        self.loaded: Any = None
        self.damaged: list[VoxelwayError] = []

    def deaths(self, unit: Unit) -> int:
        """How often a process ended while it worked on this unit."""
        path = self.setup.results.begun(self.stage.NAME, unit)
        try:
            return int(files.read_json(path)["times"]) if path.is_file() else 0
        except (VoxelwayError, KeyError, TypeError, ValueError):
            return 1

    def all(self, units: Sequence[Unit]) -> list[status.State]:
        """Work on units, or pass them over; write their statuses."""
        try:
            with closing(Behind(self.overlap)) as behind:
                pairs = itertools.zip_longest(units, units[1:])
                ends = [behind.do(self._one(unit, upcoming)) for unit, upcoming in pairs]
                return [end() for end in ends]
        finally:
            if self.ahead is not None:
                self.ahead.close()

    def _one(self, unit: Unit, upcoming: Unit | None) -> Callable[[], status.State]:
        """Work on one unit; what is left to do for it when its images are to be written."""
        try:
            return self._run(unit, upcoming)
        except VoxelwayError as error:
            if error.code != "E-IMG-CHANGED":
                raise
            self.damaged.append(error)
            return lambda: "failed"

    def _run(self, unit: Unit, upcoming: Unit | None) -> Callable[[], status.State]:
        results, name = self.setup.results, self.stage.NAME
        now = made.basis(
            results, unit, name, self.setup.params, code=self.code, model=self.model,
            decision=self.decided.mark(unit, name),
        )  # fmt: skip
        before = made.read(results, unit, name)
        kept = made.still(results, name, before, now)
        if kept is not None:
            print(f"{unit.name}: stands as it would come out, passed over", file=sys.stderr)
            stands = kept.status
            status.write(results, unit, kept)
            return lambda: stands
        made.clear(results, unit, name)
        task = UnitTask(
            name, self.setup.params, self.code, self.model, base=results.root, ahead=self.ahead,
            pending=[] if self.overlap else None, results=results, unit=unit,
        )  # fmt: skip
        outcome = self._outcome(task, upcoming)

        def finish() -> status.State:
            ended = _attempt(task, task.flush) if outcome.status == "ok" else outcome
            if ended.status == "ok":
                made.write(results, unit, now, ended)
            status.write(results, unit, ended)
            return ended.status

        return finish

    def _outcome(self, task: UnitTask, upcoming: Unit | None) -> status.Status:
        results, name, unit = self.setup.results, self.stage.NAME, task.unit
        against = self.decided.against(unit, name)
        if against is not None:
            return _excluded(task, against)
        blocker = status.blocked_by(results, unit, self.stage.REQUIRES)
        if blocker is not None:
            return _skipped(task, blocker)
        with self._watched(unit) as deaths:
            if deaths >= MOST_DEATHS:
                what = f"The process ended {deaths} times while it worked on this session"
                hint = "The job's logs and the scheduler tell why; rate the stage `rerun` to retry"
                told = VoxelwayError("E-CRASH", what, where=unit.name, hint=hint)
                return _status(task, "failed", told.code, told.message)
            seed_everything(int(self.setup.params.get("seed", 0)))
            if self.loaded is None:
                self.loaded = self._load()
            if self.ahead is not None and self.before is not None and upcoming is not None:
                self.ahead.begin(_foretold(self.before, upcoming))
            self.before = unit
            return _attempt(task, lambda: self.stage.run_unit(task, self.loaded))

    def _load(self) -> Any:
        """What the stage's units share; the log tells each load of a model."""
        start, model = time.monotonic(), self.setup.model
        loaded = self.stage.prepare(self.setup.params, model)
        if model is not None:
            print(f"{MODEL_LOADED} {model}, {time.monotonic() - start:.1f} s", file=sys.stderr)
        return loaded

    @contextmanager
    def _watched(self, unit: Unit) -> Iterator[int]:
        """Leave a mark that a process which dies can't remove, where other units wait behind.

        An orderly end is no death of this unit's: a time limit, a full disk, Ctrl-C.
        """
        if not self.several:
            yield 0
            return
        path, before = self.setup.results.begun(self.stage.NAME, unit), self.deaths(unit)
        files.write_json(path, {"times": before + 1})
        try:
            yield before
        except VoxelwayError as error:
            if error.code == "E-MEMORY":
                raise
            files.write_json(path, {"times": before})
            raise
        except BaseException:
            files.write_json(path, {"times": before})
            raise
        path.unlink(missing_ok=True)


def _describe(results: Results, stage: str) -> None:
    """Write the dataset_description.json that BIDS asks of every derivative."""
    content = {
        "Name": f"Voxelway {stage}",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "voxelway", "Version": __version__}],
        "SourceDatasets": [{"URL": "../../rawdata"}],
    }
    path = results.derivatives(stage) / "dataset_description.json"
    files.write_text_if_changed(path, json.dumps(content, indent=2) + "\n")


def _foretold(unit: Unit, upcoming: Unit) -> Callable[[Path], Path]:
    """Paths of one unit as those of another."""
    names = {
        f"sub-{unit.subject}": f"sub-{upcoming.subject}",
        f"ses-{unit.session}": f"ses-{upcoming.session}",
    }
    pattern = re.compile("|".join(rf"{re.escape(name)}(?=[/_])" for name in names))
    return lambda path: Path(pattern.sub(lambda found: names[found[0]], path.as_posix()))


def _attempt(task: UnitTask, work: Callable[[], None]) -> status.Status:
    try:
        work()
    except Exception as error:
        coded = from_exception(error, task.unit.name)
        if coded.code == "E-INTERNAL":
            traceback.print_exc()
        if coded.exit == Exit.OUTSIDE and coded.code != "E-INTERNAL":
            raise coded from error
        if coded.code == "E-IMG-CHANGED" and (maker := _maker(task, Path(coded.where))):
            made.spoil(task.results, task.unit, maker)
            hint = f"It was changed after it was written; the next run makes {maker} anew"
            raise VoxelwayError(coded.code, coded.what, where=coded.where, hint=hint) from error
        print(f"{task.unit.name}: {coded}", file=sys.stderr)
        return _status(task, "failed", coded.code, coded.message)
    return _status(task, "ok")


def _maker(task: UnitTask, path: Path) -> str:
    """The earlier stage that wrote a file of this unit; empty for a file from elsewhere."""
    earlier = STAGES[: STAGES.index(task.stage)]
    folders = {stage: task.results.anat(stage, task.unit).parent for stage in earlier}
    return next((stage for stage in earlier if path.is_relative_to(folders[stage])), "")


def _skipped(task: UnitTask, blocker: status.Status) -> status.Status:
    message = f"Not run, because {blocker.stage} {blocker.status} ({blocker.code})"
    return _status(task, "skipped", "E-UPSTREAM", message)


def _excluded(task: UnitTask, against: decisions.Decision) -> status.Status:
    # the comment stays in its table: it may hold what statuses and logs must not
    message = f"Left out: rated {against.rating!r} on {against.date or 'an unknown date'}"
    return _status(task, "skipped", "E-QC-EXCLUDED", message)


def _status(
    task: UnitTask, state: status.State, code: str = "", message: str = ""
) -> status.Status:
    return status.Status(
        task.unit.subject,
        task.unit.session,
        task.stage,
        state,
        code,
        message,
        round(task.seconds, 2),
        list(task.warnings),
        dict(task.outputs),
    )


def verdict(succeeded: Sequence[bool]) -> Exit:
    """Exit status of a call over several inputs."""
    if all(succeeded):
        return Exit.DONE
    return Exit.SOME if any(succeeded) else Exit.REFUSED


def run_row(
    work: Callable[[Mapping[str, str]], Callable[[], None]], row: Mapping[str, str], column: str
) -> Exit:
    """Run a file verb on one file; arguments as of :func:`run_rows`.

    Raises:
        VoxelwayError: what went wrong, with the file.
    """
    try:
        work(row)()
    except Exception as error:
        raise from_exception(error, row[column]) from error
    return Exit.DONE


def run_rows(
    work: Callable[[Mapping[str, str]], Callable[[], None]],
    rows: Iterable[Mapping[str, str]],
    *,
    column: str = "input",
    overlap: bool = False,
) -> Exit:
    """Run a file verb over the rows of a batch; failures are printed and stay their own.

    Args:
        work: on a row; returns what writes its images.
        rows: of the batch.
        column: of the file that an error of a row names, where it names none itself.
        overlap: whether images are written while the next row is worked on.
    """
    with closing(Behind(overlap)) as behind:
        ends = [behind.do(_one_row(work, row, row.get(column, ""))) for row in rows]
        return verdict([end() for end in ends])


def _one_row(
    work: Callable[[Mapping[str, str]], Callable[[], None]], row: Mapping[str, str], where: str
) -> Callable[[], bool]:
    write: list[Callable[[], None]] = []
    if not _succeeds(lambda: write.append(work(row)), where):
        return lambda: False
    return lambda: _succeeds(write[0], where)


def _succeeds(work: Callable[[], None], where: str) -> bool:
    try:
        work()
    except Exception as error:
        coded = from_exception(error, where)
        if coded.exit == Exit.OUTSIDE:
            raise coded from error
        print(str(coded), file=sys.stderr)
        return False
    return True
