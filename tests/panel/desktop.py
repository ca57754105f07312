# SPDX-License-Identifier: LGPL-2.1-or-later
"""The panel as somebody at the desk has it: read and pressed through AT-SPI, typed at through the X server."""
import os
import subprocess

import gi

gi.require_version("Atspi", "2.0")
from gi.repository import Atspi, GLib  # noqa: E402

from machines import BUILD  # noqa: E402
from session import until  # noqa: E402

PANEL = f"{BUILD}/src/panel/virt-forward-panel"
PICTURES = os.environ.get("VF_PICTURES", f"{BUILD}/tests/panel/pictures")
LISTS = ("Forwards", "Weiterleitungen")
Role = Atspi.Role
# A machine with other things to do is no panel that hangs.
Atspi.set_timeout(20000, 20000)


def children(node):
    for index in range(node.get_child_count()):
        child = node.get_child_at_index(index)
        if child:
            yield child


def is_showing(node):
    """GTK 4.8 knows no more than that; what is in something hidden is not in the tree at all."""
    return node.get_state_set().contains(Atspi.StateType.VISIBLE)


def actions(node):
    try:
        return Atspi.Action.get_n_actions(node)
    except GLib.Error:
        return 0


def walk(node, depth=0):
    yield node
    if depth < 40:
        for child in children(node):
            yield from walk(child, depth + 1)


def outline(node, rows):
    """The same without what is in the rows of the panel's list, each of which is a question to the panel; and without the
    rows where they are not looked for."""
    yield node
    if node.get_role() == Role.LIST and node.get_name() in LISTS:
        if rows:
            yield from children(node)
        return
    for child in children(node):
        yield from outline(child, rows)


def way_to(roles):
    """The menu of a row is in the row."""
    return walk if Role.MENU_ITEM in roles else lambda application: outline(application, Role.LIST_ITEM in roles)


def is_such(node, roles, name, part, showing):
    if roles and node.get_role() not in roles:
        return False
    called = node.get_name() or ""
    return (name is None or called == name) and (part is None or part in called) and (not showing or is_showing(node))


def xdotool(*words):
    subprocess.run(["xdotool", *words], check=True, timeout=20)


def key(*names):
    xdotool("key", "--clearmodifiers", *names)


def type_text(text):
    xdotool("type", "--clearmodifiers", "--delay", "5", text)


def clipboard():
    """What another program would paste."""
    done = subprocess.run(["xclip", "-selection", "clipboard", "-o"], capture_output=True, text=True, timeout=10)
    return done.stdout


class Panel:
    """virt-forward-panel, running. Use it in a with statement."""

    def __init__(self, *arguments, **environment):
        self._arguments = arguments
        self._environment = environment
        self._process = None
        self.log = os.environ["XDG_RUNTIME_DIR"] + "/panel.log"

    def __enter__(self):
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen([PANEL, *self._arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                             env=dict(os.environ, **self._environment))
        until(self.application, "the panel is on the accessibility bus")
        until(self.windows, "the panel has a window")
        return self

    def windows(self):
        return subprocess.run(["xdotool", "search", "--onlyvisible", "--pid", str(self._process.pid)],
                              capture_output=True, text=True).stdout.split()

    def __exit__(self, kind, *_):
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait(20)
        with open(self.log, encoding="utf-8", errors="replace") as file:
            said = file.read()
        if kind is None:
            wrong = [line for line in said.splitlines()
                     if "CRITICAL" in line or "WARNING" in line or "ERROR: " in line or "runtime error" in line]
            assert not wrong, said

    def application(self):
        desktop = Atspi.get_desktop(0)
        desktop.clear_cache()
        for application in children(desktop):
            try:
                if application.get_process_id() == self._process.pid:
                    return application
            except GLib.Error:
                pass
        return None

    def nodes(self, way=walk):
        application = self.application()
        if not application:
            return
        application.clear_cache()
        try:
            yield from way(application)
        except GLib.Error:
            return  # it changed meanwhile; who looks will look again

    def find(self, *roles, name=None, part=None, showing=True):
        """The first such node, or None."""
        for node in self.nodes(way_to(roles)):
            try:
                if is_such(node, roles, name, part, showing):
                    return node
            except GLib.Error:
                continue
        return None

    def lacks(self, *roles, name=None, part=None):
        """There is no such node: nothing is said before all of the application was read at one go."""
        def read():
            application = self.application()
            if not application:
                return None
            application.clear_cache()
            try:
                return [is_such(node, roles, name, part, True) for node in way_to(roles)(application)]
            except GLib.Error:
                return None
        return not any(until(read, f"the panel is read whole, for no {roles} {name or part}"))

    def wait(self, *roles, name=None, part=None, deadline=20):
        try:
            return until(lambda: self.find(*roles, name=name, part=part), f"{roles} {name or part}", deadline)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.dump()}") from None

    def wait_gone(self, *roles, name=None, part=None, deadline=20):
        until(lambda: self.lacks(*roles, name=name, part=part), f"no {roles} {name or part}", deadline)

    def dump(self):
        lines = []

        def add(node, depth):
            try:
                if depth == 0 or is_showing(node):
                    lines.append("  " * depth + f"{node.get_role_name()} {node.get_name()!r}")
                for child in children(node):
                    add(child, depth + 1)
            except GLib.Error:
                pass

        if application := self.application():
            application.clear_cache()
            add(application, 0)
        return "\n".join(lines)

    def row(self, part):
        """The row of the list that says this."""
        return self.wait(Role.LIST_ITEM, part=part)

    @staticmethod
    def inside(node, name):
        """What can be pressed in there under this name."""
        def found():
            node.clear_cache()
            return next((one for one in walk(node) if one.get_name() == name and actions(one) > 0), None)
        return until(found, f"{name} in {node.get_name()}")

    def focused(self):
        """What the keyboard is at."""
        # Mostly it is no button of a row.
        for way in (lambda application: outline(application, True), walk):
            for node in self.nodes(way):
                try:
                    if node.get_state_set().contains(Atspi.StateType.FOCUSED):
                        return node
                except GLib.Error:
                    continue
        return None

    def select(self, part):
        """Goes to a row with the keyboard alone."""
        self.row(part)

        def at(condition):
            node = self.focused()
            return node is not None and condition(node)

        for _ in range(12):
            if at(lambda node: node.get_role() == Role.LIST_ITEM):
                break
            key("Down")  # from a button of a row to a row
            if at(lambda node: node.get_role() == Role.LIST_ITEM):
                break
            key("Tab")
        key("Home")
        for _ in range(40):
            if at(lambda node: node.get_role() == Role.LIST_ITEM and part in node.get_name()):
                return
            key("Down")
        raise AssertionError(f"the keyboard does not get to {part}, it is at {self.focused()}\n{self.dump()}")

    def press(self, node):
        assert Atspi.Action.do_action(node, 0), node.get_name()

    def picture(self, name, rests=True):
        """Of the whole screen, when it has come to rest where it does."""
        os.makedirs(PICTURES, exist_ok=True)
        path = f"{PICTURES}/{name}.png"

        def take():
            return subprocess.run(["import", "-silent", "-window", "root", "rgb:-"], capture_output=True, check=True).stdout

        last = [take()]

        def still():
            before, last[0] = last[0], take()
            return before == last[0]

        if rests:
            until(still, "the picture is still")
        subprocess.run(["import", "-silent", "-window", "root", path], check=True)
