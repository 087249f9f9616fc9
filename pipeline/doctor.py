"""`voxelway doctor`: what this machine can run, what is missing and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline import methods
from pipeline.errors import Exit

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


def print_findings() -> Exit:
    """Print the findings; exit 4 when something that every run needs is missing."""
    found = list(findings())
    for finding in found:
        print(f"{finding.state:8}{finding.subject:22}{finding.text}")
    missing = sum(finding.state == "MISSING" for finding in found)
    print(f"\n{'Ready.' if not missing else f'{missing} missing; `make setup` installs the lock.'}")
    return Exit.OUTSIDE if missing else Exit.DONE


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
