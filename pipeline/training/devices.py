"""Where a training runs: CPU or GPUs, how many processes, in which arithmetic."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterable
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision, Precision
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.fabric.strategies import DDPStrategy
from torch import nn

from pipeline import device
from pipeline.errors import VoxelwayError
from pipeline.training.plan import Plan


class _Mixed(MixedPrecision):  # type: ignore[misc]
    """Autocast that leaves the inputs as they are: coordinates and images stay float32."""

    def convert_input(self, data: Any) -> Any:
        return data


def launch(plan: Plan) -> Fabric:
    """Start the processes of a training; each of them goes on from here.

    Raises:
        VoxelwayError: E-GPU for more GPUs than are visible or half precision without one,
            E-CONFIG-VALUE when the devices do not divide the batch.
    """
    kind = device.choose().type
    count = _count(plan, kind)
    fabric = Fabric(
        accelerator=kind,
        devices=count,
        # gradients are averaged by the trainer: losses may use a network as often as they like
        strategy=DDPStrategy(forward_sync_buffers=False) if count > 1 else "auto",
        # under Slurm, too, the processes are started from here and not by srun
        plugins=[_precision(plan, kind), LightningEnvironment()],
    )
    if count > 1:
        fabric.launch()
    return fabric


def _count(plan: Plan, kind: str) -> int:
    visible = torch.cuda.device_count() if kind == "cuda" else 1
    if plan.devices == "auto":
        return max(n for n in range(1, visible + 1) if plan.batch % n == 0)
    count = int(plan.devices)
    if kind == "cuda" and count > visible:
        what = f"training.devices asks for {count} GPUs, {visible} are visible"
        raise VoxelwayError("E-GPU", what, hint="Lower training.devices, or ask for more GPUs")
    if plan.batch % count:
        what = f"training.batch: {plan.batch} samples can't be shared evenly by {count} devices"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint="Make the batch a multiple of the devices")
    return count


def _precision(plan: Plan, kind: str) -> Precision:
    chosen = str(plan.precision)
    if chosen == "auto":
        half = "bf16" if kind == "cuda" and torch.cuda.is_bf16_supported() else "16"
        chosen = half if kind == "cuda" else "32"
    if chosen == "32":
        return Precision()
    if chosen == "16" and kind == "cpu":
        hint = "Set training.precision to 32, bf16 or auto"
        what = "training.precision is 16, which needs a GPU"
        raise VoxelwayError("E-GPU", what, hint=hint)
    return _Mixed(f"{chosen}-mixed", kind)


def arrange(networks: Iterable[nn.Module], plan: Plan, fabric: Fabric) -> None:
    """Lay the weights out in memory as suits the arithmetic; before an optimizer is given them."""
    if plan.precision == "bf16" and fabric.device.type == "cpu":
        for network in networks:
            device.channels_last(network)


def name(fabric: Fabric) -> str:
    """The device as a model card gives it, as ``2 x NVIDIA H100`` or ``cpu``."""
    if fabric.device.type != "cuda":
        return "cpu"
    gpu = torch.cuda.get_device_name(fabric.device)
    return gpu if fabric.world_size == 1 else f"{fabric.world_size} x {gpu}"


def peak_memory_mb(fabric: Fabric) -> int:
    """Most memory so far: of the GPU, or resident on the CPU."""
    if fabric.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(fabric.device) // 2**20)
    factor = 2**20 if sys.platform == "darwin" else 2**10
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // factor)
