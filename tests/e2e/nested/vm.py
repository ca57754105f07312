# SPDX-License-Identifier: LGPL-2.1-or-later
"""A VM of `image` that is given a disk, says what it does, hands over files, and is gone.

Its first process is /input/boot, which starts /input/session under systemd; /input is the disk. The VM has no
network, and its root file system is as new at each start. It ends when this program ends, however that happens.
"""
import io
import os
import select
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

BOOT = 300  # seconds until the first sign of life
SILENCE = 180  # seconds between two, at most; every five there is one


def made_by(script):
    """The directory that an image's script prints. Ends this program when there is none."""
    made = subprocess.run([script], stdout=subprocess.PIPE, text=True)
    if made.returncode != 0:
        sys.exit(125)
    return made.stdout.strip()


def disk(tree):
    """A file system with the files of a directory, as an open file without a name."""
    size = int(subprocess.check_output(["du", "-sk", tree], text=True).split()[0])
    with tempfile.TemporaryDirectory(prefix="vf-nested-") as work:
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-d", tree, f"{work}/disk",
                        f"{size + size // 8 + 8192}k"], check=True, stdout=subprocess.DEVNULL,
                       env=dict(os.environ, PATH=os.environ["PATH"] + ":/usr/sbin:/sbin"))
        return open(f"{work}/disk", "rb")


def _qemu(image, root, input_disk, results, output, alive, console, shell):
    files = [input_disk, results, output, alive]
    serial = "stdio" if shell else f"file:/dev/fd/{console.fileno()}"
    if not shell:
        files.append(console)
    command = [
        "setpriv", "--pdeathsig", "KILL", "--",
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2", "-m", "2048",
        "-kernel", f"{image}/vmlinuz", "-initrd", f"{image}/initramfs",
        "-append", "console=ttyS0 quiet panic=-1 no_timer_check vf.nested=yes vf.init=/input/boot",
        "-drive", f"file={root},format=raw,if=virtio,snapshot=on,cache=unsafe",
        "-drive", f"file=/dev/fd/{input_disk.fileno()},format=raw,if=virtio,read-only=on",
        "-serial", serial,
        "-device", "virtio-serial",
        "-chardev", f"file,id=output,path=/dev/fd/{output.fileno()}",
        "-device", "virtserialport,chardev=output,name=vf.output",
        "-chardev", f"file,id=results,path=/dev/fd/{results.fileno()}",
        "-device", "virtserialport,chardev=results,name=vf.results",
        "-chardev", f"file,id=alive,path=/dev/fd/{alive.fileno()}",
        "-device", "virtserialport,chardev=alive,name=vf.alive",
    ]
    return subprocess.Popen(command, stdin=None if shell else subprocess.DEVNULL,
                            pass_fds=[file.fileno() for file in files])


def _pump(output, alive, vm, seconds):
    """Prints what comes until the VM is gone. Returns why it is not to be waited for any longer, or None."""
    end = time.monotonic() + seconds
    frozen = time.monotonic() + BOOT
    while True:
        now = time.monotonic()
        if now >= end:
            return f"not done after {seconds:g} s"
        if now >= frozen:
            return "the VM gives no sign of life"
        for source in select.select([output, alive], [], [], 1)[0]:
            data = os.read(source, 65536)
            if not data:
                vm.wait()
                return None
            if source == alive:
                frozen = time.monotonic() + SILENCE
            else:
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()


def _handed_over(results):
    """{name: contents} of what the session has put into its archive."""
    results.seek(0)
    try:
        with tarfile.open(fileobj=io.BytesIO(results.read())) as archive:
            return {os.path.basename(member.name): archive.extractfile(member).read()
                    for member in archive.getmembers() if member.isfile()}
    except tarfile.TarError:
        return {}


def run(image, root, input_disk, seconds, results_directory=None, shell=False):
    """Boots root, a file, with the kernel of image. Returns the exit status: the session's (its file
    `status`), 124 if it took too long or stood still, 125 if there is none. What it hands over, and `console`,
    are written into results_directory. With a shell this terminal is the VM's console."""
    results = tempfile.TemporaryFile()
    console = tempfile.TemporaryFile()
    output, output_end = os.pipe()
    alive, alive_end = os.pipe()
    with open(output_end, "wb") as output_file, open(alive_end, "wb") as alive_file:
        vm = _qemu(image, root, input_disk, results, output_file, alive_file, console, shell)

    def ended(number, _frame):
        vm.kill()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in (signal.SIGHUP, signal.SIGTERM) + (() if shell else (signal.SIGINT,)):
        signal.signal(number, ended)
    too_late = _pump(output, alive, vm, seconds)
    vm.kill()
    vm.wait()
    found = _handed_over(results)
    status = found.pop("status", None)
    console.seek(0)
    found["console"] = console.read()
    if results_directory:
        os.makedirs(results_directory, exist_ok=True)
        for name, data in found.items():
            with open(f"{results_directory}/{name}", "wb") as file:
                file.write(data)
    if status is None:
        print(f"--- console of the VM\n{found['console'].decode(errors='replace')[-8000:]}")
    if too_late:
        print(too_late, file=sys.stderr)
        return 124
    if status is None:
        print("the VM ended without a result", file=sys.stderr)
        return 125
    return int(status)
