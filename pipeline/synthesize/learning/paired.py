"""Training on contrasts of the same heads: encoder-decoder, pix2pix in volumes and planes, cascade.

Isola et al. 2017, doi:10.1109/CVPR.2017.632; Nie et al. 2017, doi:10.1007/978-3-319-66179-7_48. Any
of the sources may be missing: sets of them are dropped while training (Sharma and Hamarneh 2020,
doi:10.1109/TMI.2019.2945521).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pipeline import networks
from pipeline.synthesize.learning import draw, profile
from pipeline.synthesize.learning.job import NAME, Job, Request
from pipeline.synthesize.learning.losses import RANGE, Losses, likelihood
from pipeline.training.bundle import Architecture
from pipeline.training.collapse import Limits, Watch
from pipeline.training.data import SeededSamples, collate
from pipeline.training.losses.restoration import weighted
from pipeline.training.recipe import Networks, Player

CRITIC = "critic"
#: Widths of a discriminator of patches; a score sees 31 voxels.
CRITIC_FEATURES = (16, 32, 64)
PURPOSE = (
    "filling a gap so that later stages can run, with the map of expected errors beside it; from "
    "any set of the contrasts that it knows."
)
LIMITS = (
    "what the sources do not show (a lesion that is invisible on T1w) is not in the made contrast "
    "either, and an adversary may invent what is likely: look at the segmentation with and without",
)
#: Samples whose diversity is watched.
WATCHED = 8


class Paired:
    """A generator against acquired targets, with an adversary for each of its estimates, or none.

    Args:
        generator: see :mod:`pipeline.networks.estimates`.
        critics: one an estimate, called with condition and image as channels; empty without.
        losses: what is asked of each estimate.
        targets: number of contrasts that are made.
        identity: hash of configuration, code and data.
        watch: guard against collapse; None without an adversary.
    """

    metric = "psnr"
    mode: Literal["min", "max"] = "max"

    def __init__(
        self,
        generator: nn.Module,
        critics: Sequence[nn.Module],
        losses: Losses,
        targets: int,
        identity: str,
        watch: Watch | None = None,
    ) -> None:
        self.critics = {_critic(number): critic for number, critic in enumerate(critics)}
        self.networks: dict[str, nn.Module] = {NAME: generator, **self.critics}
        self.parts, self.targets, self.identity = losses, targets, identity
        self.watch = watch
        betas = (0.5, 0.999) if self.critics else (0.9, 0.999)
        first = [Player(name, (name,), betas=betas) for name in self.critics]
        steps = losses.adversary.critic_steps if losses.adversary and self.critics else 1
        self.players = [*first, Player(NAME, (NAME,), every=steps, betas=betas)]

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch."""
        if player == NAME:
            return self._generator(networks, batch)
        assert self.parts.adversary is not None
        number = list(self.critics).index(player)
        with torch.no_grad():
            estimate = networks[NAME](batch["sources"], batch["given"])[number]
        made, _ = asked(estimate, batch)
        shown = (batch["weight"] > 0).to(made.dtype)
        seen = self._seen(networks[player], batch)
        return self.parts.adversary.critic(seen, made * shown, batch["target"] * shown)

    def _generator(self, networks: Networks, batch: Any) -> dict[str, Tensor]:
        target, weight = batch["target"], batch["weight"]
        estimates = networks[NAME](batch["sources"], batch["given"])
        total = target.new_zeros(())
        found: dict[str, Tensor] = {}
        for number, estimate in enumerate(estimates):
            made, variance = asked(estimate, batch)
            values = self.parts(made, target, weight)
            doubt = likelihood(made, variance, target, weight)
            total = total + values.pop("loss") + doubt
            end = f"_{number + 1}" if len(estimates) > 1 else ""
            found |= {f"{name}{end}": value for name, value in values.items()}
            found[f"likelihood{end}"] = doubt.detach()
            if self.critics and self.parts.adversary is not None:
                shown = (weight > 0).to(made.dtype)
                seen = self._seen(networks[_critic(number)], batch)
                value = self.parts.adversary.generator(seen, made * shown)
                total = total + self.parts.adversary.weight * value
                found[f"adversarial{end}"] = value.detach()
        return {"loss": total, **found}

    def _seen(self, critic: nn.Module, batch: Any) -> Callable[[Tensor], Tensor]:
        beside = draw.condition(batch, self.targets)

        def judge(image: Tensor) -> Tensor:
            found: Tensor = critic(torch.cat([beside, image], dim=1))
            return found

        return judge

    def sample(self, networks: Networks, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """First source that is given, made and acquired target, (B, 1, Z, Y, X), for pictures."""
        made, _ = asked(networks[NAME](batch["sources"], batch["given"])[-1], batch)
        first = int(batch["given"][0].argmax())
        shown = (batch["weight"] > 0).to(made.dtype)
        return batch["sources"][:, first : first + 1], made * shown, batch["target"] * shown

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """PSNR (dB) and mean error in the brain, and squared errors over the told variance."""
        made, variance = asked(networks[NAME](batch["sources"], batch["given"])[-1], batch)
        inside = (batch["inside"] & (batch["weight"] > 0)).to(made.dtype)
        error = made - batch["target"]
        squared = weighted(error.square(), inside)
        return {
            "psnr": float(10.0 * torch.log10(RANGE**2 / squared.clamp_min(1e-12))),
            "mae": float(weighted(error.abs(), inside)),
            "surprise": float(weighted(error.square() / variance, inside)),
        }


def _critic(number: int) -> str:
    return CRITIC if number == 0 else f"{CRITIC}_{number + 1}"


def asked(estimate: Tensor, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance of each sample's target, averaged across its slices; (B, 1, Z, Y, X)."""
    half = estimate.shape[1] // 2
    which = batch["which"].view(-1, 1, 1, 1, 1).expand(-1, 1, *estimate.shape[2:])
    mean = estimate[:, :half].gather(1, which)
    variance = estimate[:, half:].gather(1, which).exp()
    return profile.average(mean, batch["kernel"]), profile.average(variance, batch["kernel"])


def prepare(request: Request) -> Job:
    """The training of a paired method.

    Raises:
        VoxelwayError: E-MODEL-INPUT for arguments that do not fit, E-CONFIG-VALUE for losses.
    """
    preset, learning, seed = request.preset, request.learning, request.plan.seed
    losses = Losses.of(preset.losses)
    torch.manual_seed(seed)
    arguments = {
        **preset.arguments, "inputs": len(request.contrasts), "targets": len(request.targets),
    }  # fmt: skip
    generator = networks.build(preset.architecture, arguments)
    count = int(getattr(generator, "estimates", 1))
    critics = [_discriminator(request, losses) for _ in range(count if losses.adversary else 0)]
    pairs = [_pairs(request, training) for training in (True, False)]
    judged = draw.Validation(pairs[1], int(learning["validation_patches"]))
    held_out = SeededSamples(judged, seed + 1, judged.count)
    recipe = Paired(
        generator, critics, losses, len(request.targets), request.identity,
        _watch(request, held_out) if critics else None,
    )  # fmt: skip
    made = Architecture(preset.architecture, arguments)
    samples = SeededSamples(draw.Training(pairs[0]), seed)
    return Job(recipe, samples, held_out, {NAME: made}, PURPOSE, limits=LIMITS)


def _discriminator(request: Request, losses: Losses) -> nn.Module:
    assert losses.adversary is not None
    kind = "image_critic" if losses.adversary.kind == "wgan_gp" else "critic"
    several = len(request.targets) if len(request.targets) > 1 else 0
    channels = len(request.contrasts) + several + 1
    return networks.build(kind, {"inputs": channels, "features": list(CRITIC_FEATURES)})


def _pairs(request: Request, training: bool) -> draw.Pairs:
    learning, edge = request.learning, int(request.learning["patch"])
    planes = request.preset.planes
    # planes are learned in slabs, so that neighbours and slice profiles are there
    first = max(4, edge // 2) if planes else edge
    return draw.Pairs(
        request.train if training else request.validation,
        request.contrasts, request.targets, (first, edge, edge),
        float(learning["dropout"]), float(learning["gain_jitter"]),
        planes and learning["orientations"] == "all",
    )  # fmt: skip


def _watch(request: Request, samples: SeededSamples) -> Watch:
    fixed = [samples[k % len(samples)] for k in range(WATCHED)]
    batch = collate(fixed)

    def both(found: Networks) -> tuple[Tensor, Tensor]:
        device = next(found[NAME].parameters()).device
        there = {key: value.to(device) for key, value in batch.items()}
        made, _ = asked(found[NAME](there["sources"], there["given"])[-1], there)
        return made * there["inside"], there["target"] * there["inside"]

    limits = Limits.of(request.learning["collapse"])
    return Watch(limits, {f"{CRITIC}/loss": 0.25}, both)
