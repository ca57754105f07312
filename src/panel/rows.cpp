// SPDX-License-Identifier: LGPL-2.1-or-later

#include "panel/rows.h"

#include <glib.h>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <tuple>

#include "base/printable.h"
#include "core/auto_rules.h"
#include "glib/object_path.h"
#include "glib/ref.h"
#include "panel/words.h"

namespace vf::panel {
namespace {

template <typename View>
void merge(std::map<std::string, View>& views,
           const std::map<std::string, std::optional<View>>& changes) {
  for (const auto& [path, view] : changes) {
    if (view)
      views.insert_or_assign(path, *view);
    else
      views.erase(path);
  }
}

std::string folded(const std::string& text) {
  return take_string(g_utf8_casefold(text.c_str(), -1));
}

// Whether any of the texts has the words that are searched.
class Search {
 public:
  explicit Search(const std::string& text) : text_(folded(text)) {}
  bool empty() const { return text_.empty(); }
  bool matches(std::initializer_list<std::string> texts) const {
    return text_.empty() || std::ranges::any_of(texts, [this](const std::string& text) {
             return folded(text).find(text_) != std::string::npos;
           });
  }

 private:
  std::string text_;
};

std::string number(const std::optional<Port>& port) {
  return port ? std::to_string(port->number()) : std::string();
}

std::string process_name(const std::optional<ProcessView>& process) {
  return process ? process->name : std::string();
}

// Of the rules that forward, those alone are marked that "allow" made.
bool is_answer(const PortView& port) {
  return port.state == DetectedState::forwarded &&
         port.rule_text.find("marked=\"yes\"") != std::string::npos;
}

bool is_shown(const ForwardView& forward) {
  return forward.live && forward.state != ForwardState::inactive;
}

bool finds(const Search& search, const ForwardView& forward) {
  return search.matches({forward.name, forward.label, forward.url, number(forward.host_port),
                         number(forward.guest_port), process_name(forward.process),
                         forward.host_socket, forward.guest_socket,
                         std::string(text(forward.state))});
}

bool finds(const Search& search, const PortView& port) {
  return search.matches({number(port.port), process_name(port.process), port.container,
                         std::string(text(port.state))});
}

// Why something is not served, and what its row says of that.
struct Why {
  std::string* reason = nullptr;
  std::string said;
};

Why why(Row& row) {
  std::string* reason = nullptr;
  std::string said;
  if (auto* of = std::get_if<ForwardRow>(&row.content);
      of && of->forward.state != ForwardState::disabled) {
    reason = &of->forward.reason;
    if (of->forward.state != ForwardState::active) said = state(of->forward) + ": ";
  } else if (auto* port = std::get_if<PortRow>(&row.content)) {
    reason = &port->port.reason;
    said = state(port->port) + ": ";
  }
  if (!reason || reason->empty()) return {};
  return {reason, said + printable(*reason, 512)};
}

struct Content {
  std::vector<std::pair<std::string, const ForwardView*>> forwards;
  std::vector<std::pair<std::string, const PortView*>> ports;
  std::map<std::string, const PortView*> port_of_forward;  // by the forward's id
};

// Its place among the others of its machine. One that is disabled keeps it.
auto place_of(const ForwardView& forward) {
  return std::tuple(forward.host_port ? forward.host_port : forward.requested_port,
                    forward.guest_port, std::string_view(forward.id));
}

class Builder {
 public:
  Builder(std::size_t source, std::string name, const Inventory& inventory, const Search& search,
          std::vector<Row>& rows)
      : source_(source),
        name_(std::move(name)),
        inventory_(inventory),
        search_(search),
        rows_(rows) {}

  void domain(const std::string& path, const DomainView& domain, Content& content) {
    const bool whole = search_.matches({domain.name});
    const std::size_t header = rows_.size();
    add("domain", path, path, DomainRow{domain, content.forwards.size(), name_});
    if (whole)
      for (std::size_t i = 0; i < domain.problems.size(); ++i)
        add("note" + std::to_string(i), path, path,
            NoteRow{NoteRow::Kind::problem, domain.problems[i]});
    if (content.forwards.empty() && content.ports.empty() && whole)
      add("empty", path, path, NoteRow{NoteRow::Kind::empty, domain.guest_agent_reason});
    std::ranges::sort(content.forwards, [](const auto& a, const auto& b) {
      return place_of(*a.second) < place_of(*b.second);
    });
    for (const auto& [forward_path, forward] : content.forwards) {
      ForwardRow row{*forward, {}, {}, domain.persistent, false};
      if (const auto port = content.port_of_forward.find(forward->id);
          port != content.port_of_forward.end()) {
        row.bound = port->second->addresses;
        row.allowed = is_answer(*port->second);
        if (!row.forward.process) row.forward.process = port->second->process;
      }
      if (!whole && !finds(search_, row.forward)) continue;
      if (const auto counted = inventory_.counters.find(forward_path);
          counted != inventory_.counters.end())
        row.counters = counted->second;
      // A port that is blocked or allowed stays the same thing.
      const std::string name =
          forward->id.starts_with(automatic_prefix)
              ? key("port", port_path(forward->uuid, forward->id.substr(automatic_prefix.size())))
              : key("forward", forward_path);
      rows_.push_back({name, source_, forward_path, path, std::move(row)});
    }
    std::ranges::sort(content.ports, [](const auto& a, const auto& b) {
      return std::tie(a.second->port, a.second->id) < std::tie(b.second->port, b.second->id);
    });
    for (const auto& [port_path, port] : content.ports)
      if (whole || finds(search_, *port)) add("port", port_path, path, PortRow{*port});
    if (!whole && rows_.size() == header + 1) return rows_.pop_back();
    say_once(path, header);
  }

 private:
  // What several rows of a domain say, each of them need not say again.
  void say_once(const std::string& path, std::size_t header) {
    std::map<std::string, std::vector<std::string*>> reasons;
    std::size_t place = header + 1;
    for (std::size_t i = header; i < rows_.size(); ++i) {
      if (std::holds_alternative<NoteRow>(rows_[i].content)) place = i + 1;
      if (const Why of = why(rows_[i]); of.reason) reasons[of.said].push_back(of.reason);
    }
    std::vector<Row> notes;
    for (const auto& [said, of] : reasons) {
      if (of.size() < 2) continue;
      for (std::string* reason : of)
        reason->clear();
      notes.push_back(make("reason" + std::to_string(notes.size()), path, path,
                           NoteRow{NoteRow::Kind::reason, said}));
    }
    rows_.insert(rows_.begin() + static_cast<std::ptrdiff_t>(place),
                 std::make_move_iterator(notes.begin()), std::make_move_iterator(notes.end()));
  }

  std::string key(const std::string& kind, const std::string& path) const {
    return kind + ' ' + std::to_string(source_) + ' ' + path;
  }
  template <typename Of>
  Row make(const std::string& kind, const std::string& path, const std::string& domain,
           Of of) const {
    return {key(kind, path), source_, path, domain, std::move(of)};
  }
  template <typename Of>
  void add(const std::string& kind, const std::string& path, const std::string& domain, Of of) {
    rows_.push_back(make(kind, path, domain, std::move(of)));
  }

  const std::size_t source_;
  const std::string name_;
  const Inventory& inventory_;
  const Search& search_;
  std::vector<Row>& rows_;
};

}  // namespace

void Inventory::apply(const Changes& changes) {
  if (changes.whole) clear();
  merge(domains, changes.domains);
  merge(forwards, changes.forwards);
  merge(ports, changes.ports);
}

void Inventory::clear() {
  domains.clear();
  forwards.clear();
  ports.clear();
  counters.clear();
}

bool Inventory::count(std::map<std::string, ForwardCounters> counted) {
  if (counted == counters) return false;
  counters = std::move(counted);
  return true;
}

bool is_of(const DomainView& domain, const std::string& name) {
  return name.empty() || domain.name == name || domain.uuid == name ||
         (domain.id && std::to_string(*domain.id) == name);
}

std::vector<Row> rows(const std::vector<const Inventory*>& sources, const Filter& filter,
                      const std::vector<std::string>& names) {
  using Place = std::tuple<std::string, std::size_t, std::string>;  // name, source, path
  std::map<Place, std::pair<const DomainView*, Content>> places;
  for (std::size_t source = 0; source < sources.size(); ++source) {
    const Inventory& inventory = *sources[source];
    std::map<std::string, Content*> by_uuid;
    for (const auto& [path, domain] : inventory.domains) {
      if (!domain.active || !is_of(domain, filter.domain)) continue;
      auto& [view, content] = places[{domain.name, source, path}];
      view = &domain;
      by_uuid[domain.uuid] = &content;
    }
    for (const auto& [path, forward] : inventory.forwards)
      if (const auto found = by_uuid.find(forward.uuid);
          found != by_uuid.end() && is_shown(forward))
        found->second->forwards.emplace_back(path, &forward);
    for (const auto& [path, port] : inventory.ports) {
      const auto found = by_uuid.find(port.uuid);
      if (found == by_uuid.end()) continue;
      if (port.forward.empty())
        found->second->ports.emplace_back(path, &port);
      else
        found->second->port_of_forward[port.forward] = &port;
    }
  }
  const Search search(filter.search);
  std::vector<Row> rows;
  for (auto& [place, found] : places) {
    const std::size_t source = std::get<1>(place);
    Builder(source, names.empty() ? std::string() : names[source], *sources[source], search, rows)
        .domain(std::get<2>(place), *found.first, found.second);
  }
  return rows;
}

}  // namespace vf::panel
