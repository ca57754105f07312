# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many domains at once."""
import concurrent.futures
import time

from lab import guest as guests
from lab import wait
from lab.transfer import LOOPBACK, assert_served, refused, wait_refused

COUNT = 20
FORWARDS = guests.forwards("<vf:forward guest-port='80' host-port='8080'/><vf:forward guest-port='22'/>"
                           "<vf:forward guest-port='9000-9002' host-port='19000-19002'/>")
EACH = 5


def ports_of(daemon):
    return [forward["host"]["port"] for forward in daemon.forwards() if "port" in forward["host"]]


def test_twenty_domains_started_and_destroyed_at_once(daemon, guest):
    made = [guest(f"many{number}", FORWARDS, memory=256 if number == 0 else 32, start=False)
            for number in range(COUNT)]
    with concurrent.futures.ThreadPoolExecutor(COUNT) as pool:
        for _ in pool.map(lambda one: one.start_paused(), made):
            pass
        begun = time.monotonic()
        ports = wait.until(lambda: (lambda p: len(p) == COUNT * EACH and p)(ports_of(daemon)), "every port is bound", 10)
        print(f"all bound {time.monotonic() - begun:.2f} s after the last start")
        assert len(set(ports)) == COUNT * EACH, "each has its own"
        # 8080 and up went to somebody, whoever came first
        assert set(range(8080, 8080 + COUNT)) <= set(ports)
        assert not any(refused(port, host) for port in ports for host in LOOPBACK)

        made[0].domain.resume()
        [mine] = [f["host"]["port"] for f in daemon.forwards("many0") if f["guest"]["port"] == 80]
        assert_served(mine, "many0")

        for _ in pool.map(lambda one: one.domain.destroy(), made):
            pass
    wait_refused(*ports)
    wait.until(lambda: daemon.forwards() == [], "no forward is listed")
    assert len(daemon.forwards(everything=True)) == COUNT * EACH


def test_one_domain_started_again_and_again(daemon, guest):
    """Nothing adds up: the leak checker compares after it."""
    one = guest("again", guests.forwards("<vf:forward guest-port='80' host-port='8080'/>"), start=False)
    for _ in range(10):
        one.start_paused()
        daemon.wait_forward(domain="again", host_port=8080)
        one.domain.destroy()
        wait_refused(8080)
