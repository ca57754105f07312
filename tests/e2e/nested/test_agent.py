# SPDX-License-Identifier: LGPL-2.1-or-later
"""The real thing: daemon, relay, vsock, and virt-forward-guest in a guest that has no other way to the
world. (../test_automatic.py has more of what needs no guest.)"""
import os
import resource
import select
import socket
import struct
import subprocess
import time
import zlib

import pytest

from lab import guest as guests
from lab import wait
from lab.programs import Cli, Watch
from lab.transfer import LOOPBACK, Echo, refused

BUILD = os.environ.get("VF_NESTED_BUILD", "")
MIB = 1 << 20
BULK = int(os.environ.get("VF_NESTED_MIB", "64"))  # each way
GREETING = b"SSH-2.0-lab\r\n"
ECHO, GREETS, DIGEST, SOURCE = 3000, 3001, 3002, 3003
STATIC = 13000  # the host port of a forward to ECHO that the metadata defines
START = f"""#!/bin/sh
tcp-serve 127.0.0.1 {ECHO}
tcp-serve -g 'SSH-2.0-lab\r
' 127.0.0.1 {GREETS}
tcp-serve -m digest 127.0.0.1 {DIGEST}
tcp-serve -m source -c {BULK} 127.0.0.1 {SOURCE}
exec virt-forward-guest > /run/agent.log 2>&1
"""
METADATA = guests.forwards(f"<vf:forward name='static' guest-port='{ECHO}' host-port='{STATIC}' transport='vsock'/>"
                           "<vf:auto/>")


def options():
    """A guest with the agent and servers, without a NIC."""
    files = {"/etc/start/services": START.encode(), "/bin/tcp-serve": f"{BUILD}/tcp-serve",
             **guests.program("/usr/sbin/virt-forward-guest")}
    return {"interfaces": [], "cmdline": "vf.http=no", "files": files}


@pytest.fixture(scope="module")
def daemon(shared_daemon):
    return shared_daemon


@pytest.fixture(scope="module")
def booted(shared_daemon, shared_guest):
    web = shared_guest("web", METADATA, **options())
    shared_daemon.wait_forward(60, host_port=STATIC, state="active")
    for port in (GREETS, DIGEST, SOURCE):
        shared_daemon.wait_forward(host_port=port, state="active")
    return web


@pytest.fixture
def web(booted, request):
    yield booted
    if getattr(request.node, "failed", False):
        print(f"--- the agent said\n{booted.run('cat /run/agent.log', check=False)[1]}")
        print(f"--- the guest runs for {booted.run('cat /proc/uptime')}--- its console\n{booted.console()[-4000:]}")


def says(port, text=b"hello", host="127.0.0.1"):
    """What an echo service sends back until it has ended."""
    with socket.create_connection((host, port), 30) as client:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        return client.makefile("rb").read()


def works(port):
    """The service answers now or soon."""
    return wait.until(lambda: says(port) == b"hello", f"port {port} answers", 60)


def pid_of(web, text):
    """The process of the guest whose command line holds `text`."""
    # ps shows another name than that of the program in braces before it
    found = web.run(f"ps -o pid,args | grep -E '^ *[0-9]+ ([{{][a-z]+[}}] )?tcp-serve.* {text}' | head -1")
    return int(found.split()[0])


def start_agent(web):
    web.run("virt-forward-guest > /run/agent.log 2>&1 &")


def end_agent(web):
    web.run("killall -9 virt-forward-guest; while pidof virt-forward-guest; do sleep 0.1; done")


# --- what goes through


def test_forwards(daemon, web):
    """Of the definition and by itself, to a server on the guest's own loopback."""
    defined = daemon.wait_forward(host_port=STATIC)
    assert (defined["transport"], defined["origin"]) == ("vsock", "metadata")
    found = daemon.wait_forward(host_port=GREETS)
    assert (found["transport"], found["origin"], found["guest"]["port"]) == ("vsock", "auto", GREETS)
    assert found["process"]["name"] == "tcp-serve"
    assert found["process"]["pid"] == pid_of(web, GREETS)
    for host in LOOPBACK:
        assert says(STATIC, host=host) == b"hello"
    assert web.run("ls /sys/class/net").split() == ["lo"]


def test_who_speaks_first(daemon, web):
    with socket.create_connection(("127.0.0.1", GREETS), 30) as client:
        assert client.recv(len(GREETING), socket.MSG_WAITALL) == GREETING
        client.sendall(b"SSH-2.0-client")
        assert client.recv(14, socket.MSG_WAITALL) == b"SSH-2.0-client"
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    with socket.create_connection(("127.0.0.1", DIGEST), 30) as client:
        client.settimeout(1)
        with pytest.raises(socket.timeout):
            client.recv(1)
        client.settimeout(30)
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read() == b"8 %d\n" % zlib.adler32(b"question")


def test_bulk_to_the_guest(daemon, web):
    block = os.urandom(MIB)
    digest = 1
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", DIGEST), 60) as client:
        for number in range(BULK):
            head = struct.pack("<Q", number)
            client.sendall(head)
            client.sendall(memoryview(block)[8:])
            digest = zlib.adler32(memoryview(block)[8:], zlib.adler32(head, digest))
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read() == b"%d %d\n" % (BULK * MIB, digest)
    print(f"to the guest: {BULK / (time.monotonic() - began):.1f} MiB/s")


def test_bulk_from_the_guest(daemon, web):
    digest, received, last = 1, 0, b""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", SOURCE), 60) as client:
        while data := client.recv(MIB):
            received += len(data)
            data = last + data
            last = data[-8:]
            digest = zlib.adler32(memoryview(data)[:-8], digest)
    assert received == BULK * MIB + 8
    assert digest == int(last, 16)
    print(f"from the guest: {BULK / (time.monotonic() - began):.1f} MiB/s")


def test_a_thousand_at_once(daemon, web):
    """All are open together. They come in hundreds: an emulated guest on a busy machine takes longer for more
    than the relay waits for one."""
    count, together = 1000, 100
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients, back = [], {}
    poll = select.poll()
    began = time.monotonic()
    try:
        for number in range(count):
            client = socket.create_connection(("127.0.0.1", STATIC), 60)
            clients.append(client)
            back[client.fileno()] = (client, b"connection %d\n" % number * 10, bytearray())
            client.sendall(b"connection %d\n" % number * 10)
            poll.register(client, select.POLLIN)
            if (number + 1) % together:
                continue
            waiting, end = together, time.monotonic() + 60 * wait.SLOWNESS
            while waiting and time.monotonic() < end:
                for fd, _ in poll.poll(1000):
                    client, wanted, got = back[fd]
                    data = client.recv(4096)
                    assert data, f"connection {clients.index(client)} of {count} ended"
                    got += data
                    if len(got) >= len(wanted):
                        assert got == wanted
                        poll.unregister(fd)
                        waiting -= 1
            assert waiting == 0, f"{waiting} of {number + 1} have no answer"
        print(f"{count} connections answered after {time.monotonic() - began:.1f} s")
        # all of them live, in any order
        for client in reversed(clients):
            client.sendall(b"x")
        for client in clients:
            assert client.recv(1) == b"x"
    finally:
        for client in clients:
            client.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- names


def test_names(daemon, web):
    """Of a server whose parent has ended, that renames itself, before or later, and of one in a container."""
    scope = "/sys/fs/cgroup/docker-" + "0123456789abcdef" * 4 + ".scope"
    web.run("mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    web.run("tcp-serve 127.0.0.1 3010; tcp-serve -n renamed 127.0.0.1 3011; tcp-serve -N later 127.0.0.1 3012")
    web.run(f"mkdir {scope}; (echo 0 > {scope}/cgroup.procs; exec unshare -p -f sh -c "
            "'tcp-serve -n contained 0.0.0.0 3013; sleep 1000') > /run/contained 2>&1 &")
    for port, name in ((3010, "tcp-serve"), (3011, "renamed"), (3012, "later"), (3013, "contained")):
        forward = daemon.wait_forward(host_port=port)
        process = wait.until(lambda p=port: daemon.wait_forward(host_port=p).get("process"), f"process of {port}", 10)
        assert process["name"] == name, port
        assert process["command"].split()[0] == "tcp-serve"
        assert process["pid"] == pid_of(web, port), port
        assert forward["guest"]["port"] == port
        assert says(port) == b"hello"
    listed = Cli("list", "web").stdout
    assert "renamed" in listed and "contained" in listed
    for port in (3010, 3011, 3012, 3013):
        web.run(f"kill {pid_of(web, port)}")
    wait.until(lambda: all(refused(port) for port in (3010, 3011, 3012, 3013)), "all refuse", 10)


def test_a_short_life(daemon, web):
    """Gone before anybody could look twice: told with its name, and gone again."""
    with Watch() as watch:
        web.run(f"tcp-serve -t {300 * wait.SLOWNESS:.0f} -n brief 127.0.0.1 3020")
        added = watch.wait("added", id="auto:tcp:localhost=3020")
        assert added["forward"]["process"]["name"] == "brief"
        watch.wait("removed", id="auto:tcp:localhost=3020")
    assert refused(3020)


def test_binds_dies_and_binds_again(daemon, web):
    """200 times; who connects meanwhile is served or refused, never hangs and never gets to somebody else."""
    lines = daemon.log().count("\n")
    web.run("(tcp-serve -r 200,40,10 127.0.0.1 3030; echo end) > /run/rebind 2>&1 &")
    served = ended = 0
    began = time.monotonic()
    while "end" not in web.run("tail -n 1 /run/rebind"):
        assert time.monotonic() < began + 300
        for _ in range(5):
            try:
                served += says(3030) == b"hello"
            except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
                ended += 1
            time.sleep(0.01)
    print(f"{served} served, {ended} refused or reset within {time.monotonic() - began:.1f} s")
    assert web.run("wc -l < /run/rebind").strip() == "201"
    assert served > 0
    wait.until(lambda: refused(3030), "port 3030 refuses", 10)
    web.run("tcp-serve -t 3000 127.0.0.1 3030")
    works(3030)
    assert [f["host"]["port"] for f in daemon.forwards() if f["guest"]["port"] == 3030] == [3030]
    assert daemon.log().count("\n") - lines < 100
    wait.until(lambda: refused(3030), "port 3030 refuses", 10)


# --- who may


def test_block_and_unblock(daemon, web):
    with Echo(GREETS) as open_one, Echo(STATIC) as other:
        assert open_one._socket.recv(len(GREETING), socket.MSG_WAITALL) == GREETING
        open_one.say()
        other.say()
        Cli("block", "web", str(GREETS))
        assert refused(GREETS)
        assert open_one.ended(30) == "reset"
        other.say()
    assert not [f for f in daemon.forwards() if f["guest"]["port"] == GREETS]
    Cli("unblock", "web", str(GREETS))
    with socket.create_connection(("127.0.0.1", GREETS), 30) as client:
        assert client.recv(len(GREETING), socket.MSG_WAITALL) == GREETING


# Says the status of the agent's reply, as a user of the host who is nobody special.
ASK = """
import socket, struct, sys
cid, service, target, port, token = (int(word) for word in sys.argv[1:])
agent = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
agent.settimeout(30)
agent.connect((cid, 1010))
agent.sendall(struct.pack("<8sHBBHH16s128x", b"VFGUEST\\x1a", 1, service, target, 0, port, bytes([token] * 16)))
reply = agent.makefile("rb").read()
print(len(reply), struct.unpack("<4sHHiI", reply)[2])
"""


def test_other_users_of_the_host(daemon, web):
    """Neither the agent's token nor, without it, any service of the guest is for them."""
    def status(*numbers):
        said = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
                               "/usr/bin/python3", "-c", ASK, str(web.cid()), *map(str, numbers)],
                              stdout=subprocess.PIPE, text=True, check=True, timeout=120).stdout
        return said.split()

    assert status(1, 0, 0, 0) == ["16", "3"]
    assert status(2, 1, ECHO, 0x55) == ["16", "4"]
    assert status(2, 1, ECHO, 0) == ["16", "4"]
    assert status(3, 1, ECHO, 0x55) == ["16", "4"]
    works(STATIC)


def test_another_version(daemon, web):
    """An agent that knows version 2 only: the daemon says so, and what to do."""
    end_agent(web)
    web.run("printf '#!/bin/sh\\nhead -c 160 > /dev/null\\nprintf \"VFG\\\\032\\\\002\\\\000\\\\002\\\\000"
            "\\\\000\\\\000\\\\000\\\\000\\\\000\\\\000\\\\000\\\\000\"\\n' > /run/other; chmod 755 /run/other")
    web.run("vsock listen 1010 /run/other")
    waiting = daemon.wait_forward(60, host_port=STATIC, state="waiting")
    assert "protocol 2" in waiting["reason"] and "same version" in waiting["reason"]
    web.run("killall vsock")
    start_agent(web)
    daemon.wait_forward(60, host_port=STATIC, state="active")
    works(STATIC)
    assert daemon.wait_forward(60, host_port=GREETS, state="active")["origin"] == "auto"


# --- what guests go through


def test_agent_killed(daemon, web):
    with socket.create_connection(("127.0.0.1", SOURCE), 30) as client:
        received = len(client.recv(65536, socket.MSG_WAITALL))
        end_agent(web)
        with pytest.raises(ConnectionResetError):
            while data := client.recv(65536):
                received += len(data)
        assert received < BULK * MIB
    start_agent(web)
    works(STATIC)
    assert daemon.wait_forward(host_port=GREETS, state="active")["origin"] == "auto"
    with socket.create_connection(("127.0.0.1", GREETS), 30) as client:
        assert client.recv(len(GREETING), socket.MSG_WAITALL) == GREETING


def test_suspended_and_resumed(daemon, web):
    with Echo(STATIC, timeout=60) as open_one:
        open_one.say()
        web.domain.suspend()
        open_one._socket.sendall(b"while it sleeps")
        with pytest.raises(socket.timeout):
            open_one._socket.settimeout(3)
            open_one._socket.recv(1)
        open_one._socket.settimeout(60)
        web.domain.resume()
        assert open_one._socket.recv(15, socket.MSG_WAITALL) == b"while it sleeps"
        open_one.say()
    works(STATIC)


def test_life_of_a_guest(daemon, guest):
    """Rebooted, saved, restored, destroyed: its forwards work again by themselves; connections of before are
    reset, not left hanging."""
    host = 14000
    made = guest("moving", METADATA.replace(str(STATIC), str(host)), **options())
    daemon.wait_forward(60, host_port=host, state="active")
    works(host)
    with Echo(host) as open_one, Echo(host) as other:
        open_one.say()
        other.say()
        made.order("reboot -f")
        assert open_one.ended(60 * wait.SLOWNESS) == "reset"
        assert other.ended(10) == "reset"
    works(host)
    daemon.wait_forward(60, host_port=host, state="active")
    with Echo(host) as open_one:
        open_one.say()
        made.domain.save("/run/lab/saved")
        assert open_one.ended(30) == "reset"
    wait.until(lambda: refused(host), f"port {host} refuses", 10)
    made.connection.restore("/run/lab/saved")
    os.unlink("/run/lab/saved")
    works(host)
    with Echo(host) as open_one:
        open_one.say()
        made.domain.destroy()
        assert open_one.ended(30) == "reset"
    wait.until(lambda: refused(host), f"port {host} refuses", 10)
