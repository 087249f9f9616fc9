"""What one job of a stage works on: a unit, or a shard of units that share one process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.methods import heavy
from pipeline.paths import Results, Unit
from workflow.lib.cohort import Cohort

#: Units of a job whose method loads a model that takes its time.
MANY = 8
#: What one unit's paths look like, with Snakemake's wildcards in place of the labels.
UNIT = Unit("{subject}", "{session}")
SHARD = "{shard}"
#: Cheap stages that follow one another for one unit: stage → chain.
CHAINS = {
    **dict.fromkeys(("ingest", "preprocess", "denoise", "superres"), "prepare"),
    **dict.fromkeys(("segment", "evaluate", "export", "report"), "finish"),
}

#: Input of a rule: a path with wildcards, or what Snakemake calls with their values.
Input = Path | Callable[[Any], list[Path]]


def sizes(settings: Mapping[str, Any]) -> dict[str, int]:
    """Stage → most units of one of its jobs, as the configuration and the methods have it."""
    large = with_models(settings)
    return {
        stage: int(asked) or (MANY if stage in large else 1)
        for stage, asked in settings["shards"].items()
    }


def with_models(settings: Mapping[str, Any]) -> frozenset[str]:
    """Stages whose method loads a model that takes its time."""
    methods = {stage: settings[stage].get("method") for stage in settings["shards"]}
    return frozenset(stage for stage, method in methods.items() if method and heavy(stage, method))


@dataclass(frozen=True)
class Jobs:
    """Targets, inputs and units of every stage's jobs.

    Attributes:
        results: the results folder.
        sizes: stage → most units of a job; stages that it lacks work on one.
        cohort: gives the cohort; Snakemake asks when the index has run.
        alone: stages whose method loads a model: their jobs ask for a GPU, and for nothing else's
            sake.
    """

    results: Results
    sizes: Mapping[str, int]
    cohort: Callable[[], Cohort]
    alone: frozenset[str] = frozenset()

    def sharded(self, stage: str) -> bool:
        """Whether a job of the stage works on a shard."""
        return self.sizes.get(stage, 1) > 1

    def group(self, stage: str) -> str | None:
        """Name of the chain whose stages of one unit go to a cluster as one job; None: by itself.

        Only stages that work on one unit and on CPUs: a chain asks for what its hungriest part
        needs, and holds it to its end.
        """
        return None if self.sharded(stage) or stage in self.alone else CHAINS.get(stage)

    def name(self, stage: str) -> Unit | str:
        """What a job is called in the names of logs, with wildcards."""
        return SHARD if self.sharded(stage) else UNIT

    def target(self, stage: str) -> Path:
        """Output of the stage's rule, with wildcards."""
        if self.sharded(stage):
            return self.results.shard(stage, SHARD)
        return self.results.status(stage, UNIT)

    def targets(self, stage: str, units: Iterable[Unit]) -> list[Path]:
        """The files that stand when the stage has ended for all of these units."""
        if not self.sharded(stage):
            return [self.results.status(stage, unit) for unit in units]
        cohort, size = self.cohort(), self.sizes[stage]
        names = dict.fromkeys(cohort.shard(unit, size) for unit in units)
        return [self.results.shard(stage, name) for name in names]

    def units(self, stage: str, wildcards: Any) -> list[Unit]:
        """The units of one job."""
        if self.sharded(stage):
            return self.cohort().members(wildcards.shard, self.sizes[stage])
        return [Unit(wildcards.subject, wildcards.session)]

    def after(self, stage: str, *earlier: str) -> list[Input]:
        """Inputs of a stage's rule: what the earlier stages leave for the units of each job."""
        return [self._input(stage, one) for one in earlier]

    def _input(self, stage: str, earlier: str) -> Input:
        if not self.sharded(stage) and not self.sharded(earlier):
            return self.results.status(earlier, UNIT)
        return lambda wildcards: self.targets(earlier, self.units(stage, wildcards))
