#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs every row of the bench once, on the direct connection, and wants figures above 0."""
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

import judge  # noqa: E402
import rows  # noqa: E402


def figures(load):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        subprocess.run([f"{HERE}/run", "--load", load, "--peers", "direct", "--pairs", "1", "--window", "50",
                        "--json", out.name], check=True, stdout=subprocess.DEVNULL)
        return json.load(out)


def main():
    measured = figures(sys.argv[1])
    for row in rows.ROWS:
        only = measured[row.key]["direct"][0]
        for line in row.lines:
            if line.key in only:  # some are a relay's alone
                assert only[line.key] > 0, (row.key, line.key, only)
        assert only[row.lines[0].key] > 0, (row.key, only)
    assert measured["endings"]["direct"][0]["server_ends"] == 20, measured["endings"]

    samples = judge.Samples(["virt-forward", "a", "b"])
    for ours, a, b in ((9, 10, 1), (8, 10, 1), (9, 10, 1)):
        for name, value in (("virt-forward", ours), ("a", a), ("b", b)):
            samples.add(name, {"rate": value})
    best, median, _ = judge.compare(samples, ["virt-forward", "a", "b"], rows.Line("", "rate", ""))
    assert (best, median) == ("a", 0.9), (best, median)
    assert judge.verdict(0.96, 1.01) == "first or equal" and judge.verdict(0.96, 0.99) == "behind"
    assert judge.verdict(0.94, 1.2) == "behind" and judge.verdict(0.89, 1.2) == "below 0.9"


if __name__ == "__main__":
    main()
