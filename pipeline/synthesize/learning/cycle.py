"""Translation that is learned from contrasts of different people: no pair is ever compared.

Cycle consistency: Zhu et al. 2017, doi:10.1109/ICCV.2017.244; consistent gradients: Hiasa et al.
2018, doi:10.1007/978-3-030-00536-8_4. Noise on the way back: a cycle can be closed by hiding the
source in detail that nobody sees (Chu et al. 2017, doi:10.48550/arXiv.1712.02950).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import VoxelwayError
from pipeline.synthesize.learning.losses import likelihood
from pipeline.training.collapse import Limits, Watch
from pipeline.training.losses.adversary import Adversary
from pipeline.training.losses.gradient_consistency import GradientConsistency, correlation
from pipeline.training.pool import ImagePool
from pipeline.training.recipe import Networks, Player

#: Makes the target from the source; the way back; both together are moved by one player.
NAME, BACK = "synthesize", "back"
GENERATORS = "generators"
#: Tell made from acquired targets, and made from acquired sources.
CRITIC, CRITIC_BACK = "critic", "critic_back"
CRITICS = "critics"
POOL, POOL_BACK = "pool", "pool_back"
#: Loss of a least-squares critic that can't tell: half of the squares of a half.
CHANCE = 0.25
#: Values that a distribution is compared at.
QUANTILES = 101
#: Names of the losses with the arguments that each takes beside its weight.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "adversarial": ("pool",),
    "cycle": ("noise",),
    "identity": (),
    "gradient_consistency": ("window",),
    "segmentation": (),
}


@dataclass(frozen=True)
class Weights:
    """Losses of the generators, with their weights.

    Attributes:
        adversarial, cycle, identity, gradient_consistency, segmentation: weights; 2 is the
            published one of the adversarial loss, whose squares are halved here.
        pool: made images that the critics remember.
        noise: deviation of the noise on made images before they go back, medians of the brain.
        window: of :class:`GradientConsistency`.
    """

    adversarial: float = 0.0
    cycle: float = 0.0
    identity: float = 0.0
    gradient_consistency: float = 0.0
    segmentation: float = 0.0
    pool: int = 50
    noise: float = 0.02
    window: int = 7

    @classmethod
    def of(cls, entries: Sequence[Mapping[str, Any]]) -> Weights:
        """Read entries with ``name``, ``weight`` and :data:`ARGUMENTS`.

        Raises:
            VoxelwayError: E-CONFIG-VALUE for an unknown name or argument, or without a cycle.
        """
        found: dict[str, Any] = {}
        for entry in entries:
            name = str(entry.get("name"))
            more = {key: value for key, value in entry.items() if key not in ("name", "weight")}
            if name not in ARGUMENTS or set(more) - set(ARGUMENTS[name]):
                what = f"The loss {name!r} with {', '.join(more) or 'no argument'} is not known"
                hint = f"Losses of unpaired methods: {', '.join(ARGUMENTS)}"
                raise VoxelwayError("E-CONFIG-VALUE", what, hint=hint)
            found |= {name: float(entry.get("weight", 1.0)), **more}
        if not found.get("cycle") or not found.get("adversarial"):
            what = "An unpaired training has the losses adversarial and cycle"
            raise VoxelwayError("E-CONFIG-VALUE", what)
        return cls(**found)


class Cycle:
    """Two generators, two critics, two pools.

    Batches hold ``source`` and ``target``, (B, 1, Z, Y, X) of different people, and where each was
    measured, ``source_inside`` and ``target_inside``.

    Args:
        networks: ``synthesize``, ``back``, ``critic`` and ``critic_back``.
        weights: of the losses.
        patch: edge of the patches, voxels: what the pools keep.
        limits: of a collapse.
        probe: a batch whose made targets are looked at for their diversity.
        identity: hash of configuration, code and data.
    """

    metric: str = "mismatch"
    mode: Literal["min", "max"] = "min"
    #: of the columns of the picture of samples: without a pair only the cycle has an error
    titles = ("made", "source again", "source", "error of the cycle")

    def __init__(
        self, networks: Mapping[str, nn.Module], weights: Weights, patch: int, limits: Limits,
        probe: Mapping[str, Tensor], identity: str,
    ) -> None:  # fmt: skip
        shape = (1, patch, patch, patch)
        pools = {name: ImagePool(weights.pool, shape) for name in (POOL, POOL_BACK)}
        self.networks: dict[str, nn.Module] = {**networks, **pools}
        self.weights, self.identity, self.probe = weights, identity, probe
        self.adversary = Adversary("lsgan")
        self.edges = GradientConsistency(weights.window)
        betas = (0.5, 0.999)
        self.players = [
            Player(CRITICS, (CRITIC, CRITIC_BACK), betas=betas),
            Player(GENERATORS, (NAME, BACK), betas=betas),
        ]
        chances = {f"{CRITICS}/{name}": CHANCE for name in (CRITIC, CRITIC_BACK)}
        self.watch = Watch(limits, chances, self._probed)

    def _probed(self, networks: Networks) -> tuple[Tensor, Tensor]:
        device = next(self.networks[NAME].parameters()).device
        batch = {key: value.to(device) for key, value in self.probe.items()}
        return make(networks, NAME, batch["source"], batch["source_inside"]), batch["target"]

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        """Losses of one batch."""
        if player == CRITICS:
            return self._critics(networks, batch)
        return self._generators(networks, batch)[0]

    def _critics(self, networks: Networks, batch: Any) -> dict[str, Tensor]:
        with torch.no_grad():
            made = make(networks, NAME, batch["source"], batch["source_inside"])
            made_back = make(networks, BACK, batch["target"], batch["target_inside"])
        pairs = (
            (CRITIC, networks[POOL](made), batch["target"]),
            (CRITIC_BACK, networks[POOL_BACK](made_back), batch["source"]),
        )
        found = {
            name: self.adversary.critic(networks[name], fake, real)["loss"]
            for name, fake, real in pairs
        }
        logged = {name: value.detach() for name, value in found.items()}
        return {"loss": torch.stack(list(found.values())).sum(), **logged}

    def _generators(self, networks: Networks, batch: Any) -> tuple[dict[str, Tensor], Tensor]:
        """Losses, and the targets that were made."""
        source, target = batch["source"], batch["target"]
        inside, inside_back = batch["source_inside"], batch["target_inside"]
        made = make(networks, NAME, source, inside)
        made_back = make(networks, BACK, target, inside_back)
        again = make(networks, BACK, self._noisy(made) * inside, inside)
        noisy_back = self._noisy(made_back) * inside_back
        again_back, log = estimate(networks, NAME, noisy_back, inside_back)
        found = {
            "adversarial": self.adversary.generator(networks[CRITIC], made)
            + self.adversary.generator(networks[CRITIC_BACK], made_back),
            "cycle": functional.l1_loss(again, source) + functional.l1_loss(again_back, target),
        }
        if self.weights.identity:
            same = functional.l1_loss(make(networks, NAME, target, inside_back), target)
            same_back = functional.l1_loss(make(networks, BACK, source, inside), source)
            found["identity"] = same + same_back
        if self.weights.gradient_consistency:
            edges = self.edges(made, source) + self.edges(made_back, target)
            found["gradient_consistency"] = 0.5 * edges
        parts = [getattr(self.weights, key) * value for key, value in found.items()]
        # the spread learns from the cycle's errors, and moves no estimate
        found["likelihood"] = likelihood(again_back, log.exp(), target, inside_back)
        total = torch.stack([*parts, found["likelihood"]]).sum()
        return {"loss": total, **{key: value.detach() for key, value in found.items()}}, made

    def _noisy(self, image: Tensor) -> Tensor:
        return image + self.weights.noise * torch.randn_like(image)

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        """How far the made targets are from acquired ones of others, without a pair.

        ``mismatch``: difference of the distributions of intensities and of edges, and the error of
        the cycle, all in medians of the brain.
        """
        source, inside = batch["source"], batch["source_inside"]
        target, inside_back = batch["target"], batch["target_inside"]
        made = make(networks, NAME, source, inside)
        again = make(networks, BACK, made, inside)
        intensities = apart(made[inside > 0], target[inside_back > 0])
        edges = apart(steepness(made, inside), steepness(target, inside_back))
        cycle = float((again - source).abs()[inside > 0].mean())
        return {
            "mismatch": intensities + edges + cycle,
            "intensities": intensities,
            "edges": edges,
            "cycle": cycle,
            "gradient_correlation": float(correlation(made, source, inside).abs().mean()),
        }

    def sample(self, networks: Networks, batch: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Made target, the source made from it, and the source."""
        made = make(networks, NAME, batch["source"], batch["source_inside"])
        again = make(networks, BACK, made, batch["source_inside"])
        return made, again, batch["source"]


def estimate(networks: Networks, name: str, image: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
    """The other contrast, zero where the source was not measured, and the log of its variance."""
    given = image.new_ones(image.shape[:2])
    found: Tensor = networks[name](image, given)[-1]
    return found[:, :1] * inside, found[:, 1:]


def make(networks: Networks, name: str, image: Tensor, inside: Tensor) -> Tensor:
    """The other contrast alone."""
    return estimate(networks, name, image, inside)[0]


def apart(a: Tensor, b: Tensor) -> float:
    """Mean difference of the quantiles of two samples: their Wasserstein distance, nearly."""
    shares = torch.linspace(0.0, 1.0, QUANTILES, device=a.device)
    # the very ends are single voxels
    shares = shares.clamp(0.005, 0.995)
    first, second = (_quantiles(values.float(), shares) for values in (a, b))
    return float((first - second).abs().mean())


def _quantiles(values: Tensor, shares: Tensor) -> Tensor:
    """Nearest values; torch.quantile refuses large samples."""
    ordered = values.flatten().sort().values
    return ordered[(shares * (len(ordered) - 1)).round().long()]


def steepness(image: Tensor, inside: Tensor) -> Tensor:
    """Length of the gradient a voxel, (n,), at voxels whose neighbours were all measured."""
    around = functional.pad(1.0 - inside, (1,) * 6, value=1.0)
    whole = functional.max_pool3d(around, 3, stride=1) == 0
    squares = image.new_zeros(image.shape)
    for axis in (2, 3, 4):
        step = 0.5 * (image.roll(-1, axis) - image.roll(1, axis))
        squares = squares + step.square()
    return squares.sqrt()[whole]
