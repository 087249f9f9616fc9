"""A small job on a compute node, for `voxelway doctor --slurm`: both of its ends.

The login node's side sends it; ``python -m pipeline.slurm_job FOLDER`` is what runs on the node.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import sys
import tempfile
import time
from pathlib import Path

from pipeline import files
from pipeline.errors import VoxelwayError, from_os_error
from pipeline.slurm import Profile, Told, ask

#: Seconds that the check waits for a free node, and that the job then has.
PATIENCE, LENGTH = 120, 300
#: MB that the job asks for: torch alone takes a good part of it.
MEMORY = 2000
#: What `srun` says → code, what to do.
SAID = {
    r"[Ii]nvalid account": ("E-SLURM-ACCOUNT", "Set `slurm_account` in the profile"),
    r"[Ii]nvalid partition": ("E-SLURM-PARTITION", "Edit partitions.yaml of the profile"),
    r"[Ii]nvalid generic resource|node configuration is not available": (
        "E-SLURM-PARTITION",
        "The partition has no such GPU, or no 2 GB of memory: set `gpu_model` or `gres` in the"
        " profile as the site names them (`sinfo -o %G`)",
    ),
    r"No such file or directory|execve": (
        "E-SLURM-NODE",
        "The compute node does not see this Python: put .venv on a file system that it shares",
    ),
    r"No module named": (
        "E-SLURM-NODE",
        "The compute node sees another Python than this one: put .venv, and the Python that it was"
        " made with, on a file system that it shares",
    ),
}
BUSY = re.compile(r"nodes are busy|[Tt]imed out|allocation .* revoked|Immediate")


def try_one(profile: Profile, partition: str, *, gpu: bool) -> Told:
    """Run a small job in a partition: Python, the shared folder, scratch, and a GPU.

    Raises:
        VoxelwayError: what the node lacks, with its code; E-SLURM-NODE for all else.
    """
    try:
        folder = Path(tempfile.mkdtemp(prefix=".voxelway-doctor-", dir=Path.cwd()))
    except OSError as error:
        raise from_os_error(error, str(Path.cwd())) from error
    try:
        token = secrets.token_hex(8)
        files.write_text(folder / "asked", token)
        done = ask(_command(profile, partition, folder, gpu=gpu), PATIENCE + LENGTH + 60)
        if done.returncode:
            return _refused(done.stderr)
        waited = _answer(folder, token, float(profile.options.get("latency-wait", 5)))
        late = f"; files of a node are seen after {waited:.0f} s" if waited >= 1 else ""
        return "ok", done.stdout.strip() + late
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _command(profile: Profile, partition: str, folder: Path, *, gpu: bool) -> list[str]:
    options = [
        *("--ntasks", "1", "--mem", str(MEMORY), "--time", str(LENGTH // 60)),
        *("--job-name", "voxelway-doctor", f"--immediate={PATIENCE}", "--chdir", str(Path.cwd())),
    ]
    options += ["--partition", partition] if partition else []
    options += ["--account", profile.account] if profile.account else []
    options += [profile.gpu] if gpu else []
    asked = "gpu" if gpu else "cpu"
    return ["srun", *options, sys.executable, "-m", "pipeline.slurm_job", str(folder), asked]


def _refused(said: str) -> Told:
    """What to tell of a job that did not end well."""
    coded = re.search(r"^(?:\d+: )?(E-[A-Z-]+: .*)$", said, re.MULTILINE)
    if coded:
        code, _, text = coded[1].partition(": ")
        raise VoxelwayError(code, text)
    if BUSY.search(said):
        return "note", f"no node was free within {PATIENCE} s, so nothing was tried"
    lines = [line for line in said.splitlines() if "queued and waiting" not in line] or ["nothing"]
    for pattern, (code, hint) in SAID.items():
        if found := next((line for line in lines if re.search(pattern, line)), ""):
            raise VoxelwayError(code, found, hint=hint)
    raise VoxelwayError("E-SLURM-NODE", f"The job failed: {lines[-1]}")


def _answer(folder: Path, token: str, latency: float) -> float:
    """Seconds until the node's answer was seen here.

    Raises:
        VoxelwayError: E-SLURM-NODE when it is not seen within ``latency`` s.
    """
    began = time.monotonic()
    while time.monotonic() - began <= latency:
        answer = folder / "answer"
        if answer.is_file() and answer.read_text(encoding="utf-8") == token:
            return time.monotonic() - began
        time.sleep(0.2)
    what = f"What a compute node wrote was not seen here within {latency:.0f} s (latency-wait)"
    hint = "Use a folder on a shared file system, or raise latency-wait in the profile"
    raise VoxelwayError("E-SLURM-NODE", what, where=str(folder.parent), hint=hint)


def look(folder: Path, *, gpu: bool) -> str:
    """On the compute node: use everything that a job of the workflow uses, and tell of it.

    Raises:
        VoxelwayError: E-SLURM-NODE, E-DIR-WRITE, E-DISK-FULL or E-GPU.
    """
    node = socket.gethostname()
    if not (folder / "asked").is_file():
        what = "The compute node does not see the folder in which the workflow runs"
        hint = "Use a folder on a file system that the nodes share"
        raise VoxelwayError("E-SLURM-NODE", what, where=f"{folder.parent} on {node}", hint=hint)
    files.write_text(folder / "answer", (folder / "asked").read_text(encoding="utf-8"))
    told = [f"on {os.environ.get('SLURMD_NODENAME', node)}, Python {sys.version.split()[0]}"]
    scratch = Path(tempfile.gettempdir())
    try:
        with tempfile.NamedTemporaryFile(dir=scratch) as handle:
            handle.write(b"voxelway")
    except OSError as error:
        raise from_os_error(error, f"scratch {scratch} on {node}") from error
    told.append(f"{shutil.disk_usage(scratch).free / 2**30:.0f} GiB free in {scratch}")
    if gpu:
        from pipeline.device import choose

        device = choose()
        if device.type == "cpu":
            what = "The job asked for a GPU and was given none"
            hint = "Set `gpu_model` or `gres` in the profile as the site names them (`sinfo -o %G`)"
            raise VoxelwayError("E-GPU", what, where=node, hint=hint)
        import torch

        told.append(torch.cuda.get_device_name(0))
    return ", ".join(told)


def main(folder: str, asked: str) -> int:
    """Print what was found; a coded error and its exit status when something is missing."""
    try:
        print(look(Path(folder), gpu=asked == "gpu"))
    except VoxelwayError as error:
        print(error, file=sys.stderr)
        return int(error.exit)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
