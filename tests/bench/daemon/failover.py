#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long clients wait where the best way into a guest dies. Run in a lab:

    tests/e2e/lab/enter --stage DIR -- /usr/bin/python3 tests/bench/daemon/failover.py [RUNS]

A real guest with an ssh server; each run has a forward of its own, whose way by tcp has carried a connection before
the host's firewall begins to swallow what goes to the guest's port. Prints, as median (minimum - maximum) in milliseconds:
  before   connect -> first byte, by tcp
  first    the same, by the first client that meets the dead way
  next     the same, by the client after it
"""
import json
import os
import socket
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../e2e"))

from lab import guest as guests, host, programs, ssh, wait  # noqa: E402
from lab.programs import Cli  # noqa: E402

POLICY = "/etc/virt-forward/virt-forward.conf.d"
REQUEST = b"GET / HTTP/1.0\r\n\r\n"


def first_byte(port):
    """Seconds from connect to the first byte of the guest's answer."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 20) as client:
        client.sendall(REQUEST)
        if not client.recv(1):
            sys.exit(f"port {port} ended without an answer")
    return time.monotonic() - began


def nft(*words):
    subprocess.run(["nft", *words], check=True)


def state(way, port):
    ways = json.loads(Cli("explain", "bench", str(port), "--json").stdout)["ways"]
    return next(one["state"] for one in ways if one["way"] == way)


def report(name, seconds):
    times = sorted(1000 * value for value in seconds)
    print(f"{name:8} {statistics.median(times):8.2f}  ({times[0]:.2f} - {times[-1]:.2f})  {len(times)} runs", flush=True)


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    key = ssh.Key()
    os.makedirs(POLICY, exist_ok=True)
    with open(f"{POLICY}/bench.conf", "w", encoding="utf-8") as file:
        # nothing may pass the relay here: what is measured is its choice
        file.write(f"[host]\noffloads =\n[ssh-keys]\nlab = {key.path}\n")
    daemon = programs.Daemon().start()
    daemon.wait_connected()
    guest = guests.Guest(host.Libvirtd().connection, "bench", guests.forwards("<vf:ssh user='root' identity='lab'/>"),
                         ssh=key).start()
    address = guest.address()
    nft("add table ip bench; add chain ip bench out { type filter hook output priority 0; }")
    before, first, following = [], [], []
    print("           median     (min - max) ms")
    for _ in range(runs):
        port = int(Cli("add", "bench", "80", "--name", "one").stdout)
        wait.until(lambda: state("ssh", port) == "ready", "ssh is ready", 60)
        first_byte(port)
        before.append(first_byte(port))
        nft(f"add rule ip bench out ip daddr {address} tcp dport 80 drop")
        first.append(first_byte(port))
        following.append(first_byte(port))
        nft("flush chain ip bench out")
        Cli("remove", "bench", "one")
    report("before", before)
    report("first", first)
    report("next", following)
    guest.close()
    daemon.stop()


if __name__ == "__main__":
    main()
