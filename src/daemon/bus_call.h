// SPDX-License-Identifier: LGPL-2.1-or-later

#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/result.h"
#include "glib/ref.h"

namespace vf {

// Where a caller comes from, which decides what is asked before it may do something.
enum class BusKind { peer, session, system };

// One method call that is not answered yet. One that goes away unanswered is answered Failed, so
// that no caller waits for nothing.
class BusCall {
 public:
  using Answered = std::function<void(GDBusConnection*, std::size_t bytes)>;

  // Takes the reference over, as a GDBusInterfaceMethodCallFunc is given it. `answered` is told
  // when an answer or error has been sent.
  BusCall(GDBusMethodInvocation* invocation, BusKind kind, Answered answered = {});
  ~BusCall();
  BusCall(const BusCall&) = delete;
  BusCall& operator=(const BusCall&) = delete;

  // It is let go with the call.
  void hold(std::shared_ptr<void> ticket) { ticket_ = std::move(ticket); }

  BusKind kind() const { return kind_; }
  GDBusConnection* connection() const;
  // Unique name; empty on a peer.
  std::string sender() const;
  std::string path() const;
  std::string interface() const;
  std::string method() const;
  // Borrowed, as long as the call is not answered.
  GVariant* parameters() const;
  // The caller can wait for a person who is asked for a password.
  bool interactive() const;

  // The first answer counts. `value` is a tuple, or null for an empty one; a floating reference is
  // taken over.
  void answer(GVariant* value);
  void fail(const Error& error);
  // For the errors that D-Bus itself names.
  void fail(const char* name, const std::string& message);

 private:
  GDBusMethodInvocation* invocation_;
  BusKind kind_;
  std::shared_ptr<void> ticket_;
  Answered answered_;
};

}  // namespace vf
