// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/address.h"
#include "metrics/detail.h"

namespace vf {

struct MetricsOptions {
  std::vector<std::string> listen;     // as listen_at() takes them
  std::function<Instance()> instance;  // by the ways to it that there are now
  Detail detail = Detail::domain;
  bool once = false;
  bool version = false;
};

// InvalidArgument with what is wrong.
Result<MetricsOptions> parse_metrics_options(std::vector<std::string> arguments);

}  // namespace vf
