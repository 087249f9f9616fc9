"""``voxelway train segment`` and ``voxelway segment``, in a process of their own.

``python -m tests.benchmarks.segment.ours JOB.json``. The training goes through the command line;
the images go through the stage, one after the other, with the model loaded once.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pipeline import __version__, cli, config
from pipeline.runner import seed_everything
from pipeline.segment import stage
from pipeline.task import Task
from tests.benchmarks import meter


def main() -> None:
    """Run the job."""
    job = meter.job()
    facts, seconds = meter.timed(lambda: {"train": train, "segment": segment}[job["task"]](job))
    folder = Path(job["out"])
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    meter.account(folder, seconds, f"voxelway {__version__}")


def train(job: dict[str, Any]) -> dict[str, float]:
    """Train by a configuration; its seconds, the plan's among them.

    Raises:
        SystemExit: when the command failed.
    """
    command = ["train", "segment", "--config", str(job["config"]), "--out", str(job["bundle"])]
    code, seconds = meter.timed(lambda: cli.main(command))
    if code:
        raise SystemExit(f"voxelway train ended with {code}")
    about = json.loads((Path(job["bundle"]) / "metadata.json").read_text(encoding="utf-8"))
    plan = about["training"]["plan"]
    return {"train_s": seconds, "batch": plan["batch"] * plan["accumulate"]}


def segment(job: dict[str, Any]) -> dict[str, float]:
    """Labels of each image; seconds of each case."""
    params = {**config.section("segment", {"method": "cascade"}), "seed": 0}
    seed_everything(0)
    prepared = stage.prepare(params, Path(job["bundle"]))
    found = {}
    for path in job["images"]:
        name = Path(path).name
        row = {"input": path, "output": str(Path(job["out"]) / name)}
        _, seconds = meter.timed(
            lambda row=row: stage.run_file(Task("segment", params), prepared, row)
        )
        found[name.removesuffix(".nii.gz")] = seconds
    return found


if __name__ == "__main__":
    main()
