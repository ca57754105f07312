# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the vsock path costs, in the VM of tests/e2e/nested with a real guest: `ninja bench_vsock`.

The guest's clock is read over vsock; the exchange with the shortest round trip of twenty gives the
difference of the clocks, and half of that round trip bounds its error.
"""
import os
import socket
import statistics
import struct
import subprocess
import time

import pytest

from lab import guest as guests
from lab import wait

BUILD = os.environ["VF_NESTED_BUILD"]
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "31"))
MIB = 1 << 20
BULK = int(os.environ.get("BENCH_MIB", "48"))
CLOCK, ECHO, DIGEST, SOURCE, TIMED = 5000, 3000, 3002, 3003, 3050
OURS, PEER = 13000, 14000  # + 0 echo, 2 digest, 3 source
START = f"""#!/bin/sh
clock {CLOCK} {TIMED}
tcp-serve 127.0.0.1 {ECHO}
tcp-serve -m digest 127.0.0.1 {DIGEST}
tcp-serve -m source -c {BULK} 127.0.0.1 {SOURCE}
for port in {ECHO} {DIGEST} {SOURCE}; do
    socat VSOCK-LISTEN:$port,fork,reuseaddr TCP:127.0.0.1:$port &
done
exec virt-forward-guest > /run/agent.log 2>&1
"""
FORWARDS = "".join(f"<vf:forward guest-port='{port}' host-port='{port + 10000}' transport='vsock'/>"
                   for port in (ECHO, DIGEST, SOURCE))
AUTO = "<vf:auto><vf:rule action='ignore' guest-port='20000-29999'/></vf:auto>"


class Clock:
    def __init__(self, cid):
        self._socket = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        self._socket.settimeout(120)
        self._socket.connect((cid, CLOCK))

    def order(self, letter):
        """(sent, the guest's moment, received)"""
        sent = time.monotonic()
        self._socket.sendall(letter)
        return sent, struct.unpack("q", self._socket.recv(8, socket.MSG_WAITALL))[0] / 1e9, time.monotonic()

    def difference(self):
        """(guest's clock - ours, bound of its error)"""
        sent, there, back = min((self.order(b"p") for _ in range(20)), key=lambda one: one[2] - one[0])
        return there - (sent + back) / 2, (back - sent) / 2

    def close(self):
        self._socket.close()


def median(values):
    return statistics.median(values)


def p95(values):
    return sorted(values)[int(len(values) * 0.95)]


def milliseconds(values):
    return (f"median {median(values) * 1000:.1f} ms, p95 {p95(values) * 1000:.1f}, worst {max(values) * 1000:.1f} "
            f"({len(values)})")


@pytest.fixture(scope="module")
def daemon(shared_daemon):
    return shared_daemon


@pytest.fixture(scope="module")
def web(shared_daemon, shared_guest):
    files = {"/etc/start/services": START.encode(), "/bin/tcp-serve": f"{BUILD}/tcp-serve",
             "/bin/clock": f"{BUILD}/clock", **guests.program("/usr/sbin/virt-forward-guest"),
             **guests.program("/usr/bin/socat")}
    made = shared_guest("web", guests.forwards(FORWARDS + AUTO), interfaces=[], cmdline="vf.http=no", files=files)
    for port in (ECHO, DIGEST, SOURCE):
        shared_daemon.wait_forward(60, host_port=port + 10000, state="active")
    peers = [subprocess.Popen(["socat", f"TCP-LISTEN:{port + 11000},bind=127.0.0.1,fork,reuseaddr",
                               f"VSOCK-CONNECT:{made.cid()}:{port}"]) for port in (ECHO, DIGEST, SOURCE)]
    for port in (OURS, PEER):
        wait.until(lambda p=port: first_echo(p) is not None, f"echo at {port}", 60)
    yield made
    for peer in peers:
        peer.terminate()
        peer.wait(10)


def first_echo(port):
    """Seconds from connect() to the first byte back."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), 60) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.sendall(b"x")
        return time.monotonic() - began if client.recv(1) == b"x" else None


def accepts(port):
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def moment_of(port, wanted, deadline=20.0):
    """When it is first seen to accept, or to refuse; asked every millisecond."""
    end = time.monotonic() + deadline
    while accepts(port) != wanted:
        assert time.monotonic() < end, f"port {port} does not {'accept' if wanted else 'refuse'}"
        time.sleep(0.001)
    return time.monotonic()


def goal(met, text):
    print(f"  goal {'met' if met else 'MISSED'}: {text}")


def test_listen_to_accept(web):
    clock = Clock(web.cid())
    trips, appears, goes, bounds = [], [], [], []
    for _ in range(ROUNDS):
        for _ in range(5):
            sent, _there, back = clock.order(b"p")
            trips.append(back - sent)
        for letter, wanted, found in ((b"l", True, appears), (b"c", False, goes)):
            difference, bound = clock.difference()
            bounds.append(bound)
            _, there, _ = clock.order(letter)
            found.append(moment_of(TIMED, wanted) - (there - difference))
            time.sleep(0.05)
    clock.close()
    trip = median(trips)
    print(f"\nround trip of a byte by vsock: {milliseconds(trips)}")
    print(f"clocks compared to within: {milliseconds(bounds)}")
    for name, found in (("listen() -> host accepts", appears), ("close() -> host refuses", goes)):
        print(f"{name}: {milliseconds(found)}; beyond one round trip: median {(median(found) - trip) * 1000:.1f} ms")
        goal(median(found) - trip <= 0.050, "50 ms beyond one round trip")
        goal(max(found) <= 1.0 + trip, "never more than a fall-back period of a second")


def to_guest(port, block=bytes(MIB)):
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port + 2), 120) as client:
        for _ in range(BULK):
            client.sendall(block)
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read().split()[0] == b"%d" % (BULK * MIB)
    return BULK / (time.monotonic() - began)


def from_guest(port):
    began = time.monotonic()
    received = 0
    with socket.create_connection(("127.0.0.1", port + 3), 120) as client:
        while data := client.recv(MIB):
            received += len(data)
    assert received == BULK * MIB + 8
    return BULK / (time.monotonic() - began)


@pytest.mark.parametrize("way", [to_guest, from_guest])
def test_throughput(web, way):
    speeds = {OURS: [], PEER: []}
    for turn in range(6):
        for port in ((OURS, PEER) if turn % 2 else (PEER, OURS)):
            speeds[port].append(way(port))
    ratio = median([ours / peer for ours, peer in zip(speeds[OURS][1:], speeds[PEER][1:])])
    print(f"\n{way.__name__}: {median(speeds[OURS]):.1f} MiB/s, socat {median(speeds[PEER]):.1f} MiB/s, "
          f"ratio {ratio:.2f}")
    goal(ratio >= 0.9, "0.9 of socat")


def test_connect_latency(web):
    clock = Clock(web.cid())
    trips = [back - sent for sent, _, back in (clock.order(b"p") for _ in range(200))]
    clock.close()
    takes = {OURS: [], PEER: []}
    for _ in range(3 * ROUNDS):
        for port, found in takes.items():
            found.append(first_echo(port))
    print(f"\nconnect() -> first byte back: {milliseconds(takes[OURS])}; socat {milliseconds(takes[PEER])}; "
          f"one round trip: {milliseconds(trips)}")
    goal(median(takes[OURS]) - median(takes[PEER]) <= median(trips), "one round trip more than socat")


def agent(web):
    """(seconds of processor time, resident KiB, of that anonymous)"""
    pid = web.run("pidof virt-forward-guest").strip()
    fields = web.run(f"cat /proc/{pid}/stat").rsplit(")", 1)[1].split()
    status = dict(line.split(":", 1) for line in web.run(f"cat /proc/{pid}/status").splitlines() if ":" in line)
    return (int(fields[11]) + int(fields[12])) / 100, int(status["VmRSS"].split()[0]), int(status["RssAnon"].split()[0])


def test_agent(web):
    """What it costs the guest, idle, with few sockets and with 10,000."""
    first = agent(web)
    time.sleep(20)
    idle = agent(web)
    print(f"\nagent: {idle[1]} KiB resident ({idle[2]} KiB anonymous), {idle[0] - first[0]:.2f} s of 20 idle ones")
    goal(idle[0] - first[0] <= 0.02, "nothing while idle")
    clock = Clock(web.cid())
    clock.order(b"h")
    time.sleep(5)
    before = agent(web)
    time.sleep(10)
    full = agent(web)
    print(f"with 10,000 sockets: {full[1]} KiB ({full[2]} KiB anonymous), opening them {before[0] - idle[0]:.2f} s, "
          f"{full[0] - before[0]:.2f} s of 10 idle ones")
    goal(full[0] - before[0] <= 0.02, "nothing while idle")
    for _ in range(20):
        clock.order(b"l")
        time.sleep(0.1)
        clock.order(b"c")
        time.sleep(0.1)
    changed = agent(web)
    print(f"each of 40 changes beside them: {(changed[0] - full[0]) / 40 * 1000:.1f} ms of processor time")
    clock.order(b"H")
    clock.close()
