"""What `voxelway doctor --slurm` asks of a cluster: does it take jobs as the profile sends them?"""

from __future__ import annotations

import getpass
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import VoxelwayError

PROGRAMS = ("sbatch", "srun", "squeue", "sinfo", "scontrol", "scancel")
#: Seconds that the controller has for an answer.
ANSWER = 30
#: Limits of partitions.yaml, with the unit that `sinfo` shares with them.
LIMITS = {"max_runtime": "minutes", "max_mem_mb": "MB", "max_threads": "cores", "max_gpu": "GPUs"}
#: Seconds before the executor's first look at its jobs, unless the profile says otherwise.
FIRST_LOOK = 40

#: What a check found: ok or note, and what there is to tell.
Told = tuple[str, str]


@dataclass(frozen=True)
class Profile:
    """What a profile of the Slurm executor asks for.

    Attributes:
        options: its config.yaml.
        partitions: name → limits, of the partitions it sends jobs to.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    partitions: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def account(self) -> str:
        """The account that jobs are sent with; empty for none."""
        given = "" if self.options.get("slurm-no-account") else self._default("slurm_account")
        return given.strip("'\"")

    @property
    def gpu(self) -> str:
        """How a job asks for one GPU at this site, as an option of `srun`."""
        model = self._default("gpu_model")
        if gres := self._default("gres"):
            return f"--gres={gres}"
        return f"--gpus={model}:1" if model else "--gpus=1"

    def _default(self, name: str) -> str:
        """A resource that every rule asks for, else the first that one of the rules does."""
        rules = self.options.get("set-resources") or {}
        sets = (self.options.get("default-resources") or {}, *rules.values())
        return next((str(one[name]).strip("'\"") for one in sets if one and one.get(name)), "")


def read_profile(folder: Path) -> Profile:
    """Read a profile of the Slurm executor.

    Raises:
        VoxelwayError: E-CONFIG-FILE when a file of it is missing or no YAML.
    """
    options = _yaml(folder / "config.yaml")
    named = options.get("slurm-partition-config")
    return Profile(options, (_yaml(Path(named)).get("partitions") or {}) if named else {})


def _yaml(path: Path) -> dict[str, Any]:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as error:
        what = f"The Slurm profile can't be read: {error}".splitlines()[0]
        hint = "Run this in the folder of the Snakefile, after `make setup`"
        raise VoxelwayError("E-CONFIG-FILE", what, where=str(path), hint=hint) from error


def ask(command: Sequence[str], seconds: float = ANSWER) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's programs.

    Raises:
        VoxelwayError: E-SLURM when it does not end in time, E-TOOL when it is not there.
    """
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        what = f"`{command[0]}` did not end within {seconds:.0f} s"
        raise VoxelwayError("E-SLURM", what, hint="Ask who runs the cluster") from error
    except OSError as error:
        what = f"`{command[0]}` can't be run: {error.strerror}"
        raise VoxelwayError("E-TOOL", what, hint="Run this on a login node") from error


def programs() -> Told:
    """Whether Slurm's programs are here and its controller answers."""
    lacking = [name for name in PROGRAMS if shutil.which(name) is None]
    if lacking:
        what = f"{', '.join(lacking)} not on PATH"
        raise VoxelwayError("E-TOOL", what, hint="Run this on a login node of the cluster")
    done = ask(["scontrol", "ping"])
    if done.returncode or "UP" not in done.stdout:
        what = f"No controller answers: {_last(done.stdout + done.stderr)}"
        raise VoxelwayError("E-SLURM", what, hint="Ask who runs the cluster")
    return "ok", " ".join(ask(["sinfo", "--version"]).stdout.split())


def job_states(profile: Profile) -> Told:
    """Whether the program that the profile names can tell how jobs ended.

    Raises:
        VoxelwayError: E-SLURM when it can't.
    """
    program = str(profile.options.get("slurm-status-command", ""))
    if program == "sacct":
        if shutil.which("sacct") is None or ask(["sacct", "--noheader"]).returncode:
            what = "The profile asks `sacct`, and no accounting answers"
            hint = "Set `slurm-status-command: squeue` in the profile"
            raise VoxelwayError("E-SLURM", what, hint=hint)
        return "ok", "sacct"
    found = re.search(r"MinJobAge\s*=\s*(\d+)", ask(["scontrol", "show", "config"]).stdout)
    age = int(found[1]) if found else 0
    first = int(profile.options.get("slurm-init-seconds-before-status-checks", FIRST_LOOK))
    if age < 3 * first:
        what = f"The cluster forgets jobs {age} s after their end (MinJobAge), before they are seen"
        hint = (
            "Set `slurm-status-command: sacct` in the profile, or"
            f" `slurm-init-seconds-before-status-checks: {max(1, age // 3)}`"
        )
        raise VoxelwayError("E-SLURM", what, hint=hint)
    return "ok", f"squeue, which remembers jobs for {age} s"


def account(profile: Profile) -> Told:
    """Whether this user may send jobs with the profile's account.

    Raises:
        VoxelwayError: E-SLURM-ACCOUNT when accounting tells that it is not so.
    """
    name = profile.account
    if not name:
        return "ok", "none is asked for"
    unknown = "note", f"{name!r}; no accounting answers, the jobs below tell"
    if shutil.which("sacctmgr") is None:
        return unknown
    user = getpass.getuser()
    asked = ("show", "associations", f"user={user}", "format=account")
    done = ask(["sacctmgr", "--noheader", "--parsable2", *asked])
    mine = sorted(set(done.stdout.split()))
    if done.returncode or not mine:
        return unknown
    if name.lower() not in mine:
        what = f"{user} has no account {name!r}, but {', '.join(mine)}"
        hint = "Set `slurm_account` under default-resources of the profile"
        raise VoxelwayError("E-SLURM-ACCOUNT", what, hint=hint)
    return "ok", f"{name!r}"


def partition(name: str, limits: Mapping[str, Any]) -> Told:
    """Whether the cluster has a partition of the limits that partitions.yaml gives.

    Raises:
        VoxelwayError: E-SLURM-PARTITION when it has not, or takes no jobs now.
    """
    hint = "`scontrol show partition` lists them; edit partitions.yaml of the profile"
    form = "%a|%l|%m|%c|%G|%D"
    lines = ask(["sinfo", "--noheader", "--partition", name, "--format", form]).stdout.split()
    if not lines:
        raise VoxelwayError("E-SLURM-PARTITION", f"No partition {name!r}", hint=hint)
    rows = [line.split("|") for line in lines]
    if not any(row[0] == "up" for row in rows):
        what = f"The partition {name!r} is {rows[0][0]}: it starts no jobs"
        raise VoxelwayError("E-SLURM-PARTITION", what, hint="Wait, or ask who runs the cluster")
    there = {
        "max_runtime": minutes(rows[0][1]),
        "max_mem_mb": max(_number(row[2]) for row in rows),
        "max_threads": max(_number(row[3]) for row in rows),
        "max_gpu": max(_gpus(row[4]) for row in rows),
    }
    # runtime, memory and threads are checked per node; a job of the workflow has one node
    over = [
        f"{key} {limits[key]} of {there[key]:.0f} {unit}"
        for key, unit in LIMITS.items()
        if float(limits.get(key) or 0) > there[key]
    ]
    if over:
        what = f"partitions.yaml allows more than {name!r} has: {', '.join(over)}"
        raise VoxelwayError("E-SLURM-PARTITION", what, hint=hint)
    nodes = sum(_number(row[5]) for row in rows)
    return "ok", ", ".join([f"{nodes} nodes", *(f"{there[k]:.0f} {u}" for k, u in LIMITS.items())])


def minutes(text: str) -> float:
    """Slurm's ``days-hours:minutes:seconds`` in minutes; ``infinite`` is so."""
    days, dash, rest = text.rpartition("-")
    parts = rest.split(":")
    if not all(part.isdigit() for part in parts):
        return float("inf")
    parts = [*parts, *["0"] * (3 - len(parts))] if dash else [*["0"] * (3 - len(parts)), *parts]
    hours, minute, second = (int(part) for part in parts)
    return int(days or 0) * 1440 + hours * 60 + minute + second / 60


def _number(text: str) -> int:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0


def _gpus(gres: str) -> int:
    """GPUs of a node, from its generic resources as ``gpu:a100:2(S:0),shard:4``."""
    return sum(map(int, re.findall(r"\bgpu(?::[^:,()]+)?:(\d+)", gres)))


def _last(text: str) -> str:
    return (text.strip().splitlines() or ["nothing was said"])[-1]
