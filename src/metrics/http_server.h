// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "metrics/listening.h"

namespace vf {

// Answers GET /metrics, on a thread of its own, one request at a time. Bounded: few connections, an
// idle one is closed, a request is small.
//
// By TCP only requests to a loopback name are answered: a web page whose name resolves to this host
// must not read for its owner what any local program may.
class HttpServer {
 public:
  // `text` is called on the server's thread.
  static Result<HttpServer> start(Listening listening, std::function<std::string()> text);
  // Closes the socket, which goes on listening for whoever has it as well, and every connection.
  ~HttpServer();
  HttpServer(HttpServer&&) noexcept;
  HttpServer& operator=(HttpServer&&) = delete;

 private:
  struct State;
  explicit HttpServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace vf
