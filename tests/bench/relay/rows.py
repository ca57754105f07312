# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is measured: a row is one kind of load, its lines are what the table shows of it."""
import dataclasses
import json
import select
import subprocess
import time

from contenders import DIRECT, OURS, Failed, Process

MIB = 1024 * 1024


@dataclasses.dataclass
class Line:
    title: str
    key: str             # of the figures that the row's measurement gives
    show: str            # format of a figure
    scale: float = 1
    lower: bool = False  # less is better
    judged: bool = True  # ours against the best peer
    goal: tuple = None   # (peer, median ratio) that is wanted beside
    most: float = None   # for our own figure
    least: float = None
    note: str = None     # key of a figure shown in brackets
    note_show: str = ""


@dataclasses.dataclass
class Row:
    key: str
    mode: str
    connections: int
    peers: list
    lines: list
    protocol: str = "tcp"
    pinned: bool = False
    idle: int = 0
    once: bool = False   # counts, not speed: one round

    def names(self):
        return [DIRECT, OURS, *self.peers]


ALL = ["haproxy", "haproxy+splice", "nginx", "socket-proxyd", "rinetd", "socat"]

ROWS = [
    Row("bulk1", "bulk", 1, ALL, [
        Line("1 bulk stream, GB/s", "rate", "{:.2f}", 1e-9),
        Line("relay CPU s per GB", "cpu_per_gb", "{:.2f}", lower=True)]),
    Row("bulk8", "bulk", 8, ["haproxy", "haproxy+splice", "nginx", "socket-proxyd", "rinetd"], [
        Line("8 bulk streams, GB/s", "rate", "{:.2f}", 1e-9)]),
    Row("duplex", "duplex", 1, ["haproxy+splice", "nginx", "socket-proxyd", "rinetd"], [
        Line("both directions at once, GB/s", "rate", "{:.2f}", 1e-9)]),
    # both ends and the relay on CPU 0: what a round costs, without waking another CPU
    Row("ping1", "ping-pong", 1, ["haproxy", "nginx", "socket-proxyd", "rinetd"], pinned=True, lines=[
        Line("1 byte ping-pong, pinned, k/s", "rate", "{:.1f}", 1e-3)]),
    Row("ping32", "ping-pong", 32, ["haproxy", "nginx", "socket-proxyd", "rinetd"], [
        Line("32 connections ping-pong, k/s", "rate", "{:.1f}", 1e-3, note="p99_us", note_show="p99 {:.0f} µs")]),
    Row("connect1", "requests", 1, ["haproxy", "haproxy+splice", "nginx", "socket-proxyd", "rinetd"], [
        Line("connect + request + close, 1 at a time, p50 µs", "p50_us", "{:.0f}", lower=True),
        Line("the same, a second", "rate", "{:.0f}", judged=False)]),
    Row("connect32", "requests", 32, ["haproxy", "haproxy+splice", "nginx", "rinetd"], [
        Line("the same, 32 at a time, p50 µs", "p50_us", "{:.0f}", lower=True),
        Line("the same, a second", "rate", "{:.0f}", judged=False)]),
    Row("idle", "ping-pong", 10, ["haproxy", "nginx", "rinetd"], idle=9500, lines=[
        Line("10 connections ping-pong beside 9,500 idle, k/s", "rate", "{:.1f}", 1e-3, goal=("haproxy", 1.1)),
        Line("relay memory per idle connection, bytes", "memory", "{:.0f}", judged=False, most=1024),
        Line("relay CPU with 9,500 idle, %", "idle_cpu", "{:.1f}", judged=False, most=0.0)]),
    Row("mixed", "mixed", 10, ["haproxy", "haproxy+splice", "nginx", "socket-proxyd", "rinetd"], [
        Line("10 connections ping-pong beside one bulk stream, k/s", "rate", "{:.1f}", 1e-3,
             note="p99_us", note_show="p99 {:.0f} µs"),
        Line("that stream beside them, GB/s", "bulk_beside", "{:.2f}", 1e-9, judged=False),
        Line("that stream, of its rate alone", "bulk_kept", "{:.2f}", judged=False, least=0.8)]),
    Row("udp", "udp-echo", 8, ["nginx", "socat"], protocol="udp", lines=[
        Line("UDP, 8 clients with 16 datagrams under way, k answers/s", "rate", "{:.1f}", 1e-3,
             note="loss", note_show="loss {:.1%}")]),
    Row("udp-flood", "udp-flood", 1, ["nginx", "socat"], protocol="udp", lines=[
        Line("UDP one way, as fast as it is sent, k arrived/s", "rate", "{:.1f}", 1e-3,
             note="loss", note_show="loss {:.1%}")]),
    Row("endings", "endings", 20, ALL, once=True, lines=[
        Line("half-close by the client carried over, of 20", "client_ends", "{:.0f}"),
        Line("half-close by the server carried over, of 20", "server_ends", "{:.0f}"),
        Line("client's reset reaches the server, of 20", "client_resets", "{:.0f}"),
        Line("server's reset reaches the client, of 20", "server_resets", "{:.0f}")]),
]


def ask(contender, mode, *numbers, patience):
    """The figures that a client end prints; it has `patience` seconds, and is killed then."""
    try:
        done = subprocess.run(contender.client(mode, *numbers), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=patience)
    except subprocess.TimeoutExpired:
        raise Failed(f"{contender.name}: no figures within {patience:.0f} s") from None
    if done.returncode != 0:
        raise Failed(f"{contender.name}: {done.stderr.strip()}; {contender.complaint()}")
    return json.loads(done.stdout)


WARM_UP = 150  # ms


def measure(row, contender, window):
    relay = contender.relay
    before = relay.cpu_seconds() if relay else 0
    patience = (WARM_UP + window) / 1000 + (30 if row.once else 5)
    figures = ask(contender, row.mode, row.connections, window, WARM_UP, patience=patience)
    if relay and figures.get("bytes"):
        figures["cpu_per_gb"] = (relay.cpu_seconds() - before) / (figures["bytes"] / 1e9)
    if figures.get("bulk_alone"):
        figures["bulk_kept"] = figures["bulk_beside"] / figures["bulk_alone"]
    return figures


class Holder:
    """Idle connections through a contender, kept until stop()."""

    def __init__(self, contender, count, patience=20):
        self.contender, self.count = contender, count
        relay = contender.relay
        before = relay.memory() if relay else 0
        self.process = Process(contender.client("hold", count), contender.work + "/hold.log",
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        end = time.monotonic() + patience
        try:
            self._wait(end)
        except Failed:
            self.stop()
            raise
        self.figures = {"memory": (relay.memory() - before) / count} if relay else {}

    def _wait(self, end):
        out = self.process.popen.stdout
        ready, _, _ = select.select([out], [], [], max(0, end - time.monotonic()))
        if not ready or not out.readline():
            raise Failed(f"{self.contender.name}: does not hold {self.count} connections: "
                         f"{self.contender.complaint()}")

    def stop(self):
        self.process.kill()


def idle_cpu(holders, length=4):
    """All of them idle at the same time; a percentage of one CPU each."""
    relays = {name: holder.contender.relay for name, holder in holders.items() if holder.contender.relay}
    before = {name: relay.cpu_seconds() for name, relay in relays.items()}
    time.sleep(length)  # what is measured is that nothing happens
    for name, relay in relays.items():
        holders[name].figures["idle_cpu"] = (relay.cpu_seconds() - before[name]) / length * 100
