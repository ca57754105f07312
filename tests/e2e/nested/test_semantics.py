# SPDX-License-Identifier: LGPL-2.1-or-later
"""What Linux's vsock does, where our programs lean on it. Nothing of ours runs here."""
import ctypes
import errno
import os
import select
import socket
import subprocess
import time

import pytest

from lab import wait

LOOPBACK = 1
GONE = select.POLLIN | select.POLLRDHUP
BROKEN = GONE | select.POLLERR
LIBC = ctypes.CDLL(None, use_errno=True)


def vsock(port=None):
    made = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    if port is not None:
        made.bind((socket.VMADDR_CID_ANY, port))
    made.settimeout(20)
    return made


def connected(cid, port):
    made = vsock()
    made.connect((cid, port))
    return made


def pair():
    """Two ends of a connection through the loopback."""
    with vsock(9000) as listener:
        listener.listen()
        client = connected(LOOPBACK, 9000)
        server = listener.accept()[0]
    server.settimeout(20)
    return client, server


def events(end, seconds):
    """What poll says within that time, without POLLOUT."""
    poll = select.poll()
    poll.register(end, GONE)
    return sum(mask for _fd, mask in poll.poll(seconds * 1000))


def failure(call):
    """The errno of what must fail."""
    with pytest.raises(OSError) as caught:
        call()
    return caught.value.errno


def empty_send(end):
    """0, or the errno, of a send() of no bytes."""
    return 0 if LIBC.send(end.fileno(), b"", 0, socket.MSG_NOSIGNAL) == 0 else ctypes.get_errno()


def test_half_close():
    client, server = pair()
    with client, server:
        server.sendall(b"last words")
        server.shutdown(socket.SHUT_WR)
        assert events(client, 10) & GONE
        assert client.makefile("rb").read() == b"last words"
        assert empty_send(client) == 0
        client.sendall(b"goes on")
        assert server.recv(100) == b"goes on"


@pytest.mark.parametrize("way", ["close", "close with unread bytes", "linger 0", "both ways"])
def test_end_of_the_peer(way):
    """Never an error, whatever the peer did; an empty send tells it from a half-close."""
    client, server = pair()
    with client:
        server.sendall(b"last words")
        if way == "close with unread bytes":
            client.sendall(b"unread")
            assert events(server, 10) & select.POLLIN
        if way == "linger 0":
            value = (ctypes.c_int * 2)(1, 0)
            assert LIBC.setsockopt(server.fileno(), socket.SOL_SOCKET, socket.SO_LINGER, value, 8) == 0
        if way == "both ways":
            server.shutdown(socket.SHUT_RDWR)
        else:
            server.close()
        assert client.makefile("rb").read() == b"last words"
        assert events(client, 0) == GONE
        assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        assert wait.until(lambda: empty_send(client) == errno.EPIPE, "the peer is known to be gone")
        server.close()


def test_privileged_ports():
    """Only real root has one: no other user, not in a user namespace of his own either."""
    bind = ["/usr/bin/python3", "-c", "import socket, sys\ntry: socket.socket(40, 1).bind((0xffffffff, int(sys.argv[1])))\n"
                                      "except PermissionError: print('no')\nelse: print('yes')"]
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]

    def says(*command):
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout.strip()

    assert says(*bind, "1000") == "yes"
    assert says(*nobody, *bind, "1024") == "yes"
    assert says(*nobody, *bind, "1000") == "no"
    assert says(*nobody, "unshare", "--map-root-user", "--user", "--net", *bind, "1000") == "no"


def test_nobody_there():
    with vsock() as client:
        assert failure(lambda: client.connect((LOOPBACK, 9999))) == errno.ECONNRESET
    with vsock() as client:
        assert failure(lambda: client.connect((77, 9999))) == errno.ENODEV


def test_splice():
    client, server = pair()
    with client, server:
        readable, writable = os.pipe()
        os.write(writable, b"through")
        assert os.splice(readable, client.fileno(), 7) == 7
        wait.until(lambda: events(server, 1), "bytes")
        assert os.splice(server.fileno(), writable, 100) == 7
        assert os.read(readable, 100) == b"through"
        os.close(readable)
        os.close(writable)


def test_life_of_a_guest(guest):
    """Paused, rebooted, saved, restored, destroyed: what its connections say."""
    inner = guest(start=False)
    inner.start_paused()
    cid = inner.cid()
    began = time.monotonic()
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as client:
        assert failure(lambda: client.connect((cid, 5000))) == errno.ETIMEDOUT
    assert 1.5 < time.monotonic() - began < 10
    inner.domain.resume()
    inner.run("vsock listen 5000 cat")
    with vsock() as client:
        assert failure(lambda: client.connect((cid, 5001))) == errno.ECONNRESET

    with connected(cid, 5000) as client:
        client.sendall(b"before")
        assert client.recv(100) == b"before"
        inner.order("reboot -f")
        wait.until(lambda: inner.run("pidof vsock", check=False)[0] == 1, "a new boot", 60)
        assert inner.cid() == cid
        # nobody tells: only what is sent is answered
        assert events(client, 0.5) == 0
        assert empty_send(client) == 0
        client.sendall(b"x")
        assert events(client, 10) == GONE
        assert client.recv(100) == b""
        assert empty_send(client) == errno.EPIPE

    inner.run("vsock listen 5000 cat")
    with connected(cid, 5000) as client:
        inner.domain.save("/tmp/saved")
        assert events(client, 10) == BROKEN
        assert failure(lambda: client.recv(100)) == errno.ECONNRESET
    with vsock() as client:
        assert failure(lambda: client.connect((cid, 5000))) == errno.ENODEV
    inner.connection.restore("/tmp/saved")
    os.unlink("/tmp/saved")
    with connected(inner.cid(), 5000) as client:
        client.sendall(b"after")
        assert client.recv(100) == b"after"
        inner.domain.destroy()
        assert events(client, 10) == BROKEN
