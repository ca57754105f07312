#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Expose a port of a libvirt domain, use it, and take it back: expose.py DOMAIN GUEST-PORT

By D-Bus, with python3-gi. The daemon of qemu:///system on the system bus; for one at another address,
like unix:path=/run/virt-forward/bus.sock, VIRT_FORWARD_ADDRESS.
"""
import os
import sys
import urllib.request

from gi.repository import Gio, GLib

NAME = "org.virtforward1"


def connect():
    """(connection, name to call): a peer has no name."""
    address = os.environ.get("VIRT_FORWARD_ADDRESS")
    if address:
        flags = Gio.DBusConnectionFlags.AUTHENTICATION_CLIENT
        return Gio.DBusConnection.new_for_address_sync(address, flags, None, None), None
    return Gio.bus_get_sync(Gio.BusType.SYSTEM), NAME


connection, peer = connect()


def call(path, method, arguments, answer):
    """The answer of a method, as Python values. Half a minute is enough for a password."""
    interface, _, name = method.rpartition(".")
    return connection.call_sync(peer, path, interface, name, arguments, GLib.VariantType(answer),
                                Gio.DBusCallFlags.ALLOW_INTERACTIVE_AUTHORIZATION, 30000, None).unpack()


def expose(domain, guest_port):
    """(object path of the forward, host port that it got)"""
    attributes = {"guest-port": str(guest_port), "label": "expose.py"}
    (forwards,) = call(domain, f"{NAME}.Domain.AddForward", GLib.Variant("(a{ss}a{sv})", (attributes, {})),
                       "(a(oqq))")
    path, host_port, _asked_for = forwards[0]
    return path, host_port


def main(name, guest_port):
    try:
        (domain,) = call("/org/virtforward1", f"{NAME}.Manager.FindDomain", GLib.Variant("(s)", (name,)), "(o)")
        forward, host_port = expose(domain, guest_port)
    except GLib.Error as error:
        # "org.virtforward1.Error.NoSuchDomain" and the like: for programs. The text is for people.
        print("error:", Gio.DBusError.get_remote_error(error), file=sys.stderr)
        Gio.DBusError.strip_remote_error(error)
        print(error.message, file=sys.stderr)
        return 1

    print("port:", host_port)
    properties = call(forward, "org.freedesktop.DBus.Properties.GetAll", GLib.Variant("(s)", (f"{NAME}.Forward",)),
                      "(a{sv})")[0]
    print("state:", properties["State"])
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{host_port}/", timeout=30) as answer:
            print("answer:", answer.read().decode().strip())
    finally:
        call(forward, f"{NAME}.Forward.Remove", GLib.Variant("(a{sv})", ({},)), "()")
    print("removed")
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
