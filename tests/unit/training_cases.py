"""A small training with two players that alternate, for the tests of the trainer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from pipeline.training.data import SeededSamples
from pipeline.training.plan import Plan
from pipeline.training.recipe import Networks, Player
from pipeline.training.trainer import Fitted, fit

TRUE = np.array([1.0, -2.0, 0.5], dtype=np.float32)


class Line(nn.Module):
    """A linear map with batch statistics, dropout and noise: all that a resume has to bring."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.norm, self.drop, self.map = nn.BatchNorm1d(3), nn.Dropout(0.1), nn.Linear(3, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.map(self.drop(self.norm(x)))[:, 0]


class Plain(nn.Linear):
    """The map alone: nothing in it depends on how a batch is shared."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[:, 0]


class Duel:
    """A generator fits a line; a critic judges its values."""

    mode: Literal["min", "max"] = "min"
    metric = "error"

    def __init__(self, identity: str = "a", plain: bool = False) -> None:
        self.identity, self.noise = identity, 0.0 if plain else 0.01
        torch.manual_seed(1)
        line = Plain(3, 1) if plain else Line(1)
        self.networks: dict[str, nn.Module] = {"generator": line, "critic": nn.Linear(1, 1)}
        torch.manual_seed(2)
        nn.init.normal_(self.networks["critic"].weight)
        self.players = [
            Player("generator", ("generator",)),
            Player("critic", ("critic",), learning_rate=0.003, every=2, betas=(0.5, 0.9)),
        ]

    def losses(self, networks: Networks, player: str, batch: Any) -> dict[str, Tensor]:
        made = networks["generator"](batch["x"])
        critic = networks["critic"]
        if player == "critic":
            verdict = critic(batch["y"][:, None]) - critic(made.detach()[:, None])
            return {"loss": (verdict**2).mean()}
        error = ((made - batch["y"]) ** 2).mean()
        noise = torch.rand(()) * critic(made[:, None]).mean()
        return {"loss": error + self.noise * noise, "error": error}

    def scores(self, networks: Networks, batch: Any) -> dict[str, float]:
        made = networks["generator"](batch["x"])
        return {"error": float(((made - batch["y"]) ** 2).mean())}


def draw(rng: np.random.Generator, index: int) -> dict[str, Any]:
    x = rng.normal(size=3).astype(np.float32)
    return {"x": x, "y": np.float32(x @ TRUE)}


def plan(**more: Any) -> Plan:
    usual = {"steps": 40, "batch": 4, "learning_rate": 0.05, "warmup": 3, "validate_every": 10}
    return Plan(**{**usual, **more})


def train(folder: Path, chosen: Plan, recipe: Any = None, train_data: Any = None) -> Fitted:
    """Fit the duel (or another recipe) on numbers drawn from seed 0."""
    data = SeededSamples(draw, 0) if train_data is None else train_data
    return fit(recipe or Duel(), data, SeededSamples(draw, 1, 8), chosen, folder)


if __name__ == "__main__":
    # a process of its own, with as many devices as the second argument says
    shared = plan(devices=int(sys.argv[2]), clip=1.0, accumulate=2)
    done = train(Path(sys.argv[1]), shared, Duel(plain=True))
    np.save(Path(sys.argv[1]) / "map.npy", done.weights["generator"]["weight"])
