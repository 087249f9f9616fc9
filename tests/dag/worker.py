"""The stub, but each stage goes through the real runner and writes an image that rests on others.

So what a kill leaves is what it leaves in earnest: marks, records, half-written files.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk  # noqa: N813

from pipeline import runner
from pipeline.paths import Results, Unit
from pipeline.task import UnitTask
from tests.dag import stub

#: Stage → the stages whose images it reads.
READS = {
    "ingest": (),
    "preprocess": ("ingest",),
    "denoise": ("preprocess",),
    "superres": ("denoise",),
    "register": ("superres",),
    "synthesize": ("superres",),
    "segment": ("superres", "register", "synthesize"),
    "evaluate": ("segment",),
    "export": ("segment",),
    "report": ("evaluate", "export"),
}
PAUSE = 0.05  # s, several times in a unit's work: there is something to be cut


class Worker:
    """A stage whose two images are noise that its inputs' bytes and its parameters decide."""

    def __init__(self, name: str) -> None:
        self.NAME = name
        self.REQUIRES = READS[name][-1:]

    def prepare(self, params: Any, model: Path | None) -> None:
        time.sleep(PAUSE)

    def run_unit(self, task: UnitTask, prepared: None) -> None:
        stub.obey(stub.given(), f"{self.NAME} {task.unit.subject}")
        seen = hashlib.sha256(json.dumps(dict(task.params), sort_keys=True).encode())
        for stage in READS[self.NAME]:
            for suffix in ("T1w", "T2w"):
                image = task.read(task.results.image(stage, task.unit, suffix))
                seen.update(sitk.GetArrayViewFromImage(image).tobytes())
        noise = np.random.default_rng(int(seen.hexdigest()[:16], 16))
        for suffix in ("T1w", "T2w"):
            time.sleep(PAUSE)
            array = noise.random((48, 48, 48), dtype=np.float32)
            path = task.results.image(self.NAME, task.unit, suffix)
            task.write(sitk.GetImageFromArray(array), path)


def main(argv: list[str]) -> int:
    if "--unit" not in argv:
        stub.main(argv)
        return 0
    name = argv[0].removesuffix("-seg")
    folder = argv[argv.index("--results") + 1] if "--results" in argv else argv[1]
    units = [Unit.parse(text) for text in argv if text.startswith("sub-")]
    params = json.loads(argv[argv.index("--params") + 1])
    model = Path(argv[argv.index("--model") + 1]) if "--model" in argv else None
    setup = runner.Setup(Results(Path(folder)), params, model, keep_going=True)
    return int(runner.run_units(Worker(name), units, setup))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
