// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/datagram_forward.h"

#include <fcntl.h>
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "relay/agent_datagrams.h"
#include "relay/log.h"

namespace vf {
namespace {

constexpr std::uint32_t usual_idle_seconds = 90;
constexpr std::uint32_t usual_max_clients = 4096;
// What the kernel keeps for us between two turns; it gives at most net.core.rmem_max.
constexpr int kernel_buffer_bytes = 1 << 20;
// A batch this small is somebody who waits for an answer.
constexpr int small_batch = 8;
// Of an agent that has gone, in microseconds.
constexpr gint64 look_again_after = G_USEC_PER_SEC / 4;

int option(int fd, int name) {
  int value = 0;
  socklen_t length = sizeof value;
  return getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0 ? value : -1;
}

void set_option(int fd, int level, int name, int value) {
  setsockopt(fd, level, name, &value, sizeof value);
}

std::optional<Endpoint> local_endpoint(int fd) {
  SocketAddress local;
  local.length = sizeof local.storage;
  if (getsockname(fd, local.get(), &local.length) < 0) return std::nullopt;
  return local.endpoint();
}

void copy_address(const SocketAddress& from, std::array<std::uint8_t, 16>& to, std::uint32_t& scope,
                  std::uint32_t& port) {
  if (from.storage.ss_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, &from.storage, sizeof in);
    std::memcpy(to.data(), &in.sin_addr, sizeof in.sin_addr);
    port = ntohs(in.sin_port);
  } else {
    sockaddr_in6 in{};
    std::memcpy(&in, &from.storage, sizeof in);
    std::memcpy(to.data(), &in.sin6_addr, sizeof in.sin6_addr);
    scope = in.sin6_scope_id;
    port = ntohs(in.sin6_port);
  }
}

}  // namespace

// A socket that clients write to.
class DatagramForward::Socket final : public Handler {
 public:
  Socket(DatagramForward& forward, Listener::Socket its_socket, std::uint32_t its_number)
      : socket(std::move(its_socket)), number(its_number), forward_(forward) {}
  ~Socket() override { stop(); }

  Result<void> start() {
    const int flags = fcntl(fd(), F_GETFL);
    if (flags < 0 || fcntl(fd(), F_SETFL, flags | O_NONBLOCK) < 0)
      return Unexpected(system_error(errno, "fcntl"));
    set_option(fd(), SOL_SOCKET, SO_RCVBUF, kernel_buffer_bytes);
    set_option(fd(), SOL_UDP, UDP_GRO, 1);
    const auto local = local_endpoint(fd());
    // Where one socket has many addresses each datagram tells which it was sent to.
    tells_address = local && local->address.is_wildcard();
    if (tells_address && local->address.is_v4()) set_option(fd(), IPPROTO_IP, IP_PKTINFO, 1);
    if (tells_address && !local->address.is_v4())
      set_option(fd(), IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
    auto watched = forward_.context_.loop.watch(fd(), EPOLLIN, *this);
    watched_ = watched.has_value();
    return watched;
  }
  void stop() {
    if (std::exchange(watched_, false)) forward_.context_.loop.unwatch(fd());
    socket.reset();
  }
  int fd() const { return socket->get(); }

  // Level-triggered: what a turn leaves comes back in the next.
  void ready(std::uint32_t) override {
    if (socket) forward_.receive(*this);
  }

  Listener::Socket socket;
  const std::uint32_t number;
  bool tells_address = false;
  bool segments = true;

 private:
  DatagramForward& forward_;
  bool watched_ = false;
};

class DatagramForward::Client final : public Handler, private AgentDatagrams::Owner {
 public:
  Client(DatagramForward& owner, Socket& its_socket, const Key& its_key)
      : key(its_key), socket(its_socket), owner_(owner) {}

  void ready(std::uint32_t) override {
    if (guest) owner_.answer(*this);
  }
  // By the guest's agent. 0, or why not.
  int connect(const AgentEndpoint& target) {
    AgentDatagrams::Owner& owner = *this;
    agent = std::make_unique<AgentDatagrams>(owner_.context_, owner_.share_->domain->agent, owner);
    const int error_number = agent->start(target);
    if (error_number != 0) disconnect();
    return error_number == EAGAIN ? ENOTCONN : error_number;
  }
  void disconnect() {
    guest.reset();
    if (!agent) return;
    agent->stop();
    owner_.context_.loop.retire(std::move(agent));
  }
  bool has_v4_source() const {
    return socket.tells_address && address.storage.ss_family == AF_INET;
  }
  bool has_v6_source() const {
    return socket.tells_address && address.storage.ss_family == AF_INET6;
  }

  const Key key;
  Socket& socket;
  SocketAddress address;
  in_pktinfo source_v4{};
  in6_pktinfo source_v6{};
  // One of them, or neither for a while where an agent has gone.
  Fd guest;
  std::unique_ptr<AgentDatagrams> agent;
  gint64 tried = 0;                             // to connect again
  bool forgotten = false;                       // but still in the turn's hands
  std::shared_ptr<const RelayForward> forward;  // that `endpoint` is of
  std::uint32_t endpoint = 0;
  bool answered = false;
  bool segments = true;
  gint64 active = 0;
  Clients::iterator place;

 private:
  void came(std::span<const std::uint8_t> datagram) override {
    if (!forgotten) owner_.answer(*this, datagram);
  }
  void failed(int error_number) override {
    disconnect();
    if (!forgotten) owner_.refused(*this, error_number);
  }

  DatagramForward& owner_;
};

std::size_t DatagramForward::KeyHash::operator()(const Key& key) const {
  return std::hash<std::string_view>()({reinterpret_cast<const char*>(&key), sizeof key});
}

DatagramForward::DatagramForward(RelayContext& context, RelayForward definition,
                                 std::shared_ptr<ForwardShare> share, OnDrained on_drained)
    : Forward(context, std::move(definition), std::move(share), std::move(on_drained)),
      idle_timer_(context.loop, *this) {}

DatagramForward::~DatagramForward() {
  on_drained_ = {};
  stop_listening();
}

bool DatagramForward::serves(int fd) {
  if (option(fd, SO_TYPE) != SOCK_DGRAM || option(fd, SO_PROTOCOL) != IPPROTO_UDP) return false;
  return local_endpoint(fd).has_value();
}

void DatagramForward::redefine(RelayForward definition) {
  Forward::redefine(std::move(definition));
  const auto& now = definition_->target.endpoints;
  for (auto next = clients_.begin(); next != clients_.end();) {
    Client& client = **next++;
    const RelayEndpoint& endpoint = client.forward->target.endpoints[client.endpoint];
    if (std::ranges::find(now, endpoint) == now.end()) forget(client);
  }
  end_idle();  // the time may be shorter now
}

void DatagramForward::replace_listeners(std::vector<Listener::Socket> listeners) {
  stop_listening();
  for (Listener::Socket& one : listeners) {
    auto socket = std::make_unique<Socket>(*this, std::move(one), next_socket_++);
    const auto started = socket->start();
    if (!started)
      log_line(LogLevel::error, "listener failed" + log_field("forward", key()) +
                                    log_field("error", started.error().message));
    sockets_.push_back(std::move(socket));
  }
}

void DatagramForward::stop_listening() {
  cut();
  for (auto& socket : std::exchange(sockets_, {})) {
    socket->stop();
    context_.loop.retire(std::move(socket));
  }
}

void DatagramForward::cut() {
  while (!clients_.empty())
    forget(*clients_.front());
}

void DatagramForward::receive(Socket& socket) {
  DatagramBatch& batch = DatagramBatch::of_this_thread();
  const int received = batch.receive(socket.fd());
  if (received <= 0) return;
  if (received < small_batch) context_.hurry->note(context_.loop.now());
  const auto count = static_cast<std::size_t>(received);
  std::array<Client*, DatagramBatch::capacity> clients;
  for (std::size_t i = 0; i < count; ++i)
    clients[i] = client_of(socket, batch, i);
  // Client by client, each one's datagrams in their order.
  for (std::size_t i = 0; i < count; ++i) {
    Client* const client = clients[i];
    if (!client) continue;
    if (client->forgotten) {  // it has made room for a later one of this batch
      lost(1, ENOBUFS);
      continue;
    }
    if (!has_way(*client)) {
      lost(1, ENOTCONN);
      continue;
    }
    if (client->agent) {
      for (std::size_t j = i; j < count; ++j)
        if (clients[j] == client) {
          put(*client, batch.datagram(j));
          clients[j] = nullptr;
        }
      continue;
    }
    DatagramWriter writer({client->guest.get()}, client->segments);
    for (std::size_t j = i; j < count; ++j)
      if (clients[j] == client) {
        writer.put(batch.datagram(j));
        clients[j] = nullptr;
      }
    writer.flush();
    counters_.bytes_in += writer.bytes();
    if (writer.lost() > 0) lost(writer.lost(), writer.error_number());
    if (writer.error_number() != 0 && writer.error_number() != EAGAIN)
      refused(*client, writer.error_number());
  }
}

DatagramForward::Client* DatagramForward::client_of(Socket& socket, const DatagramBatch& batch,
                                                    std::size_t index) {
  const SocketAddress& from = batch.sender(index);
  Key key;
  key.socket = socket.number;
  copy_address(from, key.client, key.client_scope, key.port);
  if (socket.tells_address) {
    if (const in_pktinfo* const v4 = batch.to_v4(index)) {
      std::memcpy(key.local.data(), &v4->ipi_addr, sizeof v4->ipi_addr);
    } else if (const in6_pktinfo* const v6 = batch.to_v6(index)) {
      std::memcpy(key.local.data(), &v6->ipi6_addr, sizeof v6->ipi6_addr);
      key.local_scope = v6->ipi6_ifindex;
    }
  }
  const auto known = by_key_.find(key);
  if (known == by_key_.end()) return new_client(socket, key, batch, index);
  touch(*known->second);
  return known->second;
}

DatagramForward::Client* DatagramForward::new_client(Socket& socket, const Key& key,
                                                     const DatagramBatch& batch,
                                                     std::size_t index) {
  if (definition_->target.endpoints.empty()) {
    ++counters_.failures;
    return nullptr;
  }
  if (!take_place()) {
    lost(1, EMFILE);
    return nullptr;
  }
  auto made = std::make_unique<Client>(*this, socket, key);
  Client& client = *made;
  client.address = batch.sender(index);
  if (client.has_v4_source())
    std::memcpy(&client.source_v4.ipi_spec_dst, key.local.data(), sizeof(in_addr));
  if (client.has_v6_source()) {
    std::memcpy(&client.source_v6.ipi6_addr, key.local.data(), sizeof(in6_addr));
    // A link-local address is one of its interface; any other is answered as the routes say.
    if (IN6_IS_ADDR_LINKLOCAL(&client.source_v6.ipi6_addr))
      client.source_v6.ipi6_ifindex = key.local_scope;
  }
  client.forward = definition_;
  client.place = clients_.insert(clients_.end(), std::move(made));
  by_key_.emplace(key, &client);
  ++counters_.accepted;
  ++counters_.connections;
  client.active = context_.loop.now();
  if (clients_.size() == 1) idle_timer_.arm(std::chrono::microseconds(idle_time()));
  const std::size_t endpoints = definition_->target.endpoints.size();
  client.endpoint = share_->preference.first(endpoints, client.active);
  for (std::size_t tries = 1; !connect(client); ++tries) {
    const int error_number = errno;
    client.endpoint = static_cast<std::uint32_t>((client.endpoint + 1) % endpoints);
    if (tries < endpoints) continue;
    forget(client);
    missed(error_number);
    return nullptr;
  }
  return &client;
}

// An agent that has gone is looked for again, at most every now and then.
bool DatagramForward::has_way(Client& client) {
  if (client.guest || client.agent) return true;
  const gint64 now = context_.loop.now();
  if (now - client.tried < look_again_after) return false;
  client.tried = now;
  return connect(client);
}

// On a stream there are no runs.
void DatagramForward::put(Client& client, const DatagramBatch::Datagram& run) {
  auto left = run.bytes;
  do {
    const std::size_t most = run.segment != 0 ? run.segment : left.size();
    const auto datagram = left.first(std::min(most, left.size()));
    left = left.subspan(datagram.size());
    if (client.agent && client.agent->put(datagram))
      counters_.bytes_in += datagram.size();
    else
      lost(1, ENOBUFS);
  } while (!left.empty());
}

// A descriptor and a place in the table, of the client that has been silent for longest if need be.
bool DatagramForward::take_place() {
  const std::uint32_t bound =
      definition_->max_connections != 0 ? definition_->max_connections : usual_max_clients;
  while (clients_.size() >= bound)
    forget(*clients_.front());
  if (context_.descriptors.take(1)) return true;
  if (clients_.empty()) return false;
  forget(*clients_.front());
  return context_.descriptors.take(1);
}

// To its endpoint; false and errno.
bool DatagramForward::connect(Client& client) {
  const RelayEndpoint& any = client.forward->target.endpoints[client.endpoint];
  if (const auto* const target = std::get_if<AgentEndpoint>(&any)) {
    errno = client.connect(*target);
    return errno == 0;
  }
  const auto* const endpoint = std::get_if<Endpoint>(&any);
  if (!endpoint) {
    errno = EPROTONOSUPPORT;
    return false;
  }
  const SocketAddress address = SocketAddress::from(endpoint->address, endpoint->port);
  Fd fd(::socket(address.storage.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd || ::connect(fd.get(), address.get(), address.length) < 0) return false;
  set_option(fd.get(), SOL_SOCKET, SO_RCVBUF, kernel_buffer_bytes);
  set_option(fd.get(), SOL_UDP, UDP_GRO, 1);
  if (!context_.loop.watch(fd.get(), EPOLLIN, client)) {
    errno = ENOSPC;
    return false;
  }
  client.guest = std::move(fd);
  return true;
}

void DatagramForward::answer(Client& client) {
  DatagramBatch& batch = DatagramBatch::of_this_thread();
  const int received = batch.receive(client.guest.get());
  if (received < 0 && errno != EAGAIN) return refused(client, errno);
  if (received <= 0) return;
  if (received < small_batch) context_.hurry->note(context_.loop.now());
  DatagramWriter writer(way_to(client), client.socket.segments);
  for (std::size_t i = 0; i < static_cast<std::size_t>(received); ++i)
    writer.put(batch.datagram(i));
  answered(client, writer);
}

void DatagramForward::answer(Client& client, std::span<const std::uint8_t> datagram) {
  DatagramWriter writer(way_to(client), client.socket.segments);
  writer.put({datagram, 0});
  answered(client, writer);
}

DatagramRoute DatagramForward::way_to(const Client& client) {
  DatagramRoute route{client.socket.fd(), &client.address};
  if (client.has_v4_source()) route.from_v4 = &client.source_v4;
  if (client.has_v6_source()) route.from_v6 = &client.source_v6;
  return route;
}

void DatagramForward::answered(Client& client, DatagramWriter& writer) {
  touch(client);
  if (!std::exchange(client.answered, true)) reached(client.endpoint);
  writer.flush();
  counters_.bytes_out += writer.bytes();
  if (writer.lost() > 0) lost(writer.lost(), writer.error_number());
}

// An answer of the network to what was sent before. The client stays: the guest may listen later.
void DatagramForward::refused(Client& client, int error_number) {
  const auto& endpoints = client.forward->target.endpoints;
  if (!client.answered && endpoints.size() > 1) {
    client.disconnect();
    for (std::size_t tries = 0; tries < endpoints.size() && !client.guest && !client.agent;
         ++tries) {
      client.endpoint = static_cast<std::uint32_t>((client.endpoint + 1) % endpoints.size());
      connect(client);
    }
    if (!client.guest && !client.agent) forget(client);
  }
  missed(error_number);
}

void DatagramForward::lost(std::uint64_t datagrams, int error_number) {
  context_.lost += datagrams;
  lost_ += datagrams;
  if (!may_tell(told_lost_)) return;
  log_line(LogLevel::warning, "datagrams lost" + log_field("forward", key()) +
                                  " count=" + std::to_string(std::exchange(lost_, 0)) +
                                  log_field("reason", system_error(error_number, "last").message));
}

void DatagramForward::touch(Client& client) {
  client.active = context_.loop.now();
  clients_.splice(clients_.end(), clients_, client.place);
}

// Its socket is closed at once; the rest is there until the turn is over.
void DatagramForward::forget(Client& client) {
  client.forgotten = true;
  client.disconnect();
  context_.descriptors.give_back(1);
  by_key_.erase(client.key);
  auto owned = std::move(*client.place);
  clients_.erase(client.place);
  --counters_.connections;
  context_.loop.retire(std::move(owned));
  if (clients_.empty()) idle_timer_.disarm();
}

gint64 DatagramForward::idle_time() const {
  const std::uint32_t seconds =
      definition_->idle_timeout != 0 ? definition_->idle_timeout : usual_idle_seconds;
  return gint64{seconds} * G_USEC_PER_SEC;
}

void DatagramForward::end_idle() {
  const gint64 now = g_get_monotonic_time();
  while (!clients_.empty() && now - clients_.front()->active >= idle_time())
    forget(*clients_.front());
  if (clients_.empty()) return;
  idle_timer_.arm(std::chrono::microseconds(clients_.front()->active + idle_time() - now));
}

}  // namespace vf
