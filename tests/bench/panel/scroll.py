# SPDX-License-Identifier: LGPL-2.1-or-later
"""scroll.py PROGRAM: what it measures, on a display of its own."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "panel"))

from session import Session  # noqa: E402

SESSION = Session().start()
for rows in ("30", "1000"):
    print(f"{rows} forwards", flush=True)
    # What fontconfig and GTK keep to the end is not measured here.
    subprocess.run([sys.argv[1], rows], check=True, timeout=60, env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
SESSION.stop()
