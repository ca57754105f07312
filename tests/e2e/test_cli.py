# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line against the real daemon: a domain's life as one user's session."""
import json

import pytest

from lab import wait
from lab.programs import Cli, Watch
from lab.transfer import http_get


def test_session_of_a_user(daemon, guest):
    web = guest(name="web", start=False)

    stopped = Cli("add", "web", "8080:80", check=False)
    assert stopped.status == 4 and "--config" in stopped.stderr and stopped.stdout == ""
    stored = Cli("add", "web", "8080:80", "--config", "--name", "site")
    assert stored.stdout == "" and "next start" in stored.stderr
    assert Cli("list").stdout.count("\n") == 1
    assert "inactive" in Cli("list", "--all").stdout
    assert Cli("url", "web", check=False).status == 4

    with Watch("web") as watch:
        web.start()
        watch.wait("added", name="site")

        # The guest still boots: --wait is what makes the next line a working one.
        added = Cli("add", "web", "81", "--wait", "--name", "passing", check=False)
        assert added.status == 0, added.stderr
        assert "gone at the next start" in added.stderr
        assert int(added.stdout) > 0
        assert http_get(8080).startswith(b"virt-forward lab guest web")
        wait.until(lambda: "unproven" not in Cli("list", "web").stdout.splitlines()[1], "it is proven")

        everything = Cli("list", "--all").stdout
        assert "live only" in everything, everything
        assert Cli("url", "web", "site").stdout == "http://127.0.0.1:8080\n"
        listed = json.loads(Cli("list", "web", "--json").stdout)
        assert sorted(one["name"] for one in listed) == ["passing", "site"]
        site = next(one for one in listed if one["name"] == "site")
        assert site["host"]["port"] == 8080 and site["guest"]["port"] == 80 and site["state"] == "active"

        kept = Cli("remove", "web", "8080")
        assert "back at the next start" in kept.stderr
        Cli("remove", "web", "--all", "--persistent")
        assert Cli("list", "--all").stdout.count("\n") == 1

        watch.wait("removed", name="site")
        watch.wait("removed", name="passing")
        assert watch.close() == 0


@pytest.mark.parametrize("kind, expected", [("domains", "web\n"), ("forwards", "")])
def test_completion(daemon, guest, kind, expected):
    guest(name="web", start=False)
    wait.until(lambda: Cli("list", "web", check=False).status == 0, "the daemon knows it")
    assert Cli("__complete", kind, "web").stdout == expected
