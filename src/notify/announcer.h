// SPDX-License-Identifier: LGPL-2.1-or-later
//
// When to tell of what. Ports of one domain that come within a window are one notice; a guest that
// opens and closes ports all day gets a few notices, then one each ten minutes that replaces the
// one before. Does no I/O and knows no clock: moments are microseconds that never go back.

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "notify/budget.h"
#include "notify/news.h"

namespace vf {

// One notification: ports of one domain and kind, in the order in which they came.
struct Notice {
  std::string id;  // one of the same id replaces it
  std::vector<News> news;
};

class Announcer {
 public:
  using Moment = Budget::Moment;
  static constexpr Moment second = 1'000'000;
  static constexpr Moment window = 2 * second;
  // A forward that comes again within this time is not told of again.
  static constexpr Moment memory = 600 * second;
  static constexpr int domain_burst = 6;
  static constexpr Moment domain_refill = 600 * second;
  static constexpr int burst = 20;  // of all domains
  static constexpr Moment refill = 60 * second;
  static constexpr int open_burst = 3;
  static constexpr Moment open_refill = 600 * second;

  // Ports that ask are one notice for each process of a domain, so that it has one answer.
  void seen(const News& news, Moment now);
  // It is not so any more. The notices to withdraw: those with nothing left in them.
  std::vector<std::string> gone(const std::string& key);
  // What to show by now.
  std::vector<Notice> due(Moment now);
  // When due() has something the next time.
  std::optional<Moment> next() const;
  // Whether to open its URL, which takes one of the domain's.
  bool may_open(const News& news, Moment now);
  // Ids of all that are shown.
  std::vector<std::string> shown() const;

 private:
  using Domain = std::pair<std::string, std::string>;  // daemon, path
  struct Group {
    Domain domain;
    News::Kind kind;
    std::string process;  // of asking ones
    auto operator<=>(const Group&) const = default;
  };
  struct Pending {
    Moment since = 0;
    std::vector<News> news;
  };

  Moment moment_of(const Group& group, const Pending& pending) const;
  Notice take(const Group& group, Moment now);
  bool remembered(const std::string& key, Moment now);
  void forget(Moment now);

  std::map<Group, Pending> pending_;
  std::map<std::string, std::set<std::string>> shown_;  // id -> keys
  std::map<std::string, Moment> told_;                  // key and process -> when
  std::map<Domain, Budget> budgets_;
  std::map<Domain, Budget> opens_;
  Budget budget_{burst, refill};
  std::uint64_t last_id_ = 0;
};

}  // namespace vf
