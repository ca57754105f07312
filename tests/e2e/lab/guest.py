# SPDX-License-Identifier: LGPL-2.1-or-later
"""Guests: a domain of the lab's libvirt that boots the image of guest-image.

A Guest owns its domain: close() destroys and undefines it, whatever state it is in. Not
thread-safe.
"""
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
import uuid as uuids
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

import libvirt
import libvirt_qemu

from . import wait

NAMESPACE = "urn:virt-forward:1"
DIRECTORY = "/run/lab/guests"

# no_timer_check: a kernel that gets no processor time while it counts timer interrupts, as an emulated one
# on a busy host, takes its timer for broken and panics ("IO-APIC + timer doesn't work").
DOMAIN = """\
<domain type='{type}'>
  <name>{name}</name>
  <uuid>{uuid}</uuid>
  <metadata>{metadata}</metadata>
  <memory unit='MiB'>{memory}</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{image}/vmlinuz</kernel>
    <initrd>{initramfs}</initrd>
    <cmdline>console=ttyS0 quiet no_timer_check vf.name={host_name} {cmdline}</cmdline>
  </os>
  <features><acpi/></features>
  <cpu mode='maximum'/>
  <on_crash>destroy</on_crash>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    {interfaces}
    <serial type='file'><source path={console}/><target port='0'/></serial>
    <serial type='unix'><source mode='bind' path={control}/><target port='1'/></serial>
    <panic model='isa'/>
    <memballoon model='none'/>
    {devices}
  </devices>
</domain>
"""


def interface(network="default", mac=None, extra=""):
    """One virtio NIC on a libvirt network."""
    address = f"<mac address='{mac}'/>" if mac else ""
    return f"<interface type='network'><source network={quoteattr(network)}/>{address}<model type='virtio'/>{extra}</interface>"


# A NIC on QEMU's own user network: the guest gets 10.0.2.15 and a web server there is reached by
# hostfwd_add (see Guest.monitor()) only.
USER = "<interface type='user'><model type='virtio'/></interface>"


# Any free CID; see Guest.cid().
VSOCK = "<vsock model='virtio'><cid auto='yes'/></vsock>"


def program(path, name=None):
    """A program of this machine and the libraries that it is linked with, if any, for Guest(files=...)."""
    found = {name or f"/bin/{os.path.basename(path)}": path}
    for line in subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout.splitlines():
        library = next((word for word in line.split() if word.startswith("/")), None)
        if library:
            found[library] = library
    return found


SSH_START = b"""#!/bin/sh
exec dropbear -F -E -s -p 22 -r /etc/dropbear/host_key
"""


def ssh_server(key):
    """Guest(files=...): dropbear on port 22, which lets root in with the key. Its host key is the same at
    each boot, and a new one for each call."""
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/host_key"
        subprocess.run(["dropbearkey", "-t", "ed25519", "-f", path], check=True, capture_output=True)
        with open(path, "rb") as file:
            host_key = file.read()
    return {**program("/usr/sbin/dropbear"), "/etc/dropbear/host_key": host_key,
            "/etc/passwd": b"root:x:0:0:root:/root:/bin/sh\n", "/etc/group": b"root:x:0:\n",
            "/root/.ssh/authorized_keys": key.public, "/etc/start/dropbear": SSH_START}


def _archive(files):
    """A cpio archive (the kernel's "newc") of files: {path in the guest: path here, or contents as bytes}."""
    entries = {}
    for path, source in files.items():
        parts = path.strip("/").split("/")
        for depth in range(1, len(parts)):
            entries.setdefault("/".join(parts[:depth]), (stat.S_IFDIR | 0o755, b""))
        if isinstance(source, bytes):
            entries["/".join(parts)] = (stat.S_IFREG | 0o755, source)
        else:
            with open(source, "rb") as file:
                entries["/".join(parts)] = (os.fstat(file.fileno()).st_mode, file.read())
    entries["TRAILER!!!"] = (0, b"")
    out = bytearray()
    for number, (path, (mode, data)) in enumerate(entries.items()):
        name = path.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return bytes(out)


def initramfs_with(base, files):
    """The bytes of an initramfs that has these files as well: the kernel unpacks one archive after the other,
    each at a multiple of four bytes."""
    with open(base, "rb") as file:
        data = file.read()
    return data + bytes(-len(data) % 4) + _archive(files)


def forwards(body):
    """The metadata element around forward, auto and ssh elements written with the prefix vf."""
    return f"<vf:forwards xmlns:vf='{NAMESPACE}'>{body}</vf:forwards>"


def session_uri(account):
    """Of the account's session libvirtd, which runs already, for any user that may open its socket."""
    return f"qemu:///session?socket=/run/user/{account.pw_uid}/libvirt/libvirt-sock"


def _for_account(account, image):
    """(directory for a user's guests, the image where that user can read it)"""
    directory = f"{DIRECTORY}-{account.pw_name}"
    copy = f"{directory}/image"
    if not os.path.isdir(directory):
        os.makedirs(copy)
        for name in ("vmlinuz", "initramfs"):
            shutil.copy(f"{image}/{name}", copy)
            os.chmod(f"{copy}/{name}", 0o644)
        os.chown(directory, account.pw_uid, account.pw_gid)
    return directory, copy


class Guest:
    def __init__(self, connection, name="guest", metadata="", interfaces=None, *, uuid=None, memory=256,
                 cmdline="", devices="", host_name=None, persistent=True, files=None, account=None, ssh=None):
        """Defines the domain. metadata: a whole element (see forwards()); interfaces: list of XML.

        account: whose session libvirtd `connection` is (pwd.struct_passwd; see session_uri()), none for the
        system's. Such a guest has user networks only, so give it interfaces=[USER].

        files: {path in the guest: path here, or contents as bytes} on top of guest-image's; what is in
        /etc/start is run at boot. ssh: an ssh.Key: root may log in with it, on port 22.
        """
        if ssh:
            files = {**ssh_server(ssh), **(files or {})}
        self.connection = connection
        self.name = name
        self.uuid = uuid or str(uuids.uuid4())
        self._persistent = persistent
        self._channel = None
        self._uri, self._pids = "qemu:///system", "/run/libvirt/qemu"
        directory, image = DIRECTORY, os.environ["VF_LAB_GUEST"]
        if account:
            self._uri, self._pids = session_uri(account), f"/run/user/{account.pw_uid}/libvirt/qemu/run"
            directory, image = _for_account(account, image)
        os.makedirs(directory, exist_ok=True)
        # not by name: tests use hostile ones
        self.control_path = f"{directory}/{self.uuid}.control"
        self.console_path = f"{directory}/{self.uuid}.console"
        plain = "".join(c for c in name if c.isascii() and (c.isalnum() or c == "-"))[:60]
        self._initramfs_path = None
        initramfs = f"{image}/initramfs"
        if files:
            self._initramfs_path = f"{directory}/{self.uuid}.initramfs"
            whole = initramfs_with(initramfs, files)
            with open(self._initramfs_path, "wb") as file:
                file.write(whole)
            initramfs = self._initramfs_path
        self.xml = DOMAIN.format(
            type=os.environ.get("VF_LAB_DOMAIN_TYPE", "qemu"), initramfs=initramfs,
            name=escape(name), uuid=self.uuid, metadata=metadata, memory=memory, image=image,
            host_name=host_name or plain or "guest", cmdline=escape(cmdline), devices=devices,
            interfaces="".join([interface()] if interfaces is None else interfaces),
            console=quoteattr(self.console_path), control=quoteattr(self.control_path))
        if persistent:
            connection.defineXML(self.xml)

    @property
    def domain(self):
        """The domain on a connection that works now, also after libvirtd was restarted."""
        try:
            self.connection.getLibVersion()
        except libvirt.libvirtError:
            self.connection = libvirt.open(self._uri)
        return self.connection.lookupByUUIDString(self.uuid)

    # --- life

    def start(self):
        if self._persistent:
            self.domain.create()
        else:
            self.connection.createXML(self.xml)
        return self

    def start_paused(self):
        """Starts it without a single instruction run: enough for whatever needs no guest."""
        self.domain.createWithFlags(libvirt.VIR_DOMAIN_START_PAUSED)
        return self

    def state(self):
        """(state, reason) as libvirt numbers them; (VIR_DOMAIN_SHUTOFF, 0) for a domain that is gone."""
        try:
            state, reason = self.domain.state()
            return state, reason
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                return libvirt.VIR_DOMAIN_SHUTOFF, 0
            raise

    def is_running(self):
        return self.state()[0] == libvirt.VIR_DOMAIN_RUNNING

    def wait_off(self, deadline=30.0):
        wait.until(lambda: self.state()[0] in (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED),
                   f"{self.name} is off", deadline)

    def pid(self):
        """QEMU's process id."""
        with open(f"{self._pids}/{self.name}.pid", encoding="ascii") as file:
            return int(file.read())

    def close(self):
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        self._without_domain(lambda: self.domain.destroy())
        self._without_domain(lambda: self.domain.undefineFlags(
            libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA))
        for path in (self.control_path, self.console_path, self._initramfs_path):
            if path and os.path.exists(path):
                os.unlink(path)

    @staticmethod
    def _without_domain(call):
        """Makes a libvirt call that may come too late: the domain is off or gone, maybe just now."""
        try:
            call()
        except libvirt.libvirtError as error:
            if error.get_error_code() not in (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_DOMAIN):
                raise

    def monitor(self, command):
        """What QEMU's human monitor prints for one command."""
        return libvirt_qemu.qemuMonitorCommand(self.domain, command,
                                               libvirt_qemu.VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP)

    # --- what the guest does

    def run(self, command, deadline=60.0, check=True):
        """Runs a command line in the guest and returns its output; waits for the guest to boot first.

        With check=False returns (status, output). The commands of guest-image are on the path.
        """
        marker = uuids.uuid4().hex[:12]
        if "\n" in command:
            raise ValueError("one line only")
        # A line that comes before the guest listens is lost: say "here" until it answers.
        ping = uuids.uuid4().hex[:12]

        def answers():
            self._send(f"\n{ping} true\n")
            return self._receive(f"\n{ping}=0\n", 0.25) is not None

        wait.until(answers, f"{self.name} answers on its control channel", deadline)
        self._send(f"{marker} {command}\n")
        output = self._receive(f"\n{marker}=", deadline * wait.SLOWNESS)
        if output is None:
            raise wait.Timeout(f"not within {deadline} s: {command!r} in {self.name}")
        status = int(self._receive("\n", deadline))
        output = output.split(f"\n{ping}=0\n")[-1]
        if not check:
            return status, output
        if status != 0:
            raise AssertionError(f"{command!r} in {self.name}: status {status}: {output}")
        return output

    def order(self, command, deadline=60.0):
        """Like run() for a command that takes the guest away (reboot -f, poweroff -f, panic)."""
        self.run("true", deadline)
        self._send(f"gone {command}\n")

    def console(self):
        """What the guest's kernel and init said."""
        try:
            with open(self.console_path, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def addresses(self, interface_name="eth0"):
        """The guest's own view: global addresses of one NIC."""
        lines = self.run(f"ip -o addr show dev {interface_name} scope global").splitlines()
        return [words[3].split("/")[0] for words in (line.split() for line in lines) if len(words) > 3]

    def address(self, deadline=60.0):
        """The IPv4 address that the guest has, waiting until it has one. Sent through the guest, so
        never the lease of an earlier run."""
        return wait.until(lambda: [a for a in self.addresses() if ":" not in a],
                          f"{self.name} has an IPv4 address", deadline)[0]

    def set_forwards(self, body, flags=libvirt.VIR_DOMAIN_AFFECT_LIVE):
        """Writes our metadata element as `virsh metadata` does: without prefix, namespace given beside it.

        body: the children, also unprefixed; None removes the element."""
        element = None if body is None else f"<forwards>{body}</forwards>"
        self.domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, element, "vf", NAMESPACE, flags)

    def cid(self):
        """The CID of its vsock device in this run."""
        return int(ElementTree.fromstring(self.domain.XMLDesc()).find("./devices/vsock/cid").get("address"))

    def macs(self):
        """MAC addresses of the NICs, in order."""
        tree = ElementTree.fromstring(self.domain.XMLDesc())
        return [mac.get("address") for mac in tree.findall("./devices/interface/mac")]

    # --- the control channel

    def _send(self, text):
        if self._channel is None:
            channel = socket.socket(socket.AF_UNIX)
            try:
                channel.connect(self.control_path)
            except OSError:
                channel.close()
                raise
            self._channel, self._received = channel, ""
        try:
            self._channel.sendall(text.encode())
        except OSError:
            self._drop()
            raise

    def _receive(self, end, deadline):
        """Everything up to `end`, or None if that does not come in time."""
        limit = time.monotonic() + deadline
        while end not in self._received:
            left = limit - time.monotonic()
            if left <= 0 or self._channel is None:
                return None
            self._channel.settimeout(left)
            try:
                data = self._channel.recv(65536)
            except socket.timeout:
                return None
            except OSError:
                data = b""
            if not data:
                self._drop()
                return None
            self._received += data.decode(errors="replace")
        before, _, self._received = self._received.partition(end)
        return before

    def _drop(self):
        self._channel.close()
        self._channel = None
