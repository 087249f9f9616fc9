"""`voxelway doctor --slurm` against programs that answer as a cluster does."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline import doctor, slurm, slurm_job
from pipeline.cli import main
from pipeline.errors import VoxelwayError

ANSWERS = {
    "sbatch": "",
    "squeue": "",
    "scancel": "",
    "scontrol": """case "$1" in ping) echo "Slurmctld(primary) at head is UP";;
        *) echo "MinJobAge               = 300 sec";; esac""",
    "sinfo": """case "$*" in *--version*) echo "slurm 23.11.4";;
        *"--partition cpu"*) echo "up|2-00:00:00|128000+|32|(null)|10"
            echo "down|2-00:00:00|64000|64|(null)|1";;
        *"--partition gpu"*) echo "up|1-00:00:00|256000|32|gpu:a100:4(S:0-1)|2";; esac""",
    "sacctmgr": "printf 'hospital\\nother\\n'",
    # the job runs here, under the folder for scratch that the test gives
    "srun": f"""echo "$*" >> srun.log; while [ "$1" != "{sys.executable}" ]; do shift; done
        [ -z "$GPU" ] || export SLURM_JOB_GPUS=0; exec "$@" """,
}
CONFIG = """
executor: slurm
slurm-status-command: squeue
slurm-partition-config: slurm/partitions.yaml
slurm-init-seconds-before-status-checks: 20
latency-wait: 1
default-resources:
  slurm_account: "'hospital'"
"""
PARTITIONS = """
partitions:
  cpu: {max_runtime: 2880, max_mem_mb: 128000, max_threads: 64, max_gpu: 0}
"""
WITH_GPU = PARTITIONS + "  gpu: {max_runtime: 1440, max_mem_mb: 256000, max_gpu: 4}\n"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a profile; the cluster's programs come first on PATH."""
    (tmp_path / "slurm").mkdir()
    (tmp_path / "bin").mkdir()
    for name, script in ANSWERS.items():
        answer(tmp_path, name, script)
    configure(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.delenv("GPU", raising=False)
    return tmp_path


def answer(site: Path, program: str, script: str) -> None:
    path = site / "bin" / program
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def configure(site: Path, config: str = CONFIG, partitions: str = PARTITIONS) -> None:
    (site / "slurm" / "config.yaml").write_text(config)
    (site / "slurm" / "partitions.yaml").write_text(partitions)


def found() -> dict[str, tuple[str, str]]:
    """What was looked at → state and text."""
    return {f.subject: (f.state, f.text) for f in doctor.findings_on_slurm(Path("slurm"))}


def test_a_cluster_that_takes_the_jobs(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seen = found()
    assert {state for state, _ in seen.values()} == {"ok"}
    assert list(seen) == ["Slurm", "job states", "account", "partition cpu", "a job in cpu"]
    assert seen["partition cpu"][1] == "11 nodes, 2880 minutes, 128000 MB, 64 cores, 0 GPUs"
    assert "GiB free in" in seen["a job in cpu"][1]
    asked = (site / "srun.log").read_text()
    assert "--account hospital" in asked and "--partition cpu" in asked and "gpus" not in asked
    assert not list(site.glob(".voxelway-doctor-*"))
    assert main(["doctor", "--slurm"]) == 0
    assert "Ready." in capsys.readouterr().out


def test_no_cluster_here(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(site / "slurm"))
    assert main(["doctor", "--slurm"]) == 4
    assert "E-TOOL: sbatch, srun" in capsys.readouterr().out


def test_a_controller_that_is_down(site: Path) -> None:
    answer(site, "scontrol", "echo 'Slurmctld(primary) at head is DOWN'; exit 1")
    (state, text) = found()["Slurm"]
    assert state == "MISSING" and text.startswith("E-SLURM: No controller answers: Slurmctld")


def test_a_profile_that_is_not_there(site: Path) -> None:
    (site / "slurm" / "config.yaml").unlink()
    assert found()["Slurm profile"][1].startswith("E-CONFIG-FILE")


def test_the_account_of_somebody_else(site: Path) -> None:
    configure(site, CONFIG.replace("hospital", "physics"))
    state, text = found()["account"]
    assert state == "MISSING"
    assert "E-SLURM-ACCOUNT" in text and "no account 'physics', but hospital, other" in text


@pytest.mark.parametrize("script", ["exit 1", "true"])
def test_without_accounting_only_a_job_can_tell(site: Path, script: str) -> None:
    answer(site, "sacctmgr", script)
    assert found()["account"][0] == "note"
    answer(site, "srun", "echo 'srun: error: Invalid account or partition combination' >&2; exit 1")
    assert found()["a job in cpu"][1].startswith("E-SLURM-ACCOUNT")


def test_jobs_that_are_forgotten_before_they_are_seen(site: Path) -> None:
    configure(site, CONFIG.replace("checks: 20", "checks: 200"))
    state, text = found()["job states"]
    assert state == "MISSING" and "300 s after their end" in text and "status-checks: 100" in text


def test_sacct_without_accounting(site: Path) -> None:
    answer(site, "sacct", "exit 1")
    configure(site, CONFIG.replace("squeue", "sacct"))
    assert "slurm-status-command: squeue" in found()["job states"][1]
    answer(site, "sacct", "true")
    assert found()["job states"] == ("ok", "sacct")


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (PARTITIONS.replace("cpu:", "night:"), "No partition 'night'"),
        (PARTITIONS.replace("2880", "2881"), "max_runtime 2881 of 2880 minutes"),
        (PARTITIONS.replace("128000", "129000"), "max_mem_mb 129000 of 128000 MB"),
        (PARTITIONS.replace("max_gpu: 0", "max_gpu: 1"), "max_gpu 1 of 0 GPUs"),
    ],
)
def test_partitions_that_the_cluster_has_not(site: Path, changed: str, told: str) -> None:
    configure(site, partitions=changed)
    text = next(text for subject, (_, text) in found().items() if subject.startswith("partition"))
    assert text.startswith("E-SLURM-PARTITION") and told in text


def test_a_partition_that_starts_nothing(site: Path) -> None:
    answer(site, "sinfo", 'echo "down|infinite|128000|64|(null)|1"')
    assert "starts no jobs" in found()["partition cpu"][1]


def test_a_gpu_that_torch_does_not_see(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(site, CONFIG + "  gpu_model: \"'a100'\"\n", WITH_GPU)
    monkeypatch.setenv("GPU", "0")
    seen = found()
    assert seen["partition gpu"] == ("ok", "2 nodes, 1440 minutes, 256000 MB, 32 cores, 4 GPUs")
    assert seen["a job in cpu"][0] == "ok"
    state, text = seen["a GPU job in gpu"]
    assert state == "MISSING" and text.startswith("E-GPU: The job was given a GPU")
    assert "--gpus=a100:1" in (site / "srun.log").read_text()


def test_a_gpu_job_without_a_gpu(site: Path) -> None:
    configure(site, partitions=WITH_GPU)
    assert found()["a GPU job in gpu"][1].startswith("E-GPU: The job asked for a GPU and was given")


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("slurmstepd: error: execve(): /x/python: No such file or directory", "E-SLURM-NODE"),
        ("/x/python: No module named 'pipeline'", "E-SLURM-NODE"),
        ("srun: error: invalid partition specified: cpu", "E-SLURM-PARTITION"),
        ("srun: error: Requested node configuration is not available", "E-SLURM-PARTITION"),
        ("srun: error: something new", "E-SLURM-NODE"),
    ],
)
def test_what_srun_says_is_coded(site: Path, said: str, code: str) -> None:
    answer(site, "srun", f'echo "{said}" >&2; exit 1')
    state, text = found()["a job in cpu"]
    assert state == "MISSING" and text.startswith(f"{code}: ") and said in text


def test_a_full_cluster_is_no_fault(site: Path) -> None:
    answer(
        site, "srun", "echo 'srun: error: Unable to allocate: Requested nodes are busy' >&2; exit 1"
    )
    assert found()["a job in cpu"][0] == "note"


def test_scratch_that_can_t_be_written(site: Path) -> None:
    script = f"""while [ "$1" != "{sys.executable}" ]; do shift; done
        shift 3; exec {sys.executable} -c "import sys, tempfile; tempfile.tempdir = '/proc/none'
from pipeline.slurm_job import main
sys.exit(main(*sys.argv[1:]))" "$@" """
    answer(site, "srun", script)
    state, text = found()["a job in cpu"]
    assert state == "MISSING" and "scratch /proc/none" in text and "E-" in text


def test_a_folder_that_the_node_does_not_see(site: Path) -> None:
    with pytest.raises(VoxelwayError, match=r"E-SLURM-NODE.*does not see the folder"):
        slurm_job.look(site / "elsewhere", gpu=False)


def test_an_answer_that_is_never_seen(site: Path) -> None:
    answer(site, "srun", "true")
    assert (
        "E-SLURM-NODE" in found()["a job in cpu"][1]
        and "1 s (latency-wait)" in (found()["a job in cpu"][1])
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("infinite", float("inf")),
        ("30:00", 30),
        ("1:30:00", 90),
        ("2-00:00:00", 2880),
        ("1-12", 2160),
    ],
)
def test_minutes(text: str, expected: float) -> None:
    assert slurm.minutes(text) == expected
