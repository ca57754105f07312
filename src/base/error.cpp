// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/error.h"

#include <array>
#include <cstring>

namespace vf {
namespace {

struct ErrorRow {
  ErrorCode code;
  std::string_view name;
  int exit_status;
};

constexpr std::array<ErrorRow, 10> error_table{{
    {ErrorCode::failed, "Failed", 1},
    {ErrorCode::not_supported, "NotSupported", 1},
    {ErrorCode::invalid_argument, "InvalidArgument", 2},
    {ErrorCode::ambiguous_name, "AmbiguousName", 2},
    {ErrorCode::no_such_domain, "NoSuchDomain", 3},
    {ErrorCode::no_such_forward, "NoSuchForward", 3},
    {ErrorCode::domain_not_running, "DomainNotRunning", 4},
    {ErrorCode::port_busy, "PortBusy", 5},
    {ErrorCode::not_allowed, "NotAllowed", 6},
    {ErrorCode::no_daemon, "NoDaemon", 7},
}};

const ErrorRow& row_of(ErrorCode code) {
  for (const ErrorRow& row : error_table)
    if (row.code == code) return row;
  return error_table.front();
}

}  // namespace

std::string_view error_name(ErrorCode code) {
  return row_of(code).name;
}

ErrorCode error_code_from_name(std::string_view name) {
  for (const ErrorRow& row : error_table)
    if (row.name == name) return row.code;
  return ErrorCode::failed;
}

int exit_status(ErrorCode code) {
  return row_of(code).exit_status;
}

Error system_error(int error_number, std::string_view what) {
  char buffer[128];
  ErrorCode code = error_number == EADDRINUSE                        ? ErrorCode::port_busy
                   : error_number == EACCES || error_number == EPERM ? ErrorCode::not_allowed
                                                                     : ErrorCode::failed;
  std::string message(what);
  message += ": ";
  message += strerror_r(error_number, buffer, sizeof buffer);
  return {code, std::move(message)};
}

}  // namespace vf
