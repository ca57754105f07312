# SPDX-License-Identifier: LGPL-2.1-or-later
"""`virt-forward doctor` as tests ask it. A test says which findings it causes with @causes: conftest.py
fails it where the doctor did not report one of those, and tests/unit/doctor/causes_test.cpp fails where a
finding has no such test."""
import json
import os
import pwd
import subprocess

import pytest

from . import programs, wait

causes = pytest.mark.causes
reported = set()  # the ids, since the test that runs began


def doctor(*arguments, user=None, environment=None):
    """Its findings; the exit status agrees with them. By `user`, with the groups of a login."""
    who = {}
    if user:
        account = pwd.getpwnam(user)
        who = dict(user=account.pw_uid, group=account.pw_gid, extra_groups=os.getgrouplist(user, account.pw_gid))
    said = subprocess.run([programs.CLI, "doctor", "--json", *arguments], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                          env=dict(os.environ, **(environment or {})), timeout=60 * wait.SLOWNESS, **who)
    found = json.loads(said.stdout)
    wrong = [one for one in found if one["severity"] in ("error", "warning")]
    assert said.returncode == (1 if wrong else 0), said.stderr
    assert all(one["message"] and one["fix"] for one in found)
    reported.update(one["id"] for one in found)
    return found


def ids(*arguments, **options):
    return sorted({one["id"] for one in doctor(*arguments, **options)})


def finding(name, *arguments, **options):
    found = doctor(*arguments, **options)
    return next((one for one in found if one["id"] == name), None) or pytest.fail(f"no {name} in {found}")
