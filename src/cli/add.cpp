// SPDX-License-Identifier: LGPL-2.1-or-later

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "base/printable.h"
#include "cli/added.h"
#include "cli/daemons.h"
#include "cli/next_start.h"
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

// The attributes of the spec and of the options.
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

// Nothing of what this would store for the next start could be waited for.
Result<void> can_wait(const EditFlags& edit, const DomainView& domain) {
  if (!only_stored(edit, domain)) return {};
  if (domain.active)
    return Unexpected(ErrorCode::invalid_argument,
                      "--config alone serves nothing that --wait could wait for; leave one of them "
                      "out, or say --persistent");
  return Unexpected(ErrorCode::domain_not_running,
                    "domain " + quote(domain.name) +
                        " does not run, and nothing was stored: without --wait the forward is kept "
                        "for its next start");
}

// Two words that are the other way round.
Error with_order_hint(Error error, const std::vector<std::string>& words) {
  if (words[0].find(':') != std::string::npos && parse_forward_spec(words[0]))
    error.message += "; the domain comes first, as in: virt-forward add " + quote(words[1]) + ' ' +
                     printable(words[0]);
  return error;
}

// "virt-forward block" is about what opens by itself: a forward that is asked for is served all the
// same, which who blocked the port may not expect. Empty where none of its ports is blocked.
std::string block_words(const FoundDomain& found, const ForwardDefinition& definition,
                        const EditFlags& edit) {
  const auto* ports = std::get_if<PortRange>(&definition.guest);
  if (!ports) return {};
  const bool stored = only_stored(edit, found.domain);
  const auto metadata =
      read_metadata(*found.daemon, found.path, {.live = !stored, .config = stored});
  if (!metadata || !metadata->definitions.automatic) return {};
  for (const AutoRule& rule : metadata->definitions.automatic->rules) {
    if (!rule.marked || rule.action != RuleAction::block || rule.protocol != definition.protocol ||
        !rule.guest_port || rule.guest_port->high() < ports->low() ||
        ports->high() < rule.guest_port->low())
      continue;
    const std::string blocked =
        rule.guest_port->text() + (rule.protocol == Protocol::udp ? "/udp" : "");
    return blocked + " stays blocked for what the guest opens by itself (" +
           found.command("unblock", blocked) + " lifts that); this forward is served all the same";
  }
  return {};
}

void say_what_differs(const FoundDomain& found, const ForwardDefinition& definition,
                      const EditFlags& edit, const std::vector<AddedForward>& added) {
  const bool port_wanted = !std::holds_alternative<SocketPath>(definition.host);
  const bool unbound = port_wanted && std::any_of(added.begin(), added.end(),
                                                  [](const auto& one) { return !one.host_port; });
  if (only_stored(edit, found.domain) || unbound)
    return say("stored; " + next_start_words(found, definition));
  for (const std::string& line : taken_words(ports_of(added), "using"))
    say(line);
}

// The objects of a dry run are not there: what they would be is all that is known of them.
int tell_dry_run(bool json, const FoundDomain& found, const ForwardDefinition& definition,
                 const EditFlags& edit, const std::vector<AddedForward>& added) {
  std::vector<CountedForward> forwards;
  for (const AddedForward& forward : added) {
    ForwardView view;
    view.domain = found.domain.name;
    view.uuid = found.domain.uuid;
    view.host_port = forward.host_port;
    view.requested_port = forward.requested_port;
    if (forward.host_port && !json) print(std::to_string(forward.host_port->number()) + '\n');
    forwards.push_back({std::move(view), std::nullopt});
  }
  if (json) print(json_forwards(forwards));
  if (only_stored(edit, found.domain))
    say("it can be stored; " + next_start_words(found, definition));
  for (const std::string& line : taken_words(ports_of(added), "it would be"))
    say(line);
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
  if (!spec) return fail(with_order_hint(spec.error(), positional));
  const auto attributes = attributes_of(*spec, given);
  if (!attributes) return fail(attributes.error());
  const auto definition = parse_forward(*attributes);
  if (!definition) return fail(definition.error());
  const auto timeout = timeout_of(given);
  if (!timeout) return fail(timeout.error());
  if (given.wait && given.edit.dry_run)
    return fail({ErrorCode::invalid_argument,
                 "--dry-run makes nothing that --wait could wait for; leave one of them out"});

  const auto daemons = Daemons::open(call.globals, call.command_line);
  if (!daemons) return fail(daemons.error());
  const auto found = daemons->find(positional[0]);
  if (!found) return fail(found.error());
  if (given.wait)
    if (const auto possible = can_wait(given.edit, found->domain); !possible)
      return fail(possible.error());
  const EditFlags edit = missing_half(*found, *definition, given.edit);
  const std::string blocked = block_words(*found, *definition, given.edit);
  const auto added = found->daemon->add_forward(found->path, *attributes, edit);
  if (!added) return fail(with_scope_hint(added.error(), found->domain));

  say(blocked);
  // Of a domain that does not run the daemon has just looked how it will start.
  FoundDomain now = *found;
  if (const auto properties = found->daemon->properties(found->path, domain_interface))
    now.domain = domain_view(*properties);
  if (given.edit.dry_run) return tell_dry_run(call.globals.json, now, *definition, edit, *added);
  if (!call.globals.json && !only_stored(given.edit, found->domain))
    print_ports(*found->daemon, *added);
  say_what_differs(now, *definition, given.edit, *added);
  const auto views = views_of(*found->daemon, *added);
  const bool lasts =
      std::all_of(views.begin(), views.end(), [](const ForwardView& view) { return view.config; });
  if (!lasts) say_if_passing(found->domain, given.edit, "gone");
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
