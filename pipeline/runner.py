"""Runs a stage over units or files: one load, one subject's failure stays its own."""

from __future__ import annotations

import json
import random
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline import __version__, decisions, files, models, status
from pipeline.errors import Exit, VoxelwayError, from_exception
from pipeline.methods import stage_code
from pipeline.paths import LATER, Results, Unit, sidecar
from pipeline.task import UnitTask


class Stage(Protocol):
    """What a ``pipeline/STAGE/stage.py`` module offers.

    ``NAME``: the stage. ``REQUIRES``: stages that must have ended well for the unit.
    ``prepare(params, model)``: loads methods and models once. ``run_unit(task, prepared)``: reads,
    computes and writes for one unit.
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
    """Run a stage for each unit and write its status.

    Refused input (exit 3) and faults of our own stop the unit only. Failures of the outside
    (exit 4: disk, memory, programs) end the call without a status, so that it is run again.
    """
    code = stage_code(stage.NAME, setup.params)
    model = models.digest(setup.model)
    _describe(setup.results, stage.NAME)
    decided = decisions.of(setup.results)
    prepared: Any = None
    outcomes: list[status.State] = []
    for unit in units:
        task = UnitTask(
            stage.NAME,
            setup.params,
            code,
            model,
            base=setup.results.root,
            results=setup.results,
            unit=unit,
        )
        clear(setup.results, stage.NAME, unit)
        against = decided.against(unit, stage.NAME)
        blocker = status.blocked_by(setup.results, unit, stage.REQUIRES)
        if against is not None:
            outcome = _excluded(task, against)
        elif blocker is not None:
            outcome = _skipped(task, blocker)
        else:
            seed_everything(int(setup.params.get("seed", 0)))
            if prepared is None:
                prepared = stage.prepare(setup.params, setup.model)
            outcome = _attempt(stage, task, prepared)
        status.write(setup.results, unit, outcome)
        outcomes.append(outcome.status)
    return Exit.DONE if setup.keep_going else verdict([state == "ok" for state in outcomes])


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


def clear(results: Results, stage: str, unit: Unit) -> None:
    """Remove what an earlier run of this stage wrote for the unit, after its own account.

    The statuses of later stages go as well: should this run crash, they would tell of results that
    rest on nothing.
    """
    for later in LATER[stage]:
        results.status(later, unit).unlink(missing_ok=True)
    try:
        before = status.read(results, unit, stage)
    except (VoxelwayError, TypeError):
        before = None
    if before is None:
        return
    results.status(stage, unit).unlink(missing_ok=True)
    for name in before.outputs:
        path = results.root / name
        path.unlink(missing_ok=True)
        sidecar(path).unlink(missing_ok=True)


def _attempt(stage: Stage, task: UnitTask, prepared: Any) -> status.Status:
    try:
        stage.run_unit(task, prepared)
    except Exception as error:
        coded = from_exception(error, task.unit.name)
        if coded.code == "E-INTERNAL":
            traceback.print_exc()
        if coded.exit == Exit.OUTSIDE and coded.code != "E-INTERNAL":
            raise coded from error
        print(f"{task.unit.name}: {coded}", file=sys.stderr)
        return _status(task, "failed", coded.code, coded.message)
    return _status(task, "ok")


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


def run_rows(work: Callable[[Mapping[str, str]], None], rows: Iterable[Mapping[str, str]]) -> Exit:
    """Run a file verb over the rows of a batch; failures are printed and stay their own."""
    succeeded = []
    for row in rows:
        try:
            work(row)
            succeeded.append(True)
        except Exception as error:
            coded = from_exception(error, row.get("input", ""))
            if coded.exit == Exit.OUTSIDE:
                raise coded from error
            print(str(coded), file=sys.stderr)
            succeeded.append(False)
    return verdict(succeeded)
