// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the list shows, in its order, made from what the daemons show. Pure: no widget, no D-Bus.

#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "client/follower.h"

namespace vf::panel {

// All that is known of one daemon, by object path.
class Inventory {
 public:
  void apply(const Changes& changes);
  void clear();
  // False where nothing of it is new.
  bool count(std::map<std::string, ForwardCounters> counters);

  std::map<std::string, DomainView> domains;
  std::map<std::string, ForwardView> forwards;
  std::map<std::string, PortView> ports;
  std::map<std::string, ForwardCounters> counters;
};

struct DomainRow {
  DomainView domain;
  std::size_t forwards = 0;
  std::string daemon = {};  // whose it is; empty where one alone shows machines
  bool operator==(const DomainRow&) const = default;
};

// Something that people should know of a domain or a daemon. A reason is that of several rows.
struct NoteRow {
  enum class Kind { empty, problem, reason } kind = Kind::problem;
  std::string text;
  bool operator==(const NoteRow&) const = default;
};

struct ForwardRow {
  ForwardView forward;
  std::vector<IpAddress> bound;  // where its service listens in the guest, as far as is known
  std::optional<ForwardCounters> counters;
  bool persistent = true;  // its domain
  bool allowed = false;    // it is there since somebody said so, to a rule that asks
  bool operator==(const ForwardRow&) const = default;
};

// A port of a guest that is not forwarded.
struct PortRow {
  PortView port;
  bool operator==(const PortRow&) const = default;
};

struct Row {
  std::string key;         // unique in the list, and the same for as long as the thing is there
  std::size_t source = 0;  // number of the daemon
  std::string path;        // object path; of a note, of its domain
  std::string domain;      // object path of the domain
  std::variant<DomainRow, NoteRow, ForwardRow, PortRow> content;
  bool operator==(const Row&) const = default;
};

struct Filter {
  std::string domain;  // name, id or UUID; empty: all
  std::string search;  // part of what a row says, in any case; empty: everything
};

bool is_of(const DomainView& domain, const std::string& name);

// Running domains by name, each followed by its notes, its forwards by host port and its other
// ports. The reason that several of these have is in a note instead. `names`: of the sources, where
// people have to tell them apart; else empty.
std::vector<Row> rows(const std::vector<const Inventory*>& sources, const Filter& filter,
                      const std::vector<std::string>& names = {});

}  // namespace vf::panel
