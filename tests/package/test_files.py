# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a package would be made of: $VF_STAGE, an installation of this build, against contrib/packaging."""
import fnmatch
import glob
import os
import re
import subprocess

import pytest

STAGE = os.environ["VF_STAGE"]
TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PACKAGING = f"{TOP}/contrib/packaging"
HOST_UNITS = sorted(name for name in os.listdir(f"{STAGE}/usr/lib/systemd/system") if "guest" not in name)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def installed():
    """The files and symbolic links of the stage, as usr/bin/virt-forward."""
    for directory, _, files in os.walk(STAGE):
        for name in files:
            yield os.path.relpath(os.path.join(directory, name), STAGE)


def claims(package):
    """The patterns of a .install file."""
    lines = read(f"{PACKAGING}/debian/{package}.install").splitlines()
    return [line.split()[0] for line in lines if line and not line.startswith("#")]


def packages():
    return [os.path.basename(path).removesuffix(".install") for path in glob.glob(f"{PACKAGING}/debian/*.install")]


def matched(pattern):
    """What dh_install makes of a pattern: files, and directories with all that is in them."""
    for path in glob.glob(f"{STAGE}/{pattern}"):
        if os.path.isdir(path) and not os.path.islink(path):
            for directory, _, files in os.walk(path):
                yield from (os.path.relpath(os.path.join(directory, name), STAGE) for name in files)
        else:
            yield os.path.relpath(path, STAGE)


def test_every_file_is_in_one_debian_package():
    owners = {path: [] for path in installed()}
    for package in packages():
        for pattern in claims(package):
            files = list(matched(pattern))
            assert files, f"{package}.install: nothing is {pattern}"
            for path in files:
                owners[path].append(package)
    wrong = {path: names for path, names in owners.items() if len(names) != 1}
    assert not wrong


def test_every_file_is_in_the_rpm_spec():
    places = {"_bindir": "/usr/bin", "_sbindir": "/usr/sbin", "_datadir": "/usr/share", "_mandir": "/usr/share/man",
              "_sysconfdir": "/etc", "_unitdir": "/usr/lib/systemd/system", "_userunitdir": "/usr/lib/systemd/user",
              "_docdir": "/usr/share/doc", "_userpresetdir": "/usr/lib/systemd/user-preset", "_sysusersdir": "/usr/lib/sysusers.d",
              "_tmpfilesdir": "/usr/lib/tmpfiles.d"}
    defines = [word for name, place in places.items() for word in ("--define", f"{name} {place}")]
    defines += ["--define", "_with_panel 1"]
    spec = subprocess.run(["rpmspec", *defines, "--parse", f"{PACKAGING}/virt-forward.spec"], stdout=subprocess.PIPE,
                          text=True, check=True).stdout
    listed = re.findall(r"^(?:%config\S* )?/(\S+)$", spec.partition("\n%files")[2], re.M)
    assert not [line for line in listed if "%" in line]
    # As %install has it.
    files = [path.replace("zsh/vendor-completions", "zsh/site-functions") for path in installed()
             if not path.startswith("etc/apparmor.d/")]
    owned = {path: [line for line in listed if fnmatch.fnmatch(path, line + "*" if line.endswith("/") else line)]
             for path in files}
    assert not {path: lines for path, lines in owned.items() if len(lines) != 1}
    assert not [line for line in listed if all(line not in lines for lines in owned.values())]


def test_versions_agree():
    version = re.search(r"^project\(virt-forward VERSION (\S+)", read(f"{TOP}/CMakeLists.txt"), re.M).group(1)
    assert read(f"{PACKAGING}/debian/changelog").startswith(f"virt-forward ({version})")
    assert f"\nVersion:        {version}\n" in read(f"{PACKAGING}/virt-forward.spec")


def test_build_dependencies_are_those_of_contrib():
    field = re.search(r"^Build-Depends:(.*?)^\S", read(f"{PACKAGING}/debian/control"), re.S | re.M).group(1)
    control = {entry.split()[0] for entry in field.split(",")}
    listed = set(re.sub(r"#.*", "", read(f"{TOP}/contrib/packages/build")).split())
    # What every Debian that builds packages has, what runs later, and what only packages need.
    assert control - {"debhelper-compat", "dh-apparmor", "dh-sequence-installsysusers"} == \
        listed - {"g++", "openssh-client"}


def test_removal_stops_every_unit():
    prerm = read(f"{PACKAGING}/debian/virt-forward.prerm")
    assert sorted(re.search(r'units="(.*?)"', prerm, re.S).group(1).split()) == HOST_UNITS


def test_accounts(tmp_path):
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", f"{STAGE}/usr/lib/sysusers.d/virt-forward.conf"],
                   check=True)
    accounts = [line.split(":") for line in read(tmp_path / "etc/passwd").splitlines()]
    groups = {line.split(":")[2]: line.split(":")[0] for line in read(tmp_path / "etc/group").splitlines()}
    assert {(name, groups[group], shell) for name, _, _, group, _, _, shell in accounts} == {
        ("virt-forward", "virt-forward", "/usr/sbin/nologin"),
        ("virt-forward-ssh", "virt-forward", "/usr/sbin/nologin"),
        ("virt-forward-metrics", "virt-forward-metrics", "/usr/sbin/nologin")}
    # Whom the units run as.
    used = re.findall(r"^(?:User|Group|SocketGroup)=(.*)",
                      "\n".join(read(f"{STAGE}/usr/lib/systemd/system/{unit}") for unit in HOST_UNITS), re.M)
    assert set(used) == {"virt-forward", "virt-forward-ssh", "virt-forward-metrics"}


def test_polkit_actions_are_those_that_are_asked_for():
    policy = f"{STAGE}/usr/share/polkit-1/actions/org.virtforward1.policy"
    subprocess.run(["xmllint", "--noout", "--nonet", "--dtdvalid", "/usr/share/polkit-1/policyconfig-1.dtd", policy],
                   check=True)
    assert sorted(re.findall(r'<action id="([^"]*)"', read(policy))) == \
        sorted(set(re.findall(r'"(org\.virtforward1\.[a-z-]+)"', read(f"{TOP}/src/daemon/bus_authority.cpp"))))


def test_dbus_configuration_is_one():
    for path in glob.glob(f"{STAGE}/usr/share/dbus-1/system.d/*"):
        subprocess.run(["xmllint", "--noout", "--nonet", path], check=True)
    for path in glob.glob(f"{STAGE}/usr/share/dbus-1/system-services/*.service"):
        unit = re.search(r"^SystemdService=(.*)", read(path), re.M).group(1)
        assert unit in HOST_UNITS


@pytest.mark.parametrize("name", sorted(os.listdir(f"{TOP}/contrib/apparmor")))
def test_apparmor_profile(name):
    profile = f"{STAGE}/etc/apparmor.d/{name}"
    subprocess.run(["apparmor_parser", "--skip-kernel-load", "--skip-cache", profile], check=True)
    # It bears the name of the file, where local additions are looked for, and of the program.
    assert re.search(r"^profile (\S+)", read(profile), re.M).group(1) == name
    assert f"include if exists <local/{name}>" in read(profile)
    assert glob.glob(f"{STAGE}/usr/*bin/{name}")


def test_services_are_confined_by_their_profiles():
    for unit in (unit for unit in HOST_UNITS if unit.endswith(".service")):
        # "-": also where AppArmor is not
        assert f"\nAppArmorProfile=-{unit.removesuffix('.service')}\n" in \
            read(f"{STAGE}/usr/lib/systemd/system/{unit}")
