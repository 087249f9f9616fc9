"""Makes the command that the rules call reachable."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def provide_voxelway() -> None:
    """Let the rules find `voxelway` when Snakemake runs from an environment that is not active."""
    if shutil.which("voxelway") is None:
        os.environ["PATH"] += os.pathsep + str(Path(sys.executable).parent)
