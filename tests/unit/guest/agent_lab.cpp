// SPDX-License-Identifier: LGPL-2.1-or-later

#include "agent_lab.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <mutex>
#include <utility>

#include "base/relay_endpoint.h"

namespace vf::guest {
namespace {

void bound_in_time(int fd) {
  const timeval patience{8, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
}

}  // namespace

bool CountedTable::dump(bool udp, std::vector<BoundSocket>& into) {
  if (!udp) ++dumps;
  const std::uint32_t count = invented;
  if (count == 0) return kernel_.dump(udp, into);
  if (udp) return true;
  std::this_thread::sleep_for(duration.load());
  for (std::uint32_t at = 0; at < count; ++at)
    into.push_back({{false, IpAddress::loopback4(), *Port::from(1024 + at)}, 0, 0xf0000000 + at});
  return true;
}

// Ends the loop, and hands over configurations.
struct AgentThread::Bell final : Handler {
  explicit Bell(AgentThread& its_agent)
      : agent(its_agent), fd(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}
  void ring() const {
    const std::uint64_t one = 1;
    EXPECT_EQ(write(fd.get(), &one, sizeof one), 8);
  }
  void ready(std::uint32_t) override {
    std::uint64_t count = 0;
    EXPECT_EQ(read(fd.get(), &count, sizeof count), 8);
    std::optional<Config> next;
    {
      const std::lock_guard lock(mutex);
      next = std::exchange(config, std::nullopt);
    }
    if (next) agent.server_->configure(std::move(*next));
    if (stop) agent.loop_->stop();
  }
  AgentThread& agent;
  Fd fd;
  std::mutex mutex;
  std::optional<Config> config;
  std::atomic<bool> stop{false};
};

AgentThread::AgentThread(Config config, Limits limits) {
  static std::atomic<int> number{0};
  path_ = testing::TempDir() + "agent-" + std::to_string(getpid()) + '-' + std::to_string(number++);
  loop_ = std::move(*Loop::create());
  token = *make_token();
  if (geteuid() != 0) config.control_from_any_port = true;
  server_ = std::make_unique<Server>(*loop_, sockets, std::move(config), token, limits);
  const auto address = socket_address(UnixEndpoint{path_});
  Fd listener(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  unlink(path_.c_str());
  EXPECT_EQ(bind(listener.get(), address->get(), address->length), 0);
  EXPECT_EQ(chmod(path_.c_str(), 0777), 0);
  EXPECT_EQ(listen(listener.get(), 128), 0);
  EXPECT_TRUE(server_->serve(std::move(listener)));
  bell_ = std::make_unique<Bell>(*this);
  EXPECT_TRUE(loop_->watch(bell_->fd.get(), EPOLLIN, *bell_));
  thread_ = std::thread([this] { loop_->run(); });
}

AgentThread::~AgentThread() {
  bell_->stop = true;
  bell_->ring();
  thread_.join();
  unlink(path_.c_str());
}

void AgentThread::configure(Config config) {
  {
    const std::lock_guard lock(bell_->mutex);
    bell_->config = std::move(config);
  }
  bell_->ring();
}

Fd AgentThread::connect() const {
  const auto address = socket_address(UnixEndpoint{path_});
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  bound_in_time(fd.get());
  EXPECT_EQ(::connect(fd.get(), address->get(), address->length), 0);
  return fd;
}

Config parsed(const std::string& text) {
  auto config = Config::parse(text, "guest.conf");
  EXPECT_TRUE(config) << config.error().message;
  return *config;
}

void send_all(const Fd& to, std::span<const std::uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t put = send(to.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    ASSERT_GT(put, 0) << errno;
    bytes = bytes.subspan(static_cast<std::size_t>(put));
  }
}

void send_text(const Fd& to, const std::string& text) {
  send_all(to, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

std::string receive(const Fd& from, std::size_t count) {
  std::string text(count, '\0');
  std::size_t length = 0;
  while (length < count) {
    const ssize_t got = recv(from.get(), text.data() + length, count - length, 0);
    if (got <= 0) break;
    length += static_cast<std::size_t>(got);
  }
  text.resize(length);
  return text;
}

Ending ending_of(const Fd& stream) {
  char byte = 0;
  const ssize_t got = recv(stream.get(), &byte, 1, 0);
  Ending ending;
  ending.ended = got == 0;
  ending.error_number = got < 0 ? errno : 0;
  ending.reset = got < 0 ? errno == ECONNRESET : send(stream.get(), "", 0, MSG_NOSIGNAL) < 0;
  return ending;
}

GuestReply reply_from(const Fd& host) {
  const std::string text = receive(host, GuestReply::bytes);
  EXPECT_EQ(text.size(), GuestReply::bytes);
  std::array<std::uint8_t, GuestReply::bytes> bytes{};
  std::copy(text.begin(), text.end(), bytes.begin());
  const auto reply = decode_guest_reply(bytes);
  EXPECT_TRUE(reply);
  return reply ? *reply : GuestReply{};
}

Asked ask(const AgentThread& agent, const GuestRequest& request, const std::string& early) {
  Asked asked{agent.connect(), {}};
  send_all(asked.stream, encode(request));
  send_text(asked.stream, early);
  asked.reply = reply_from(asked.stream);
  return asked;
}

GuestRequest to_port(const AgentThread& agent, std::uint16_t port, GuestService service) {
  GuestRequest request;
  request.service = service;
  request.token = agent.token;
  request.target.port = Port::from(port);
  return request;
}

GuestRequest to_path(const AgentThread& agent, const std::string& path) {
  GuestRequest request = to_port(agent, 1);
  request.target.port.reset();
  request.target.path = path;
  return request;
}

ControlClient::ControlClient(const AgentThread& agent, std::uint16_t flags) {
  GuestRequest request;
  request.flags = flags;
  Asked asked = ask(agent, request);
  stream = std::move(asked.stream);
  reply = asked.reply;
  if (reply.status != GuestStatus::ok) return;
  const auto first = next();
  if (first && std::holds_alternative<GuestHello>(*first)) hello = std::get<GuestHello>(*first);
}

std::optional<GuestFrame> ControlClient::next(std::chrono::milliseconds within) {
  const auto until = Clock::now() + within;
  for (;;) {
    auto frame = frames_.next();
    EXPECT_TRUE(frame);
    if (!frame) return std::nullopt;
    if (*frame) return *frame;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd waits{stream.get(), POLLIN, 0};
    if (left <= 0 || poll(&waits, 1, static_cast<int>(left)) <= 0) return std::nullopt;
    std::uint8_t bytes[4096];
    const ssize_t got = recv(stream.get(), bytes, sizeof bytes, 0);
    if (got <= 0) return std::nullopt;
    frames_.push(std::span(bytes).first(static_cast<std::size_t>(got)));
  }
}

std::vector<GuestListener> ControlClient::snapshot() {
  std::vector<GuestListener> all;
  while (const auto frame = next()) {
    if (const auto* const listens = std::get_if<GuestListens>(&*frame))
      all.push_back(listens->listener);
    if (const auto* const end = std::get_if<GuestSnapshotEnd>(&*frame)) {
      left_out = end->left_out;
      return all;
    }
  }
  ADD_FAILURE() << "no end of the snapshot";
  return all;
}

std::optional<GuestListener> ControlClient::listens(std::uint16_t port,
                                                    std::chrono::milliseconds within) {
  const auto until = Clock::now() + within;
  while (const auto frame =
             next(std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now())))
    if (const auto* const listens = std::get_if<GuestListens>(&*frame))
      if (listens->listener.key.port.number() == port) return listens->listener;
  return std::nullopt;
}

bool ControlClient::gone(std::uint16_t port, std::chrono::milliseconds within) {
  const auto until = Clock::now() + within;
  while (const auto frame =
             next(std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now())))
    if (const auto* const gone = std::get_if<GuestGone>(&*frame))
      if (gone->key.port.number() == port) return true;
  return false;
}

TestListener::TestListener(const char* address, bool listens) {
  const auto ip = IpAddress::parse(address);
  const auto local = SocketAddress::from(*ip, std::nullopt);
  socket.reset(::socket(local.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  EXPECT_EQ(bind(socket.get(), local.get(), local.length), 0);
  if (listens) {
    EXPECT_EQ(listen(socket.get(), 128), 0);
  }
  SocketAddress bound;
  bound.length = sizeof bound.storage;
  EXPECT_EQ(getsockname(socket.get(), bound.get(), &bound.length), 0);
  port = bound.endpoint()->port.number();
}

Fd TestListener::accept() const {
  pollfd waits{socket.get(), POLLIN, 0};
  if (poll(&waits, 1, 8000) <= 0) return Fd();
  Fd fd(accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC));
  bound_in_time(fd.get());
  return fd;
}

}  // namespace vf::guest
