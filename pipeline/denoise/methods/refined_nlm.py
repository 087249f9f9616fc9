"""Prefiltered non-local means, and a network that refines its result.

See :mod:`pipeline.denoise.methods.nlm` and :mod:`pipeline.networks.refiner`; the network is trained
by ``voxelway train denoise``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.denoise.methods import nlm
from pipeline.denoise.request import Method, Request

LEARNED = True


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Load the network once, for any number of images.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT.
    """
    from pipeline.denoise.network import Network

    assert model is not None  # methods.create has seen to it
    # the search radius is the network's: it was trained on what this one leaves
    first, network = nlm.create({}, None), Network(model, refines=True)

    def run(request: Request) -> sitk.Image:
        return images.like(network(request, images.array(first(request))), request.image)

    return run
