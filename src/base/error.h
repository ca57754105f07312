// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The errors that people and programs see. Every ErrorCode has one D-Bus name
// (org.virtforward1.Error.NAME) and one exit status of the command line.

#pragma once

#include <cerrno>
#include <string>
#include <string_view>
#include <utility>

namespace vf {

enum class ErrorCode {
  failed,
  invalid_argument,
  no_such_domain,
  no_such_forward,
  ambiguous_name,
  domain_not_running,
  port_busy,
  not_allowed,
  not_supported,
  no_daemon,
};

struct Error {
  ErrorCode code = ErrorCode::failed;
  std::string message;

  friend bool operator==(const Error&, const Error&) = default;
};

// "NoSuchDomain": the part behind "org.virtforward1.Error.".
std::string_view error_name(ErrorCode code);
// The inverse of error_name(); a name that is not ours is ErrorCode::failed.
ErrorCode error_code_from_name(std::string_view name);
// The exit status of `virt-forward`: 1 to 7, see virt-forward(1).
int exit_status(ErrorCode code);

// "bind 127.0.0.1:80: Permission denied" from an errno value.
Error system_error(int error_number, std::string_view what);

}  // namespace vf
