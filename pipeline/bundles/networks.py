"""Networks of a bundle, built and filled; imports torch, unlike the rest of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pipeline.bundles import Bundle, read_bundle
from pipeline.errors import VoxelwayError
from pipeline.networks import build


@dataclass(frozen=True)
class Loaded:
    """Networks by name, ready for inference, and what the bundle says of them."""

    networks: dict[str, nn.Module]
    metadata: dict[str, Any]

    def network(self, name: str, where: Path) -> nn.Module:
        """One of them.

        Raises:
            VoxelwayError: E-MODEL-INPUT when the bundle has none of the name.
        """
        if name not in self.networks:
            what = f"The bundle has no network {name!r}"
            raise VoxelwayError("E-MODEL-INPUT", what, where=str(where))
        return self.networks[name]


def load(path: Path, stage: str) -> Loaded:
    """Read a bundle, build its networks on the CPU and fill in the weights.

    Args:
        path: folder of the bundle; ``architecture`` of its metadata maps each network to the
            ``name`` and the ``arguments`` of an architecture, and its tensors are named
            ``NETWORK/PARAMETER``.
        stage: the stage that wants to use it.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM as of :func:`read_bundle`, E-MODEL-INPUT
            for another stage, an unknown architecture, or tensors that do not fit it.
    """
    bundle = read_bundle(path, stage)
    networks = {}
    for name, described in _described(bundle).items():
        network = build(str(described["name"]), described["arguments"])
        own = _own_tensors(bundle, name)
        _check_fit(network, own, f"{path}, network {name}")
        # a copy, because torch wants memory that may be written to
        network.load_state_dict({key: torch.from_numpy(v.copy()) for key, v in own.items()})
        networks[name] = network.eval()
    strange = {name.partition("/")[0] for name in bundle.tensors} - set(networks)
    if strange:
        what = f"The weights are of networks that the metadata lacks: {', '.join(sorted(strange))}"
        raise VoxelwayError("E-MODEL-INPUT", what, where=str(path))
    return Loaded(networks, bundle.metadata)


def _described(bundle: Bundle) -> dict[str, Mapping[str, Any]]:
    found = bundle.metadata["architecture"]
    whole = isinstance(found, Mapping) and all(
        isinstance(item, Mapping)
        and isinstance(item.get("name"), str)
        and isinstance(item.get("arguments"), Mapping)
        for item in found.values()
    )
    if not whole or not found:
        what = "metadata.json does not give name and arguments of each network's architecture"
        raise VoxelwayError("E-MODEL-INPUT", what, where=str(bundle.path))
    return dict(found)


def _own_tensors(bundle: Bundle, name: str) -> dict[str, NDArray[Any]]:
    start = f"{name}/"
    return {
        key.removeprefix(start): values
        for key, values in bundle.tensors.items()
        if key.startswith(start)
    }


def _check_fit(network: nn.Module, own: Mapping[str, NDArray[Any]], where: str) -> None:
    wanted = network.state_dict()
    faults = [f"{name} is missing" for name in sorted(set(wanted) - set(own))]
    faults += [f"{name} is not of this architecture" for name in sorted(set(own) - set(wanted))]
    for name in sorted(set(own) & set(wanted)):
        given, asked = tuple(own[name].shape), tuple(wanted[name].shape)
        if given != asked:
            faults.append(f"{name} is {_shape(given)}, not {_shape(asked)}")
        elif np.issubdtype(own[name].dtype, np.floating) and not np.isfinite(own[name]).all():
            faults.append(f"{name} holds values that are not finite")
    if faults:
        more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
        what = f"The weights do not fit the architecture: {'; '.join(faults[:3])}{more}"
        raise VoxelwayError("E-MODEL-INPUT", what, where=where, hint="Train the bundle again")


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "one number"
