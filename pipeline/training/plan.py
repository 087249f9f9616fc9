"""How long and how fast is trained, on what; read from a stage's section ``training``."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Precision = Literal["auto", 32, "bf16", 16]


@dataclass(frozen=True)
class Plan:
    """workflow/schemas/training.schema.yaml tells meaning, range and default of each field."""

    steps: int
    batch: int
    learning_rate: float
    optimizer: Literal["adam", "muon"] = "adam"
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 0
    validate_every: int = 500
    patience: int = 0
    precision: Precision = "auto"
    accumulate: int = 1
    clip: float = 0.0
    devices: int | Literal["auto"] = "auto"
    workers: int = 0
    seed: int = 0

    @classmethod
    def of(cls, section: Mapping[str, Any], seed: int) -> Plan:
        """Read a checked section ``training`` of the configuration; the seed is the run's."""
        return cls(**section, seed=seed)

    @property
    def identity(self) -> dict[str, Any]:
        """The fields that decide what comes out; devices and workers do not."""
        fields = dataclasses.asdict(self)
        return {key: value for key, value in fields.items() if key not in ("devices", "workers")}

    def rate(self, step: int) -> float:
        """Share of the learning rate at a step, counted from 1.

        It rises linearly over ``warmup`` steps; then it stays, or falls as half a cosine to 0
        after the last step (Loshchilov and Hutter 2017, doi:10.48550/arXiv.1608.03983).
        """
        if step <= self.warmup:
            return step / self.warmup
        if self.schedule == "constant":
            return 1.0
        done = (step - 1 - self.warmup) / max(self.steps - self.warmup, 1)
        return 0.5 * (1.0 + math.cos(math.pi * done))
