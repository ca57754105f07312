// SPDX-License-Identifier: LGPL-2.1-or-later

#include "doctor/domains.h"

#include <glib.h>

#include <algorithm>
#include <optional>
#include <set>

#include "doctor/check.h"
#include "doctor/words.h"
#include "glib/shell_word.h"

namespace vf {
namespace {

// Whether who uses the host side of the one meets something else by the other.
bool leads_elsewhere(const ForwardDefinition& one, const ForwardDefinition& other) {
  const auto address = [](const ForwardDefinition& of) {
    return of.host_address.value_or(IpAddress::loopback4());
  };
  if (!one.enabled || !other.enabled || one.protocol != other.protocol ||
      address(one) != address(other))
    return false;
  const auto* const host = std::get_if<PortRange>(&one.host);
  const auto* const its = std::get_if<PortRange>(&other.host);
  if (!host || !its)
    return std::holds_alternative<SocketPath>(one.host) && one.host == other.host &&
           one.guest != other.guest;
  if (its->high() < host->low() || host->high() < its->low()) return false;
  if (one.guest_address != other.guest_address) return true;
  const auto* const guest = std::get_if<PortRange>(&one.guest);
  const auto* const its_guest = std::get_if<PortRange>(&other.guest);
  if (!guest || !its_guest) return one.guest != other.guest;
  return guest->low().number() + its->low().number() !=
         its_guest->low().number() + host->low().number();
}

constexpr char vsock_xml[] = "<vsock model='virtio'><cid auto='yes'/></vsock>";

// Adds findings about one domain.
class Judge {
 public:
  Judge(const SeenDomain& seen, Findings& findings)
      : seen_(seen), domain_(seen.domain), findings_(findings), name_(shell_word(domain_.name)) {}

  void metadata() {
    for (const std::string& problem : domain_.problems) {
      const bool running = domain_.active &&
                           (has_error(seen_.live, problem) || (!domain_.persistent && !seen_.live));
      const std::string config = edit_command(domain_.name, Side::config);
      const std::string live = edit_command(domain_.name, Side::live);
      if (!running)
        add(FindingId::metadata, Severity::error, problem, config);
      else if (domain_.persistent && has_error(seen_.config, problem))
        add(FindingId::metadata, Severity::error, problem,
            config + "\n" + live + "   # the same of the running domain");
      else
        add(FindingId::metadata, Severity::error, "of the running domain alone: " + problem, live);
    }
  }

  void address() {
    if (!domain_.active || domain_.bridges.empty() || !domain_.addresses.empty()) return;
    if (!wants_way("tcp") || served_without("tcp")) return;
    const bool paused = std::ranges::any_of(seen_.forwards, is_of_paused);
    add(FindingId::no_address, Severity::error,
        "no address of the guest has been seen on " + joined(domain_.bridges) + ": " +
            (paused
                 ? "the domain is paused"
                 : "it has not booted, has no network, or has been silent since the daemon began"),
        paused ? "virsh resume " + name_
               : "virsh console " + name_ + "   # and there: ip address; ping the host once");
  }

  void agent() {
    if (!domain_.active || !wants_agent()) return;
    const std::string& word = domain_.guest_agent;
    if (word == "connected" || word == "connecting" || word == "qemu-agent") return;
    const std::string because = domain_.automatic
                                    ? "ports that it opens are not noticed"
                                    : "forwards that need the agent have no way into the guest";
    if (word == "no-vsock") {
      add(FindingId::no_vsock, Severity::warning, "the domain has no <vsock> device: " + because,
          "printf '%s' \"" + std::string(vsock_xml) + "\" | virsh attach-device " + name_ +
              " /dev/stdin --config   # there from its next start on");
      return;
    }
    const std::string why =
        domain_.guest_agent_reason.empty() ? "" : " (" + domain_.guest_agent_reason + ')';
    if (word == "refused")
      add(FindingId::agent_refused, Severity::warning,
          "virt-forward-guest refuses this daemon" + why + ": " + because,
          "in the guest: edit /etc/virt-forward/guest.conf (a session daemon needs control-from = "
          "any-port), then systemctl restart virt-forward-guest");
    else if (word == "version")
      add(FindingId::agent_version, Severity::warning,
          "virt-forward-guest speaks another protocol" + why + ": " + because,
          "in the guest: install the package virt-forward-guest of version " VF_VERSION);
    else
      add(FindingId::agent_missing, Severity::warning,
          "virt-forward-guest does not answer in the guest" + why + ": " + because,
          "in the guest: install the package virt-forward-guest, then systemctl enable --now "
          "virt-forward-guest");
  }

  // Nobody but the agent and ssh reaches the guest's localhost.
  void loopback() {
    if (domain_.guest_agent == "connected") return;
    std::set<std::string> told;
    for (const PortView& port : seen_.ports) {
      const bool only = !port.addresses.empty() &&
                        std::ranges::all_of(port.addresses,
                                            [](const IpAddress& one) { return one.is_loopback(); });
      if (!only || !port.port) continue;
      const bool wanted = std::ranges::any_of(seen_.forwards, [&](const ForwardView& forward) {
        return forward.state != ForwardState::inactive && forward.state != ForwardState::disabled &&
               forward.protocol == port.protocol && forward.guest_port == port.port &&
               forward.transport != Transport::vsock && forward.transport != Transport::ssh;
      });
      const bool elsewhere = std::ranges::any_of(seen_.ports, [&](const PortView& other) {
        return other.protocol == port.protocol && other.port == port.port &&
               !std::ranges::all_of(other.addresses,
                                    [](const IpAddress& one) { return one.is_loopback(); });
      });
      if (!wanted || elsewhere || !told.insert(port.id).second) continue;
      std::string who =
          port.process && !port.process->name.empty() ? port.process->name : "the service";
      add(FindingId::loopback_only, Severity::error,
          who + " on port " + std::to_string(port.port->number()) + " of the guest listens on " +
              port.addresses.front().text() + " alone, where neither the network nor QEMU gets",
          "printf '%s' \"" + std::string(vsock_xml) + "\" | virsh attach-device " + name_ +
              " /dev/stdin --config   # and virt-forward-guest in the guest; or let the service "
              "listen on 0.0.0.0");
    }
  }

  void drift() {
    if (!domain_.active || !domain_.persistent) return;
    for (const ForwardView& forward : seen_.forwards) {
      if (forward.origin != Origin::metadata || forward.live == forward.config ||
          of_range_again(forward))
        continue;
      if (const std::optional<bool> on = enabled_at_next_start(forward))
        add(FindingId::live_only, Severity::note,
            "the next start of the domain has the forward " + forward_name(forward) +
                (*on ? " enabled" : " disabled"),
            std::string("virt-forward ") + (*on ? "disable " : "enable ") + name_ + ' ' +
                shell_word(forward_name(forward)) + " --config");
      else if (forward.live)
        add(FindingId::live_only, drift_severity(forward, seen_.live, seen_.config),
            "the next start of the domain does not have the forward " + forward_name(forward) +
                " as it is now",
            copy_command(forward, definition_of(forward, seen_.live), Side::config, seen_.config));
      else
        add(FindingId::config_only, drift_severity(forward, seen_.config, seen_.live),
            forward.state == ForwardState::disabled
                ? "the next start of the domain has the forward " + forward_name(forward) +
                      ", disabled"
                : "forward " + forward_name(forward) + " begins with the next start of the domain",
            copy_command(forward, definition_of(forward, seen_.config), Side::live, seen_.live));
    }
  }

  void forwards() {
    for (const ForwardView& forward : seen_.forwards)
      if (domain_.active) judge_forward(forward);
  }

 private:
  // It was asked for. But where the domain's next start takes a host port of now to something else,
  // who uses the port is not told.
  static Severity drift_severity(const ForwardView& forward, const SeenMetadata& own,
                                 const SeenMetadata& other) {
    const ForwardDefinition* const definition = definition_of(forward, own);
    const bool astray =
        definition && other &&
        std::ranges::any_of(other->definitions.forwards, [&](const ForwardDefinition& there) {
          return leads_elsewhere(*definition, there);
        });
    return astray ? Severity::warning : Severity::note;
  }

  // Where the two sides of its metadata differ in that alone: whether the next start serves it.
  std::optional<bool> enabled_at_next_start(const ForwardView& forward) const {
    const ForwardDefinition* const now = definition_of(forward, seen_.live);
    const ForwardDefinition* const then = definition_of(forward, seen_.config);
    if (!forward.live || !now || !then || now->enabled == then->enabled) return std::nullopt;
    ForwardDefinition same = *now;
    same.enabled = then->enabled;
    return same == *then ? std::optional(then->enabled) : std::nullopt;
  }

  static bool has_error(const SeenMetadata& side, const std::string& problem) {
    return side &&
           std::ranges::find(side->errors, problem, &DefinitionError::text) != side->errors.end();
  }

  void add(FindingId id, Severity severity, std::string message, std::string fix) {
    findings_.push_back({id, severity, domain_.name, std::move(message), std::move(fix)});
  }

  static std::string joined(const std::vector<std::string>& words) {
    std::string text;
    for (const std::string& word : words)
      text += (text.empty() ? "" : ", ") + word;
    return text;
  }

  // A range has a forward for each port, and one definition.
  bool of_range_again(const ForwardView& forward) const {
    const auto first = std::ranges::find_if(seen_.forwards, [&](const ForwardView& other) {
      return other.definition == forward.definition && other.live == forward.live;
    });
    return first != seen_.forwards.end() && first->id != forward.id;
  }

  static bool is_served(const ForwardView& forward) {
    return forward.state != ForwardState::inactive && forward.state != ForwardState::disabled &&
           forward.state != ForwardState::denied;
  }

  // Whether some forward would go this way if it could.
  bool wants_way(std::string_view way) const {
    return std::ranges::any_of(seen_.forwards, [&](const ForwardView& forward) {
      return is_served(forward) && std::ranges::any_of(forward.ways, [&](const WayView& one) {
               return one.way == way && one.state == WayState::rejected &&
                      !one.reason.starts_with("transport=\"");
             });
    });
  }

  bool served_without(std::string_view way) const {
    return std::ranges::all_of(seen_.forwards, [&](const ForwardView& forward) {
      return !is_served(forward) || std::ranges::any_of(forward.ways, [&](const WayView& one) {
        return one.way != way && one.state == WayState::used;
      });
    });
  }

  // What comes by itself: see the reasons in src/transport/transport.cpp.
  static bool is_awaited(const WayView& way) {
    return way.state == WayState::rejected && way.way != "vsock" &&
           (way.reason.starts_with("no address of the guest has been seen") ||
            way.reason.find("is not (yet) proven") != std::string::npos ||
            way.reason.ends_with(" is being set up"));
  }

  // See DomainRecord::describe_state().
  static bool is_of_paused(const ForwardView& forward) {
    return forward.reason.find("the domain is paused") != std::string::npos;
  }

  // Of the guest's own localhost: no network leads there, whatever comes.
  static bool is_inside(const ForwardView& forward) {
    return forward.guest_address && forward.guest_address->is_loopback();
  }

  // Ports that open by themselves need it, and so do forwards that nothing else will serve.
  bool wants_agent() const {
    return domain_.automatic || std::ranges::any_of(seen_.forwards, [](const ForwardView& forward) {
             return is_served(forward) && !forward.ways.empty() && !forward.transport &&
                    (is_inside(forward) || std::ranges::none_of(forward.ways, is_awaited)) &&
                    std::ranges::any_of(forward.ways, [](const WayView& one) {
                      return one.way == "vsock" && !one.reason.starts_with("transport=\"");
                    });
           });
  }

  void judge_forward(const ForwardView& forward) {
    const std::string what =
        "forward " + forward_name(forward) +
        (forward.id == forward.definition || !forward.guest_port
             ? ""
             : " (guest port " + std::to_string(forward.guest_port->number()) + ')') +
        " is " + std::string(text(forward.state)) + ": " + forward.reason;
    const std::string next = goes_astray(domain_, forward) ? lead_back_command(forward, seen_.live)
                             : is_of_paused(forward)
                                 ? "virsh resume " + name_
                                 : "virt-forward explain " + name_ + ' ' + shell_word(forward.id);
    switch (forward.state) {
      case ForwardState::active:
      case ForwardState::inactive:
      case ForwardState::disabled:
      case ForwardState::port_busy:  // check_host_ports() names who has it
        return;
      case ForwardState::waiting:
        add(FindingId::forward_waiting, Severity::warning, what, next);
        return;
      case ForwardState::no_listener:
        add(FindingId::forward_no_listener, Severity::warning, what,
            "in the guest: start the service, or see what listens: ss -ltnup");
        return;
      case ForwardState::denied:
        add(FindingId::forward_denied, Severity::error, what,
            "as the reason says: edit /etc/virt-forward/virt-forward.conf, then systemctl reload "
            "virt-forwardd; or " +
                remove_command(forward, forward.config ? "--persistent" : "--live"));
        return;
      case ForwardState::failed:
        add(FindingId::forward_failed, Severity::error, what, next);
        return;
    }
  }

  const SeenDomain& seen_;
  const DomainView& domain_;
  Findings& findings_;
  std::string name_;
};

}  // namespace

bool wants_metadata(const SeenDomain& seen) {
  return !seen.domain.problems.empty() ||
         (seen.domain.active && std::ranges::any_of(seen.forwards, [&](const ForwardView& forward) {
            return forward.origin == Origin::metadata &&
                   (forward.live != forward.config || forward.state == ForwardState::port_busy ||
                    goes_astray(seen.domain, forward) ||
                    (forward.requested_port && forward.host_port != forward.requested_port));
          }));
}

void judge_domain(const SeenDomain& seen, Findings& findings) {
  Judge judge(seen, findings);
  judge.metadata();
  judge.address();
  judge.agent();
  judge.loopback();
  judge.drift();
  judge.forwards();
}

void check_domains(const Seen& seen, Findings& findings) {
  for (const SeenDaemon& daemon : seen.daemons) {
    if (daemon.silent)
      findings.push_back({FindingId::domains, Severity::not_checked,
                          daemon.uri.empty() ? daemon.title : daemon.uri,
                          "its domains and forwards: " + daemon.title + " does not tell of them",
                          daemon.start.empty() ? "virt-forward list" : daemon.start});
    else if (daemon.no_objects)
      findings.push_back({FindingId::domains, Severity::not_checked, daemon.uri,
                          "its domains and forwards: " + daemon.no_objects->message,
                          "sudo virt-forward doctor"});
    for (const SeenDomain& domain : daemon.domains)
      judge_domain(domain, findings);
  }
}

}  // namespace vf
