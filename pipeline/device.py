"""Where a network runs, and in which arithmetic: the GPU that is visible, else the CPU."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipeline.errors import VoxelwayError

if TYPE_CHECKING:
    import torch
    from torch import nn

#: Set by Slurm in a job that asked for GPUs: their numbers, and how many.
LISTS = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS")
COUNTS = ("SLURM_GPUS", "SLURM_GPUS_ON_NODE")
#: Set to anything, networks are applied in single precision on every device.
SINGLE = "VOXELWAY_SINGLE_PRECISION"
#: Units of a CPU that multiply bfloat16, as torch names them.
BFLOAT16_UNITS = ("amx_tile", "avx512_bf16")

#: What networks of this process run on, and in which arithmetic if not in single precision.
_used = {"device": "cpu", "arithmetic": ""}


def used() -> str:
    """For a sidecar, as ``cpu`` or ``NVIDIA H100 80GB HBM3, bfloat16``."""
    return ", ".join(told for told in _used.values() if told)


def choose() -> torch.device:
    """The first GPU that is visible, else the CPU.

    Raises:
        VoxelwayError: E-GPU when the scheduler gave this job a GPU that torch can't see: hours on a
            CPU, at the price of a GPU, are no answer.
    """
    import torch

    if torch.cuda.is_available():
        _used["device"] = torch.cuda.get_device_name()
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


def autocast(device: torch.device) -> torch.autocast:
    """The arithmetic that a network is applied in: bfloat16 where the device is made for it.

    GPUs from compute capability 8.0 and CPUs with AMX or AVX512-BF16 multiply it two times or more
    as fast as single precision; other CPUs are slower with it than without.
    """
    import torch

    enabled = made_for_bfloat16(device)
    _used["arithmetic"] = "bfloat16" if enabled else ""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def ready(network: nn.Module, device: torch.device) -> nn.Module:
    """A network on a device, for inference, its memory laid out as suits the arithmetic there."""
    if device.type == "cpu" and made_for_bfloat16(device):
        channels_last(network)
    return network.to(device).eval()


def channels_last(network: nn.Module) -> None:
    """Keep the channels of the weights of convolutions side by side in memory.

    Convolutions of a CPU in bfloat16 take about half the time then.
    """
    import torch

    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in network.parameters():
        if parameter.dim() in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.dim()])


def made_for_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies in bfloat16 two times or more as fast as in single precision."""
    import torch

    if os.environ.get(SINGLE):
        return False
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and any(_cpu_has(name) for name in BFLOAT16_UNITS)


def _cpu_has(name: str) -> bool:
    import torch

    # not part of torch's public interface, the only place where it tells
    told = getattr(torch.cpu, f"_is_{name}_supported", None)
    return told is not None and bool(told())
