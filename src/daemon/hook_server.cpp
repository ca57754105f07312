// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A client is `reading` its one message, then gone, or `deciding` while the daemon makes up its
// mind, then `writing` the reply. A timer bounds the whole. Clients are read in the order of their
// connections, as far as their bytes are there, so that two hooks of one domain stay in order.

#include "daemon/hook_server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <list>
#include <utility>
#include <vector>

#include "glib/source.h"

namespace vf {
namespace {

constexpr std::size_t max_clients = 64;
constexpr std::chrono::milliseconds client_time{2000};
constexpr std::chrono::milliseconds shortage_pause{100};
constexpr std::size_t read_step = 64 << 10;
constexpr int reads_per_turn = 4;
constexpr int accepts_per_turn = 64;

bool is_trusted(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == 0 || peer.uid == geteuid());
}

std::size_t prefix_of(const std::vector<std::uint8_t>& bytes) {
  return bytes[0] | std::size_t{bytes[1]} << 8 | std::size_t{bytes[2]} << 16 |
         std::size_t{bytes[3]} << 24;
}

}  // namespace

class HookServer::Implementation {
 public:
  Implementation(RuntimeSocket socket, Handler handler)
      : listener_(std::move(socket)), handler_(std::make_shared<Handler>(std::move(handler))) {
    resume();
  }

  bool busy() const { return !clients_.empty() || listener_.waited_at(); }

  Implementation(const Implementation&) = delete;
  Implementation& operator=(const Implementation&) = delete;

 private:
  struct Client {
    Fd socket;
    std::vector<std::uint8_t> received;
    std::vector<std::uint8_t> reply;
    std::size_t replied = 0;
    Source watch;
    Source timer;
  };
  using ClientPtr = std::shared_ptr<Client>;

  void resume() {
    paused_.reset();
    if (clients_.size() < max_clients)
      accepting_ = watch_fd(listener_.fd(), G_IO_IN, [this](GIOCondition) { accept_clients(); });
  }

  void accept_clients() {
    const std::weak_ptr<bool> alive = alive_;
    for (int turn = 0; turn < accepts_per_turn && clients_.size() < max_clients; ++turn) {
      Fd socket(accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!socket) {
        if (errno == EINTR || errno == ECONNABORTED) continue;
        if (errno == EAGAIN) return;
        // No descriptor or no memory: the listener stays readable, so look away for a while.
        accepting_.reset();
        paused_ = after(shortage_pause, [this] { resume(); });
        return;
      }
      if (!is_trusted(socket.get())) continue;
      begin(std::move(socket));
      if (alive.expired()) return;
    }
    if (clients_.size() == max_clients) accepting_.reset();  // until one of them leaves
  }

  void begin(Fd socket) {
    const auto client = std::make_shared<Client>();
    client->socket = std::move(socket);
    clients_.push_back(client);
    const std::weak_ptr<Client> weak = client;
    client->timer = after(client_time, [this, weak] {
      if (const auto late = weak.lock()) leave(late);
    });
    receive(client);
  }

  void leave(const ClientPtr& client) {
    client->watch.reset();
    client->timer.reset();
    client->socket.reset();
    const auto place = std::find(clients_.begin(), clients_.end(), client);
    if (place == clients_.end()) return;
    clients_.erase(place);
    if (!accepting_ && !paused_) resume();
  }

  void on(const ClientPtr& client, GIOCondition condition,
          void (Implementation::*step)(const ClientPtr&)) {
    const std::weak_ptr<Client> weak = client;
    client->watch = watch_fd(client->socket.get(), condition, [this, weak, step](GIOCondition) {
      if (const auto ready = weak.lock()) (this->*step)(ready);
    });
  }

  void receive(const ClientPtr& client) {
    auto& bytes = client->received;
    for (int turn = 0; turn < reads_per_turn; ++turn) {
      const std::size_t had = bytes.size();
      const std::size_t wanted = had < 4 ? 4 : 4 + prefix_of(bytes);
      bytes.resize(had + std::min(wanted - had, read_step));
      const ssize_t got = recv(client->socket.get(), bytes.data() + had, bytes.size() - had, 0);
      const int error = errno;
      bytes.resize(had + (got > 0 ? static_cast<std::size_t>(got) : 0));
      if (got < 0 && error == EINTR) continue;
      if (got < 0 && error == EAGAIN) break;
      if (got <= 0) return leave(client);
      if (bytes.size() < 4) continue;
      const std::size_t length = prefix_of(bytes);
      if (length > HookMessage::max_bytes) return leave(client);
      if (bytes.size() == 4 + length && length > 0) return handle(client);
      if (length == 0) return leave(client);
    }
    if (!client->watch) on(client, G_IO_IN, &Implementation::receive);
  }

  void handle(const ClientPtr& client) {
    const auto message = decode_hook_message(std::span(client->received).subspan(4));
    client->received = {};
    const bool waits =
        message && message->wants_answer && message->operation == HookOperation::prepare;
    const auto handler = handler_;  // outlives a handler that destroys the server
    if (!waits) {
      leave(client);
      if (message) (*handler)(*message, {});
      return;
    }
    on(client, G_IO_IN, &Implementation::leave_early);
    const std::weak_ptr<Client> weak = client;
    const std::weak_ptr<bool> alive = alive_;
    (*handler)(*message, [this, weak, alive](const Result<void>& result) {
      const auto asking = weak.lock();
      if (alive.expired() || !asking || !asking->socket || !asking->reply.empty()) return;
      asking->reply = encode(result ? HookReply{} : HookReply{false, result.error().message});
      send_reply(asking);
    });
  }

  // Nothing more is expected of a client that waits: it gave up, or it is not one of ours.
  void leave_early(const ClientPtr& client) { leave(client); }

  void send_reply(const ClientPtr& client) {
    while (client->replied < client->reply.size()) {
      const auto rest = std::span(client->reply).subspan(client->replied);
      const ssize_t sent = send(client->socket.get(), rest.data(), rest.size(), MSG_NOSIGNAL);
      if (sent >= 0) {
        client->replied += static_cast<std::size_t>(sent);
      } else if (errno == EAGAIN) {
        return on(client, G_IO_OUT, &Implementation::send_reply);
      } else if (errno != EINTR) {
        break;
      }
    }
    leave(client);
  }

  RuntimeSocket listener_;
  std::shared_ptr<Handler> handler_;
  std::list<ClientPtr> clients_;
  Source accepting_;
  Source paused_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

HookServer::HookServer(RuntimeSocket socket, Handler handler)
    : implementation_(std::make_unique<Implementation>(std::move(socket), std::move(handler))) {}

HookServer::~HookServer() = default;

bool HookServer::busy() const {
  return implementation_->busy();
}

}  // namespace vf
