// SPDX-License-Identifier: LGPL-2.1-or-later

#include "hooks/run.h"

#include "base/printable.h"
#include "hooks/delivery.h"
#include "hooks/domain_scan.h"
#include "hooks/input.h"
#include "hooks/journal.h"
#include "wire/hook.h"

namespace vf {
namespace {

// What virsh and a shell both take as it is: a name, unless it could be an option, an id or words.
std::string word_for_virsh(const HookMessage& message) {
  constexpr std::string_view plain =
      "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz._-";
  const std::string& name = message.name;
  const bool is_word = !name.empty() && name.front() != '-' && name.size() <= 256 &&
                       name.find_first_not_of(plain) == std::string::npos &&
                       name.find_first_not_of("0123456789") != std::string::npos;
  return is_word || message.uuid.empty() ? printable(name, 256) : message.uuid;
}

// What is wrong, and what the reader of `virsh start` can do about it.
std::string complaint(const HookMessage& message, const Error& error) {
  std::string text =
      "virt-forward: refused to start domain '" + printable(message.name, 256) +
      "', which has port forwards with required=\"yes\": " + printable(error.message, 2048);
  text += error.code == ErrorCode::no_daemon || error.code == ErrorCode::failed
              ? ". Look after virt-forwardd (is it running?)"
              : ". Mend that";
  return text + ", or take required=\"yes\" away with: virsh edit " + word_for_virsh(message);
}

Result<HookReply> hand_over(const Invocation& invocation, const HookMessage& message,
                            bool input_complete, bool scan_complete) {
  if (message.uuid.empty())
    return Unexpected(ErrorCode::invalid_argument, "the domain's XML has no UUID");
  if (message.wants_answer && !input_complete)
    return Unexpected(ErrorCode::invalid_argument,
                      "the domain's XML did not come whole and in time");
  if (message.wants_answer && !scan_complete)
    return Unexpected(ErrorCode::invalid_argument, "the domain's XML is not well-formed");
  if (message.wants_answer && message.element.size() > HookMessage::max_element_bytes)
    return Unexpected(ErrorCode::invalid_argument, "the metadata is larger than 1 MiB");
  return deliver(
      invocation.socket_path, message,
      message.wants_answer ? invocation.deadline : invocation.deadline.within(notice_budget));
}

}  // namespace

Outcome run_hook(const Invocation& invocation) {
  const auto moment = std::chrono::steady_clock::now().time_since_epoch();
  const Input input = read_input(invocation.input, max_domain_bytes, invocation.deadline);
  if (!mentions_forwards(input.text) && !invocation.every_domain) return {};
  DomainScan scan = scan_domain(input.text);
  const bool plain = scan.element.empty() && !scan.required;
  if (plain && !invocation.every_domain) return {};

  HookMessage message;
  message.operation = hook_operation(invocation.operation);
  message.wants_answer = message.operation == HookOperation::prepare && scan.required;
  message.moment = moment;
  message.run = scan.run;
  message.uuid = std::move(scan.uuid);
  message.name = std::move(scan.name);
  if (message.name.empty()) message.name = invocation.domain;
  message.element = std::move(scan.element);
  if (message.wants_answer && invocation.on_required) invocation.on_required();

  auto reply = hand_over(invocation, message, input.complete, scan.complete);
  if (reply && !reply->accepted)
    reply = Unexpected(ErrorCode::not_allowed, std::move(reply->message));

  Outcome outcome;
  // A user need not have a daemon, and a domain without forwards misses none.
  if (plain && !reply) return outcome;
  add_field(outcome.log, "domain", message.name);
  add_field(outcome.log, "uuid", message.uuid);
  add_field(outcome.log, "operation", invocation.operation);
  const bool refused = message.wants_answer && !reply;
  add_field(outcome.log, "result", refused ? "refused" : reply ? "delivered" : "not-delivered");
  if (!reply) add_field(outcome.log, "reason", reply.error().message);
  if (refused) {
    outcome.status = 1;
    outcome.complaint = complaint(message, reply.error());
  }
  outcome.severe = !reply;
  return outcome;
}

}  // namespace vf
