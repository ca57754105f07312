# SPDX-License-Identifier: LGPL-2.1-or-later
"""`virt-forward doctor`: every finding is caused for real, and where its fix is a command that this lab can run, the fix
is run and the finding is gone. (test_doctor_guests.py, test_doctor_host.py and
test_doctor_users.py have those that need more.)"""
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from xml.etree import ElementTree

import pytest

from lab import guest as guests
from lab import host, programs, wait
from lab.findings import causes, doctor, finding, ids
from lab.programs import Cli
from lab.transfer import wait_http

LINK = "/etc/libvirt/hooks/qemu.d/50-virt-forward"
PROGRAM = "/usr/sbin/virt-forward-hook"
KEPT = "/run/lab/kept"


def virsh(*arguments):
    return subprocess.run(["virsh", *arguments], capture_output=True, text=True, check=True).stdout


def mend(one):
    """Runs the first line of a finding's fix."""
    subprocess.run(one["fix"].splitlines()[0], shell=True, check=True, stdout=subprocess.DEVNULL)


@contextlib.contextmanager
def kept(path):
    """A file or link may be changed, and is then as it was."""
    if os.path.islink(path):
        target = os.readlink(path)
    else:
        target = None
        shutil.copy2(path, KEPT)
    try:
        yield
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        if target:
            os.symlink(target, path)
        else:
            shutil.move(KEPT, path)


def replace(path, text):
    """A program in a new file: the old one may be running."""
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(text)
    os.chmod(path, 0o755)


@pytest.fixture(scope="module")
def daemon(shared_daemon):
    return shared_daemon


@pytest.fixture(scope="module")
def web(daemon, shared_guest):
    """A guest whose web server is forwarded."""
    booted = shared_guest("web", guests.forwards("<vf:forward guest-port='80' host-port='8080'/>"))
    assert b"guest web" in wait_http(8080)
    return booted


def test_healthy(web):
    assert doctor() == []
    assert doctor("web") == []
    assert "nothing wrong was found" in Cli("doctor").stdout


# --- the hook

def missing():
    os.unlink(LINK)


def dangling():
    os.unlink(LINK)
    os.symlink("/nowhere/hook", LINK)


def elsewhere():
    shutil.copy2(PROGRAM, "/usr/local/other-hook")
    os.unlink(LINK)
    os.symlink("/usr/local/other-hook", LINK)


def copy():
    os.unlink(LINK)
    shutil.copy2(PROGRAM, LINK)


def not_executable():
    os.chmod(PROGRAM, 0o644)


def cannot_run():
    replace(PROGRAM, b"#!/nowhere/shell\n")


def version():
    replace(PROGRAM, b"#!/bin/sh\necho virt-forward-hook 0.0.1\n")


@pytest.mark.parametrize("cause", [
    pytest.param(missing, marks=causes("hook-missing")),
    pytest.param(dangling, marks=causes("hook-dangling")),
    pytest.param(elsewhere, marks=causes("hook-elsewhere")),
    pytest.param(copy, marks=causes("hook-copy")),
    pytest.param(not_executable, marks=causes("hook-not-executable")),
    pytest.param(cannot_run, marks=causes("hook-cannot-run")),
    pytest.param(version, marks=causes("hook-version")),
], ids=lambda cause: cause.__name__)
def test_hook(web, cause):
    name = "hook-" + cause.__name__.replace("_", "-")
    with kept(PROGRAM), kept(LINK):
        cause()
        one = finding(name)
        assert ids() == [name]
        if cause not in (cannot_run, version):  # these need another build
            mend(one)
            assert doctor() == []
    assert doctor() == []


@causes("hook-not-noticed")
def test_hook_that_libvirtd_has_not_noticed(daemon, web, libvirtd, guest):
    other = guest("other", guests.forwards("<vf:forward guest-port='80' host-port='8180'/>"), start=False)
    with kept(LINK):
        os.unlink(LINK)
        libvirtd.restart()
        started = os.stat(f"/proc/{libvirtd.pid()}").st_ctime
        wait.until(lambda: time.time() > started + 4, "the hook is clearly younger than libvirtd")
    one = finding("hook-not-noticed", "web")
    assert one["severity"] == "warning" and "not certain" in one["message"]
    other.start_paused()
    daemon.wait_forward(domain="other", state="waiting")
    finding("hook-not-noticed", "web")

    os.kill(libvirtd.pid(), signal.SIGHUP)  # what the fix's systemctl does

    def noticed():
        other.domain.destroy()
        other.start_paused()
        return "hook-not-noticed" not in ids("web")

    wait.until(noticed, "libvirtd runs the hook, and the daemon has heard from it")


@pytest.mark.parametrize("text, name", [
    pytest.param("#!/nowhere/shell\n", "other-hook-broken", marks=causes("other-hook-broken")),
    pytest.param("echo\n", "other-hook-broken", marks=causes("other-hook-broken")),
    pytest.param("#!/bin/sh\nvirsh domid \"$1\"\n", "other-hook-calls-libvirt", marks=causes("other-hook-calls-libvirt")),
], ids=["no-interpreter", "no-program", "virsh"])
def test_other_hooks(web, text, name):
    path = "/etc/libvirt/hooks/qemu.d/10-other"
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        assert doctor() == [], "libvirt skips what is not executable"
        os.chmod(path, 0o755)
        one = finding(name)
        assert one["subject"] == path
        mend(one)
        assert doctor() == []
    finally:
        os.unlink(path)


# --- daemon, relay, libvirt

@causes("daemon-down", "domains")
def test_daemon_down(daemon, web):
    daemon.kill()
    try:
        found = {one["id"]: one["severity"] for one in doctor()}
        assert found == {"daemon-down": "error", "domains": "not-checked"}
        assert "systemctl enable --now virt-forward.target" in finding("daemon-down")["fix"]
        assert b"guest web" in wait_http(8080)  # as it says of the relay
        assert "the relay, if it runs, goes on" in finding("daemon-down")["message"]
        assert finding("daemon-down", "web")
    finally:
        daemon.start()
    wait.until(lambda: doctor() == [], "all is well again")


@causes("daemon-silent")
def test_daemon_silent(daemon, web):
    os.kill(daemon.pid, signal.SIGSTOP)
    try:
        assert "does not answer" in finding("daemon-silent")["message"]
    finally:
        os.kill(daemon.pid, signal.SIGCONT)
    wait.until(lambda: doctor() == [], "all is well again")


def upgraded(path):
    shutil.copy2(path, path + ".new")
    os.replace(path + ".new", path)


@causes("daemon-program-replaced", "relay-program-replaced")
def test_programs_replaced(daemon, web):
    upgraded("/usr/sbin/virt-forwardd")
    upgraded("/usr/bin/virt-forward-relay")
    assert ids() == ["daemon-program-replaced", "relay-program-replaced"]
    assert finding("daemon-program-replaced")["fix"] == "systemctl restart virt-forwardd"
    daemon.restart()
    wait.until(lambda: ids() == ["relay-program-replaced"], "the new daemon is the installed one")
    daemon.kill_relay()
    wait.until(lambda: doctor() == [], "the new relay is up", 20)


@causes("daemon-version")
def test_daemon_of_another_version(daemon, web):
    """The same program, but for the version that it says it is of."""
    version = Cli("--version").stdout.split()[1].encode()
    with kept(programs.DAEMON):
        with open(programs.DAEMON, "rb") as file:
            program = file.read()
        changed = re.sub(rb"(?<![\w.])" + re.escape(version) + rb"\0", b"9" * len(version) + b"\0", program)
        assert changed != program
        replace(programs.DAEMON, changed)
        daemon.restart()
        one = finding("daemon-version")
        assert "9" * len(version) in one["message"] and version.decode() in one["message"]
        assert one["severity"] == "warning" and one["fix"] == "systemctl restart virt-forwardd"
    daemon.restart()
    wait.until(lambda: doctor() == [], "all is well again")


@causes("policy-wrong")
def test_host_policy(daemon, web):
    path = "/etc/virt-forward/virt-forward.conf.d/my own.conf"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write("[host]\nadresses = 0.0.0.0\n")
    try:
        one = finding("policy-wrong")
        assert one["severity"] == "error" and one["subject"] == path
        assert "[host] adresses: no such setting" in one["message"] and f"'{path}'" in one["fix"]
        mended = one["fix"].replace("systemctl reload-or-restart virt-forwardd", f"kill -HUP {daemon.pid}")
        subprocess.run(mended, shell=True, check=True, env=dict(os.environ, EDITOR="sed -i s/adr/addr/"))
        assert doctor() == []
    finally:
        os.unlink(path)
        os.kill(daemon.pid, signal.SIGHUP)


@causes("relay-down")
def test_relay_down(daemon, web):
    path = "/usr/bin/virt-forward-relay"
    [relay] = daemon.relay_pids()
    os.rename(path, path + ".away")
    try:
        os.kill(relay, signal.SIGKILL)
        wait.until(lambda: "relay-down" in ids(), "the relay is missed")
    finally:
        os.rename(path + ".away", path)
    wait.until(lambda: doctor() == [], "all is well again", 30)


@causes("libvirt-silent", "libvirt-disconnected", "libvirt-unreachable")
def test_libvirt(daemon, web, libvirtd):
    pid = libvirtd.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        assert "says nothing" in finding("libvirt-silent")["message"]
    finally:
        os.kill(pid, signal.SIGCONT)
    libvirtd.kill()
    try:
        wait.until(lambda: ids() == ["libvirt-disconnected", "libvirt-unreachable"], "both miss libvirt")
    finally:
        libvirtd.start()
    wait.until(lambda: not set(ids()) & {"libvirt-disconnected", "libvirt-unreachable"}, "they have it again", 30)


# --- domains

@causes("metadata", "no-address", "no-vsock", "forward-waiting", "forward-denied", "forward-failed")
def test_a_sick_domain(daemon, guest):
    sick = guest("sick", guests.forwards(
        "<vf:forward name='waits' guest-port='80' host-port='8181'/>\n"
        "<vf:forward guest-port='0'/>\n"
        "<vf:forward name='denied' guest-port='80' host-port='8182' host-address='0.0.0.0'/>\n"
        "<vf:forward name='failed' guest-port='80' host-port='8184' transport='vsock'/>\n"
        "<vf:auto/>"), start=False)
    sick.start_paused()
    daemon.wait_forward(domain="sick", name="waits", state="waiting")
    found = ["forward-denied", "forward-failed", "forward-waiting", "metadata", "no-address", "no-vsock"]
    wait.until(lambda: ids("sick") == found, f"doctor finds {found}")
    shown = virsh("metadata", "sick", "urn:virt-forward:1").splitlines()
    wrong = next(number for number, text in enumerate(shown, 1) if "guest-port=\"0\"" in text)
    assert f"line {wrong}: <forward> guest-port=\"0\"" in finding("metadata", "sick")["message"]
    assert "virbr0" in finding("no-address", "sick")["message"]
    assert "[host] addresses" in finding("forward-denied", "sick")["message"]
    one = finding("no-vsock", "sick")
    assert guests.VSOCK in one["fix"]
    mend(one)
    assert "<vsock" in virsh("dumpxml", "--inactive", "sick")


def test_metadata_that_is_wrong_where_it_runs(daemon, web):
    metadata = ("metadata", "web", "urn:virt-forward:1", "--live", "--key", "vf")
    good = virsh(*metadata[:-2])
    virsh(*metadata, "--set", good.replace("guest-port=\"80\"", "guest-port=\"0\""))
    wait.until(lambda: "metadata" in ids("web"), "the mistake is known")
    one = finding("metadata", "web")
    assert one["message"].startswith("of the running domain alone: line 2: ")
    subprocess.run(one["fix"], shell=True, check=True, stdout=subprocess.DEVNULL,
                   env=dict(os.environ, EDITOR="sed -i 's/=\"0\"/=\"80\"/'"))
    wait.until(lambda: doctor("web") == [], "it is mended")
    virsh(*metadata, "--set", "<forward guest-port='80'/>")
    refused = Cli("add", "web", "9999:80", check=False)
    assert refused.status == 2 and "virsh metadata DOMAIN urn:virt-forward:1 --key vf --edit" in refused.stderr
    virsh(*metadata, "--set", good)
    wait.until(lambda: doctor("web") == [], "all is well again")


@causes("forward-no-listener")
def test_nobody_listens(daemon, web):
    Cli("add", "web", "9292:9", "--name", "none", "--persistent")
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", 9292)) as client:
        client.recv(1)
    daemon.wait_forward(name="none", state="no-listener")
    assert "nothing listens" in finding("forward-no-listener", "web")["message"]
    Cli("remove", "web", "none", "--persistent")
    assert doctor("web") == []


@causes("live-only", "config-only")
def test_drift(daemon, web):
    Cli("add", "web", "9191:80", "--name", "drifts", "--scheme", "http", "--on-busy", "fail")
    one = finding("live-only", "web")
    assert one["fix"].endswith(" --on-busy fail --scheme http --config")
    mend(one)
    wait.until(lambda: doctor("web") == [], "both have it, and the same")
    Cli("remove", "web", "drifts", "--live")
    wait.until(lambda: "config-only" in ids("web"), "the next start alone has it")
    mend(finding("config-only", "web"))
    wait.until(lambda: doctor("web") == [], "both have it")
    Cli("remove", "web", "drifts", "--persistent")


@causes("host-port-held")
def test_host_port_held(daemon, web, guest):
    with socket.create_server(("127.0.0.1", 8282)):
        Cli("add", "web", "8282:80", "--name", "moved", "--persistent")
        one = finding("host-port-held", "web")
        assert one["severity"] == "warning"
        assert f"(process {os.getpid()}, user root)" in one["message"] and "8283 instead" in one["message"]
        said = Cli("explain", "web", "moved").stdout
        assert f"8282 on 127.0.0.1 is held by python3 (process {os.getpid()}, user root)" in said
        assert "8283 on 127.0.0.1" in said
        Cli("remove", "web", "moved", "--persistent")

        other = guest("other", guests.forwards("<vf:forward guest-port='80' host-port='8282' on-busy='fail'/>"),
                      start=False)
        other.start_paused()
        daemon.wait_forward(domain="other", state="port-busy")
        one = finding("host-port-held", "other")
        assert one["severity"] == "error" and f"kill {os.getpid()} " in one["fix"]
        assert "next try:   " in Cli("explain", "other", "8282").stdout
        subprocess.run(one["fix"].splitlines()[-1], shell=True, check=True, stdout=subprocess.DEVNULL)
        wait.until(lambda: "host-port-held" not in ids("other"), "it is on another port")


# --- firewalls

NFT = "nft -f - <<'X'\ntable inet fw {{ chain {0} {{ type filter hook {0} priority 0; policy {1};\n{2}\n}}\n}}\nX"


@pytest.mark.parametrize("cause, undo, where", [
    (NFT.format("output", "accept", "oifname virbr0 tcp dport {{ 80, 443 }} drop".replace("{{", "{").replace("}}", "}")),
     "nft delete table inet fw", "table inet fw, chain output"),
    (NFT.format("output", "accept", "ip daddr 192.168.122.0/24 tcp flags & (syn|ack) == syn reject with tcp reset"),
     "nft delete table inet fw", "table inet fw, chain output"),
    (NFT.format("output", "drop", "oifname lo accept"), "nft delete table inet fw", 'the policy "drop" of table inet fw'),
    (NFT.format("input", "accept", "iifname virbr0 ip saddr 192.168.122.0/24 tcp sport 80 drop"),
     "nft delete table inet fw", "swallows answers of"),
    (NFT.format("input", "accept", "iifname lo tcp dport 8080 drop"), "nft delete table inet fw",
     "swallows clients of 127.0.0.1:8080"),
    ("iptables-nft -A OUTPUT -o virbr0 -p tcp -m multiport --dports 80,443 -j REJECT",
     "iptables-nft -D OUTPUT -o virbr0 -p tcp -m multiport --dports 80,443 -j REJECT; "
     "iptables-nft -D OUTPUT -o virbr0 -j ACCEPT", "table ip filter, chain OUTPUT"),
    ("iptables-legacy -A OUTPUT -d 192.168.122.0/24 -j DROP",
     "iptables-legacy -D OUTPUT -d 192.168.122.0/24 -j DROP; iptables-legacy -D OUTPUT -o virbr0 -j ACCEPT",
     "table ip filter, chain OUTPUT (iptables-legacy)"),
], ids=["port", "first-packets", "policy", "answers", "clients", "iptables-nft", "iptables-legacy"])
@causes("firewall-drops")
def test_firewall(web, cause, undo, where):
    subprocess.run(cause, shell=True, check=True)
    try:
        one = finding("firewall-drops", "web")
        assert one["severity"] == "error" and where in one["message"], one
        for one in doctor("web"):
            mend(one)
        assert doctor("web") == []
        assert b"guest web" in wait_http(8080)
    finally:
        subprocess.run(undo, shell=True, check=True)
    assert doctor("web") == []


BELOW = "nft -f - <<'X'\ntable {0} low {{ chain {1} {{ type filter hook {1} {2} priority 0; policy {3};\n{4}\n}}\n}}\nX"


@pytest.mark.parametrize("family, hook, device, policy, rule, where", [
    ("bridge", "output", "", "accept", "ip daddr 192.168.122.0/24 tcp dport 80 drop", "swallows connections of this host"),
    ("bridge", "postrouting", "", "accept", "oifname TAP drop", "swallows connections of this host"),
    ("bridge", "prerouting", "", "accept", "ether saddr MAC ether type ip tcp sport 80 drop", "swallows answers of"),
    ("bridge", "input", "", "drop", "ether type arp accept", 'the policy "drop" of table bridge low'),
    ("netdev", "ingress", "device TAP", "accept", "ip protocol tcp drop", "swallows answers of"),
    ("netdev", "egress", "device virbr0", "accept", "tcp dport { 80, 443 } drop", "swallows connections of this host"),
    ("netdev", "ingress", "device lo", "accept", "tcp dport 8080 drop", "swallows clients of 127.0.0.1:8080"),
    ("inet", "ingress", "device virbr0", "accept", "tcp sport 80 drop", "swallows answers of"),
], ids=["bridge-port", "bridge-tap", "bridge-mac", "bridge-policy", "tap", "egress", "lo", "inet-ingress"])
@causes("firewall-drops")
def test_firewall_below(web, family, hook, device, policy, rule, where):
    """What sees frames on the guest's bridge and on the device of its own in it."""
    assert b"guest web" in wait_http(8080)  # the neighbour is known
    tap = ElementTree.fromstring(web.domain.XMLDesc()).find("./devices/interface/target").get("dev")
    words = {"TAP": tap, "MAC": web.macs()[0]}
    for word, value in words.items():
        device, rule = device.replace(word, value), rule.replace(word, value)
    subprocess.run(BELOW.format(family, hook, device, policy, rule), shell=True, check=True)
    try:
        one = finding("firewall-drops", "web")
        assert one["severity"] == "error" and where in one["message"] and f"table {family} low" in one["message"], one
        for one in doctor("web"):
            mend(one)
        assert doctor("web") == []
        assert b"guest web" in wait_http(8080)
    finally:
        subprocess.run(["nft", "delete", "table", family, "low"], check=True)
    assert doctor("web") == []


@pytest.mark.parametrize("table", [
    BELOW.format("bridge", "forward", "", "drop", ""),  # between guests
    BELOW.format("bridge", "output", "", "accept", "oifname other drop"),
    BELOW.format("netdev", "ingress", "device eth7", "drop", ""),
    BELOW.format("netdev", "egress", "device virbr0", "accept", "udp dport 80 drop\nip6 nexthdr tcp drop"),
], ids=["forwarded", "other-bridge", "other-device", "other-protocol"])
def test_rules_below_that_are_not_in_the_way(web, table):
    subprocess.run("ip link add eth7 type veth peer name eth8", shell=True, check=True)
    try:
        subprocess.run(table, shell=True, check=True)
        assert doctor("web") == []
        assert b"guest web" in wait_http(8080)
    finally:
        subprocess.run("nft delete table bridge low 2> /dev/null || nft delete table netdev low; ip link delete eth7",
                       shell=True, check=True)


@causes("firewall-drops")
def test_a_rule_that_depends(web):
    """Warned of, not said to be so."""
    subprocess.run(NFT.format("output", "accept", "meta mark 7 oifname virbr0 drop"), shell=True, check=True)
    try:
        one = finding("firewall-drops", "web")
        assert one["severity"] == "warning" and "may swallow" in one["message"]
    finally:
        subprocess.run("nft delete table inet fw", shell=True, check=True)


# --- explain

def test_explain_a_port(web):
    said = Cli("explain", "web", "8080").stdout
    assert 'decided by: definition "tcp:8080:80" in the metadata of the running domain and its next start' in said
    assert "not known: no agent tells what listens in the guest" in said
    pids = host.processes("virt-forward-relay") + host.processes("virt-forwardd")
    assert any(f"(process {pid}, user " in said for pid in pids), said
    assert Cli("explain", "web", "80").stdout == said, "by the guest's port too"
    nobody = Cli("explain", "web", "1234", check=False)
    assert nobody.status == 3 and "virt-forward add web 1234" in nobody.stdout
    shown = json.loads(Cli("explain", "web", "80", "--json").stdout)
    assert shown["decision"] == {"definition": "tcp:8080:80"} and shown["host"]["port"] == 8080
    assert shown["holders"][0]["process"]["pid"] in pids
