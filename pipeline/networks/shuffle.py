"""Space to depth and back: voxels of small blocks as channels, and channels as voxels.

Shi et al. 2016, doi:10.1109/CVPR.2016.207 (sub-pixel convolution); for denoising at half the
resolution: Zhang et al. 2018, FFDNet, doi:10.1109/TIP.2018.2839891.
"""

from __future__ import annotations

from torch import Tensor

Factors = tuple[int, int, int]


def to_depth(volume: Tensor, factors: Factors) -> Tensor:
    """(B, C, Z, Y, X) → (B, C·fz·fy·fx, Z/fz, Y/fy, X/fx).

    Raises:
        ValueError: when a factor does not divide its axis.
    """
    b, c, z, y, x = volume.shape
    fz, fy, fx = factors
    if z % fz or y % fy or x % fx:
        raise ValueError(f"{factors} do not divide {(z, y, x)}")
    parts = volume.reshape(b, c, z // fz, fz, y // fy, fy, x // fx, fx)
    parts = parts.permute(0, 1, 3, 5, 7, 2, 4, 6)
    return parts.reshape(b, c * fz * fy * fx, z // fz, y // fy, x // fx)


def to_space(volume: Tensor, factors: Factors) -> Tensor:
    """Inverse of :func:`to_depth`.

    Raises:
        ValueError: when the factors' product does not divide the channels.
    """
    b, c, z, y, x = volume.shape
    fz, fy, fx = factors
    if c % (fz * fy * fx):
        raise ValueError(f"{c} channels do not divide by {factors}")
    parts = volume.reshape(b, c // (fz * fy * fx), fz, fy, fx, z, y, x)
    parts = parts.permute(0, 1, 5, 2, 6, 3, 7, 4)
    return parts.reshape(b, -1, z * fz, y * fy, x * fx)
