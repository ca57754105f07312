// SPDX-License-Identifier: LGPL-2.1-or-later

#include "base/error.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace vf {
namespace {

constexpr ErrorCode all[] = {ErrorCode::failed,         ErrorCode::invalid_argument,
                             ErrorCode::no_such_domain, ErrorCode::no_such_forward,
                             ErrorCode::ambiguous_name, ErrorCode::domain_not_running,
                             ErrorCode::port_busy,      ErrorCode::not_allowed,
                             ErrorCode::not_supported,  ErrorCode::no_daemon};

TEST(ErrorCode, HasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (const ErrorCode code : all) {
    EXPECT_EQ(error_code_from_name(error_name(code)), code);
    names.insert(error_name(code));
  }
  EXPECT_EQ(names.size(), std::size(all));
  EXPECT_EQ(error_code_from_name("NoSuchThing"), ErrorCode::failed);
  EXPECT_EQ(error_code_from_name(""), ErrorCode::failed);
}

TEST(ErrorCode, ExitStatusesAreThoseOfTheManual) {
  EXPECT_EQ(exit_status(ErrorCode::failed), 1);
  EXPECT_EQ(exit_status(ErrorCode::not_supported), 1);
  EXPECT_EQ(exit_status(ErrorCode::invalid_argument), 2);
  EXPECT_EQ(exit_status(ErrorCode::ambiguous_name), 2);
  EXPECT_EQ(exit_status(ErrorCode::no_such_domain), 3);
  EXPECT_EQ(exit_status(ErrorCode::no_such_forward), 3);
  EXPECT_EQ(exit_status(ErrorCode::domain_not_running), 4);
  EXPECT_EQ(exit_status(ErrorCode::port_busy), 5);
  EXPECT_EQ(exit_status(ErrorCode::not_allowed), 6);
  EXPECT_EQ(exit_status(ErrorCode::no_daemon), 7);
}

TEST(SystemError, SaysWhatAndWhy) {
  EXPECT_EQ(system_error(EADDRINUSE, "bind 127.0.0.1:80"),
            (Error{ErrorCode::port_busy, "bind 127.0.0.1:80: Address already in use"}));
  EXPECT_EQ(system_error(EACCES, "bind").code, ErrorCode::not_allowed);
  EXPECT_EQ(system_error(EPERM, "bind").code, ErrorCode::not_allowed);
  EXPECT_EQ(system_error(EIO, "read").code, ErrorCode::failed);
}

}  // namespace
}  // namespace vf
