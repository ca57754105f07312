// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the log says of one guest's agent. One that comes and goes over and over, because it breaks
// the protocol or is made to, gets a line when that begins and a line with the count when it is
// over.

#pragma once

#include <chrono>
#include <string>

#include "glib/source.h"

namespace vf {

class AgentStory {
 public:
  // `rest`: for how long nothing happens until it is over.
  explicit AgentStory(std::string domain, std::chrono::milliseconds rest = std::chrono::minutes(1));
  AgentStory(const AgentStory&) = delete;
  AgentStory& operator=(const AgentStory&) = delete;

  void came(const std::string& program);
  void went(const std::string& reason);
  // Nothing more comes of it.
  void end();

 private:
  void happened();

  std::string domain_;
  std::chrono::milliseconds rest_;
  bool here_ = false;
  unsigned went_ = 0;  // since the last rest
  Source resting_;
};

}  // namespace vf
