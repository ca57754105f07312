# SPDX-License-Identifier: LGPL-2.1-or-later
"""Proof that a test's forwards left nothing behind: what the lab holds before and after, compared.

A Snapshot is a multiset of lines, each naming one thing without the numbers that differ between
runs (process ids, inode numbers), so that a restarted program equals its predecessor.
"""
import collections
import glob
import os
import re
import subprocess

from . import host, wait

RUNTIME = "/run/virt-forward"
PROGRAMS = ("virt-forwardd", "virt-forward-relay", "virt-forward-ssh")
SPARE_PIPES = 8  # BufferPool::max_spare_pipes
# May outlive every forward: a hint that may be lost, and the doors of relay and ssh, which they have no
# right to remove (systemd does, with the runtime directory); and the place of ssh's sockets, empty.
KEPT = {f"{RUNTIME}/{name}" for name in ("lock", "ports", "hook-heard", "relay.sock", "ssh.sock", "ssh")}


def _output(*command):
    return subprocess.run(command, capture_output=True, check=True, text=True, timeout=30).stdout


def _sockets():
    """Listening TCP, bound UDP, and every connection that our programs hold."""
    for line in _output("ss", "-H", "-tuanp").splitlines():
        protocol, state, _receive, _send, local, peer, *rest = line.split()
        programs = sorted(set(re.findall(r'\("([^"]+)"', " ".join(rest))))
        if state in ("LISTEN", "UNCONN"):
            yield f"listener {protocol} {local} {','.join(programs)}"
        elif any(program[:10] == "virt-forwa" for program in programs):
            yield f"connection {protocol} {state} {local} {peer} {','.join(programs)}"


def _processes():
    me = os.getpid()
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) == me:
            continue
        try:
            with open(f"/proc/{entry}/stat", encoding="utf-8", errors="replace") as file:
                name, _, rest = file.read().rpartition(")")
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                arguments = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        state = rest.split()[0]
        name = name.partition("(")[2]
        yield f"process {name} zombie" if state == "Z" else f"process {name}: {arguments}"


def _files():
    for directory, directories, files in os.walk(RUNTIME):
        for name in directories + files:
            path = os.path.join(directory, name)
            if path not in KEPT:
                yield f"file {path}"


def _firewall():
    # one element a line, however many share one there
    ruleset = re.sub(r"(elements = \{)([^}]*)\}", lambda found: found[1] + found[2].replace(",", "\n") + "\n}",
                     _output("nft", "-s", "list", "ruleset"))
    for line in ruleset.replace("elements = {", "elements\n").splitlines():
        if line.strip() not in ("", "}", "elements"):
            yield f"nft {line.strip()}"
    for path in glob.glob("/proc/sys/net/ipv4/conf/*/route_localnet"):
        with open(path, encoding="ascii") as file:
            if file.read().strip() != "0":
                yield f"sysctl {path} is on"


def _descriptors():
    """Open descriptors of our programs, by kind.

    Left out: wake-up descriptors (every worker thread that GLib keeps for later has one), the first
    inotify descriptor (GLib makes one when it first watches a file, and keeps it) and as many pipes as
    the relay keeps for the next transfer (its pool's bound: eight).
    """
    for program in PROGRAMS:
        for pid in host.processes(program):
            kinds = collections.Counter()
            try:
                for number in os.listdir(f"/proc/{pid}/fd"):
                    try:
                        kinds[re.sub(r"[0-9]+", "N", os.readlink(f"/proc/{pid}/fd/{number}"))] += 1
                    except FileNotFoundError:
                        continue
            except FileNotFoundError:
                continue
            kinds.pop("anon_inode:[eventfd]", None)
            kinds["anon_inode:inotify"] -= 1
            if program == "virt-forward-relay":
                kinds["pipe:[N]"] -= min(kinds["pipe:[N]"], 2 * SPARE_PIPES)
            for kind in kinds.elements():
                yield f"descriptor {program} {kind}"


class Snapshot:
    def __init__(self):
        self.things = collections.Counter()
        for source in (_sockets, _processes, _files, _firewall, _descriptors):
            self.things.update(source())

    def extra(self, before):
        """What is here and was not there before."""
        return sorted((self.things - before.things).elements())


def settled(deadline=10.0):
    """The Snapshot of programs that have just started, once several in a row are equal."""
    last = [Snapshot()]

    def quiet():
        last.append(Snapshot())
        return len(last) > 5 and all(one.things == last[-1].things for one in last[-5:])

    wait.until(quiet, "the programs have settled", deadline)
    return last[-1]


def check(before, deadline=5.0):
    """Waits until nothing is left that `before` did not have. Raises AssertionError with the list."""
    left = []

    def clean():
        nonlocal left
        left = Snapshot().extra(before)
        return not left

    try:
        wait.until(clean, "everything is cleaned up", deadline)
    except wait.Timeout:
        raise AssertionError("left behind:\n  " + "\n  ".join(left)) from None
