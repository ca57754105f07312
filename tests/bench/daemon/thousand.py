#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What 1,000 running domains with 5 forwards each cost the daemon. Run in a bare lab:

    tests/e2e/lab/enter --no-libvirt --stage DIR -- /usr/bin/python3 tests/bench/daemon/thousand.py

The domains are of libvirt's test driver; ports, relay and daemon are real. Prints the seconds from
starting the daemon until all 10,000 sockets listen (program start, connecting, reading all domains,
binding, and handing over to the relay), the same for a daemon that finds everything running, the
memory of daemon and relay, what the daemon does in 20 idle seconds, and scrapes of its metrics.
"""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../e2e"))

from lab import programs, wait  # noqa: E402

DOMAINS, FORWARDS, IDLE = 1000, 5, 20
TEST_XML = "/run/lab/thousand.xml"


def write_domains(path):
    with open(path, "w", encoding="utf-8") as out:
        out.write("<node>\n")
        for number in range(DOMAINS):
            forwards = "".join(f"<vf:forward guest-port='{80 + index}'/>" for index in range(FORWARDS))
            out.write(f"<domain type='test'><name>d{number:04}</name><memory>8192</memory><os><type>hvm</type></os>"
                      f"<metadata><vf:forwards xmlns:vf='urn:virt-forward:1'>{forwards}</vf:forwards></metadata>"
                      f"<devices><interface type='bridge'><source bridge='virbr0'/></interface></devices></domain>\n")
        out.write("</node>\n")


def listening():
    """Listening TCP sockets, by counting lines of the kernel's tables."""
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table, encoding="ascii") as lines:
            count += sum(line.split()[3] == "0A" for line in lines if ":" in line)
    return count


def status(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as lines:
        return int(next(line for line in lines if line.startswith(field + ":")).split()[1])


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def switches(pid):
    """Voluntary context switches of all threads: each is a wake-up."""
    return sum(status(f"{pid}/task/{task}", "voluntary_ctxt_switches") for task in os.listdir(f"/proc/{pid}/task"))


def start(want):
    began = time.monotonic()
    daemon = subprocess.Popen([programs.DAEMON, "--connect", f"test://{TEST_XML}", "--bus", "none"],
                              stderr=open("/run/lab/thousand.log", "a", encoding="utf-8"),
                              env=dict(os.environ, G_SLICE="always-malloc"))  # as the systemd unit does
    wait.until(want, "all forwards are there", 60)
    return daemon, time.monotonic() - began


def synced():
    """Whether the daemon answers for all domains."""
    listed = programs.Cli("--connect", f"test://{TEST_XML}", "list", check=False)
    return listed.stdout.count("\n") >= DOMAINS * FORWARDS


def scrapes(detail):
    """What five scrapes, 1.2 s apart so that each is a reading of its own, take and cost."""
    path = "/run/lab/thousand.metrics"
    exporter = subprocess.Popen(["/usr/sbin/virt-forward-metrics", f"--listen={path}", f"--detail={detail}"])
    wait.until(lambda: os.path.exists(path), "the exporter listens", 30)
    command = ["curl", "-sS", "--unix-socket", path, "http://localhost/metrics"]
    subprocess.run(command, check=True, capture_output=True)
    before, took = cpu_seconds(exporter.pid), []
    for _ in range(5):
        time.sleep(1.2)
        began = time.monotonic()
        text = subprocess.run(command, check=True, capture_output=True).stdout
        took.append(time.monotonic() - began)
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    print(f"scrape, {detail:7}  {sorted(took)[2] * 1000:.0f} ms ({min(took) * 1000:.0f} - {max(took) * 1000:.0f}), {series} "
          f"series, {len(text) / 1024:.0f} KiB, exporter {(cpu_seconds(exporter.pid) - before) / 5 * 1000:.0f} ms CPU each, "
          f"{status(exporter.pid, 'VmRSS') / 1024:.1f} MiB")
    exporter.terminate()
    exporter.wait()


def main():
    write_domains(TEST_XML)
    daemon, seconds = start(lambda: listening() == 2 * DOMAINS * FORWARDS)
    print(f"first start      {seconds:6.2f} s to {2 * DOMAINS * FORWARDS} listening sockets")
    wait.until(synced, "the daemon lists all forwards", 30)
    relay = programs.Daemon.relay_pids()[0]
    time.sleep(5)  # the answer's memory is given back after 2 s; idle is what comes then
    before = cpu_seconds(daemon.pid), switches(daemon.pid), cpu_seconds(relay), switches(relay)
    time.sleep(IDLE)  # the idle time is what is measured
    print(f"idle {IDLE} s       daemon {cpu_seconds(daemon.pid) - before[0]:.2f} CPU s, {switches(daemon.pid) - before[1]}"
          f" wake-ups; relay {cpu_seconds(relay) - before[2]:.2f} CPU s, {switches(relay) - before[3]} wake-ups")
    print(f"memory (VmRSS)   daemon {status(daemon.pid, 'VmRSS') / 1024:.1f} MiB, relay {status(relay, 'VmRSS') / 1024:.1f} MiB")
    listed = time.monotonic()
    synced()
    print(f"virt-forward list {time.monotonic() - listed:5.2f} s")
    for detail in ("host", "domain", "forward"):
        scrapes(detail)
    daemon.kill()
    daemon.wait()
    os.kill(relay, 9)


if __name__ == "__main__":
    main()
