# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests that need vsock: they run in the VM that run boots, and nowhere else. What ../conftest.py offers is
there too."""
import os

import pytest

from lab import guest as guests

BUILD = os.environ.get("VF_NESTED_BUILD", "")  # programs for guests


def pytest_sessionstart(session):
    # A host's AF_VSOCK belongs to the host.
    with open("/proc/cmdline", encoding="ascii") as file:
        if "vf.nested=yes" not in file.read().split():
            pytest.exit("these tests run in tests/e2e/nested/run only (or ctest -L nested)", 2)


def with_vsock(make):
    """Guests have a vsock device and the program `vsock` (vsock.cpp)."""
    def make_with_vsock(name="guest", *arguments, files=None, devices="", **options):
        return make(name, *arguments, devices=guests.VSOCK + devices,
                    files={"/bin/vsock": f"{BUILD}/vsock", **(files or {})}, **options)

    return make_with_vsock


@pytest.fixture
def guest(guest):
    """Like ../conftest.py's, with vsock."""
    return with_vsock(guest)


@pytest.fixture(scope="module")
def shared_guest(shared_guest):
    """Like ../conftest.py's, with vsock."""
    return with_vsock(shared_guest)
