// SPDX-License-Identifier: LGPL-2.1-or-later

#include "daemon/bus_interfaces.h"

#include <initializer_list>

#include "glib/ref.h"
#include "interface_xml.h"

namespace vf {
namespace {

constexpr char standard_xml[] = R"(
<node>
  <interface name="org.freedesktop.DBus.ObjectManager">
    <method name="GetManagedObjects">
      <arg name="objects" type="a{oa{sa{sv}}}" direction="out"/>
    </method>
    <signal name="InterfacesAdded">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="a{sa{sv}}"/>
    </signal>
    <signal name="InterfacesRemoved">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="as"/>
    </signal>
  </interface>
</node>)";

Ref<GDBusNodeInfo> parse(const char* xml) {
  GErrorOut error;
  auto node = adopt(g_dbus_node_info_new_for_xml(xml, error.out()));
  if (!node) g_error("D-Bus interface: %s", error.message().c_str());
  return node;
}

}  // namespace

GDBusInterfaceInfo* bus_interface(const char* name) {
  static const Ref<GDBusNodeInfo> own = parse(interface_xml);
  static const Ref<GDBusNodeInfo> standard = parse(standard_xml);
  for (GDBusNodeInfo* node : {own.get(), standard.get()})
    if (GDBusInterfaceInfo* info = g_dbus_node_info_lookup_interface(node, name)) return info;
  g_error("D-Bus interface %s is not in the documented source", name);
}

}  // namespace vf
