"""Learned deformable registration after an affine, refined for each pair if wanted.

Any architecture of :mod:`pipeline.networks` that ``voxelway train register`` has trained: the
U-Net of Balakrishnan et al. 2019, doi:10.1109/TMI.2019.2897538, a pyramid, FAIM, ADMIR. With
``voxelmorph.refine`` the field is where the instance optimisation starts from.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk  # noqa: N813

from pipeline.register.fields import Registration
from pipeline.register.protocol import Method

LEARNED = True


def create(params: Mapping[str, Any], model: Path | None) -> Method:
    """Load the network once, for any number of pairs.

    Args:
        params: section ``affine``, ``voxelmorph``, ``optimisation``, ``affine_iterations`` and
            ``seed``.
        model: bundle of stage ``register``.

    Raises:
        VoxelwayError: E-MODEL-MISSING, E-MODEL-CHECKSUM, E-MODEL-INPUT.
    """
    from pipeline.register import start
    from pipeline.register.deform import Deformer
    from pipeline.register.network import Network

    assert model is not None  # methods.create has seen to it
    network = Network(model)
    align = start.aligner(params, own_affine=network.predicts_affine)
    refinement = params["optimisation"] if params["voxelmorph"]["refine"] else None
    deformer = Deformer(refinement, network)

    def register(
        moving: sitk.Image, fixed: sitk.Image, moving_mask: sitk.Image, fixed_mask: sitk.Image
    ) -> Registration:
        affine = align(moving, fixed, moving_mask, fixed_mask)
        return deformer(moving, fixed, (moving_mask, fixed_mask), affine)

    return register
