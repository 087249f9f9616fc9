"""Registry of architectures: one module an architecture, plain torch modules.

A module of this folder that has a constant ``ARCHITECTURE = SomeModule`` at its top level is an
architecture, named as its file. Adding an architecture is adding a file. Listing reads the files
and imports none of them, so it needs no torch.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import VoxelwayError

if TYPE_CHECKING:
    from torch import nn

CONSTANT = "ARCHITECTURE"


def available() -> list[str]:
    """Names of the architectures, sorted, without importing them."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return [file.stem for file in files if _declares(file)]


def module_name(name: str) -> str:
    """Dotted name of the module of one architecture.

    Raises:
        VoxelwayError: E-MODEL-INPUT when there is no such architecture.
    """
    known = available()
    if name not in known:
        hint = "Architectures: " + ", ".join(known)
        raise VoxelwayError("E-MODEL-INPUT", f"There is no architecture {name!r}", hint=hint)
    return f"{__name__}.{name}"


def parameters(name: str) -> list[str]:
    """Names of the arguments that an architecture takes.

    Raises:
        VoxelwayError: E-MODEL-INPUT for an unknown name.
    """
    architecture = getattr(importlib.import_module(module_name(name)), CONSTANT)
    return list(inspect.signature(architecture).parameters)


def build(name: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Make a network with fresh weights (seed torch before, for the same weights again).

    Args:
        name: one of :func:`available`.
        arguments: keyword arguments of the architecture, as a bundle's metadata holds them;
            ``prior``, which any segmentation network takes, is the shape of a
            :class:`pipeline.networks.prior.Prior`.

    Raises:
        VoxelwayError: E-MODEL-INPUT for an unknown name, or for arguments that do not fit.
    """
    from pipeline.networks import prior

    architecture = getattr(importlib.import_module(module_name(name)), CONSTANT)
    own = {key: value for key, value in arguments.items() if key != "prior"}
    try:
        network: nn.Module = architecture(**own)
        if "prior" in arguments:
            prior.lean(network, arguments["prior"])
    except (TypeError, ValueError) as error:
        hint = f"It takes {inspect.signature(architecture)}"
        what = f"The arguments do not fit the architecture {name}: {error}"
        raise VoxelwayError("E-MODEL-INPUT", what, hint=hint) from error
    return network


def _declares(file: Path) -> bool:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    targets: list[ast.expr] = []
    for node in tree.body:
        if isinstance(node, ast.Assign):
            targets += node.targets
        elif isinstance(node, ast.AnnAssign):
            targets.append(node.target)
    named = [target.id for target in targets if isinstance(target, ast.Name)]
    return CONSTANT in named and file.stem != "__init__"
