# SPDX-License-Identifier: LGPL-2.1-or-later
"""What contrib/grafana/virt-forward.json asks for, asked of a real Prometheus that reads our metrics."""
import contextlib
import json
import os
import re
import subprocess
import urllib.parse
import urllib.request

import pytest

from lab import agents, programs, wait
from lab import guest as guests
from test_metrics import daemon, exporter  # noqa: F401  daemon is a fixture

DASHBOARD = os.path.join(os.path.dirname(__file__), "../../contrib/grafana/virt-forward.json")
METRICS, PROMETHEUS = "127.0.0.1:9737", "127.0.0.1:9790"


@pytest.fixture
def prometheus(tmp_path):
    """Reads METRICS each second."""
    settings = tmp_path / "prometheus.yml"
    settings.write_text("global: {scrape_interval: 1s}\n"
                        f"scrape_configs: [{{job_name: lab, static_configs: [{{targets: ['{METRICS}']}}]}}]\n")
    with open(tmp_path / "log", "wb") as log:
        process = subprocess.Popen(["prometheus", f"--config.file={settings}", f"--storage.tsdb.path={tmp_path}/data",
                                    f"--web.listen-address={PROMETHEUS}"], stdout=log, stderr=log)
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)
            print((tmp_path / "log").read_text()[-2000:])


def ask(expression):
    """What Grafana would be told: a list of series."""
    with urllib.request.urlopen(f"http://{PROMETHEUS}/api/v1/query?query={urllib.parse.quote(expression)}",
                                timeout=20) as response:
        said = json.load(response)
    assert said["status"] == "success", said
    return said["data"]["result"]


def asks(part):
    """Every expression in the dashboard, as Grafana fills it in."""
    if isinstance(part, list):
        part = dict(enumerate(part))
    if not isinstance(part, dict):
        return
    for key, value in part.items():
        if key == "expr":
            yield value.replace("$__rate_interval", "10s").replace("$instance", ".*").replace("$domain", ".*")
        yield from asks(value)


def test_every_panel_has_something_to_show(daemon, guest, prometheus):  # noqa: F811
    with open(DASHBOARD, encoding="utf-8") as file:
        dashboard = json.load(file)
    domain = guest("web", guests.forwards("<vf:auto/>"), start=False)
    with agents.StandIn(domain.uuid, "web").start_agent() as inside, exporter(f"--listen={METRICS}"):
        domain.start_paused()
        inside.serve(3000)
        daemon.wait_forward(host_port=3000, state="active")
        wait.until(lambda: ready() and ask("count_over_time(virt_forward_detected_ports[10s]) >= 3"),
                   "it has read three times", 60)
        for expression in asks(dashboard["panels"]):
            assert "$" not in expression
            assert ask(expression), f"nothing to show for {expression}"
        for variable in dashboard["templating"]["list"]:
            values = re.fullmatch(r"label_values\((.*), (\w+)\)", variable.get("definition", ""))
            if values:
                query, label = values.groups()
                assert any(label in series["metric"] for series in ask(query.replace("$instance", ".*"))), variable
        domain.close()


def ready():
    with contextlib.suppress(OSError):
        with urllib.request.urlopen(f"http://{PROMETHEUS}/-/ready", timeout=5) as response:
            return response.status == 200
    return False


def test_prometheus_has_nothing_to_say_about_the_metrics(daemon):  # noqa: F811
    text = subprocess.run(["virt-forward-metrics", "--once"], capture_output=True, check=True,
                          env=dict(os.environ, LSAN_OPTIONS=f"suppressions={programs.SUPPRESSIONS}")).stdout
    judged = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert (judged.returncode, judged.stdout + judged.stderr) == (0, b"")
