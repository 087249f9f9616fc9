"""Where a network runs: the GPU that is visible, the CPU where none was asked for."""

from __future__ import annotations

import os

import torch

from pipeline.errors import VoxelwayError

#: Set by Slurm in a job that asked for GPUs: their numbers, and how many.
LISTS = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
COUNTS = ("SLURM_GPUS", "SLURM_GPUS_ON_NODE")


def choose() -> torch.device:
    """The first GPU that is visible, else the CPU.

    Raises:
        VoxelwayError: E-GPU when the scheduler gave this job a GPU that torch can't see: hours on a
            CPU, at the price of a GPU, are no answer.
    """
    if torch.cuda.is_available():
        return torch.device("cuda")
    given = next((name for name in LISTS if os.environ.get(name)), "")
    given = given or next((name for name in COUNTS if os.environ.get(name, "0") != "0"), "")
    if given:
        what = f"The job was given a GPU ({given}={os.environ[given]}), but torch sees none"
        hint = (
            "`voxelway doctor` on that node tells more; set `gpu: 0` for the rule in the profile's"
            " set-resources to run it on CPUs"
        )
        raise VoxelwayError("E-GPU", what, hint=hint)
    return torch.device("cpu")
