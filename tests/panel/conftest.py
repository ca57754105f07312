# SPDX-License-Identifier: LGPL-2.1-or-later
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from session import Session  # noqa: E402

# Before the accessibility library looks for its bus.
SESSION = Session().start()


@pytest.fixture(scope="session", autouse=True)
def session():
    yield
    SESSION.stop()
