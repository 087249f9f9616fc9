"""The losses of a registration by name: each looks at an :class:`Outcome`, gives one scalar."""

from __future__ import annotations

import weakref
from typing import Literal

import torch
from torch import Tensor, nn

from pipeline.training.losses import smoothness
from pipeline.training.losses.information import MutualInformation
from pipeline.training.losses.mind import Mind
from pipeline.training.losses.outcome import Outcome, mean
from pipeline.training.losses.similarity import LocalNCC, Prepared


class Lncc:
    """Local correlation, see :class:`LocalNCC`; weighted by the mask.

    The fixed image's moments are kept as long as the same tensor comes again, which is what an
    optimisation of one pair does.
    """

    def __init__(self, window: int = 9, signed: bool = False, epsilon: float = 1e-5) -> None:
        self.loss = LocalNCC(window, signed, epsilon)
        self._known = _Same(None), _Same(None)
        self._prepared: Prepared | None = None

    def __call__(self, outcome: Outcome) -> Tensor:
        """One minus the mean local correlation."""
        fixed: Tensor | Prepared = outcome.fixed
        if not outcome.fixed.requires_grad:
            fixed = self._moments(outcome.fixed, outcome.mask)
        value: Tensor = self.loss(outcome.warped, fixed, outcome.mask)
        return value

    def _moments(self, fixed: Tensor, mask: Tensor | None) -> Prepared:
        known_fixed, known_mask = self._known
        if self._prepared is None or not (known_fixed.holds(fixed) and known_mask.holds(mask)):
            self._prepared = self.loss.prepare(fixed, mask)
            self._known = _Same(fixed), _Same(mask)
        return self._prepared


class _Same:
    """Tells whether a tensor is the one of before, unchanged, without keeping it alive."""

    def __init__(self, tensor: Tensor | None) -> None:
        # not its address alone: of a tensor that is gone another may have taken the place
        self.reference = None if tensor is None else weakref.ref(tensor)
        self.version = None if tensor is None else tensor._version

    def holds(self, tensor: Tensor | None) -> bool:
        if tensor is None or self.reference is None:
            return tensor is None and self.reference is None
        return self.reference() is tensor and self.version == tensor._version


class Mse:
    """Mean squared difference, weighted by the mask."""

    def __call__(self, outcome: Outcome) -> Tensor:
        """In squared units of the images."""
        return mean((outcome.warped - outcome.fixed).square(), outcome.mask)


class MutualInformationTerm:
    """Minus the mutual information, see :class:`MutualInformation`; weighted by the mask."""

    def __init__(self, bins: int = 32) -> None:
        self.loss = MutualInformation(bins)

    def __call__(self, outcome: Outcome) -> Tensor:
        """In nats."""
        value: Tensor = self.loss(outcome.warped, outcome.fixed, outcome.mask)
        return value


class MindTerm:
    """Difference of self-similarities, see :class:`Mind`; weighted by the mask."""

    def __init__(self, radius: int = 1, dilation: int = 2) -> None:
        self.loss = Mind(radius, dilation)

    def __call__(self, outcome: Outcome) -> Tensor:
        """0 to 1."""
        value: Tensor = self.loss(outcome.warped, outcome.fixed, outcome.mask)
        return value


Of = Literal["displacement", "velocity"]


class _Smoothness:
    def __init__(self, of: Of = "displacement") -> None:
        if of not in ("displacement", "velocity"):
            raise ValueError(f"of is displacement or velocity, not {of!r}")
        self.of = of

    def field(self, outcome: Outcome, loss: str) -> Tensor:
        """The field whose roughness counts."""
        return outcome.deformable if self.of == "displacement" else outcome.need(self.of, loss)


class Diffusion(_Smoothness):
    """First differences of the displacement (its deformable part) or of the velocity."""

    def __call__(self, outcome: Outcome) -> Tensor:
        """See :func:`smoothness.diffusion`."""
        return smoothness.diffusion(self.field(outcome, "diffusion"))


class Bending(_Smoothness):
    """Second derivatives of the displacement (its deformable part) or of the velocity."""

    def __call__(self, outcome: Outcome) -> Tensor:
        """See :func:`smoothness.bending`."""
        return smoothness.bending(self.field(outcome, "bending"))


class InverseConsistency:
    """There and back, see :func:`smoothness.inverse_consistency`."""

    def __call__(self, outcome: Outcome) -> Tensor:
        """In squared voxels."""
        inverse = outcome.need("inverse", "inverse_consistency")
        return smoothness.inverse_consistency(outcome.displacement, inverse)


class AntiFolding:
    """Folds, see :func:`smoothness.anti_folding`."""

    def __init__(self, kind: Literal["axis", "determinant"] = "axis") -> None:
        if kind not in ("axis", "determinant"):
            raise ValueError(f"kind is axis or determinant, not {kind!r}")
        self.kind: Literal["axis", "determinant"] = kind

    def __call__(self, outcome: Outcome) -> Tensor:
        """Zero without folds."""
        return smoothness.anti_folding(outcome.deformable, self.kind)


class Dice:
    """Soft Dice loss of warped and fixed labels, the mean over structures; weak supervision.

    Hu et al. 2018, doi:10.1016/j.media.2018.07.002; Hering et al. 2019,
    doi:10.1007/978-3-658-25326-4_69. Leave the background's channel out of both. A structure that
    neither image has counts as no loss.
    """

    def __init__(self) -> None:
        from monai.losses.dice import DiceLoss

        self.loss: nn.Module = DiceLoss(include_background=True)

    def __call__(self, outcome: Outcome) -> Tensor:
        """0 to 1."""
        pair = outcome.need("labels_warped", "dice"), outcome.need("labels_fixed", "dice")
        value: Tensor = self.loss(*pair)
        return value


class Supervision:
    """Squared distance from a known field, of SyN or of a simulation, where its mask is.

    Yang et al. 2017 (Quicksilver), doi:10.1016/j.neuroimage.2017.07.008; together with a
    similarity, Fan et al. 2019 (BIRNet), doi:10.1016/j.media.2019.03.006.
    """

    def __call__(self, outcome: Outcome) -> Tensor:
        """Mean over the voxels of the mask, in squared voxels."""
        target = outcome.need("target_field", "supervision")
        distance = (outcome.displacement - target).square().sum(dim=1, keepdim=True)
        return mean(distance, outcome.target_mask)


class Features:
    """Mean squared difference of an auto-encoder's features, see :mod:`networks.autoencoder`.

    Yoo et al. 2017 (ssEMnet), doi:10.1007/978-3-319-67558-9_29. The network was trained before and
    belongs to no player of the training, so that it stays as it is.
    """

    def __init__(self, network: str = "autoencoder") -> None:
        self.network = network

    def __call__(self, outcome: Outcome) -> Tensor:
        """In squared units of the features."""
        encoder = outcome.network(self.network, "features")
        warped = encoder(outcome.warped, decode=False).features
        with torch.no_grad():
            fixed = encoder(outcome.fixed, decode=False).features
        return mean((warped - fixed).square())


class Adversarial:
    """Least squares: how far the critic is from calling the warped image well aligned.

    Mao et al. 2017, doi:10.1109/ICCV.2017.304; in registration Fan et al. 2019,
    doi:10.1016/j.media.2019.101545.
    """

    def __init__(self, network: str = "critic") -> None:
        self.network = network

    def __call__(self, outcome: Outcome) -> Tensor:
        """The registration's side: mean ``(score - 1)²``."""
        critic = outcome.network(self.network, "adversarial")
        scores: Tensor = critic(torch.cat([outcome.warped, outcome.fixed], dim=1))
        return (scores - 1).square().mean()


class CriticTerm:
    """The critic's side: well aligned pairs are 1, what the registration warped is 0.

    Where ``aligned`` is not given, the well aligned image is the fixed one with some of the
    moving one mixed in, as in Fan et al. 2019: a perfect copy would be told by its noise.

    Args:
        network: name of the critic.
        blend: share of the moving image, 0 to 1; images of one contrast only.
    """

    def __init__(self, network: str = "critic", blend: float = 0.2) -> None:
        if not 0 <= blend <= 1:
            raise ValueError(f"blend is 0 to 1, not {blend}")
        self.network = network
        self.blend = blend

    def __call__(self, outcome: Outcome) -> Tensor:
        """Half the sum of both mean squared errors; no gradient goes to the registration."""
        critic = outcome.network(self.network, "critic")
        good = outcome.aligned
        if good is None:
            good = self.blend * outcome.moving + (1 - self.blend) * outcome.fixed
        real: Tensor = critic(torch.cat([good, outcome.fixed], dim=1))
        made: Tensor = critic(torch.cat([outcome.warped.detach(), outcome.fixed], dim=1))
        return ((real - 1).square().mean() + made.square().mean()) / 2
