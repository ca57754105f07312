# SPDX-License-Identifier: LGPL-2.1-or-later
"""A guest with QEMU's guest agent and without ours: its ports are found all the same, more slowly, without the
names of processes, and reached by its network."""
import json
import time

from lab import guest as guests
from lab import wait
from lab.programs import Cli
from lab.transfer import wait_http

CHANNEL = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
START = b"""#!/bin/sh
for port in /sys/class/virtio-ports/*; do
    [ "$(cat "$port/name")" != org.qemu.guest_agent.0 ] ||
        exec /bin/qemu-ga -m virtio-serial -p "/dev/${port##*/}" -t /run
done
"""


def test_ports_are_found_by_qemus_agent(daemon, guest):
    web = guest("web", guests.forwards("<vf:auto/>"), devices=CHANNEL,
                files={**guests.program("/usr/sbin/qemu-ga"), "/etc/start/qemu-ga": START})
    forward = daemon.wait_forward(deadline=60, guest_port=80, state="active")
    assert forward["host"]["port"] == 8080
    assert forward["transport"] == "tcp"
    assert "process" not in forward
    assert b"virt-forward lab guest web" in wait_http(8080)
    shown = json.loads(Cli("auto", "web", "--json").stdout)
    assert "qemu-agent" in json.dumps(shown)

    web.run("listen 3000 cat")
    began = time.monotonic()
    daemon.wait_forward(deadline=20, host_port=3000, state="active")
    print(f"found after {time.monotonic() - began:.1f} s")
    web.run("unlisten 3000")
    wait.until(lambda: all(one["guest"]["port"] != 3000 for one in daemon.forwards()),
               "the forward is gone when it is not found any more and its grace is over", 30)
