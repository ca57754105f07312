// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/libvirt_host.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <type_traits>
#include <utility>

#include "glib/source.h"
#include "plugin/connection.h"
#include "plugin/domain_reader.h"
#include "plugin/guest_addresses.h"
#include "plugin/hearsay_reader.h"
#include "plugin/inventory.h"
#include "plugin/lease_watch.h"
#include "plugin/qemu_command.h"
#include "plugin/worker_pool.h"

namespace vf {
namespace {

constexpr const char* lease_directory = "/var/lib/libvirt/dnsmasq";

}  // namespace

class LibvirtHost::Implementation final : Connection::Observer {
 public:
  Implementation(std::string uri, LibvirtHost::Observer& observer)
      : uri_(std::move(uri)), observer_(observer), connection_(uri_, workers_, *this) {}

  void start() {
    guest_addresses_.start();
    connection_.start();
  }
  bool connected() const { return synchronised_; }
  const std::string& uri() const { return uri_; }

  enum class Extent { metadata, whole };
  void refresh(const std::string& uuid, Extent extent);
  void refresh_all();
  void starting(const std::string& uuid, int run, std::chrono::nanoseconds moment);
  void catch_up(std::function<void()> done);
  void ask_qemu_agent(const std::string& uuid, std::string command,
                      std::function<void(Result<std::string>)> done);
  void human_monitor(const std::string& uuid, std::string command,
                     std::function<void(Result<std::string>)> done);
  void edit_metadata(const std::string& uuid, MetadataTarget target, Edit edit,
                     std::function<void(Result<void>)> done);

 private:
  // A domain that is being read. What comes meanwhile is read once more afterwards.
  struct Pending {
    bool again = false;
    Extent extent = Extent::metadata;  // of the next reading
  };

  void connection_up() override;
  void connection_down(const std::string& reason) override;
  void domain_event(const std::string& uuid, Connection::Change change) override;
  void networks_changed() override;

  template <typename Work, typename Done>
  void call(WorkerPool& workers, std::string key, Work work, Done done);
  template <typename Work, typename Done>
  void always_call(WorkerPool& workers, std::string key, Work work, Done done);
  void read_one(const std::string& uuid, Extent extent);
  void finished(const std::string& uuid);
  void resynced(Result<FullReading> reading);
  void report(const std::string& uuid, Inventory::Outcome outcome);
  void tell(const std::string& uuid, Inventory::Outcome outcome);
  void read_leases();
  void ask_agent(const std::string& uuid);

  const std::string uri_;
  LibvirtHost::Observer& observer_;
  // Expires with this object: what a worker posts is dropped then.
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
  int epoch_ = 0;  // of the connection: answers of an earlier one are dropped
  WorkerPool workers_{4};
  Connection connection_;
  Inventory inventory_;
  bool synchronised_ = false;  // a full reading since the connection came up
  bool introduced_ = false;    // the observer has been told of the domains, ever
  bool reading_all_ = false;
  bool read_all_again_ = false;
  using Waiters = std::vector<std::function<void()>>;
  Waiters waiting_;  // for a reading of all domains that has not begun yet
  Waiters served_;   // by the reading under way
  std::map<std::string, Pending> pending_;
  Source slow_resync_;
  // A guest agent that hangs holds up only other agents.
  WorkerPool agent_workers_{1};
  // Of QEMUs that hang, two hold up the monitors of all others, and nothing else.
  WorkerPool monitor_workers_{2};
  bool reading_leases_ = false;
  bool read_leases_again_ = false;
  LeaseWatch lease_watch_{lease_directory, [this] { read_leases(); }};
  GuestAddresses guest_addresses_{
      [this](const std::string& uuid, const std::vector<IpAddress>& addresses) {
        if (inventory_.find(uuid)) observer_.addresses_changed(uuid, addresses);
      }};
};

// Runs work(connection) in a worker, then done(result) here, unless the connection or this object
// went away meanwhile.
template <typename Work, typename Done>
void LibvirtHost::Implementation::call(WorkerPool& workers, std::string key, Work work, Done done) {
  workers.run(std::move(key),
              [connect = connection_.handle(), work = std::move(work), done = std::move(done),
               alive = std::weak_ptr<int>(alive_), epoch = epoch_, this]() mutable {
                auto result = work(connect.get());
                connect.reset();
                post(nullptr, [result = std::move(result), done = std::move(done),
                               alive = std::move(alive), epoch, this]() mutable {
                  if (!alive.expired() && epoch == epoch_) done(std::move(result));
                });
              });
}

// Like call(), for callers that want an answer also when the connection is down, or goes down
// meanwhile: done(result, epoch), with the epoch in which the work began. Work returns a Result.
template <typename Work, typename Done>
void LibvirtHost::Implementation::always_call(WorkerPool& workers, std::string key, Work work,
                                              Done done) {
  using Answer = std::invoke_result_t<Work, virConnectPtr>;
  const auto tell = [alive = std::weak_ptr<int>(alive_), epoch = epoch_](Done& told,
                                                                         Answer answer) {
    post(nullptr, [alive, epoch, told = std::move(told), answer = std::move(answer)]() mutable {
      if (!alive.expired()) told(std::move(answer), epoch);
    });
  };
  if (!connection_.handle()) {
    std::string reason = connection_.down_reason();
    if (reason.empty()) reason = "not connected to libvirt yet";
    return tell(done, Unexpected(ErrorCode::failed, std::move(reason)));
  }
  workers.run(std::move(key), [connect = connection_.handle(), work = std::move(work),
                               done = std::move(done), tell]() mutable {
    Answer answer = work(connect.get());
    connect.reset();
    tell(done, std::move(answer));
  });
}

void LibvirtHost::Implementation::connection_up() {
  constexpr std::chrono::minutes resync_interval{10};
  ++epoch_;
  refresh_all();
  slow_resync_ = every(resync_interval, [this] { refresh_all(); });
}

void LibvirtHost::Implementation::connection_down(const std::string& reason) {
  ++epoch_;
  synchronised_ = false;
  reading_all_ = false;
  read_all_again_ = false;
  reading_leases_ = false;
  read_leases_again_ = false;
  pending_.clear();
  slow_resync_.reset();
  observer_.connection_changed(false, reason);
  waiting_.insert(waiting_.begin(), served_.begin(), served_.end());
  served_.clear();
  for (const auto& done : std::exchange(waiting_, {}))
    done();
}

void LibvirtHost::Implementation::domain_event(const std::string& uuid, Connection::Change change) {
  switch (change) {
    case Connection::Change::metadata:
      refresh(uuid, Extent::metadata);
      break;
    case Connection::Change::domain:
      refresh(uuid, Extent::whole);
      guest_addresses_.guest_may_answer(uuid);
      break;
    case Connection::Change::agent:
      refresh(uuid, Extent::whole);
      ask_agent(uuid);
      break;
    case Connection::Change::reset:
      guest_addresses_.guest_may_answer(uuid);
      observer_.guest_reset(uuid);
      break;
  }
}

void LibvirtHost::Implementation::networks_changed() {
  lease_watch_.start();
  read_leases();
}

void LibvirtHost::Implementation::read_leases() {
  if (!connection_.handle()) return;
  if (std::exchange(reading_leases_, true)) {
    read_leases_again_ = true;
    return;
  }
  call(workers_, "leases", vf::read_leases, [this](const std::vector<Hearsay>& leases) {
    reading_leases_ = false;
    guest_addresses_.leases_are(leases);
    guest_addresses_.flush();
    if (std::exchange(read_leases_again_, false)) read_leases();
  });
}

void LibvirtHost::Implementation::ask_agent(const std::string& uuid) {
  if (!connection_.handle()) return;
  call(
      agent_workers_, uuid, [uuid](virConnectPtr connect) { return vf::ask_agent(connect, uuid); },
      [this, uuid](const std::vector<Hearsay>& hearsay) {
        guest_addresses_.agent_says(uuid, hearsay);
      });
}

void LibvirtHost::Implementation::refresh(const std::string& uuid, Extent extent) {
  if (!connection_.handle()) return;
  const auto [item, inserted] = pending_.try_emplace(uuid);
  if (inserted) {
    read_one(uuid, extent);
    return;
  }
  item->second.again = true;
  if (extent == Extent::whole) item->second.extent = Extent::whole;
}

void LibvirtHost::Implementation::read_one(const std::string& uuid, Extent extent) {
  if (extent == Extent::metadata && inventory_.find(uuid)) {
    call(
        workers_, uuid, [uuid](virConnectPtr connect) { return read_metadata(connect, uuid); },
        [this, uuid](Result<MetadataReading> reading) {
          if (reading) report(uuid, inventory_.apply(*reading));
          finished(uuid);
        });
    return;
  }
  call(
      workers_, uuid, [uuid](virConnectPtr connect) { return read_domain(connect, uuid); },
      [this, uuid](Result<DomainReading> reading) {
        if (reading) report(uuid, inventory_.apply(*std::move(reading)));
        finished(uuid);
      });
}

void LibvirtHost::Implementation::finished(const std::string& uuid) {
  const auto found = pending_.find(uuid);
  if (found == pending_.end()) return;
  const Pending pending = found->second;
  if (pending.again) {
    found->second = {};
    read_one(uuid, pending.extent);
  } else {
    pending_.erase(found);
  }
}

void LibvirtHost::Implementation::report(const std::string& uuid, Inventory::Outcome outcome) {
  // A full reading is on its way and tells everything at once.
  if (synchronised_) tell(uuid, outcome);
}

void LibvirtHost::Implementation::starting(const std::string& uuid, int run,
                                           std::chrono::nanoseconds moment) {
  // From the future it would shut out all readings until then.
  const std::uint64_t now = next_sequence();
  const auto said = static_cast<std::uint64_t>(std::max<std::int64_t>(moment.count(), 0));
  const Inventory::Outcome outcome = inventory_.starting(uuid, run, std::min(said, now));
  if (introduced_) tell(uuid, outcome);
}

void LibvirtHost::Implementation::tell(const std::string& uuid, Inventory::Outcome outcome) {
  if (outcome == Inventory::Outcome::changed) {
    const DomainSnapshot domain = *inventory_.find(uuid);
    guest_addresses_.domain_is(domain);
    observer_.domain_changed(domain);
  }
  if (outcome == Inventory::Outcome::gone) {
    guest_addresses_.domain_gone(uuid);
    observer_.domain_gone(uuid);
  }
  guest_addresses_.flush();
}

void LibvirtHost::Implementation::refresh_all() {
  if (!connection_.handle()) return;
  if (std::exchange(reading_all_, true)) {
    read_all_again_ = true;
    return;
  }
  served_ = std::exchange(waiting_, {});
  call(workers_, "", read_all_domains,
       [this](Result<FullReading> reading) { resynced(std::move(reading)); });
}

void LibvirtHost::Implementation::resynced(Result<FullReading> reading) {
  reading_all_ = false;
  if (!reading) {
    connection_.give_up(reading.error().message);
    return;
  }
  const std::vector<DomainSnapshot> before = inventory_.domains();
  inventory_.apply(*std::move(reading));
  connection_.settle();
  const std::vector<DomainSnapshot> domains = inventory_.domains();
  for (const DomainSnapshot& domain : before)
    if (!inventory_.find(domain.uuid)) guest_addresses_.domain_gone(domain.uuid);
  for (const DomainSnapshot& domain : domains) {
    guest_addresses_.domain_is(domain);
    if (domain.guest_agent) ask_agent(domain.uuid);
  }
  guest_addresses_.sweep();
  introduced_ = true;
  if (!std::exchange(synchronised_, true)) observer_.connection_changed(true, {});
  observer_.resynced(domains);
  guest_addresses_.flush();
  networks_changed();
  for (const auto& done : std::exchange(served_, {}))
    done();
  if (std::exchange(read_all_again_, false)) refresh_all();
}

void LibvirtHost::Implementation::catch_up(std::function<void()> done) {
  if (!connection_.handle() && !connection_.down_reason().empty()) {
    post(nullptr, [done = std::move(done), alive = std::weak_ptr<int>(alive_)] {
      if (!alive.expired()) done();
    });
    return;
  }
  waiting_.push_back(std::move(done));
  refresh_all();
}

void LibvirtHost::Implementation::ask_qemu_agent(const std::string& uuid, std::string command,
                                                 std::function<void(Result<std::string>)> done) {
  if (!connection_.handle()) return;
  call(
      agent_workers_, uuid,
      [uuid, command = std::move(command)](virConnectPtr connect) {
        return qemu_agent_reply(connect, uuid, command);
      },
      std::move(done));
}

void LibvirtHost::Implementation::edit_metadata(const std::string& uuid, MetadataTarget target,
                                                Edit edit, std::function<void(Result<void>)> done) {
  always_call(
      workers_, uuid,
      [uuid, target, edit = std::move(edit)](virConnectPtr connect) {
        return write_metadata(connect, uuid, target, edit);
      },
      [this, alive = std::weak_ptr<int>(alive_), done = std::move(done)](
          const Result<MetadataReading>& result, int epoch) {
        if (!result) return done(Unexpected(result.error()));
        // The change is reported before the editor hears that it is done.
        if (epoch == epoch_) report(result->uuid, inventory_.apply(*result));
        if (alive.expired()) return;
        if (epoch == epoch_ && synchronised_) return done({});
        catch_up([done] { done({}); });
      });
}

void LibvirtHost::Implementation::human_monitor(const std::string& uuid, std::string command,
                                                std::function<void(Result<std::string>)> done) {
  always_call(
      monitor_workers_, uuid,
      [uuid, command = std::move(command)](virConnectPtr connect) {
        return qemu_monitor_reply(connect, uuid, command);
      },
      [done = std::move(done)](Result<std::string> reply, int) { done(std::move(reply)); });
}

LibvirtHost::LibvirtHost(std::string uri, Observer& observer)
    : implementation_(std::make_unique<Implementation>(std::move(uri), observer)) {}
LibvirtHost::~LibvirtHost() = default;
void LibvirtHost::start() {
  implementation_->start();
}
bool LibvirtHost::connected() const {
  return implementation_->connected();
}
const std::string& LibvirtHost::uri() const {
  return implementation_->uri();
}
void LibvirtHost::refresh(const std::string& uuid) {
  implementation_->refresh(uuid, Implementation::Extent::whole);
}
void LibvirtHost::refresh_all() {
  implementation_->refresh_all();
}
void LibvirtHost::starting(const std::string& uuid, int run, std::chrono::nanoseconds moment) {
  implementation_->starting(uuid, run, moment);
}
void LibvirtHost::catch_up(std::function<void()> done) {
  implementation_->catch_up(std::move(done));
}
void LibvirtHost::ask_qemu_agent(const std::string& uuid, std::string command,
                                 std::function<void(Result<std::string>)> done) {
  implementation_->ask_qemu_agent(uuid, std::move(command), std::move(done));
}
void LibvirtHost::human_monitor(const std::string& uuid, std::string command,
                                std::function<void(Result<std::string>)> done) {
  implementation_->human_monitor(uuid, std::move(command), std::move(done));
}
void LibvirtHost::edit_metadata(const std::string& uuid, MetadataTarget target, Edit edit,
                                std::function<void(Result<void>)> done) {
  implementation_->edit_metadata(uuid, target, std::move(edit), std::move(done));
}

}  // namespace vf
