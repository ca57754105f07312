// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A client is `reading` its one message, then gone, or `deciding` while the daemon makes up its
// mind, then `writing` the reply. A timer bounds the whole. Clients are read in the order of their
// connections, as far as their bytes are there, so that two hooks of one domain stay in order.

#include "daemon/hook_server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <list>
#include <utility>
#include <vector>

#include "base/unix_address.h"
#include "glib/source.h"

namespace vf {
namespace {

constexpr std::size_t max_clients = 64;
constexpr int backlog = 128;
constexpr std::chrono::milliseconds client_time{2000};
constexpr std::chrono::milliseconds shortage_pause{100};
constexpr std::size_t read_step = 64 << 10;
constexpr int reads_per_turn = 4;
constexpr int accepts_per_turn = 64;

Unexpected failed(std::string_view what, const std::string& path) {
  return Unexpected(ErrorCode::failed, "hook socket " + path + ": " + std::string(what));
}

Unexpected failed_with_errno(std::string_view what, const std::string& path) {
  return Unexpected(system_error(errno, "hook socket " + path + ": " + std::string(what)));
}

Fd new_socket() {
  return Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

// Clears the way for bind(): the socket file of a daemon that is gone.
Result<void> remove_stale(const std::string& path, const UnixAddress& address) {
  struct stat status {};
  if (lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return failed_with_errno("stat", path);
  }
  if (!S_ISSOCK(status.st_mode)) return failed("is there and no socket; it is left alone", path);
  const Fd probe = new_socket();
  if (!probe) return failed_with_errno("socket", path);
  // A full backlog (EAGAIN) has a listener too.
  if (connect(probe.get(), address.get(), address.length) == 0 || errno == EAGAIN)
    return failed("another virt-forwardd serves it", path);
  if (errno != ECONNREFUSED) return failed_with_errno("connect", path);
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return failed_with_errno("unlink", path);
  return {};
}

Result<Fd> bind_listener(const std::string& path) {
  const auto address = UnixAddress::from(path);
  if (!address) return failed("not a usable socket path", path);
  if (auto removed = remove_stale(path, *address); !removed)
    return Unexpected(std::move(removed).error());
  Fd listener = new_socket();
  if (!listener) return failed_with_errno("socket", path);
  // The file is made with this mode: at no time can others connect.
  if (fchmod(listener.get(), 0600) != 0) return failed_with_errno("chmod", path);
  if (bind(listener.get(), address->get(), address->length) != 0)
    return failed_with_errno("bind", path);
  if (listen(listener.get(), backlog) != 0) return failed_with_errno("listen", path);
  return listener;
}

Result<Fd> take_inherited(Fd listener, const std::string& path) {
  int listening = 0;
  socklen_t size = sizeof listening;
  sockaddr_storage name{};
  socklen_t name_size = sizeof name;
  int type = 0;
  socklen_t type_size = sizeof type;
  const int fd = listener.get();
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || listening == 0 ||
      getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) != 0 || type != SOCK_STREAM ||
      getsockname(fd, reinterpret_cast<sockaddr*>(&name), &name_size) != 0 ||
      name.ss_family != AF_UNIX)
    return failed("the descriptor passed for it is no listening unix stream socket", path);
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
      fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    return failed_with_errno("fcntl", path);
  return listener;
}

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
  Implementation(Fd listener, std::string owned_path, Handler handler)
      : listener_(std::move(listener)),
        owned_path_(std::move(owned_path)),
        handler_(std::make_shared<Handler>(std::move(handler))) {
    if (!owned_path_.empty()) lstat(owned_path_.c_str(), &owned_file_);
    resume();
  }

  ~Implementation() {
    // A daemon that replaced the file owns it now.
    struct stat now {};
    if (!owned_path_.empty() && lstat(owned_path_.c_str(), &now) == 0 &&
        now.st_dev == owned_file_.st_dev && now.st_ino == owned_file_.st_ino)
      unlink(owned_path_.c_str());
  }

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
      accepting_ = watch_fd(listener_.get(), G_IO_IN, [this](GIOCondition) { accept_clients(); });
  }

  void accept_clients() {
    const std::weak_ptr<bool> alive = alive_;
    for (int turn = 0; turn < accepts_per_turn && clients_.size() < max_clients; ++turn) {
      Fd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
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

  Fd listener_;
  std::string owned_path_;
  struct stat owned_file_ {};
  std::shared_ptr<Handler> handler_;
  std::list<ClientPtr> clients_;
  Source accepting_;
  Source paused_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

Result<std::unique_ptr<HookServer>> HookServer::listen(const std::string& path, Fd inherited,
                                                       Handler handler) {
  const bool owns_file = !inherited;
  auto listener = owns_file ? bind_listener(path) : take_inherited(std::move(inherited), path);
  if (!listener) return Unexpected(std::move(listener).error());
  return std::unique_ptr<HookServer>(new HookServer(std::make_unique<Implementation>(
      std::move(*listener), owns_file ? path : std::string(), std::move(handler))));
}

HookServer::HookServer(std::unique_ptr<Implementation> implementation)
    : implementation_(std::move(implementation)) {}

HookServer::~HookServer() = default;

}  // namespace vf
