"""Shared set-up of all tests."""

from __future__ import annotations

import os

for _name in ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# the answers are those of single precision, on every machine
os.environ.setdefault("VOXELWAY_SINGLE_PRECISION", "1")
