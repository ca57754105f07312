# SPDX-License-Identifier: LGPL-2.1-or-later
"""Waiting: always for a condition, never for a time."""
import os
import time

INTERVAL = 0.02
SLOWNESS = float(os.environ.get("VF_LAB_SLOWNESS", "1"))  # where all is emulated: deadlines are that much longer


class Timeout(AssertionError):
    """What was waited for did not happen before the deadline."""


def until(condition, what, deadline=30.0):
    """Polls condition() until it returns something true, and returns that.

    Exceptions of OSError's family (connection refused, no such file) count as "not yet". The
    Timeout names `what` and the last answer or exception.
    """
    deadline *= SLOWNESS
    end = time.monotonic() + deadline
    while True:
        try:
            last = condition()
            if last:
                return last
        except OSError as error:
            last = error
        if time.monotonic() >= end:
            raise Timeout(f"not within {deadline} s: {what} (last: {last!r})")
        time.sleep(INTERVAL)
