"""Silence for libraries that quote header values, such as the patient's name, in what they say."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

#: Loggers whose messages quote values of headers, queries or addresses.
TALKATIVE = ("pydicom", "highdicom", "pynetdicom", "dicomweb_client", "urllib3")


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the messages and warnings of :data:`TALKATIVE`; errors still come as exceptions."""
    # a level above all others: child loggers without a level of their own follow it
    silent = logging.CRITICAL + 1
    # within another call there is nothing to change, which would empty logging's cache each time
    loggers = [log for log in map(logging.getLogger, TALKATIVE) if log.level != silent]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(silent)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
