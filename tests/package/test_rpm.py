# SPDX-License-Identifier: LGPL-2.1-or-later
"""virt-forward.spec, carried out by rpmbuild on this Debian: %prep, %install, %files and the scriptlets are the
spec's own; instead of being built, the programs come from $VF_STAGE (rpm-macros). No Fedora is seen."""
import glob
import os
import re
import subprocess

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
STAGE = os.environ["VF_STAGE"]


def query(package, *words):
    return subprocess.run(["rpm", "-qp", "--nosignature", *words, package], check=True, stdout=subprocess.PIPE,
                          text=True).stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """{name: path} of what rpmbuild makes."""
    top = tmp_path_factory.mktemp("rpm")
    with open(f"{TOP}/contrib/packaging/virt-forward.spec", encoding="utf-8") as file:
        version = re.search(r"^Version: *(\S+)", file.read(), re.M).group(1)
    os.makedirs(f"{top}/SOURCES")
    # What %files and scriptlets take from the source.
    subprocess.run(["tar", "-c", "-z", "-f", f"{top}/SOURCES/virt-forward-{version}.tar.gz", "-C", TOP,
                    f"--transform=s,^,virt-forward-{version}/,", "LICENSE", "README.md", "CHANGELOG.md", "contrib", "xml"],
                   check=True)
    done = subprocess.run(
        ["rpmbuild", "-bb", "--nodeps", "--with", "panel", "--define", f"_topdir {top}",
         "--load", f"{HERE}/rpm-macros", f"{TOP}/contrib/packaging/virt-forward.spec"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ, VF_STAGE=STAGE))
    assert done.returncode == 0, done.stdout
    # libvirt's hook is named as libvirt finds it; /etc and /usr may be links themselves.
    warnings = re.findall(r"^(?:warning|error): (.*)", done.stdout, re.M)
    assert [line for line in warnings if not line.startswith("absolute symlink: /etc/libvirt/hooks/")] == [], done.stdout
    return {query(path, "--qf", "%{NAME}"): path for path in glob.glob(f"{top}/RPMS/*/*.rpm")}


def test_every_file_is_in_one_package(packages):
    assert set(packages) == {"virt-forward", "virt-forward-guest", "virt-forward-panel", "virt-forward-doc"}
    files = {name: {line for line in query(path, "-l").splitlines() if not line.startswith("/usr/lib/.build-id")}
             for name, path in packages.items()}
    for name, listed in files.items():
        for other in set(files) - {name}:
            shared = listed & files[other] - {"/etc/virt-forward"}
            assert not shared, (name, other)
    staged = set()
    for directory, _, names in os.walk(STAGE):
        staged |= {os.path.join(directory, name)[len(STAGE):] for name in names}
    staged = {path.replace("zsh/vendor-completions", "zsh/site-functions") for path in staged
              if not path.startswith("/etc/apparmor.d/")}
    plain = {re.sub(r"(/man\d/.*)\.gz$", r"\1", path) for listed in files.values() for path in listed}
    assert not staged - plain


def test_scriptlets_are_shell(packages):
    for path in packages.values():
        for kind in ("PREIN", "POSTIN", "PREUN", "POSTUN"):
            script = query(path, "--qf", f"%{{{kind}}}")
            if script != "(none)":
                subprocess.run(["sh", "-n"], input=script, text=True, check=True)
                assert "%" not in script, script


def test_the_first_installation_notifies_libvirt_and_removal_clears(packages):
    assert "kill --kill-who=main --signal=HUP" in query(packages["virt-forward"], "--qf", "%{POSTIN}")
    assert "--clear-offloads" in query(packages["virt-forward"], "--qf", "%{PREUN}")


def test_requires_nothing_that_fedora_lacks(packages):
    """Where rpm found it by itself, in scripts; libraries are those of this Debian."""
    for path in packages.values():
        programs = {line for line in query(path, "--requires").splitlines() if line.startswith("/")}
        assert programs <= {"/bin/sh", "/usr/bin/sh", "/usr/bin/bash", "/usr/bin/python3"}, path


def test_installs_into_an_empty_root(packages, tmp_path):
    subprocess.run(["rpm", "--root", tmp_path, "--initdb"], check=True)
    subprocess.run(["rpm", "--root", tmp_path, "-i", "--nodeps", "--noscripts", "--nosignature", *packages.values()],
                   check=True)
    assert os.readlink(tmp_path / "etc/libvirt/hooks/qemu.d/50-virt-forward") == "/usr/sbin/virt-forward-hook"
    subprocess.run(["rpm", "--root", tmp_path, "-e", "--nodeps", "--noscripts", *packages], check=True)
    left = [os.path.join(directory, name) for directory, _, names in os.walk(tmp_path) for name in names]
    assert not [path for path in left if "virt" in path.removeprefix(str(tmp_path))], left
