"""One method of ours on one image, in a process of its own.

``python -m tests.benchmarks.restore.ours JOB.json``. Goes through the stage, as `voxelway` does:
what the stage estimates and corrects is part of the method, and of its seconds. What a batch loads
once, libraries and weights, is not, as it is not of a peer's.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path

from pipeline import __version__, config, images, methods, models
from pipeline.runner import seed_everything
from pipeline.task import Task
from tests.benchmarks import meter


def main() -> None:
    """Run the job."""
    job = meter.job()
    folder, stage = Path(job["out"]), str(job["stage"])
    params = {**config.section(stage, {"method": job["method"], **job["options"]}), "seed": 0}
    model = None
    if methods.learned(stage, job["method"]):
        given = job.get("model")
        model = Path(given) if given else models.shipped(stage, job["method"])
    seed_everything(0)
    module = importlib.import_module(f"pipeline.{stage}.stage")
    output = folder / "restored.nii.gz"

    prepared = module.prepare(params, model)
    # loads what reads images
    images.read_image(Path(job["image"]))

    def run() -> None:
        row = {"input": job["image"], "output": str(output)}
        if job.get("spacing"):
            row["spacing"] = job["spacing"]
        if job.get("guide"):
            row["guide"] = job["guide"]
        module.run_file(Task(stage, params), prepared, row)

    _, seconds = meter.timed(run)
    facts = json.loads((folder / "restored.json").read_text()) if stage != "segment" else {}
    left = " (left alone)" if facts.get("LeftAlone") else ""
    meter.account(folder, seconds, f"voxelway {__version__}{left}")


if __name__ == "__main__":
    main()
