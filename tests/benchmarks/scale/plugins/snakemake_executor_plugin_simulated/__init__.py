"""An executor that ends every job at once, with the files that the stages would leave.

It stands in for a cluster where the engine itself is measured: jobs are not local, so Snakemake
makes groups and asks for GPUs as it does for Slurm. Each job that a cluster would have been sent is
a line of the file that VOXELWAY_SIMULATED_JOBS names: rules of the job, tab, number of units.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.real import RealExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecMode

from pipeline import files, made, status
from pipeline.paths import STAGES, Results, Unit

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
)
BASIS = {"code": "", "config": "", "model": "", "decision": ""}


class Executor(RealExecutor):
    """Writes what the jobs would leave, and reports success."""

    def run_job(self, job: Any) -> None:
        parts = list(job.jobs) if job.is_group() else [job]
        for part in sorted(parts, key=lambda one: _order(one.rule.name)):
            _leave(part)
        _note(parts)
        info = SubmittedJobInfo(job=job)
        self.report_job_submission(info)
        self.report_job_success(info)

    @property
    def cores(self) -> str:
        """All that a node has."""
        return "all"

    def get_exec_mode(self) -> ExecMode:
        """As a cluster's jobs would."""
        return ExecMode.REMOTE

    def get_python_executable(self) -> str:
        raise NotImplementedError("no job starts a process")

    def cancel(self) -> None:
        """Nothing runs."""

    def shutdown(self) -> None:
        """Nothing to end."""


def _order(rule: str) -> int:
    return STAGES.index(rule) if rule in STAGES else len(STAGES)


def _units(part: Any) -> list[Unit]:
    named = part.params.get("units")
    if named is not None:
        return [Unit.parse(text) for text in ([named] if isinstance(named, str) else named)]
    if "subject" in part.wildcards.keys():  # noqa: SIM118  (a namedlist, no mapping)
        return [Unit(part.wildcards.subject, part.wildcards.session)]
    return []


def _leave(part: Any) -> None:
    rule = part.rule.name
    for path in part.log:
        files.write_text(Path(path), "")
    if part.benchmark:
        files.write_text(Path(part.benchmark), "s\tmax_rss\n1.0\t500.0\n")
    if rule in STAGES:
        results = Results(Path(str(part.params.get("results"))))
        for unit in _units(part):
            ended = status.Status(unit.subject, unit.session, rule, "ok", seconds=1.0)
            made.write(results, unit, BASIS, ended)
            status.write(results, unit, ended)
    else:
        for path in part.output:
            files.write_text(Path(path), "{}\n")


def _note(parts: list[Any]) -> None:
    place = os.environ.get("VOXELWAY_SIMULATED_JOBS")
    if place:
        rules = "+".join(sorted((part.rule.name for part in parts), key=_order))
        with Path(place).open("a", encoding="utf-8") as handle:
            handle.write(f"{rules}\t{max(len(_units(part)) for part in parts)}\n")
