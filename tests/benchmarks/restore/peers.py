"""BM4D on one image, run with the Python of the peers' own environment.

``python -m tests.benchmarks.restore.peers JOB.json``; imports nothing of this project but the
meter. Its licence is for non-commercial use: it is in no environment of ours.

Maggioni et al. 2013, doi:10.1109/TIP.2012.2210725. It is told the true deviation of the noise: the
image comes with its Rician noise made Gaussian of deviation one, by Foi's transform.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np

from tests.benchmarks import meter


def main() -> None:
    """Run the job."""
    from bm4d import bm4d

    job = meter.job()
    folder = Path(job["out"])
    values = np.load(str(job["image"]), allow_pickle=False)
    found, seconds = meter.timed(lambda: bm4d(values, 1.0))
    np.save(folder / "restored.npy", np.asarray(found, dtype=np.float32))
    meter.account(folder, seconds, f"bm4d {importlib.metadata.version('bm4d')}")


if __name__ == "__main__":
    main()
