// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Rules tried without a guest or a daemon: the same decide() that the daemon asks.

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/printable.h"
#include "cli/explain_forward.h"
#include "cli/output.h"
#include "cli/table.h"
#include "cli/verb.h"
#include "client/json.h"
#include "core/auto_rules.h"
#include "core/definition_xml.h"

namespace vf {
namespace {

constexpr std::size_t most_bytes = 8 << 20;  // as a domain's XML may have

Result<std::string> content(const std::string& path) {
  std::FILE* file = path == "-" ? stdin : std::fopen(path.c_str(), "re");
  if (!file) return Unexpected(system_error(errno, printable(path)));
  std::string text;
  char buffer[65536];
  std::size_t count = 0;
  while (text.size() <= most_bytes && (count = std::fread(buffer, 1, sizeof buffer, file)) > 0)
    text.append(buffer, count);
  const int error = std::ferror(file) ? errno : 0;
  if (file != stdin) std::fclose(file);
  if (error != 0) return Unexpected(system_error(error, printable(path)));
  if (text.size() > most_bytes)
    return Unexpected(ErrorCode::invalid_argument,
                      printable(path) + " is larger than a domain's XML can be");
  return text;
}

// The element alone or a whole domain; everything that is wrong is an error, as a rule that is not
// understood would change what the others do.
Result<Definitions> definitions_in(const std::string& path) {
  auto text = content(path);
  if (!text) return Unexpected(text.error());
  if (text->find_first_not_of(" \t\r\n") == std::string::npos)
    return Unexpected(ErrorCode::invalid_argument, printable(path) + " is empty");
  auto parsed = parse_definitions(*text);
  if (!parsed.errors.empty() && parsed.errors.front().element == "domain") {
    auto element = forwards_element(*text);
    if (!element) return Unexpected(ErrorCode::invalid_argument, element.error().message);
    parsed = parse_definitions(*element);
  }
  if (parsed.errors.empty()) return std::move(parsed.definitions);
  std::string message;
  for (const DefinitionError& error : parsed.errors)
    message += printable(path) + ": " + error.text() + '\n';
  return Unexpected(ErrorCode::invalid_argument, message);
}

Result<GuestListener> listener_from(const std::string& word) {
  const auto wrong = [&](const std::string& what) {
    return Unexpected(ErrorCode::invalid_argument,
                      "--listener " + quote(word) + ": " + what +
                          "; allowed is ADDRESS:PORT[/udp][,process=NAME][,command=LINE]");
  };
  GuestListener listener;
  std::string_view rest = word;
  const std::size_t comma = rest.find(',');
  std::string_view place = rest.substr(0, comma);
  rest = comma == std::string_view::npos ? std::string_view() : rest.substr(comma + 1);
  if (const std::size_t slash = place.find('/'); slash != std::string_view::npos) {
    const auto protocol = parse<Protocol>(place.substr(slash + 1));
    if (!protocol) return wrong("protocols are tcp and udp");
    listener.key.udp = *protocol == Protocol::udp;
    place = place.substr(0, slash);
  }
  const std::size_t colon = place.rfind(':');
  if (colon == std::string_view::npos) return wrong("no port");
  std::string_view address = place.substr(0, colon);
  if (address.starts_with('[') && address.ends_with(']'))
    address = address.substr(1, address.size() - 2);
  const auto parsed = IpAddress::parse(address);
  if (!parsed) return wrong(quote(address) + " is no literal address");
  const auto port = Port::parse(place.substr(colon + 1));
  if (!port) return wrong("ports are 1 to 65535");
  listener.key.address = *parsed;
  listener.key.port = *port;
  while (!rest.empty()) {
    // A command line may have commas: it takes the rest.
    if (rest.starts_with("command=")) {
      listener.command = rest.substr(8);
      break;
    }
    if (!rest.starts_with("process=")) return wrong("unknown is " + quote(rest));
    const std::size_t end = rest.find(',');
    listener.name = rest.substr(8, end == std::string_view::npos ? end : end - 8);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  return listener;
}

// Everything allowed: what is asked is the rules alone.
Policy open_policy() {
  Policy policy;
  policy.host_addresses = {*IpAddress::parse("0.0.0.0"), *IpAddress::parse("::")};
  policy.socket_directories = {""};
  policy.automatic = true;
  return policy;
}

ExplainedPort explained(const GuestListener& listener,
                        const std::optional<AutoDefinition>& automatic) {
  const DetectedPort port = detected_ports(std::span(&listener, 1)).front();
  const AutoDecision decision = decide(automatic, open_policy(), port);
  ExplainedPort result;
  result.port.protocol = port.protocol;
  result.port.port = port.port;
  result.port.addresses = port.addresses;
  if (!listener.name.empty() || !listener.command.empty())
    result.port.process = ProcessView{listener.name, 0, listener.command};
  result.port.state = decision.state;
  if (decision.rule) result.port.rule = static_cast<std::uint32_t>(*decision.rule);
  result.port.reason = decision.reason;
  if (decision.by) {
    result.port.notify = decision.by->notify;
    result.port.open = decision.by->open;
    result.label = decision.by->label;
  }
  if (!decision.forward || decision.state != DetectedState::forwarded) return result;
  const SingleForward& forward = *decision.forward;
  if (forward.refused) {
    result.port.state = DetectedState::denied;
    result.port.reason = forward.reason;
    return result;
  }
  if (const auto* socket = std::get_if<SocketPath>(&forward.spec.host)) {
    result.host_socket = socket->path;
    return result;
  }
  result.host_addresses = forward.claim.addresses;
  result.host_port = forward.claim.port;
  result.scheme =
      forward.spec.scheme.empty() ? std::string(usual_scheme(port.port)) : forward.spec.scheme;
  return result;
}

std::string host_text(const ExplainedPort& explained) {
  if (!explained.host_socket.empty()) return explained.host_socket;
  if (!explained.host_port || explained.host_addresses.empty()) return "-";
  return Endpoint{explained.host_addresses.front(), *explained.host_port}.text();
}

int run_explain(const Verb& verb, Call& call) {
  std::optional<std::string> metadata;
  std::vector<std::string> listeners;
  Options options(std::string(verb.parameters), std::string(verb.description));
  options.text("metadata", 0, metadata, "FILE",
               "The metadata element or a whole domain's XML; - is standard input");
  options.texts("listener", 0, listeners, "LISTENER",
                "ADDRESS:PORT[/udp][,process=NAME][,command=LINE]; may be repeated");
  std::vector<std::string> positional;
  if (const auto over = take_arguments(verb, call, options, positional, 0, 2)) return *over;
  if (!positional.empty() && (metadata || !listeners.empty()))
    return fail({ErrorCode::invalid_argument,
                 "either a domain's forward or rules (--metadata, --listener) are explained"});
  if (positional.size() == 1)
    return fail({ErrorCode::invalid_argument,
                 "which port or forward of " + quote(positional[0]) +
                     "? Say a port of the guest or the host, or a forward's name or id"});
  if (!positional.empty()) return explain_forward(call, positional[0], positional[1]);
  if (!metadata || listeners.empty())
    return fail({ErrorCode::invalid_argument,
                 !metadata ? "which rules? Say --metadata FILE (- is standard input)"
                           : "which port? Say --listener ADDRESS:PORT"});
  std::vector<GuestListener> asked;
  for (const std::string& word : listeners) {
    auto listener = listener_from(word);
    if (!listener) return fail(listener.error());
    asked.push_back(std::move(*listener));
  }
  const auto definitions = definitions_in(*metadata);
  if (!definitions) return fail(definitions.error());

  Table table({"LISTENER", "ACTION", "RULE", "HOST"});
  for (std::size_t index = 0; index < asked.size(); ++index) {
    const ExplainedPort result = explained(asked[index], definitions->automatic);
    if (call.globals.json)
      print(json_explained(result) + '\n');
    else
      table.add({{listeners[index]},
                 {std::string(detected_action(result.port.state))},
                 {result.port.rule ? std::to_string(*result.port.rule) : "-"},
                 {host_text(result)}},
                result.port.reason);
  }
  if (!call.globals.json)
    print(table.render(color_wanted(call.globals.color), stdout_is_terminal()));
  return 0;
}

}  // namespace

const Verb explain_verb{
    "explain",
    "DOMAIN PORT[/udp]|FORWARD | --metadata FILE --listener LISTENER…",
    "Say why a port or a forward is as it is, or try rules",
    "Says of a port of the guest or the host, or of a forward, what decided about it, what listens "
    "in\n"
    "the guest, what holds the host port, and by which ways it is served and why not by the "
    "others.\n"
    "Or says what the rules of a metadata document make of ports that a guest could have open,\n"
    "without a guest or a daemon. What the host's policy forbids is not looked at.",
    false,
    run_explain};

}  // namespace vf
