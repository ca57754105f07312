# SPDX-License-Identifier: LGPL-2.1-or-later
"""The panel of an ordinary user beside the system's daemon, in a session of that user."""
import os

HOME = "/run/panel/nobody"
os.environ.update(HOME=HOME, XDG_RUNTIME_DIR=HOME, XDG_CONFIG_HOME=HOME, XDG_DATA_HOME=HOME, XDG_CACHE_HOME=HOME)

from session import Session  # noqa: E402

SESSION = Session().start()

from desktop import Panel, Role  # noqa: E402

with Panel() as panel:
    panel.wait(Role.LABEL, name="Not Allowed")
    panel.wait(Role.LABEL, part="sudo adduser $USER libvirt")
    panel.picture("not-allowed")
SESSION.stop()
