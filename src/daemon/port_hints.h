// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Which port each forward got, in $RUNTIME/virt-forward/ports: a hint that keeps ports sticky over
// restarts of daemon and relay, for one run of a domain. Losing the file loses nothing else.

#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "base/port.h"
#include "core/vocabulary.h"
#include "glib/source.h"

namespace vf {

struct PortHint {
  int run = 0;                    // libvirt's id of the running domain
  std::optional<Port> requested;  // absent: any
  Port port;
  Protocol protocol = Protocol::tcp;
  friend bool operator==(const PortHint&, const PortHint&) = default;
};

class PortHints {
 public:
  // Reads what is there; what cannot be read is left out.
  explicit PortHints(std::string path);
  ~PortHints();  // writes what is not yet written

  // A hint of another run is none.
  std::optional<PortHint> find(const std::string& key, std::optional<int> run) const;
  void remember(const std::string& key, const PortHint& hint);
  // Of all forwards whose key begins with `prefix`.
  void forget(const std::string& prefix);
  // Of all forwards whose key does not satisfy `wanted`.
  void forget_unless(const std::function<bool(const std::string& key)>& wanted);

 private:
  void changed();
  void write();

  std::string path_;
  std::map<std::string, PortHint> hints_;
  bool dirty_ = false;
  Source pending_write_;
};

}  // namespace vf
