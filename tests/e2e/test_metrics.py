# SPDX-License-Identifier: LGPL-2.1-or-later
"""virt-forward-metrics beside the real daemon: what Prometheus would read, by the parser of its own client library."""
import contextlib
import http.client
import os
import pwd
import socket
import stat
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

import conftest
import test_bus
import test_readme
from lab import agents, programs, readme, wait
from lab import guest as guests
from lab.transfer import Transfer, answer, assert_served, refused

PROGRAM = "/usr/sbin/virt-forward-metrics"
SOCKET = "/run/lab/metrics.sock"
WEB = "<vf:forward guest-port='80' host-port='8080' offload='none'/>"


class UnixHttp(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self._path)


def ask(connection=None, path="/metrics", method="GET", **headers):
    """(status, headers, text)"""
    with contextlib.closing(connection or UnixHttp(SOCKET)) as opened:
        opened.request(method, path, headers=headers)
        response = opened.getresponse()
        return response.status, response.headers, response.read().decode()


class Metrics:
    """The samples of a text, which the strict parser has taken."""

    def __init__(self, text):
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = {}
        for family in self.families.values():
            assert family.documentation, family.name
            for sample in family.samples:
                key = (sample.name, frozenset(sample.labels.items()))
                assert key not in self.samples, f"twice: {key}"
                self.samples[key] = sample.value

    def __call__(self, name, **labels):
        return self.samples.get(("virt_forward_" + name, frozenset(labels.items())))

    def all(self, name):
        return {tuple(sorted(labels)): value for (one, labels), value in self.samples.items()
                if one == "virt_forward_" + name}


def scrape():
    status, headers, text = ask()
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Metrics(text)


def wait_metrics(condition, what, deadline=20):
    """The first scrape for which condition(metrics) holds. One reading serves a second."""
    def found():
        metrics = scrape()
        return condition(metrics) and metrics

    return wait.until(found, what, deadline)


def once(*arguments, status=0, says=""):
    done = subprocess.run([PROGRAM, "--once", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    assert says in done.stderr
    return Metrics(done.stdout)


@contextlib.contextmanager
def exporter(*arguments, user=None, path=SOCKET):
    """Runs it until it says that it is ready."""
    notify_path = "/run/lab/metrics-notify.sock"
    who = {}
    if user:
        account = pwd.getpwnam(user)
        who = dict(user=account.pw_uid, group=account.pw_gid, extra_groups=[])
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify, open("/run/lab/metrics.log", "wb+") as log:
        notify.bind(notify_path)
        os.chmod(notify_path, 0o666)
        notify.settimeout(30)
        process = subprocess.Popen([PROGRAM, f"--listen={path}", *arguments], stdin=subprocess.DEVNULL, stdout=log,
                                   stderr=log, env=dict(os.environ, NOTIFY_SOCKET=notify_path,
                                                       LSAN_OPTIONS=f"suppressions={programs.SUPPRESSIONS}"), **who)
        try:
            while b"READY=1" not in notify.recv(4096):
                pass
            yield process
        finally:
            process.terminate()
            status = process.wait(30)
            os.unlink(notify_path)
            log.seek(0)
            said = log.read().decode()
            print(said)
    assert status == 0, said
    assert not any(mark in said for mark in programs.SANITIZER_MARKS), said
    assert not os.path.exists(path)


@pytest.fixture
def daemon(nothing_left):
    yield from conftest._daemon(*agents.DAEMON_OPTIONS)


@pytest.fixture
def served(daemon):
    with exporter():
        yield daemon


def test_what_happens_is_counted(served, guest):
    before = scrape()
    assert before("up") == 1
    assert before("libvirt_connected") == before("relay_connected") == 1
    assert before("domains", state="running") == 0
    assert len(before.all("build_info")) == 1
    assert before.all("forwards") == before.all("bytes_total") == {}

    guest("web", guests.forwards(WEB)).address()
    served.wait_forward(domain="web", state="active")
    here = dict(domain="web", state="active", transport="tcp", offload="none")
    metrics = wait_metrics(lambda m: m("forwards", **here) == 1, "the forward is active")
    assert metrics("domains", state="running") == 1
    assert metrics("connections", domain="web") == 0

    assert_served(8080, "web")
    start = wait_metrics(lambda m: (m("connections_accepted_total", domain="web") or 0) >= 1 and
                         m("connections", domain="web") == 0, "the connections are counted, and over")
    with socket.create_connection(("127.0.0.1", 8080)):
        wait_metrics(lambda m: m("connections", domain="web") == 1, "a connection is there")
    assert Transfer(8080, mib=3).result() >= 3 << 20
    wait_metrics(lambda m: m("bytes_total", domain="web", direction="out") -
                 start("bytes_total", domain="web", direction="out") >= 3 << 20 and
                 m("connections", domain="web") == 0, "3 MiB came from the guest")
    end = scrape()
    assert end("bytes_total", domain="web", direction="in") > start("bytes_total", domain="web", direction="in")
    assert end("connections_failed_total", domain="web") == 0
    for lane in ("swift", "bulk"):
        buckets = [value for labels, value in end.all("relay_loop_seconds_bucket").items() if ("lane", lane) in labels]
        assert sorted(buckets)[-1] == end("relay_loop_seconds_count", lane=lane)
    assert end("relay_loop_seconds_count", lane="swift") > 0  # the other one may have had nothing to do
    assert end("relay_loop_seconds_sum", lane="swift") > 0
    assert end("guest_reports_slowed_total") == end("relay_connections_refused_total") == 0
    assert end("guest_ports_left_out") == 0


def test_states_failures_and_refusals(served, stand_in):
    scrape()  # totals are of what is counted from here on
    with socket.create_server(("127.0.0.1", 8082)):
        _, inside = stand_in(guests.forwards(
            "<vf:forward name='none' guest-port='81' host-port='8081'/>"
            "<vf:forward name='busy' guest-port='82' host-port='8082' on-busy='fail'/>"
            "<vf:forward name='one' guest-port='3000' host-port='8083' max-connections='1'/>"
            "<vf:forward name='off' guest-port='84' enabled='no'/>"))
        inside.serve(3000)
        served.wait_forward(name="one", state="active")
        served.wait_forward(name="none", state="no-listener")
        assert answer(8081) == "reset"
        metrics = wait_metrics(lambda m: (m("connections_failed_total", domain="web") or 0) >= 1, "a failure is counted")
        states = {dict(labels)["state"]: value for labels, value in metrics.all("forwards").items()}
        assert states == {"no-listener": 1, "port-busy": 1, "active": 1, "disabled": 1}
        assert metrics("relay_connections_refused_total") == 0
        failed = metrics("connections_failed_total", domain="web")
        with socket.create_connection(("127.0.0.1", 8083)):
            wait_metrics(lambda m: m("connections", domain="web") == 1, "a connection is there")
            assert answer(8083) == "reset"
            metrics = wait_metrics(lambda m: m("relay_connections_refused_total") == 1, "the refusal is counted")
            assert metrics("connections_failed_total", domain="web") == failed + 1
            assert metrics("connections", domain="web") == 1


def test_a_guests_ports(served, guest):
    """By state, and with a name that a label has to escape."""
    name = 'quo"te back\\slash'
    domain = guest(name, guests.forwards("<vf:auto><vf:rule action='block' guest-port='3001'/></vf:auto>"), start=False)
    with agents.StandIn(domain.uuid, "web").start_agent() as inside:
        domain.start_paused()
        inside.serve(3000)
        inside.serve(3001)
        served.wait_forward(host_port=3000, state="active")
        metrics = wait_metrics(lambda m: m("detected_ports", domain=name, state="blocked") == 1, "a blocked port")
        assert metrics("detected_ports", domain=name, state="forwarded") == 1
        assert metrics("forwards", domain=name, state="active", transport="vsock", offload="none") == 1
        domain.close()


def test_totals_stay_when_a_forward_goes(served, stand_in):
    _, inside = stand_in(guests.forwards(WEB))
    inside.serve_web()
    served.wait_forward(domain="web", state="active")
    wait_metrics(lambda m: m("bytes_total", domain="web", direction="out") is not None, "it is counted")
    assert_served(8080, "web")
    before = wait_metrics(lambda m: m("bytes_total", domain="web", direction="out") > 0, "bytes came")
    programs.Cli("add", "web", "8090:80")
    programs.Cli("remove", "web", "8080")
    after = wait_metrics(lambda m: sorted(dict(labels)["state"] for labels in m.all("forwards")) == ["active", "inactive"],
                         "the forward is gone until the next start")
    assert after("bytes_total", domain="web", direction="out") >= before("bytes_total", domain="web", direction="out")
    # while each forward's own begin with it
    single = once()
    assert single("bytes_total", domain="web", forward="tcp:8090:80", direction="out") == 0


def test_a_daemon_that_is_down(served):
    assert scrape()("up") == 1
    served.stop()
    metrics = wait_metrics(lambda m: m("up") == 0, "it is down")
    assert len(metrics.samples) == 1
    assert len(once(status=7, says="systemctl enable --now virt-forward.target").samples) == 1
    served.start()
    wait_metrics(lambda m: m("up") == 1 and m("libvirt_connected") == 1, "it is up again", 30)


def test_http(served):
    mode = os.stat(SOCKET)
    assert stat.S_ISSOCK(mode.st_mode) and stat.S_IMODE(mode.st_mode) == 0o660
    assert ask(path="/")[0] == 404
    status, headers, _ = ask(method="POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    status, headers, text = ask(method="HEAD")
    assert (status, text) == (200, "") and int(headers["Content-Length"]) > 100
    # one who says nothing keeps nobody out
    with socket.socket(socket.AF_UNIX) as mute, socket.socket(socket.AF_UNIX) as noise:
        mute.connect(SOCKET)
        noise.connect(SOCKET)
        noise.sendall(b"\0\1nonsense\r\n\r\n")
        scrape()


def drip(place):
    """One who sends his request a letter at a time for as long as he is let."""
    client = socket.create_connection(place) if isinstance(place, tuple) else socket.socket(socket.AF_UNIX)
    if isinstance(place, str):
        client.connect(place)
    client.sendall(b"GET /metrics HT")
    return client


@pytest.mark.parametrize("place", [("127.0.0.1", 9737), SOCKET], ids=["port", "socket"])
def test_a_thousand_who_hold_their_places(daemon, place):
    """Each scrape is answered while they come, and while they keep on sending."""
    with exporter("--listen=127.0.0.1:9737") as process:
        def scraped():
            connection = http.client.HTTPConnection(*place, timeout=20) if isinstance(place, tuple) else UnixHttp(place)
            status, _, text = ask(connection)
            return status == 200 and Metrics(text)("up") == 1

        assert scraped()
        files = len(os.listdir(f"/proc/{process.pid}/fd"))
        held = []
        try:
            for number in range(1000):
                held.append(drip(place))
                if number % 50 == 0:
                    assert scraped()
            assert scraped()  # so all who came before have left the queue
            kept = 0
            for client in held:
                with contextlib.suppress(OSError):
                    client.sendall(b"T")
                    client.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        client.recv(1)
                        continue
                    kept += 1
            assert scraped() and 0 < kept <= 64
            assert len(os.listdir(f"/proc/{process.pid}/fd")) <= files + 64
        finally:
            for client in held:
                client.close()
        wait.until(lambda: len(os.listdir(f"/proc/{process.pid}/fd")) <= files + 1, "they are gone")


@pytest.mark.parametrize("request_bytes, answer_starts", [
    (b"\0" * 4096, b""),
    (b"GET /metrics HTTP/1.1\r\nHost: " + b"h" * (1 << 20) + b"\r\n\r\n", b"HTTP/1.1 4"),
    (b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 100_000 + b"\r\n", b"HTTP/1.1 4"),
    (b"GET /" + b"%00" * 1000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 404"),
    (b"GET /metrics/../metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", b"HTTP/1.1 404"),
    (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999999999999\r\n\r\n", b"HTTP/1.1 4"),
    (b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n", b""),
    (b"GET /metrics HTTP/9.9\r\n\r\n", b"HTTP/1.1 "),
], ids=["zeros", "long-header", "many-headers", "nul-path", "dots", "length", "chunked", "version"])
def test_garbage_over_http(daemon, request_bytes, answer_starts):
    """Is refused or cut off, and costs no memory."""
    with exporter("--listen=127.0.0.1:9737") as process:
        def resident():
            with open(f"/proc/{process.pid}/statm", encoding="ascii") as file:
                return int(file.read().split()[1]) * 4096

        scrape()
        before = resident()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.create_connection(("127.0.0.1", 9737), 30)) for _ in range(5)]
            for client in clients:
                with contextlib.suppress(OSError):
                    client.sendall(request_bytes)
                    client.shutdown(socket.SHUT_WR)
            for client in clients:
                said = b""
                with contextlib.suppress(OSError):
                    said = client.recv(65536)
                assert said.startswith(answer_starts) or said == b"", said[:100]
        assert resident() - before < 16 << 20
        assert scrape()("up") == 1


def test_who_may_read_the_socket(daemon):
    """Its user and group; another user not even connects."""
    subprocess.run(["useradd", "-M", "mallory"], check=True)
    try:
        os.chmod("/run/lab", 0o755)
        with exporter():
            status, _, error = test_bus.run("curl", "--silent", "--show-error", "--unix-socket", SOCKET,
                                            "http://localhost/metrics", user="mallory")
            assert status == 7, error
            scrape()
    finally:
        subprocess.run(["userdel", "mallory"], check=True)


def test_the_readmes_lines(daemon):
    path = "/run/virt-forward-metrics/metrics.sock"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _, *lines = readme.blocks("Metrics", "sh")[0].splitlines()  # there is no systemd
    assert len(lines) == 2
    with exporter(path=path):
        for line in lines:
            assert Metrics(test_readme.run(line))("up") == 1, line
    os.rmdir(os.path.dirname(path))


def test_a_port_of_localhost(daemon):
    with exporter("--listen=127.0.0.1:9737"):
        def by(host):
            return ask(http.client.HTTPConnection("127.0.0.1", 9737, timeout=20), Host=host)[0]
        assert by("127.0.0.1:9737") == by("localhost") == by("[::1]:9737") == 200
        assert by("attacker.example:9737") == by("localhost.attacker.example") == by("192.168.122.1") == 403
        assert refused(9737, "192.168.122.1")
    for place in ("0.0.0.0:9737", "192.168.122.1:9737", "[::]:9737"):
        done = subprocess.run([PROGRAM, f"--listen={place}"], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 6
        assert f"{place} is not a loopback address" in done.stderr


def test_what_a_service_manager_passes(daemon):
    """A drop-in of virt-forward-metrics.socket with another address is refused by name."""
    activate = ["systemd-socket-activate", "-E", "ASAN_OPTIONS", "-E", "LSAN_OPTIONS", "-l", "0.0.0.0:9738", PROGRAM]
    done = subprocess.Popen(activate, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=dict(os.environ, LSAN_OPTIONS=f"suppressions={programs.SUPPRESSIONS}"))
    wait.until(lambda: not refused(9738), "it listens")
    assert "0.0.0.0:9738 is not a loopback address" in done.communicate(timeout=30)[1]
    assert done.returncode == 6


def test_a_passed_socket_outlives_the_program(daemon):
    """systemd keeps it, and starts the program again; a socket that is shut down fails its unit."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(SOCKET)
        listener.listen(8)
        for _ in range(2):
            passed = subprocess.Popen(
                ["sh", "-c", f"LISTEN_PID=$$ LISTEN_FDS=1 exec {PROGRAM} 3<&0"], stdin=listener, stderr=subprocess.PIPE,
                env=dict(os.environ, LSAN_OPTIONS=f"suppressions={programs.SUPPRESSIONS}"))
            try:
                assert wait.until(scrape, "it answers")("up") == 1
            finally:
                passed.terminate()
                _, said = passed.communicate(timeout=30)
            assert passed.returncode == 0, said
    os.unlink(SOCKET)


@pytest.fixture
def account():
    subprocess.run(["useradd", "-M", "virt-forward-metrics"], check=True)
    os.makedirs("/run/dbus", exist_ok=True)
    yield "virt-forward-metrics"
    subprocess.run(["userdel", "virt-forward-metrics"], check=True)


def test_its_own_user_reads_by_the_bus(nothing_left, account, guest, request):
    """By the rules that are installed; and may not do anything else."""
    path = "/run/vf-metrics/m.sock"
    os.makedirs(os.path.dirname(path))
    os.chown(os.path.dirname(path), pwd.getpwnam(account).pw_uid, 0)
    with test_bus.system_bus(), test_bus.polkit():
        daemon = request.getfixturevalue("daemon")
        wait.until(lambda: test_bus.owned(test_bus.NAME), "virt-forwardd owns its name")
        with exporter(user=account, path=path):
            _, _, text = ask(UnixHttp(path))
            assert Metrics(text)("up") == 1
        status, _, error = test_bus.call(test_bus.ROOT, "Manager.GetStatistics", user=account)
        assert status == 0, error
        guest("web", start=False)

        def found():
            status, out, _ = test_bus.call(test_bus.ROOT, "Manager.FindDomain", "web", user=account)
            return status == 0 and out.split("'")[1]

        domain = wait.until(found, "it may see the domain")
        status, _, error = test_bus.call(domain, "Domain.Block", "tcp", "'80'", "@a{sv} {}", user=account)
        assert status != 0 and "NotAllowed" in error
        status, out, error = test_bus.run(PROGRAM, "--once", user="nobody")
        assert (status, out.splitlines()[-1]) == (6, "virt_forward_up 0") and "may not" in error
        daemon.stop()
    os.rmdir(os.path.dirname(path))
