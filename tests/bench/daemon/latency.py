#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""How long a user waits, with a real guest. Run in a lab:

    tests/e2e/lab/enter --stage DIR -- /usr/bin/python3 tests/bench/daemon/latency.py [RUNS]

Prints, as median (minimum - maximum) in milliseconds:
  edit     virDomainSetMetadata returned -> first byte of the guest's answer through the new forward
  destroy  virDomainDestroy returned -> connection refused at the host port
"""
import os
import socket
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../e2e"))

import libvirt  # noqa: E402
from lab import guest as guests, programs, wait  # noqa: E402

NAMESPACE = "urn:virt-forward:1"
REQUEST = b"GET / HTTP/1.0\r\n\r\n"


def first_byte(port, deadline=10.0):
    """The time of the first byte through 127.0.0.1:port; refused and reset attempts are repeated."""
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(REQUEST)
                if client.recv(1):
                    return time.monotonic()
        except OSError:
            pass
    sys.exit(f"no answer on port {port}")


def refused(port, deadline=10.0):
    """The time at which connecting to 127.0.0.1:port is refused."""
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 5).close()
        except ConnectionRefusedError:
            return time.monotonic()
        except OSError:
            pass
    sys.exit(f"port {port} still listens")


def listens(port):
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


def set_forwards(domain, content):
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, f"<forwards>{content}</forwards>", "vf",
                       NAMESPACE, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def report(name, seconds):
    times = sorted(1000 * value for value in seconds)
    print(f"{name:8} {statistics.median(times):7.2f}  ({times[0]:.2f} - {times[-1]:.2f})  "
          f"{len(times)} runs", flush=True)


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 25
    daemon = programs.Daemon().start()
    daemon.wait_connected()
    guest = guests.Guest(libvirt.open(), "bench").start()
    guest.address()
    domain = guest.domain
    print("         median     (min - max) ms")

    set_forwards(domain, '<forward guest-port="80" host-port="8080"/>')
    first_byte(8080)
    edits = []
    for run in range(runs):
        set_forwards(domain, f'<forward guest-port="80" host-port="{9000 + run}"/>')
        began = time.monotonic()
        edits.append(first_byte(9000 + run) - began)
    report("edit", edits)

    ends = []
    for run in range(min(runs, 7)):
        set_forwards(domain, '<forward guest-port="80" host-port="8080"/>')
        wait.until(lambda: listens(8080), "port 8080 listens", 10)
        domain.destroy()
        began = time.monotonic()
        ends.append(refused(8080) - began)
        if run + 1 < min(runs, 7):
            domain.create()
    report("destroy", ends)
    guest.close()
    daemon.stop()


if __name__ == "__main__":
    main()
