"""Training of the patch regression with torch: one thread, one seed, the same weights each time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.synthesize.network import LOG_VARIANCE

if TYPE_CHECKING:
    import torch

Floats = NDArray[np.float32]

#: Residual (in medians of the brain) from which on an error counts linearly, not squared.
HUBER = 0.1
#: The variance is a linear function of the last layer and may learn faster than the rest.
VARIANCE_RATE = 20.0


@dataclass(frozen=True)
class Samples:
    """Training data of one model.

    Attributes:
        patches: (n, profile samples, features); the mean over the profile belongs to one value.
        values: acquired target, (n,), in medians of the brain.
    """

    patches: Floats
    values: Floats

    def __add__(self, other: Samples) -> Samples:
        patches = np.concatenate([self.patches, other.patches])
        return Samples(patches, np.concatenate([self.values, other.values]))


def fit(samples: Samples, sources: int, params: Mapping[str, Any], seed: int) -> dict[str, Floats]:
    """Train one network.

    The loss compares the mean of the predictions across the target's slice profile with the
    acquired voxel: the network learns the thin contrast that would give the thick one, and not
    its blur. The variance is fitted to the residuals of the mean, which it does not change.

    Args:
        samples: patches and values.
        sources: number of source contrasts, whose features follow one another.
        params: section ``synthesize``.
        seed: of weights, order and jitter.

    Returns:
        Weights for :func:`pipeline.synthesize.network.predict`.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        generator = torch.Generator().manual_seed(seed)
        center, scale = _standard(samples.patches)
        model = _Model(samples.patches.shape[-1], params["hidden"], generator)
        _train(model, samples, (center, scale), sources, params, generator)
        weights = {name: value.detach().numpy().copy() for name, value in model.named.items()}
        return {**weights, "center": center, "scale": scale}
    finally:
        torch.set_num_threads(threads)


def _standard(patches: Floats) -> tuple[Floats, Floats]:
    flat = patches.reshape(-1, patches.shape[-1])
    center, scale = flat.mean(axis=0, dtype=np.float64), flat.std(axis=0, dtype=np.float64)
    return center.astype(np.float32), np.maximum(scale, 1e-3).astype(np.float32)


class _Model:
    """Named tensors and the forward pass; the same arithmetic as ``network.predict``."""

    def __init__(self, features: int, hidden: list[int], generator: torch.Generator) -> None:
        sizes = [features, *(int(n) for n in hidden)]
        names = [f"hidden{i}" for i in range(len(hidden))]
        self.depth = len(hidden)
        self.named: dict[str, torch.Tensor] = {}
        pairs = itertools.pairwise(sizes)
        for name, (n_in, n_out) in zip(names, pairs, strict=True):
            self._add(name, n_in, n_out, generator)
        self._add("mean", sizes[-1], 1, generator)
        self._add("variance", sizes[-1], 1, generator)

    def _add(self, name: str, n_in: int, n_out: int, generator: torch.Generator) -> None:
        import torch

        bound = 1.0 / np.sqrt(n_in)
        for part, shape in (("weight", (n_out, n_in)), ("bias", (n_out,))):
            values = (2.0 * torch.rand(shape, generator=generator) - 1.0) * bound
            self.named[f"{name}.{part}"] = values.requires_grad_()

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        import torch
        from torch.nn import functional

        named = self.named
        for i in range(self.depth):
            x = functional.linear(x, named[f"hidden{i}.weight"], named[f"hidden{i}.bias"])
            x = functional.silu(x)
        mean = functional.linear(x, named["mean.weight"], named["mean.bias"])[..., 0]
        # the variance looks at the hidden layer and leaves it as it is
        raw = functional.linear(x.detach(), named["variance.weight"], named["variance.bias"])
        middle, half = LOG_VARIANCE
        return mean, middle + half * torch.tanh(raw[..., 0] / half)


def _train(
    model: _Model,
    samples: Samples,
    standard: tuple[Floats, Floats],
    sources: int,
    params: Mapping[str, Any],
    generator: torch.Generator,
) -> None:
    import torch

    patches, values = torch.from_numpy(samples.patches), torch.from_numpy(samples.values)
    center, scale = (torch.from_numpy(item) for item in standard)
    steps = int(params["steps"])
    optimizer, schedule = _optimizer(model, params, steps)
    batch, jitter = int(params["batch"]), float(params["gain_jitter"])
    for _ in range(steps):
        chosen = torch.randint(len(values), (batch,), generator=generator)
        gain = 1.0 + jitter * (2.0 * torch.rand((batch, 1, sources), generator=generator) - 1.0)
        x = patches[chosen] * gain.repeat_interleave(patches.shape[-1] // sources, dim=2)
        mean, log = model((x - center) / scale)
        loss = _loss(mean.mean(dim=1), log.exp().mean(dim=1), values[chosen])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def _optimizer(
    model: _Model, params: Mapping[str, Any], steps: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    import torch

    rate, decay = float(params["learning_rate"]), float(params["weight_decay"])
    spread = [value for name, value in model.named.items() if name.startswith("variance")]
    rest = [value for name, value in model.named.items() if not name.startswith("variance")]
    groups = [{"params": rest, "weight_decay": decay}, {"params": spread, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate)
    rates = [rate, VARIANCE_RATE * rate]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps)
    return optimizer, schedule


def _loss(mean: torch.Tensor, variance: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    from torch.nn import functional

    residual = functional.smooth_l1_loss(mean, value, beta=HUBER)
    squared = (mean.detach() - value) ** 2
    likelihood = 0.5 * (variance.log() + squared / variance)
    return residual + likelihood.mean()
