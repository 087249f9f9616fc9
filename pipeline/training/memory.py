"""Out of memory as a coded error with the numbers and what to lower."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import psutil
import torch

from pipeline.errors import VoxelwayError
from pipeline.training.plan import Plan

_ASKED = re.compile(
    r"(?:tried to allocate|unable to allocate|failed to allocate)\s+([\d.]+)\s*([KMGT]?i?B|bytes)",
    re.IGNORECASE,
)
_UNITS = {"B": 1, "BYTES": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
#: How the allocators and the loader of torch tell that memory ran out.
_SIGNS = ("out of memory", "can't allocate memory", "not enough memory", "killed by signal: Killed")


class Guard:
    """Turns running out of memory, while the block runs, into a coded error.

    Attributes:
        batch: what is worked on; the error tells its shapes.
    """

    def __init__(self, plan: Plan, device: torch.device) -> None:
        self.plan, self.device = plan, device
        self.batch: Any = None

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None and is_out_of_memory(error):
            raise coded(error, self.plan, self.batch, self.device) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the memory of the machine or of the GPU did not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)


def coded(error: BaseException, plan: Plan, batch: Any, device: torch.device) -> VoxelwayError:
    """The E-MEMORY of a training: what was asked, free and there, and for what.

    Args:
        error: one for which :func:`is_out_of_memory` holds.
        plan: of the training.
        batch: the batch that was worked on, None before the first.
        device: of the training.
    """
    free, total = _room(device)
    asked = _asked(str(error))
    place = "GPU" if device.type == "cuda" else "machine"
    parts = [f"{asked / 2**30:.2f} GiB were asked for"] if asked else []
    parts.append(f"{free / 2**30:.2f} of {total / 2**30:.2f} GiB of the {place} are free")
    parts.append(f"training.batch is {plan.batch}, precision {plan.precision}")
    shapes = _shapes(batch)
    if shapes:
        parts.append(f"a batch holds {shapes}")
    what = f"The memory did not suffice for a step of the training: {', '.join(parts)}"
    return VoxelwayError("E-MEMORY", what, hint=_hint(plan, device))


def _hint(plan: Plan, device: torch.device) -> str:
    lower = []
    if plan.batch > 1:
        lower.append("training.batch (and raise training.accumulate as much)")
    if device.type == "cpu" and plan.workers > 0:
        lower.append("training.workers")
    lower.append("the patch or the resolution that the stage trains on")
    more = ", or set training.precision to bf16 or 16" if device.type == "cuda" else ""
    return f"Lower {', or '.join(lower)}{more}"


def _room(device: torch.device) -> tuple[int, int]:
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return int(free), int(total)
    memory = psutil.virtual_memory()
    return int(memory.available), int(memory.total)


def _asked(text: str) -> float:
    found = _ASKED.search(text)
    return float(found[1]) * _UNITS[found[2].upper()] if found else 0.0


def _shapes(batch: Any) -> str:
    if isinstance(batch, torch.Tensor):
        return "x".join(map(str, batch.shape)) or "one number"
    if isinstance(batch, Mapping):
        named = {key: _shapes(item) for key, item in batch.items()}
        return ", ".join(f"{key} {shape}" for key, shape in named.items() if shape)
    if isinstance(batch, tuple | list):
        return ", ".join(filter(None, map(_shapes, batch)))
    return ""
