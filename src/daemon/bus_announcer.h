// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the model tells, as D-Bus signals: what happens within one turn of the main loop becomes one
// signal an object. An object that comes and goes within a turn is never announced; one that goes
// and comes again is announced as both.

#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "daemon/model.h"
#include "glib/ref.h"
#include "glib/source.h"

namespace vf {

class BusAnnouncer final : public Model::Observer {
 public:
  using Emit = std::function<void(const char* path, const char* interface, const char* signal,
                                  const Ref<GVariant>& body)>;

  // Observes `model`, which outlives it.
  BusAnnouncer(Model& model, Emit emit);
  ~BusAnnouncer() override;
  BusAnnouncer(const BusAnnouncer&) = delete;
  BusAnnouncer& operator=(const BusAnnouncer&) = delete;

  // While nobody listens nothing is kept.
  void listen(bool wanted);
  // Emits what is due, so that a reply never overtakes the signals of what it did.
  void flush();

  void domain_added(const DomainView& domain) override;
  void domain_changed(const DomainView& domain) override;
  void domain_removed(const DomainView& domain) override;
  void forward_added(const ForwardView& forward) override;
  void forward_changed(const ForwardView& forward) override;
  void forward_removed(const ForwardView& forward) override;
  void port_added(const PortView& port) override;
  void port_changed(const PortView& port) override;
  void port_removed(const PortView& port) override;
  void daemon_changed() override;

 private:
  enum class News { none, added, changed, removed };
  struct Entry {
    std::string path;
    News news;
  };

  void note(std::string path, News news);
  void append(std::string path, News news);
  void emit(const Entry& entry);

  Model& model_;
  Emit emit_;
  bool wanted_ = false;
  std::vector<Entry> entries_;                           // in the order of their signals
  std::unordered_map<std::string, std::size_t> latest_;  // path to its last entry
  Source due_;
};

}  // namespace vf
