// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Names on D-Bus, for the daemon and its clients: xml/org.virtforward1.xml says what they mean.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace vf {

inline constexpr char bus_name[] = "org.virtforward1";
inline constexpr char root_path[] = "/org/virtforward1";
inline constexpr char domains_path[] = "/org/virtforward1/domain";
inline constexpr char forwards_path[] = "/org/virtforward1/forward";

inline constexpr char ports_path[] = "/org/virtforward1/port";

inline constexpr char manager_interface[] = "org.virtforward1.Manager";
inline constexpr char domain_interface[] = "org.virtforward1.Domain";
inline constexpr char forward_interface[] = "org.virtforward1.Forward";
inline constexpr char port_interface[] = "org.virtforward1.Port";
inline constexpr char object_manager_interface[] = "org.freedesktop.DBus.ObjectManager";
inline constexpr char properties_interface[] = "org.freedesktop.DBus.Properties";

// Errors are this prefix and error_name().
inline constexpr std::string_view bus_error_prefix = "org.virtforward1.Error.";

std::string domain_path(std::string_view uuid);
std::string forward_path(std::string_view uuid, std::string_view id);
std::string port_path(std::string_view uuid, std::string_view id);

// What an object path names; `id` is empty for a domain.
struct ObjectName {
  std::string uuid;
  std::string id;
  bool port = false;  // a detected port, not a forward
  friend bool operator==(const ObjectName&, const ObjectName&) = default;
};

// The inverse of domain_path(), forward_path() and port_path(). Nothing for any other path, and for
// a spelling that those never make.
std::optional<ObjectName> parse_object_path(std::string_view path);

}  // namespace vf
