"""The cohort's page: who to look at, what stands out, what the scanners have to do with it."""

from __future__ import annotations

from pipeline.report.cohort.live import refresh
from pipeline.report.cohort.page import write_cohort, write_page

__all__ = ["refresh", "write_cohort", "write_page"]
