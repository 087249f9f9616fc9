"""Filters that need no training, and a network that makes one image of theirs.

See :mod:`pipeline.denoise.methods.collaborative` and :mod:`pipeline.networks.refiner`; the network
is trained by ``voxelway train denoise``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813
from numpy.typing import NDArray

from pipeline import images
from pipeline.denoise.methods import collaborative
from pipeline.denoise.request import Method, Request

LEARNED = True


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Load the network once, for any number of images.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT.
    """
    from pipeline.denoise.network import Network

    assert model is not None  # methods.create has seen to it
    network = Network(model, refines=True, copies=int(params.get("mirror", 1)))

    def run(request: Request) -> sitk.Image:
        def first(values: NDArray[np.float32]) -> NDArray[np.float32]:
            return collaborative.estimates(values, request.noise, request.strength)

        return images.like(network(request, first), request.image)

    return run
