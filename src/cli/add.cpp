// SPDX-License-Identifier: LGPL-2.1-or-later

#include <array>
#include <charconv>
#include <chrono>

#include "base/printable.h"
#include "cli/daemons.h"
#include "cli/output.h"
#include "cli/scope.h"
#include "cli/verb.h"
#include "cli/wait.h"
#include "client/json.h"
#include "core/definition_xml.h"
#include "core/forward_spec.h"
#include "glib/object_path.h"

namespace vf {
namespace {

using Attributes = std::vector<std::pair<std::string, std::string>>;

struct AttributeOption {
  const char* name;  // of the option and of the attribute
  const char* placeholder;
  const char* help;
};

constexpr std::array<AttributeOption, 12> attribute_options{{
    {"name", "NAME", "Name of the forward: its identity"},
    {"label", "TEXT", "Text for people"},
    {"host-address", "ADDRESS", "Listen there instead of on 127.0.0.1 and ::1"},
    {"guest-address", "ADDRESS", "Address in the guest to connect to"},
    {"protocol", "PROTOCOL", "tcp or udp"},
    {"transport", "WAY", "How to reach the guest: auto, tcp, vsock, ssh, usernet"},
    {"offload", "OFFLOAD", "Short-cut in the kernel: auto, none, redirect, nftables"},
    {"on-busy", "WHAT", "If the host port is taken: next, any or fail"},
    {"scheme", "SCHEME", "Scheme of its URL, like http"},
    {"proxy-protocol", "VERSION", "Tell the guest's service who connects: none, v2"},
    {"idle-timeout", "SECONDS", "End connections that were idle for so long"},
    {"max-connections", "NUMBER", "Refuse connections past this number"},
}};

struct AddOptions {
  std::array<std::optional<std::string>, attribute_options.size()> attributes;
  bool required = false;
  bool disabled = false;
  EditFlags edit;
  bool wait = false;
  std::optional<std::string> timeout;
};

// The attributes of the spec and of the options, checked as the daemon would.
Result<Attributes> attributes_of(const ForwardSpec& spec, const AddOptions& options) {
  Attributes attributes = spec.attributes();
  for (std::size_t i = 0; i < attribute_options.size(); ++i) {
    const auto& value = options.attributes[i];
    if (!value) continue;
    const std::string name = attribute_options[i].name;
    if (!g_utf8_validate(value->data(), static_cast<gssize>(value->size()), nullptr))
      return Unexpected(ErrorCode::invalid_argument,
                        "--" + name + " is not UTF-8: " + quote(*value));
    const auto said = std::find_if(attributes.begin(), attributes.end(),
                                   [&](const auto& attribute) { return attribute.first == name; });
    if (said != attributes.end() && said->second != *value)
      return Unexpected(ErrorCode::invalid_argument,
                        "--" + name + " is " + quote(*value) + " and the forward says " +
                            quote(said->second) + "; leave one of them out");
    if (said == attributes.end()) attributes.emplace_back(name, *value);
  }
  if (options.required) attributes.emplace_back("required", "yes");
  if (options.disabled) attributes.emplace_back("enabled", "no");
  const auto checked = parse_forward(attributes);
  if (!checked) return Unexpected(checked.error());
  return attributes;
}

Result<std::chrono::seconds> timeout_of(const AddOptions& options) {
  if (!options.timeout) return default_wait;
  unsigned seconds = 0;
  const char* const end = options.timeout->data() + options.timeout->size();
  const auto parsed = std::from_chars(options.timeout->data(), end, seconds);
  if (parsed.ec != std::errc() || parsed.ptr != end || seconds > 86400)
    return Unexpected(
        ErrorCode::invalid_argument,
        "--timeout is " + quote(*options.timeout) + "; allowed are 0 (for ever) to 86400 seconds");
  if (!options.wait)
    return Unexpected(ErrorCode::invalid_argument, "--timeout belongs to --wait; add --wait");
  return std::chrono::seconds(seconds);
}

// What the forwards look like; those that are gone again are left out.
std::vector<ForwardView> views_of(const Daemon& daemon, const std::vector<AddedForward>& added) {
  std::vector<ForwardView> views;
  for (const AddedForward& forward : added) {
    const auto properties = daemon.properties(forward.path, forward_interface);
    if (properties) views.push_back(forward_view(*properties));
  }
  return views;
}

void say_what_differs(const FoundDomain& found, const ForwardSpec& spec, bool disabled,
                      const std::vector<AddedForward>& added) {
  for (const AddedForward& forward : added) {
    if (!forward.host_port && !std::holds_alternative<SocketPath>(spec.host)) {
      say(disabled ? "stored; it is not served while it is disabled"
                   : "stored; the port is bound at the next start of " + quote(found.domain.name));
      return;
    }
    if (forward.host_port && forward.requested_port && forward.host_port != forward.requested_port)
      say(std::to_string(forward.requested_port->number()) + " is taken; using " +
          std::to_string(forward.host_port->number()));
  }
}

// Ports, or the path of the socket, that the host really uses.
void print_ports(const Daemon& daemon, const std::vector<AddedForward>& added) {
  for (const AddedForward& forward : added)
    if (forward.host_port) print(std::to_string(forward.host_port->number()) + '\n');
  for (const ForwardView& view : views_of(daemon, added))
    if (view.live && !view.host_socket.empty()) print(printable(view.host_socket) + '\n');
}

// The objects of a dry run are not there: what they would be is all that is known of them.
int tell_dry_run(bool json, const FoundDomain& found, const std::vector<AddedForward>& added) {
  std::vector<CountedForward> forwards;
  for (const AddedForward& forward : added) {
    ForwardView view;
    view.domain = found.domain.name;
    view.uuid = found.domain.uuid;
    view.host_port = forward.host_port;
    view.requested_port = forward.requested_port;
    if (forward.host_port && !json) print(std::to_string(forward.host_port->number()) + '\n');
    if (forward.host_port && forward.requested_port && forward.host_port != forward.requested_port)
      say(std::to_string(forward.requested_port->number()) + " is taken; it would get " +
          std::to_string(forward.host_port->number()));
    forwards.push_back({std::move(view), std::nullopt});
  }
  if (json) print(json_forwards(forwards));
  return 0;
}

int run_add(const Verb& verb, Call& call) {
  AddOptions given;
  Options options(std::string(verb.parameters), std::string(verb.description));
  for (std::size_t i = 0; i < attribute_options.size(); ++i)
    options.text(attribute_options[i].name, 0, given.attributes[i],
                 attribute_options[i].placeholder, attribute_options[i].help);
  options.flag("required", 0, given.required, "Refuse to start the domain without this forward");
  options.flag("disabled", 0, given.disabled, "Define it, and do not serve it");
  add_scope_options(options, given.edit);
  options.flag("dry-run", 'n', given.edit.dry_run, "Only print the port that it would get now");
  options.flag("wait", 0, given.wait, "Wait until the guest can be reached");
  options.text("timeout", 0, given.timeout, "SECONDS", "Give up waiting after this time (60)");
  std::vector<std::string> positional;
  if (const auto over = take_arguments(verb, call, options, positional, 2, 2)) return *over;

  const auto spec = parse_forward_spec(positional[1]);
  if (!spec) return fail(spec.error());
  const auto attributes = attributes_of(*spec, given);
  if (!attributes) return fail(attributes.error());
  const auto timeout = timeout_of(given);
  if (!timeout) return fail(timeout.error());
  if (given.wait && given.edit.dry_run)
    return fail({ErrorCode::invalid_argument,
                 "--dry-run makes nothing that --wait could wait for; leave one of them out"});

  const auto daemons = Daemons::open(call.globals, call.command_line);
  if (!daemons) return fail(daemons.error());
  const auto found = daemons->find(positional[0]);
  if (!found) return fail(found.error());
  const auto added = found->daemon->add_forward(found->path, *attributes, given.edit);
  if (!added) return fail(with_scope_hint(added.error(), found->domain));

  if (given.edit.dry_run) return tell_dry_run(call.globals.json, *found, *added);
  if (!call.globals.json) print_ports(*found->daemon, *added);
  say_what_differs(*found, *spec, given.disabled, *added);
  say_if_passing(found->domain, given.edit, "gone");
  int status = 0;
  if (given.wait) {
    flush();
    status = wait_until_reachable(*found->daemon, *added, *timeout);
  }
  if (call.globals.json) {
    std::vector<CountedForward> forwards;
    for (ForwardView& view : views_of(*found->daemon, *added))
      forwards.push_back({std::move(view), std::nullopt});
    print(json_forwards(forwards));
  }
  return status;
}

}  // namespace

const Verb add_verb{
    "add",
    "DOMAIN [HOST:]GUEST[/udp]",
    "Forward a port of the host to a port of a guest",
    "Forwards port HOST of this host (any free port, if there is none) to port GUEST of DOMAIN "
    "and\n"
    "prints the port that it got. HOST and GUEST may be ranges of the same width, HOST an address\n"
    "and a port (127.0.0.1:8080) or a socket path.",
    false,
    run_add};

}  // namespace vf
