// SPDX-License-Identifier: LGPL-2.1-or-later

#include "guest/server.h"

#include <linux/vm_sockets.h>
#include <malloc.h>
#include <sys/random.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

namespace vf::guest {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds accept_pause{100};  // where descriptors have run out
constexpr milliseconds idle_after{5000};   // then memory goes back
// How long, and how much, a host that was refused may still send before it is reset.
constexpr milliseconds refusal_timeout{1000};
constexpr int refusal_reads = 64;
constexpr std::uint32_t privileged_ports = 1024;

// As long for any two tokens.
bool same(const GuestToken& a, const GuestToken& b) {
  volatile std::uint8_t difference = 0;
  for (std::size_t at = 0; at < a.size(); ++at)
    difference = static_cast<std::uint8_t>(difference | (a[at] ^ b[at]));
  return difference == 0;
}

Peer peer_from_unix(int fd) {
  ucred peer{};
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return {};
  return {true, peer.uid == 0};
}

}  // namespace

Peer peer_from(const sockaddr_vm& address) {
  return {address.svm_cid == VMADDR_CID_HOST, address.svm_port < privileged_ports};
}

bool send_reply(int host, const GuestReply& reply) {
  const auto bytes = encode(reply);
  return send(host, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT) ==
         static_cast<ssize_t>(bytes.size());
}

Result<GuestToken> make_token() {
  GuestToken token{};
  while (token == GuestToken{})
    if (getrandom(token.data(), token.size(), 0) != static_cast<ssize_t>(token.size()))
      return Unexpected(system_error(errno, "getrandom"));
  return token;
}

// A connection whose request is on its way, or that was refused and may not know it yet.
class Server::Request final : public Handler, public Timer {
 public:
  Request(Server& server, Fd host, bool privileged)
      : Timer(server.loop_), server_(server), host_(std::move(host)), privileged_(privileged) {}

  bool start() {
    arm(server_.limits_.request_timeout);
    if (server_.loop_.watch(host_.get(), EPOLLIN | EPOLLRDHUP, *this)) return true;
    server_.drop(*this);
    return false;
  }
  // Sends the reply, and its end, and waits for the host's.
  void refuse(const GuestReply& reply) {
    if (refused_) return;
    refused_ = true;
    send_reply(host_.get(), reply);
    shutdown(host_.get(), SHUT_WR);
    arm(refusal_timeout);
  }
  void close() { host_.reset(); }

  void ready(std::uint32_t) override {
    if (!host_) return;
    if (refused_) return discard();
    const ssize_t got =
        recv(host_.get(), bytes_.data() + filled_, bytes_.size() - filled_, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return server_.drop(*this);
    filled_ += static_cast<std::size_t>(got);
    if (filled_ < bytes_.size()) return;

    const auto request = decode_guest_request(bytes_);
    if (!request) return refuse({guest_protocol_version, GuestStatus::malformed, 0, 0});
    if (request->version != guest_protocol_version)
      return refuse({guest_protocol_version, GuestStatus::version, 0, 0});
    server_.loop_.unwatch(host_.get());
    Fd host = std::move(host_);
    Server& server = server_;
    const bool privileged = privileged_;
    server.drop(*this);
    server.serve(std::move(host), *request, privileged);
  }

  std::list<std::unique_ptr<Request>>::iterator place;

 private:
  void expired() override { server_.drop(*this); }

  void discard() {
    std::uint8_t rest[4096];
    const ssize_t got = recv(host_.get(), rest, sizeof rest, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0 || ++discarded_ == refusal_reads) server_.drop(*this);
  }

  Server& server_;
  Fd host_;
  bool privileged_;
  bool refused_ = false;
  int discarded_ = 0;
  std::array<std::uint8_t, GuestRequest::bytes> bytes_{};
  std::size_t filled_ = 0;
};

Server::Server(Loop& loop, SocketTable& sockets, Config config, const GuestToken& token,
               Limits limits)
    : Timer(loop),
      loop_(loop),
      config_(std::move(config)),
      token_(token),
      limits_(limits),
      watch_(loop, sockets, config_, limits.hints) {}

Server::~Server() {
  // They speak to this one until they are gone.
  requests_.clear();
  control_.clear();
  sessions_.clear();
}

bool Server::serve(Fd listener) {
  int domain = 0;
  socklen_t length = sizeof domain;
  getsockopt(listener.get(), SOL_SOCKET, SO_DOMAIN, &domain, &length);
  vsock_ = domain == AF_VSOCK;
  listener_ = std::move(listener);
  return loop_.watch(listener_.get(), EPOLLIN, *this);
}

void Server::configure(Config config) {
  config_ = std::move(config);
  watch_.config_changed();
  std::vector<Session*> all;
  for (const auto& session : sessions_)
    all.push_back(session.get());
  for (Session* const session : all)
    session->config_changed();
}

void Server::complain(const std::string& line) {
  if (!complaints_.pass()) return;
  const auto kept_back = complaints_.take_kept_back();
  log_line(LogLevel::warning,
           kept_back == 0 ? line : line + " (and " + std::to_string(kept_back) + " more lines)");
}

void Server::ready(std::uint32_t) {
  for (;;) {
    sockaddr_vm peer{};
    socklen_t length = sizeof peer;
    auto* const address = vsock_ ? reinterpret_cast<sockaddr*>(&peer) : nullptr;
    Fd host(accept4(listener_.get(), address, vsock_ ? &length : nullptr,
                    SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (host) {
      const Peer who = vsock_ ? peer_from(peer) : peer_from_unix(host.get());
      if (!who.host)
        complain("refused CID " + std::to_string(peer.svm_cid));
      else
        accepted(std::move(host), who.privileged);
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno == EAGAIN) return;
    // Without descriptors or memory: what waits goes on waiting.
    complain(system_error(errno, "accept").message);
    loop_.unwatch(listener_.get());
    paused_ = true;
    return arm(accept_pause);
  }
}

void Server::expired() {
  if (std::exchange(paused_, false)) {
    if (!loop_.watch(listener_.get(), EPOLLIN, *this)) {
      paused_ = true;
      arm(accept_pause);
    }
    return;
  }
  if (!sessions_.empty() || !requests_.empty()) return;
  buffers_ = BufferPool();
  malloc_trim(0);
}

Server::Request* Server::accepted(Fd host, bool privileged) {
  // Of many at once the eldest may have asked already, and only not have been read yet.
  if (requests_.size() >= limits_.requests) requests_.front()->ready(EPOLLIN);
  if (requests_.size() >= limits_.requests) {
    complain("too many connections without a request");
    drop(*requests_.front());
  }
  requests_.push_back(std::make_unique<Request>(*this, std::move(host), privileged));
  Request& request = *requests_.back();
  request.place = std::prev(requests_.end());
  return request.start() ? &request : nullptr;
}

void Server::drop(Request& request) {
  request.disarm();
  request.close();
  loop_.retire(std::move(*request.place));
  requests_.erase(request.place);
}

void Server::refuse(Fd host, const GuestReply& reply) {
  if (Request* const request = accepted(std::move(host), false)) request->refuse(reply);
}

void Server::serve(Fd host, const GuestRequest& request, bool privileged) {
  const bool control = request.service == GuestService::control;
  GuestReply reply;
  if (control && !privileged && !config_.control_from_any_port)
    reply.status = GuestStatus::not_privileged;
  else if (!control && !same(request.token, token_))
    reply.status = GuestStatus::wrong_token;
  else if (control ? control_.size() >= limits_.control_sessions
                   : sessions_.size() >= limits_.sessions)
    reply.status = GuestStatus::busy;
  if (reply.status != GuestStatus::ok) {
    complain("refused a request: status " + std::to_string(static_cast<unsigned>(reply.status)));
    return refuse(std::move(host), reply);
  }
  auto session = control ? make_control_session(*this, std::move(host), request.flags)
                 : request.service == GuestService::stream
                     ? make_stream_session(*this, std::move(host), request.target)
                     : make_datagram_session(*this, std::move(host), request.target);
  auto& all = control ? control_ : sessions_;
  all.push_back(std::move(session));
  Session& made = *all.back();
  made.control = control;
  made.place = std::prev(all.end());
  made.start();
}

void Server::ended(Session& session) {
  loop_.retire(std::move(*session.place));
  (session.control ? control_ : sessions_).erase(session.place);
  if (sessions_.empty() && !paused_) arm(idle_after);
}

}  // namespace vf::guest
