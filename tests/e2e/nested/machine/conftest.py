# SPDX-License-Identifier: LGPL-2.1-or-later
"""Tests on the VM itself, not in a lab: for what only systemd does."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from lab import guest as guests  # noqa: E402
from lab import host  # noqa: E402


def pytest_sessionstart(session):
    # These tests install and stop services.
    with open("/proc/cmdline", encoding="ascii") as file:
        if "vf.nested=yes" not in file.read().split():
            pytest.exit("these tests run in tests/e2e/nested/run only (or ctest -L nested)", 2)


@pytest.fixture(scope="session")
def libvirtd():
    return host.Libvirtd()


@pytest.fixture
def guest(libvirtd):
    """Makes guests, as ../../conftest.py's does; they have vsock and no NIC."""
    made = []

    def make(name="guest", metadata="", interfaces=(), **options):
        made.append(guests.Guest(libvirtd.connection, name, metadata, interfaces, devices=guests.VSOCK, **options))
        return made[-1].start()

    yield make
    for one in made:
        one.close()
