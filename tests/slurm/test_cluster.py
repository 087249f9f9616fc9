"""`snakemake --profile slurm` on a real cluster: GPUs, environment modules, doctor."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from pipeline.paths import Results

from .conftest import OnCluster

MODULES = Path("/usr/share/modules/init/bash")


@pytest.fixture
def with_modules(on_cluster: OnCluster) -> OnCluster:
    """The stub only where an environment module puts it on PATH."""
    if not MODULES.is_file():
        pytest.skip("needs environment-modules: `make test-slurm`")
    root = on_cluster.project.root
    (root / ".venv").mkdir()
    (root / "bin").rename(root / ".venv" / "bin")
    return on_cluster


def test_a_model_is_loaded_once_for_several_subjects_on_a_gpu(with_modules: OnCluster) -> None:
    """And what the rules call comes from an environment module."""
    project = with_modules.project
    project.add_subject("three")
    project.configure("register: {method: voxelmorph}\n")
    shard = Results(Path("results")).shard("register", "00000x000of8")
    jobs = [*with_modules.command, str(shard), "--sdm", "env-modules"]
    # where sh is no bash, a job does not inherit the function `module`
    script = (
        f'export BASH_ENV={MODULES}; source {MODULES}; module use "$PWD/envs/modules"; exec "$@"'
    )
    done = subprocess.run(
        ["bash", "-c", script, "run", *jobs], cwd=project.root, env=project.environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    chosen = Counter(re.findall(r"Auto-selected partition '(\w+)' for job (\w+)", done.stdout))
    assert chosen["gpu", "register"] == 1
    assert {rule for partition, rule in chosen if partition == "gpu"} == {"register"}
    # the real `voxelway`, which is on PATH as well, would have refused the stub's DICOM
    assert len(list((project.root / "results/derivatives/register").glob("sub-*"))) == 3


def doctor(project_root: Path) -> tuple[int, dict[str, str]]:
    """Exit status, and what was looked at → the line."""
    command = [sys.executable, "-m", "pipeline.cli", "doctor", "--slurm"]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    return done.returncode, {line[8:30].strip(): line for line in lines if len(line) > 30}


def test_doctor_tries_every_partition(on_cluster: OnCluster) -> None:
    """The profile as it ships, and one that fits; the cluster's GPUs are pretended."""
    root = on_cluster.project.root
    code, seen = doctor(root)
    assert code == 4
    assert seen["Slurm"].startswith("ok") and seen["job states"].startswith("ok")
    assert seen["account"].startswith("note")  # no accounting
    assert "E-SLURM-PARTITION" in seen["partition cpu"] and "of 60 minutes" in seen["partition cpu"]
    assert seen["a job in cpu"].startswith("ok")
    assert "E-GPU: The job was given a GPU" in seen["a GPU job in gpu"]
    fitting = "{max_runtime: 60, max_mem_mb: 8000, max_threads: 4, max_gpu: 0}"
    partitions = root / "workflow" / "profiles" / "slurm" / "partitions.yaml"
    partitions.write_text(f"partitions:\n  cpu: {fitting}\n")
    code, seen = doctor(root)
    assert code == 0, seen
    assert seen["partition cpu"].startswith("ok") and "GiB free in" in seen["a job in cpu"]


def test_doctor_tells_of_a_venv_that_the_nodes_do_not_see(
    on_cluster: OnCluster, tmp_path: Path
) -> None:
    """A Python that is gone when the job starts, as one on the login node's own disk is."""
    root = on_cluster.project.root
    partitions = root / "workflow" / "profiles" / "slurm" / "partitions.yaml"
    partitions.write_text("partitions:\n  cpu: {max_gpu: 0}\n")
    own = tmp_path / "own" / "python"
    own.parent.mkdir()
    shutil.copy(sys.executable, own)
    script = (
        "import sys; from pathlib import Path; from pipeline import doctor, slurm;"
        "Path(sys.executable).unlink();"
        "print(*doctor.findings_on_slurm(Path('slurm')), sep='\\n')"
    )
    found = {
        "PYTHONPATH": f"{root}:{':'.join(filter(None, sys.path))}",
        "PYTHONHOME": sys.base_prefix,
    }
    done = subprocess.run(
        [own, "-c", script], cwd=root, capture_output=True, text=True, check=False,
        env={**on_cluster.project.environment, **found},
    )  # fmt: skip
    assert "E-SLURM-NODE" in done.stdout, done.stdout + done.stderr
    assert "put .venv on a file system" in done.stdout
