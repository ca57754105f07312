// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/domain_xml.h"

#include <gtest/gtest.h>

namespace vf {
namespace {

TEST(DomainXml, ReadsInterfacesVsockAndAgent) {
  const DomainDevices devices = parse_devices(R"(
    <domain type='kvm' id='3' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>
      <metadata><interface xmlns='urn:x' type='fake'><mac address='66:66:66:66:66:66'/></interface>
      </metadata>
      <devices>
        <interface type='network'><mac address='52:54:00:AB:cd:01'/>
          <source network='default' portid='1' bridge='virbr0'/><target dev='vnet0'/>
          <alias name='net0'/></interface>
        <interface type='user'><mac address='52:54:00:ab:cd:02'/><alias name='ua-web_1'/></interface>
        <interface type='user'><mac address='52:54:00:ab:cd:03'/><backend type='passt' logFile='/x'/>
          <portForward proto='tcp'><range start='2022' to='22'/></portForward>
          <alias name='net2'/></interface>
        <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/>
        </channel>
        <vsock model='virtio'><cid auto='yes' address='7'/></vsock>
      </devices>
    </domain>)");
  ASSERT_EQ(devices.interfaces.size(), 3u);
  EXPECT_EQ(devices.interfaces[0],
            (GuestInterface{"52:54:00:ab:cd:01", "network", "virbr0", "vnet0", "net0"}));
  EXPECT_EQ(devices.interfaces[1],
            (GuestInterface{"52:54:00:ab:cd:02", "user", "", "", "ua-web_1"}));
  EXPECT_EQ(devices.interfaces[2],
            (GuestInterface{"52:54:00:ab:cd:03", "user", "", "", "net2", "passt"}));
  EXPECT_EQ(devices.vsock_cid, 7u);
  EXPECT_TRUE(devices.guest_agent);
}

TEST(DomainXml, WhatIsOddIsLeftOut) {
  EXPECT_EQ(parse_devices(""), DomainDevices{});
  EXPECT_EQ(parse_devices("<domain><devices><interface"), DomainDevices{});
  EXPECT_EQ(parse_devices("<domain/>"), DomainDevices{});
  const DomainDevices devices = parse_devices(
      "<domain><devices><vsock><cid auto='yes'/></vsock><interface/>"
      "<channel><target name='org.qemu.guest_agent.0' state='disconnected'/></channel>"
      "</devices></domain>");
  EXPECT_FALSE(devices.vsock_cid);
  EXPECT_FALSE(devices.guest_agent);
  ASSERT_EQ(devices.interfaces.size(), 1u);
  EXPECT_EQ(devices.interfaces[0], GuestInterface{});
  for (const char* cid : {"0", "2", "-1", "4294967296", "7x", ""})
    EXPECT_FALSE(parse_devices("<domain><devices><vsock><cid address='" + std::string(cid) +
                               "'/></vsock></devices></domain>")
                     .vsock_cid)
        << cid;
}

TEST(DomainXml, EntitiesAreNotFollowed) {
  const DomainDevices devices = parse_devices(
      "<!DOCTYPE domain [<!ENTITY file SYSTEM 'file:///etc/hostname'>]>"
      "<domain><devices><interface type='x'><source bridge='&file;'/></interface></devices>"
      "</domain>");
  for (const GuestInterface& interface : devices.interfaces)
    EXPECT_EQ(interface.bridge, "");
}

TEST(DomainXml, SameElementLooksAtWhatIsSaid) {
  const std::string one = "<f a='1' b='2'><g>text</g><!-- x --><h/></f>";
  EXPECT_TRUE(same_element(one, one));
  EXPECT_TRUE(same_element(one, "<f b=\"2\"\n a=\"1\">\n  <g> text\n</g>\n  <h></h>\n</f>"));
  EXPECT_TRUE(same_element(one, "<v:f xmlns:v='urn:u' a='1' b='2'><v:g>text</v:g><v:h/></v:f>"));
  for (const char* other :
       {"<f a='1'><g>text</g><h/></f>", "<f a='1' b='3'><g>text</g><h/></f>",
        "<f a='1' b='2'><g>text</g></f>", "<f a='1' b='2'><h/><g>text</g></f>",
        "<f a='1' b='2'><g>texts</g><h/></f>", "<e a='1' b='2'><g>text</g><h/></e>",
        "<f a='1' b='2'><g>text</g><h/><h/></f>", "", "<f"})
    EXPECT_FALSE(same_element(one, other)) << other;
}

}  // namespace
}  // namespace vf
