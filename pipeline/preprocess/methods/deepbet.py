"""Brain mask by deepbet: a small 3D U-Net whose weights come with the package.

Fisch et al. 2024, "deepbet: Fast brain extraction of T1-weighted MRI using convolutional neural
networks", Computers in Biology and Medicine 179. It was trained on T1w; on whole-head T2w with
5 mm slices its contours were right as well.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import images
from pipeline.errors import VoxelwayError

LEARNED = False
THRESHOLD = 0.5


def create(params: Mapping[str, Any], model: Path | None) -> Callable[[sitk.Image], sitk.Image]:
    """Load the network once.

    Returns:
        function of a whole-head image that gives its brain mask, uint8 on the same lattice.
    """
    import torch
    from deepbet import BrainExtraction

    # one thread: the sums of a convolution come in one order
    torch.set_num_threads(1)
    network = BrainExtraction(no_gpu=True)

    def mask(image: sitk.Image) -> sitk.Image:
        # the network knows arrays in the order x, y, z that grow to right, anterior and superior
        oriented = sitk.DICOMOrient(image, "RAS")
        values = np.ascontiguousarray(images.array(oriented).transpose(2, 1, 0))
        try:
            found = network.postprocess(network.run_model(values) > THRESHOLD)
        except (ValueError, AssertionError) as error:
            # deepbet finds no component, or no foreground to put a box around
            raise VoxelwayError("E-MASK-EMPTY", "deepbet finds no brain in the image") from error
        brain = images.like(np.asarray(found).astype(bool).transpose(2, 1, 0), oriented)
        return _back(brain, image)

    return mask


def _back(mask: sitk.Image, reference: sitk.Image) -> sitk.Image:
    """Undo the reorientation: flips and permutations, so nearest neighbour is exact."""
    identity = sitk.Transform(3, sitk.sitkIdentity)
    return sitk.Resample(mask, reference, identity, sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
