"""What all learned denoising methods share: a bundle becomes a method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.denoise.request import Method, Request


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Load the network once, for any number of images.

    Args:
        params: section ``denoise``.
        model: bundle of stage ``denoise``.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT.
    """
    from pipeline.denoise.network import Network

    assert model is not None  # methods.create has seen to it
    network = Network(model, copies=int(params.get("mirror", 1)))

    def run(request: Request) -> sitk.Image:
        return images.like(network(request), request.image)

    return run
