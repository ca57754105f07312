# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients of the guest's web server, through a forward or directly."""
import http.client
import http.server
import socket
import subprocess
import threading

from . import wait

MIB = 1 << 20
LOOPBACK = ("127.0.0.1", "::1")
_BLOCK = b"".join(b"%07d\n" % number for number in range(131070))


def http_get(port, path="/", host="127.0.0.1", timeout=10.0):
    """The body of a page. Raises OSError for whatever goes wrong on the way."""
    connection = http.client.HTTPConnection(host, port, timeout=timeout)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        body = reply.read()
        if reply.status != 200:
            raise ConnectionError(f"status {reply.status}: {body[:200]!r}")
        return body
    except http.client.HTTPException as error:
        raise ConnectionError(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()


def wait_http(port, path="/", host="127.0.0.1", deadline=60.0):
    """The page as soon as it can be had; each try is short, so that a lost SYN costs little."""
    return wait.until(lambda: http_get(port, path, host, timeout=2.0), f"a page from {host}:{port}", deadline)


def refused(port, host="127.0.0.1"):
    """Whether a connection is refused right now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(5.0)
        return client.connect_ex((host, port)) == 111


def assert_served(port, name, deadline=60.0):
    """On both loopback addresses the page is that of the guest `name`, now or soon."""
    for host in LOOPBACK:
        page = wait_http(port, host=host, deadline=deadline)
        assert page == f"virt-forward lab guest {name}\n".encode(), f"{host}:{port} is {page!r}"


def wait_refused(*ports, deadline=2.0):
    """Until connections to the ports are refused on both loopback addresses."""
    for port in ports:
        for host in LOOPBACK:
            wait.until(lambda: refused(port, host), f"{host}:{port} refuses", deadline)


def kernel_peer(client):
    """Where the kernel's socket of an established connection of ours really goes, as "ADDRESS:PORT"."""
    port = client.getsockname()[1]
    line = subprocess.run(["ss", "-Htn", "state", "established", f"sport = :{port}"], capture_output=True, text=True,
                          check=True).stdout
    if not line:
        raise ConnectionError("it is not established any more")
    return line.split()[3]


class HostService:
    """A web server of the host's own: "host service" for whoever asks. Use it in a with statement."""

    PAGE = b"host service"

    def __init__(self, port, host="127.0.0.1"):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(HostService.PAGE)))
                self.end_headers()
                self.wfile.write(HostService.PAGE)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_port = False
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

            def handle_error(self, *_):
                pass

        self._server = Server((host, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class Echo:
    """A connection to a guest's `listen PORT cat`, through a forward."""

    def __init__(self, port, host="127.0.0.1", timeout=30.0):
        self._socket = socket.create_connection((host, port), timeout)

    def say(self, text=b"hello"):
        """Sends and waits until it has come back."""
        self._socket.sendall(text)
        back = b""
        while len(back) < len(text):
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionError(f"ended after {back!r}")
            back += data
        assert back == text

    def ended(self, deadline=5.0):
        """Waits for the other side's end: "reset" (also by this kernel, of what was taken past the relay) or "end"."""
        self._socket.settimeout(deadline)
        try:
            data = self._socket.recv(1)
        except (ConnectionResetError, ConnectionAbortedError):
            return "reset"
        assert not data, data
        return "end"

    def close(self):
        self._socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def answer(port, host="127.0.0.1"):
    """How a client that says nothing is ended: "reset" or "end"."""
    try:
        with Echo(port, host) as client:
            return client.ended(10)
    except ConnectionResetError:  # already while it connects
        return "reset"


class Transfer:
    """Fetches block data (see guest-image) in a thread and checks every byte.

    The thread starts at once. close() is safe at any time; result() joins and raises what went wrong.
    """

    def __init__(self, port, mib=100, host="127.0.0.1", timeout=60.0):
        self.mib = mib
        self.received = 0
        self._error = None
        self._closing = False
        self._socket = socket.create_connection((host, port), timeout)
        self._socket.sendall(f"GET /cgi-bin/data?{mib} HTTP/1.0\r\n\r\n".encode())
        self._thread = threading.Thread(target=self._run, name=f"transfer-{port}", daemon=True)
        self._thread.start()

    @property
    def running(self):
        return self._thread.is_alive()

    def wait_received(self, mib, deadline=60.0):
        """Blocks until that much has come; raises at once if the transfer has failed."""
        def enough():
            if self._error:
                raise AssertionError(f"transfer failed after {self.received} bytes: {self._error}")
            return self.received >= mib * MIB

        wait.until(enough, f"{mib} MiB received", deadline)

    def result(self, deadline=120.0):
        """Returns the number of bytes once all have come, each the right one."""
        self._thread.join(deadline)
        if self._thread.is_alive():
            raise wait.Timeout(f"transfer unfinished after {deadline} s: {self.received} bytes")
        if self._error:
            raise AssertionError(f"transfer failed after {self.received} bytes: {self._error}")
        return self.received

    def failure(self, deadline=60.0):
        """What ended it, for a transfer that must not complete."""
        self._thread.join(deadline)
        if self._thread.is_alive() or self._error is None:
            raise AssertionError(f"the transfer was expected to fail; {self.received} bytes so far")
        return self._error

    def close(self):
        self._closing = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(10.0)
        self._socket.close()

    def _run(self):
        try:
            with self._socket.makefile("rb", buffering=65536) as stream:
                status = stream.readline()
                if b" 200 " not in status:
                    raise ConnectionError(f"answer {status!r}")
                while stream.readline().strip():
                    pass
                for number in range(self.mib):
                    self._check(stream, b"%015d\n" % number)
                    for offset in range(0, len(_BLOCK), 65536):
                        self._check(stream, _BLOCK[offset:offset + 65536])
                if stream.read(1):
                    raise ConnectionError("more than was asked for")
        except Exception as error:  # pylint: disable=broad-except  # handed to result()
            if not self._closing:
                self._error = f"{type(error).__name__}: {error}"

    def _check(self, stream, expected):
        data = stream.read(len(expected))
        if data != expected:
            if len(data) < len(expected) and expected.startswith(data):
                raise ConnectionError(f"ended after {self.received + len(data)} bytes")
            raise ConnectionError(f"wrong bytes at {self.received}: {data[:32]!r}, expected {expected[:32]!r}")
        self.received += len(data)
