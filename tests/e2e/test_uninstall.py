# SPDX-License-Identifier: LGPL-2.1-or-later
"""contrib/uninstall, where no service manager runs the programs."""
import os
import pwd
import subprocess

from lab import guest as guests
from lab import wait
from lab.programs import Daemon
from lab.transfer import refused

BUILD = os.environ.get("VF_BUILD_DIR", "")
UNINSTALL = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../contrib/uninstall")


def test_nothing_is_left(guest):
    daemon = Daemon().start()
    daemon.wait_connected()
    guest("web", guests.forwards("<vf:forward guest-port='80' host-port='8080'/>"))
    daemon.wait_forward(host_port=8080)
    assert not refused(8080)
    subprocess.run([UNINSTALL, BUILD], check=True, timeout=60)
    wait.until(lambda: refused(8080), "port 8080 refuses", 10)
    with open(f"{BUILD}/install_manifest.txt", encoding="utf-8") as file:
        assert not [path for path in file.read().split("\n") if path and os.path.lexists(path)]
    assert not [one.pw_name for one in pwd.getpwall() if one.pw_name.startswith("virt-forward")]
    assert not os.path.exists("/etc/libvirt/hooks/qemu.d/50-virt-forward")
