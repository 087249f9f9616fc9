"""Intensity scale: the brain's robust range becomes about 0..1, and zero stays zero.

Only a factor is applied. Magnitude images have their physical zero at zero, which the Rician
noise model of the next stage relies on; nothing is clipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from pipeline.errors import VoxelwayError

#: Half width of the white stripe in quantiles (Shinohara 2014 uses 0.05).
STRIPE = 0.05


@dataclass(frozen=True)
class Scale:
    """``scaled = factor * value + offset``."""

    factor: float
    offset: float
    method: str

    def facts(self) -> dict[str, Any]:
        """Entries of the sidecar."""
        return {
            "ScaleFactor": self.factor,
            "ScaleOffset": self.offset,
            "ScaleMethod": self.method,
        }


def find_scale(values: NDArray[np.float32], suffix: str, params: Mapping[str, Any]) -> Scale:
    """Scale of one image.

    Args:
        values: intensities of the brain's voxels, any shape.
        suffix: contrast, as T1w.
        params: the section ``scale`` of the configuration.

    Raises:
        VoxelwayError: E-SIGNAL when the brain's intensities are not positive.
    """
    if params["method"] == "white-stripe" and suffix == "T1w":
        reference, target = white_stripe(values), float(params["white_matter"])
        method = "white-stripe"
    else:
        reference, target = float(np.percentile(values, params["percentile"])), 1.0
        method = "percentile"
    if not reference > 0:
        what = f"The brain's reference intensity ({method}) is {reference:.4g}, not positive"
        raise VoxelwayError("E-SIGNAL", what, hint="The image may be inverted or a phase image")
    return Scale(target / reference, 0.0, method)


def white_stripe(values: NDArray[np.float32]) -> float:
    """Mean intensity of the white stripe of a T1w: the quantiles around the last peak.

    Shinohara et al. 2014, "Statistical normalization techniques for magnetic resonance imaging",
    NeuroImage: Clinical 6. The last mode of the smoothed histogram is normal-appearing white
    matter; rare high values (vessels, rim) are left out first.
    """
    low, high = np.percentile(values, [0.5, 99.9])
    counts, edges = np.histogram(values, bins=512, range=(float(low), float(high)))
    smooth = gaussian_filter1d(counts.astype(float), 8.0, mode="constant")
    peaks, _ = find_peaks(smooth, height=0.2 * smooth.max(), prominence=0.02 * smooth.max())
    peak = int(peaks[-1]) if len(peaks) else int(smooth.argmax())
    mode = 0.5 * (edges[peak] + edges[peak + 1])
    place = float((values < mode).mean())
    lower, upper = np.quantile(values, [max(0.0, place - STRIPE), min(1.0, place + STRIPE)])
    return float(values[(values >= lower) & (values <= upper)].mean())
