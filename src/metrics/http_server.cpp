// SPDX-License-Identifier: LGPL-2.1-or-later

#include "metrics/http_server.h"

#include <microhttpd.h>
#include <sys/socket.h>

#include <cerrno>
#include <list>
#include <optional>
#include <string_view>
#include <utility>

#include "base/address.h"
#include "metrics/exposition.h"

namespace vf {
namespace {

constexpr unsigned max_connections = 64;
constexpr std::size_t most_waiting = 32;
constexpr unsigned idle_seconds = 10;
constexpr std::size_t request_memory = 16 * 1024;

// Of the header Host: without its port.
bool names_loopback(std::string_view host) {
  const bool bracketed = host.starts_with('[');
  host = host.substr(0, bracketed ? host.find(']') : host.find(':'));
  if (bracketed) host.remove_prefix(1);
  if (host == "localhost") return true;
  const auto address = IpAddress::parse(host);
  return address && address->is_loopback();
}

MHD_Result answer(MHD_Connection* connection, unsigned status, const char* type,
                  std::string_view text) {
  MHD_Response* const response = MHD_create_response_from_buffer(
      text.size(), const_cast<char*>(text.data()), MHD_RESPMEM_MUST_COPY);
  if (!response) return MHD_NO;
  MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
  if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
    MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
  const MHD_Result queued = MHD_queue_response(connection, status, response);
  MHD_destroy_response(response);
  return queued;
}

constexpr char plain[] = "text/plain; charset=utf-8";

}  // namespace

// Who is connected, the oldest first. A local port is open to every user, so when many have come
// the oldest has to go: a scrape takes milliseconds, and those who only hold a place keep nobody
// out.
class Places {
 public:
  static void changed(void* data, MHD_Connection* connection, void**,
                      MHD_ConnectionNotificationCode what) noexcept {
    Places& places = *static_cast<Places*>(data);
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
      places.connections_.remove(connection);
      return;
    }
    places.connections_.push_back(connection);
    if (places.connections_.size() <= most_waiting) return;
    const MHD_ConnectionInfo* const info =
        MHD_get_connection_info(places.connections_.front(), MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info) shutdown(info->connect_fd, SHUT_RDWR);
    places.connections_.pop_front();
  }

 private:
  std::list<MHD_Connection*> connections_;  // of the server's one thread
};

struct HttpServer::State {
  bool tcp;
  std::optional<SocketFile> file;
  std::function<std::string()> text;
  Places places = {};
  MHD_Daemon* daemon = nullptr;

  // Called when the header is there, and again with what the request carries.
  static MHD_Result handle(void* data, MHD_Connection* connection, const char* path,
                           const char* method, const char* version, const char* body,
                           std::size_t* body_size, void** request) noexcept {
    (void)version;
    (void)body;
    static int seen;
    if (!*request) {
      *request = &seen;
      return MHD_YES;
    }
    if (*body_size > 0) return MHD_NO;  // nothing here wants a body
    return static_cast<State*>(data)->respond(connection, path, method);
  }

  MHD_Result respond(MHD_Connection* connection, std::string_view path, std::string_view method) {
    if (tcp) {
      const char* const host =
          MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
      if (!host || !names_loopback(host))
        return answer(connection, MHD_HTTP_FORBIDDEN, plain,
                      "ask for a loopback address or localhost\n");
    }
    if (method != MHD_HTTP_METHOD_GET && method != MHD_HTTP_METHOD_HEAD)
      return answer(connection, MHD_HTTP_METHOD_NOT_ALLOWED, plain, "GET is all there is\n");
    if (path != "/metrics")
      return answer(connection, MHD_HTTP_NOT_FOUND, plain, "metrics are at /metrics\n");
    return answer(connection, MHD_HTTP_OK, exposition_type, text());
  }
};

HttpServer::HttpServer(std::unique_ptr<State> state) : state_(std::move(state)) {}

HttpServer::HttpServer(HttpServer&&) noexcept = default;

Result<HttpServer> HttpServer::start(Listening listening, std::function<std::string()> text) {
  const std::string name = listening.name;
  std::unique_ptr<State> state(
      new State{listening.tcp, std::move(listening.file), std::move(text)});
  state->daemon = MHD_start_daemon(
      MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC, 0, nullptr, nullptr, &State::handle, state.get(),
      MHD_OPTION_LISTEN_SOCKET, listening.socket.get(), MHD_OPTION_CONNECTION_LIMIT,
      max_connections, MHD_OPTION_CONNECTION_TIMEOUT, idle_seconds,
      MHD_OPTION_CONNECTION_MEMORY_LIMIT, request_memory, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1,
      MHD_OPTION_NOTIFY_CONNECTION, &Places::changed, &state->places, MHD_OPTION_END);
  if (!state->daemon) return Unexpected(system_error(errno, "serve " + name));
  (void)listening.socket.release();  // the daemon's
  return HttpServer(std::move(state));
}

HttpServer::~HttpServer() {
  if (!state_) return;
  // Otherwise the library shuts the socket down, which a service manager has as well.
  const Fd socket(MHD_quiesce_daemon(state_->daemon));
  MHD_stop_daemon(state_->daemon);
}

}  // namespace vf
