"""Snakemake whose Slurm executor looks after its jobs every second, so that tests take seconds.

The executor adds 10 s to its interval in every cycle in which nothing ended, has no option against
it, and waits out the last interval at its end.
"""

from __future__ import annotations

import sys

import snakemake_executor_plugin_slurm as plugin
from snakemake.cli import main

plugin.Executor.next_seconds_between_status_checks = property(
    lambda self: 1.0, lambda self, value: None
)
sys.argv[0] = "snakemake"
main()
