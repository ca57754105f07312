# SPDX-License-Identifier: LGPL-2.1-or-later
"""A new relay takes over from the one that runs; neither clients nor the daemon lose anything."""
import subprocess
import threading

from lab import guest as guests
from lab import host, wait
from lab.programs import LOG, Cli
from lab.transfer import MIB, Echo, Transfer, assert_served, wait_refused

METADATA = guests.forwards("<vf:forward name='web' guest-port='80' host-port='8080'/>"
                           "<vf:forward name='echo' guest-port='7'/>")


def take_over():
    with open(LOG, "ab") as log:
        subprocess.run(["/usr/bin/virt-forward-relay", "--take-over", "--control=/run/virt-forward/relay.sock"],
                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=True, timeout=60)


def test_upgrade_under_load_twice(daemon, guest):
    booted = guest("web", METADATA)
    booted.run("listen 7 cat")
    assert_served(8080, "web")
    port = daemon.wait_forward(name="echo", state="active")["host"]["port"]
    transfer = Transfer(8080, 100)
    transfer.wait_received(2)
    errors = []
    served = 0
    over = threading.Event()

    def connect():
        nonlocal served
        while not over.is_set():
            try:
                with Echo(port) as echo:
                    echo.say()
                served += 1
            except OSError as error:
                errors.append(error)

    thread = threading.Thread(target=connect)
    thread.start()
    first = daemon.relay_pids()
    try:
        with Echo(port) as lasting:
            for _ in range(2):
                before = set(daemon.relay_pids())
                already = served
                take_over()
                assert set(daemon.relay_pids()) - before
                wait.until(lambda: served > already + 10, "clients are served")
                daemon.wait_forward(name="echo", state="active")
                lasting.say()
    finally:
        over.set()
        thread.join()
    assert not errors
    assert transfer.running, "the transfer was over too early to prove anything"
    assert transfer.result() == 100 * MIB
    transfer.close()
    wait.until(lambda: not any(host.alive(pid) for pid in first), "the first relay has drained and ended")
    wait.until(lambda: len(daemon.relay_pids()) == 1, "one relay is left")
    # The daemon owns what the new one holds.
    Cli("remove", "web", "web")
    wait_refused(8080)
    assert daemon.wait_forward(name="echo", state="active")["host"]["port"] == port
    # What is left is compared with what the daemon had begun with: a relay that it started.
    daemon.kill_relay()
    wait.until(daemon.relay_pids, "the daemon has started a relay")
    with Echo(port) as echo:
        echo.say()
