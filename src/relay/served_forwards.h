// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "relay/context.h"
#include "relay/forward.h"
#include "wire/relay.h"

namespace vf {

// The forwards that the relay serves, by key. Changes are staged and then applied together.
class ServedForwards {
 public:
  explicit ServedForwards(RelayContext& context) : context_(context) {}
  ~ServedForwards();

  // An Error for a descriptor that is no listening TCP socket, or too much staged; nothing is
  // staged then.
  Result<void> stage(RelayAdd add);
  Result<void> stage(RelayUpdate update);
  Result<void> stage(RelayRemove remove);
  void commit();
  void drop_staged() { staged_.clear(); }

  // In order of key; null at the end. A forward that drains is not among them.
  const Forward* after(const std::string& key) const;
  std::size_t size() const { return forwards_.size(); }
  std::size_t draining() const { return draining_.size(); }

  // Resets every connection and closes every listener.
  void clear();

 private:
  using Change = std::variant<RelayAdd, RelayUpdate, RelayRemove>;

  Result<void> push(Change change);
  void apply(RelayAdd& add);
  void apply(RelayUpdate& update);
  void apply(RelayRemove& remove);
  void cut_draining(const std::string& key);
  void drained(Forward& forward);

  RelayContext& context_;
  std::vector<Change> staged_;
  std::map<std::string, std::unique_ptr<Forward>> forwards_;
  std::list<std::unique_ptr<Forward>> draining_;
};

}  // namespace vf
