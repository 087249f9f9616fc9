"""`voxelway doctor`: what this machine can run, what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline import methods, slurm, slurm_job
from pipeline.errors import Exit, VoxelwayError

#: Distributions that a run needs, with what they are for.
NEEDED = {
    "snakemake": "the workflow",
    "SimpleITK": "images",
    "antspyx": "denoising, registration",
    "torch": "learned methods, the brain mask",
    "monai": "learned methods",
    "pydicom": "DICOM",
    "dcm2niix": "conversion",
    "deepbet": "the brain mask",
    "highdicom": "DICOM SEG",
    "nilearn": "the template",
}
MIN_MEMORY_GB = 8
MIN_DISK_GB = 5


@dataclass(frozen=True)
class Finding:
    """One line of the report; ``state`` is ok, note or MISSING."""

    state: str
    subject: str
    text: str


def findings() -> Iterator[Finding]:
    """Look at the machine."""
    yield from _python()
    yield from _packages()
    yield from _machine()
    yield from _cluster()
    yield from _methods()


def findings_on_slurm(folder: Path) -> Iterator[Finding]:
    """Look at the cluster, before thousands of jobs are sent: a small job in each partition.

    Args:
        folder: of the profile, relative to the folder of the Snakefile, in which this is called.
    """
    answers = _checked("Slurm", slurm.programs)
    yield answers
    if answers.state == "MISSING":
        return
    try:
        profile = slurm.read_profile(folder)
    except VoxelwayError as error:
        yield Finding("MISSING", "Slurm profile", str(error))
        return
    yield _checked("job states", lambda: slurm.job_states(profile))
    yield _checked("account", lambda: slurm.account(profile))
    if not profile.partitions:
        yield _checked("a job", lambda: slurm_job.try_one(profile, "", gpu=False))
    for name in profile.partitions:
        yield from _partition(profile, name)


def _partition(profile: slurm.Profile, name: str) -> Iterator[Finding]:
    limits = profile.partitions[name]
    yield _checked(f"partition {name}", lambda: slurm.partition(name, limits))
    gpu = bool(limits.get("max_gpu"))
    subject = f"a {'GPU ' if gpu else ''}job in {name}"
    yield _checked(subject, lambda: slurm_job.try_one(profile, name, gpu=gpu))


def _checked(subject: str, check: Callable[[], slurm.Told]) -> Finding:
    try:
        state, text = check()
    except VoxelwayError as error:
        return Finding("MISSING", subject, str(error))
    return Finding(state, subject, text)


def print_findings(profile: Path | None = None) -> Exit:
    """Print the findings; exit 4 when something that every run needs is missing.

    Args:
        profile: a profile of the Slurm executor: look at the cluster as well.
    """
    missing = _print(findings())
    advice = "`make setup` installs the lock" if missing else ""
    if profile is not None:
        amiss = _print(findings_on_slurm(profile))
        advice = " ".join(filter(None, [advice, "what to do stands above" if amiss else ""]))
        missing += amiss
    print(f"\n{f'{missing} missing; {advice}.' if missing else 'Ready.'}")
    return Exit.OUTSIDE if missing else Exit.DONE


def _print(found: Iterator[Finding]) -> int:
    """Print findings as they come, jobs take a while; how many are missing."""
    missing = 0
    for finding in found:
        print(f"{finding.state:8}{finding.subject:22}{finding.text}", flush=True)
        missing += finding.state == "MISSING"
    return missing


def _python() -> Iterator[Finding]:
    version = sys.version.split()[0]
    sound = sys.version_info >= (3, 11)
    yield Finding("ok" if sound else "MISSING", "Python", f"{version} (3.11 or later)")
    beside = Path(sys.executable).with_name("voxelway")
    on_path = shutil.which("voxelway")
    if on_path is None and beside.exists():
        yield Finding("note", "voxelway", "not on PATH: `source .venv/bin/activate`")


def _packages() -> Iterator[Finding]:
    for distribution, purpose in NEEDED.items():
        try:
            version = importlib.metadata.version(distribution)
            yield Finding("ok", distribution, f"{version}, {purpose}")
        except importlib.metadata.PackageNotFoundError:
            yield Finding("MISSING", distribution, f"for {purpose}: `make setup`")


def _machine() -> Iterator[Finding]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    state = "ok" if memory >= MIN_MEMORY_GB else "note"
    yield Finding(state, "memory", f"{memory:.0f} GiB, a 1 mm head wants {MIN_MEMORY_GB}")
    yield Finding("ok", "cores", f"{len(os.sched_getaffinity(0))}")
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    state = "ok" if free >= MIN_DISK_GB else "note"
    yield Finding(state, "disk here", f"{free:.0f} GiB free")
    yield _gpu()


def _gpu() -> Finding:
    if shutil.which("nvidia-smi") is None:
        return Finding("note", "GPU", "none; every method also runs on the CPU")
    try:
        import torch
    except ImportError:
        return Finding("note", "GPU", "there, but torch is missing")
    if torch.cuda.is_available():
        return Finding("ok", "GPU", torch.cuda.get_device_name(0))
    text = "there, but this torch is a CPU build: `make setup TORCH_INDEX=URL` with a CUDA index"
    return Finding("note", "GPU", text)


def _cluster() -> Iterator[Finding]:
    if shutil.which("sbatch") is None:
        yield Finding("note", "Slurm", "no sbatch here; `--profile local` does without")
        return
    yield Finding("ok", "Slurm", f"{shutil.which('sbatch')}")
    for profile in ("local", "slurm"):
        if not Path(profile, "config.yaml").is_file():
            yield Finding("note", f"profile {profile}", "not linked here: `make setup`")


def _methods() -> Iterator[Finding]:
    for stage in ("preprocess", "denoise", "superres", "register", "synthesize", "segment"):
        yield Finding("ok", f"methods of {stage}", ", ".join(methods.available(stage)))
