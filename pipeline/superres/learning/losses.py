"""Losses of a restored patch against the sharp one, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pipeline.errors import VoxelwayError

Loss = Callable[[Tensor, Tensor], Tensor]


class L1:
    """Mean absolute difference: estimates a median, which keeps edges."""

    def __call__(self, made: Tensor, truth: Tensor) -> Tensor:
        """In units of the images."""
        return (made - truth).abs().mean()


class Mse:
    """Mean squared difference: estimates a mean, which has the best PSNR."""

    def __call__(self, made: Tensor, truth: Tensor) -> Tensor:
        """In squared units of the images."""
        return (made - truth).square().mean()


class Charbonnier:
    """Squared for small differences, absolute for large ones.

    Charbonnier et al. 1994, doi:10.1109/ICIP.1994.413553.

    Args:
        epsilon: difference where the one goes over into the other.
    """

    def __init__(self, epsilon: float = 0.1) -> None:
        if epsilon <= 0:
            raise ValueError(f"epsilon is above 0, not {epsilon}")
        self.epsilon = epsilon

    def __call__(self, made: Tensor, truth: Tensor) -> Tensor:
        """In units of the images; 0 for equal ones."""
        squared = (made - truth).square() + self.epsilon**2
        return (squared.sqrt() - self.epsilon).mean()


class Gradient:
    """Mean absolute difference of the differences of neighbours: edges where they were."""

    def __call__(self, made: Tensor, truth: Tensor) -> Tensor:
        """The mean over the three axes of (B, C, Z, Y, X), in units of the images a voxel."""
        error = made - truth
        return torch.stack([error.diff(dim=axis).abs().mean() for axis in (2, 3, 4)]).mean()


class Ssim:
    """One minus the structural similarity in cubes of 7 voxels; MONAI's.

    Wang et al. 2004, doi:10.1109/TIP.2003.819861.
    """

    def __init__(self) -> None:
        from monai.losses.ssim_loss import SSIMLoss

        self.loss = SSIMLoss(spatial_dims=3, data_range=1.0, kernel_type="uniform", win_size=7)

    def __call__(self, made: Tensor, truth: Tensor) -> Tensor:
        """0 to 2, for images of about 0 to 1."""
        value: Tensor = self.loss(made, truth)
        return value


LOSSES: dict[str, Callable[..., Loss]] = {
    "l1": L1,
    "mse": Mse,
    "charbonnier": Charbonnier,
    "gradient": Gradient,
    "ssim": Ssim,
}


@dataclass(frozen=True)
class Sum:
    """A weighted sum of losses: name, weight and loss of each."""

    terms: tuple[tuple[str, float, Loss], ...]

    def __call__(self, made: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """The sum as ``loss``, to be minimised, and each term, unweighted, to be logged."""
        values = {name: loss(made, truth) for name, _, loss in self.terms}
        total = torch.stack([weight * values[name] for name, weight, _ in self.terms]).sum()
        return {"loss": total, **{name: value.detach() for name, value in values.items()}}


def build(entries: Sequence[Mapping[str, Any]]) -> Sum:
    """Make the sum that a configuration describes.

    Args:
        entries: each has the ``name`` of a loss, its ``weight`` (1 if left out) and its own
            arguments, as ``{"name": "charbonnier", "weight": 1, "epsilon": 0.1}``.

    Raises:
        VoxelwayError: E-CONFIG-VALUE for no entry, an unknown or doubled name, a negative weight
            or arguments that do not fit.
    """
    names = [str(entry.get("name", "")) for entry in entries]
    if not names or len(set(names)) < len(names) or not set(names) <= set(LOSSES):
        what = f"superres.learning.losses names {', '.join(names) or 'none'}"
        hint = f"Losses: {', '.join(LOSSES)}; each once"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint)
    return Sum(tuple(_term(name, entry) for name, entry in zip(names, entries, strict=True)))


def _term(name: str, entry: Mapping[str, Any]) -> tuple[str, float, Loss]:
    weight = float(entry.get("weight", 1.0))
    if weight < 0:
        raise VoxelwayError("E-CONFIG-VALUE", f"The weight of the loss {name} is {weight}")
    arguments = {key: value for key, value in entry.items() if key not in ("name", "weight")}
    try:
        return name, weight, LOSSES[name](**arguments)
    except (TypeError, ValueError) as error:
        hint = f"It takes {inspect.signature(LOSSES[name])}"
        what = f"The arguments do not fit the loss {name}: {error}"
        raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint) from error
