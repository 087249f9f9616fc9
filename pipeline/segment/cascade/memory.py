"""Memory of this process and of a network, known before it is asked for."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import VoxelwayError
from pipeline.restore.tiles import free_bytes

#: Share of the free memory that may be asked for.
SHARE = 0.9
#: Skip connections, normalisation and the convolution's own buffers come on top of the layer that
#: holds the most; measured with the U-Net of the registry on a CPU.
OVERHEAD = 3.5
FLOAT = 4
#: Bytes a voxel of a network whose shapes can't be followed.
UNKNOWN = 4000.0
GROUPS = Path("/proc/self/cgroup")
ROOT = Path("/sys/fs/cgroup")


def free(device: torch.device) -> int:
    """Bytes that are free: of the GPU, or of the machine and the control group (a job's limit)."""
    found = free_bytes(device)
    if device.type == "cpu":
        found = min([found, *_limits(GROUPS, ROOT)])
    return found


def _limits(groups: Path, root: Path) -> list[int]:
    """What each control group around this process leaves (version 2)."""
    try:
        lines = groups.read_text(encoding="ascii").splitlines()
        place = next((line[3:] for line in lines if line.startswith("0::")), "").strip("/")
        folder, found = root / place, []
        while folder != root.parent:
            limit = folder / "memory.max"
            text = limit.read_text(encoding="ascii").strip() if limit.is_file() else "max"
            if text != "max":
                found.append(max(0, int(text) - _taken(folder)))
            folder = folder.parent
    except (OSError, ValueError):
        return []
    return found


def _taken(folder: Path) -> int:
    """Memory in use that can't be given back: files that are only cached can."""
    used = int((folder / "memory.current").read_text(encoding="ascii"))
    for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines():
        name, _, value = line.partition(" ")
        if name == "inactive_file":
            used -= int(value)
    return used


def ask(needed: float, device: torch.device, what: str, where: str) -> None:
    """Refuse work that needs more memory than there is.

    Args:
        needed: bytes.
        device: where.
        what: the work, as the subject of a sentence.
        where: file or session.

    Raises:
        VoxelwayError: E-MEMORY.
    """
    have = SHARE * free(device)
    if needed > have:
        told = f"{what} needs about {needed / 2**30:.1f} GB, {have / 2**30:.1f} GB are free"
        hint = (
            "Give the job more memory, crop the image to the head, or take a model with smaller"
            " windows"
        )
        raise VoxelwayError("E-MEMORY", told, where=where, hint=hint)


@torch.no_grad()
def bytes_per_voxel(network: nn.Module, inputs: int, shape: tuple[int, ...]) -> float:
    """Memory that a network takes for each voxel of its input while it runs, float32.

    Found without running it: shapes alone pass through a copy that holds no numbers.

    Args:
        network: in the mode that it will run in.
        inputs: channels.
        shape: Z, Y, X, multiples of the network's divisor.
    """
    ghost = copy.deepcopy(network).to("meta")
    largest = 0

    def note(_: nn.Module, given: tuple[Any, ...], result: Any) -> None:
        nonlocal largest
        largest = max(largest, _count(given) + _count(result))

    for module in ghost.modules():
        if not any(module.children()):
            module.register_forward_hook(note)
    image = torch.empty((1, inputs, *shape), device="meta")
    try:
        ghost(image)
    except (RuntimeError, NotImplementedError):
        return UNKNOWN  # an architecture that only runs on numbers
    return OVERHEAD * FLOAT * largest / image[0, 0].numel()


def _count(values: Any) -> int:
    if isinstance(values, Tensor):
        return values.numel()
    if isinstance(values, list | tuple):
        return sum(_count(value) for value in values)
    return 0
