// SPDX-License-Identifier: LGPL-2.1-or-later

#include "plugin/connection.h"

#include <libvirt-glib/libvirt-glib.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <utility>
#include <vector>

namespace vf {

// What libvirt's callbacks of one connection hold on to. The owner is cleared, on the main thread,
// before the Connection lets go of it: late callbacks then say nothing.
struct Connection::Link {
  Connection* owner = nullptr;  // main thread only
};

struct Connection::Opened {
  std::shared_ptr<Link> link;
  ConnectHandle handle;
  std::string error;
};

// Libvirt's side: static functions that C can call. Domain and network events come on the main
// thread; the close callback on whichever thread noticed.
struct ConnectionCallbacks {
  using Link = Connection::Link;
  using Change = Connection::Change;

  static void emit(virDomainPtr domain, void* opaque, Change change) {
    const auto& link = *static_cast<std::shared_ptr<Link>*>(opaque);
    if (link->owner) link->owner->observer_.domain_event(uuid_of(domain), change);
  }

  static void lifecycle(virConnectPtr, virDomainPtr domain, int, int, void* opaque) noexcept {
    emit(domain, opaque, Change::domain);
  }
  static void reboot(virConnectPtr, virDomainPtr domain, void* opaque) noexcept {
    emit(domain, opaque, Change::reset);
  }
  static void metadata(virConnectPtr, virDomainPtr domain, int type, const char*,
                       void* opaque) noexcept {
    if (type == VIR_DOMAIN_METADATA_ELEMENT) emit(domain, opaque, Change::metadata);
  }
  static void agent(virConnectPtr, virDomainPtr domain, int, int, void* opaque) noexcept {
    emit(domain, opaque, Change::agent);
  }
  static void device(virConnectPtr, virDomainPtr domain, const char*, void* opaque) noexcept {
    emit(domain, opaque, Change::domain);
  }
  static void network(virConnectPtr, virNetworkPtr, int, int, void* opaque) noexcept {
    const auto& link = *static_cast<std::shared_ptr<Link>*>(opaque);
    if (link->owner) link->owner->observer_.networks_changed();
  }
  static void closed(virConnectPtr, int reason, void* opaque) noexcept {
    static constexpr std::array<const char*, 3> words{"libvirt broke the connection",
                                                      "libvirt closed the connection",
                                                      "libvirt does not answer any more"};
    const auto index = static_cast<std::size_t>(std::clamp(reason, 0, 2));
    post(nullptr, [link = *static_cast<std::shared_ptr<Link>*>(opaque), text = words[index]] {
      if (link->owner) link->owner->give_up(text);
    });
  }
  static void release(void* opaque) noexcept { delete static_cast<std::shared_ptr<Link>*>(opaque); }
};

namespace {

constexpr int keepalive_interval = 5;
constexpr unsigned keepalive_count = 3;

// The subscriptions of one connection. Each callback keeps the connection alive inside libvirt, so
// they are taken back even from a dead one.
struct Subscriptions {
  std::vector<int> domain;
  std::vector<int> network;
  bool close = false;
  std::shared_ptr<void> close_opaque;
};

void unsubscribe(virConnectPtr connect, const Subscriptions& subscriptions) {
  for (const int id : subscriptions.domain)
    virConnectDomainEventDeregisterAny(connect, id);
  for (const int id : subscriptions.network)
    virConnectNetworkEventDeregisterAny(connect, id);
  if (subscriptions.close) virConnectUnregisterCloseCallback(connect, ConnectionCallbacks::closed);
}

template <typename Callback>
void* make_opaque(const Callback& link) {
  return new Callback(link);
}

// Lifecycle and metadata events must be had; a driver may lack the others.
template <typename Link>
bool subscribe(virConnectPtr connect, const std::shared_ptr<Link>& link,
               Subscriptions& subscriptions) {
  const auto domain_event = [&](int event, virConnectDomainEventGenericCallback callback) {
    void* opaque = make_opaque(link);
    const int id = virConnectDomainEventRegisterAny(connect, nullptr, event, callback, opaque,
                                                    ConnectionCallbacks::release);
    if (id < 0)
      ConnectionCallbacks::release(opaque);
    else
      subscriptions.domain.push_back(id);
    return id >= 0;
  };
  // A driver without this call says that it went well and forgets the argument: it stays ours.
  subscriptions.close_opaque = std::make_shared<std::shared_ptr<Link>>(link);
  subscriptions.close =
      virConnectRegisterCloseCallback(connect, ConnectionCallbacks::closed,
                                      subscriptions.close_opaque.get(), nullptr) == 0;
  if (!domain_event(VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                    VIR_DOMAIN_EVENT_CALLBACK(ConnectionCallbacks::lifecycle)) ||
      !domain_event(VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
                    VIR_DOMAIN_EVENT_CALLBACK(ConnectionCallbacks::metadata)))
    return false;
  domain_event(VIR_DOMAIN_EVENT_ID_REBOOT, VIR_DOMAIN_EVENT_CALLBACK(ConnectionCallbacks::reboot));
  domain_event(VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE,
               VIR_DOMAIN_EVENT_CALLBACK(ConnectionCallbacks::agent));
  domain_event(VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
               VIR_DOMAIN_EVENT_CALLBACK(ConnectionCallbacks::device));
  domain_event(VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
               VIR_DOMAIN_EVENT_CALLBACK(ConnectionCallbacks::device));
  void* opaque = make_opaque(link);
  const int id =
      virConnectNetworkEventRegisterAny(connect, nullptr, VIR_NETWORK_EVENT_ID_LIFECYCLE,
                                        VIR_NETWORK_EVENT_CALLBACK(ConnectionCallbacks::network),
                                        opaque, ConnectionCallbacks::release);
  if (id < 0)
    ConnectionCallbacks::release(opaque);
  else
    subscriptions.network.push_back(id);
  return true;
}

void register_event_loop() {
  static std::once_flag once;
  std::call_once(once, [] {
    silence_libvirt();
    gvir_event_register();
  });
}

}  // namespace

Connection::Connection(std::string uri, WorkerPool& workers, Observer& observer)
    : uri_(std::move(uri)), workers_(workers), observer_(observer) {}

Connection::~Connection() {
  drop();
}

void Connection::start() {
  register_event_loop();
  open();
}

void Connection::open() {
  constexpr std::chrono::seconds patience{5};
  link_ = std::make_shared<Link>(Link{this});
  slow_answer_ =
      after(patience, [this] { report_down("libvirt at " + uri_ + " does not answer"); });
  workers_.run("connection", [uri = uri_, link = link_]() mutable {
    Opened opened{link, nullptr, {}};
    // The subscriptions go when the last user of the handle does, before the connection.
    if (virConnectPtr connect = virConnectOpen(uri.c_str())) {
      // Fails where the driver runs in this process: nothing there to keep alive.
      virConnectSetKeepAlive(connect, keepalive_interval, keepalive_count);
      Subscriptions subscriptions;
      const bool subscribed = subscribe(connect, link, subscriptions);
      if (!subscribed) opened.error = libvirt_error(uri).message;
      ConnectHandle handle(connect, [subscriptions](virConnectPtr owned) {
        unsubscribe(owned, subscriptions);
        virConnectClose(owned);
      });
      if (subscribed) opened.handle = std::move(handle);
    } else {
      opened.error = libvirt_error(uri).message;
    }
    link.reset();
    post(nullptr, [opened = std::move(opened)]() mutable {
      if (opened.link->owner) {
        opened.link->owner->opened(std::move(opened));
      }
    });
  });
}

void Connection::opened(Opened opened) {
  if (opened.link != link_) return;
  slow_answer_.reset();
  if (!opened.handle) {
    report_down(opened.error);
    schedule();
    return;
  }
  handle_ = std::move(opened.handle);
  down_reason_.clear();
  observer_.connection_up();
}

void Connection::give_up(const std::string& reason) {
  drop();
  report_down(reason);
  schedule();
}

void Connection::schedule() {
  const double jitter = g_random_double_range(0.8, 1.2);
  const auto delay = std::chrono::duration_cast<std::chrono::milliseconds>(delay_ * jitter);
  delay_ = std::min(delay_ * 2, longest_delay);
  retry_ = after(delay, [this] { open(); });
}

void Connection::report_down(const std::string& reason) {
  if (down_reason_ == reason) return;
  down_reason_ = reason;
  observer_.connection_down(reason);
}

void Connection::drop() {
  retry_.reset();
  slow_answer_.reset();
  if (link_) link_->owner = nullptr;
  link_.reset();
  if (!handle_) return;
  // Closing is a round trip.
  workers_.run("connection", [handle = std::move(handle_)]() mutable { handle.reset(); });
  handle_.reset();
}

}  // namespace vf
