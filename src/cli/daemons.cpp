// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/daemons.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "cli/nearest.h"
#include "cli/output.h"
#include "client/session_daemon.h"
#include "doctor/words.h"
#include "glib/object_path.h"
#include "glib/shell_word.h"

namespace vf {
namespace {

using std::chrono::steady_clock;

std::vector<Instance> instances(const GlobalOptions& globals, const std::string& uri) {
  std::vector<Instance> instances;
  for (const std::string& address : globals.addresses)
    instances.push_back(instance_at(address));
  if (!instances.empty()) return instances;
  instances = {system_instance(), session_instance()};
  const auto serves = [&](const Instance& instance) { return instance.uri == uri; };
  if (std::any_of(instances.begin(), instances.end(), serves))
    std::erase_if(instances, [&](const Instance& instance) { return !serves(instance); });
  return instances;
}

// Whether the user's daemon is to be started for this command line: where a session is asked for,
// or can be meant. Root's qemu:///session is the system's.
bool may_start(const GlobalOptions& globals, const Instance& instance, const std::string& uri) {
  if (!globals.addresses.empty() || getuid() == 0) return false;
  const std::string session = session_instance().uri;
  return instance.uri == session && (uri == session || (uri.empty() && session_was_used()));
}

Result<Daemon> started_session() {
  if (const auto started = start_session_daemon(); !started) return Unexpected(started.error());
  return Daemon::connect(session_instance(Wake::yes));
}

std::string joined_uris(const std::vector<const Daemon*>& daemons, const std::string& separator,
                        const std::string& before = "") {
  std::string text;
  for (const Daemon* daemon : daemons)
    text += (text.empty() ? "" : separator) + before + daemon->uri();
  return text;
}

}  // namespace

std::string FoundDomain::command(std::string_view verb, std::string_view rest) const {
  const std::string session = session_instance().uri;
  return "virt-forward " + (daemon->uri() == session ? "-c " + session + ' ' : "") +
         std::string(verb) + ' ' + shell_word(domain.name) +
         (rest.empty() ? "" : ' ' + std::string(rest));
}

Result<std::vector<ForwardView>> forwards_of(const FoundDomain& found) {
  const auto inventory = found.daemon->inventory();
  if (!inventory) return Unexpected(inventory.error());
  std::vector<ForwardView> forwards;
  for (const auto& [path, properties] : inventory->forwards) {
    ForwardView forward = forward_view(properties);
    if (forward.uuid == found.domain.uuid) forwards.push_back(std::move(forward));
  }
  return forwards;
}

std::optional<ParsedDefinitions> read_metadata(const Daemon& daemon, const std::string& path,
                                               const EditFlags& side) {
  const auto element = daemon.metadata(path, side);
  if (!element) return std::nullopt;
  return parse_definitions(*element);
}

Result<Daemons> Daemons::open(const GlobalOptions& globals,
                              const std::vector<std::string>& command_line, Quiet quiet,
                              Libvirt libvirt) {
  std::string uri;
  if (globals.connect) {
    auto local = local_uri(*globals.connect, command_line);
    if (!local) return Unexpected(local.error());
    uri = *local;
  }

  Daemons daemons;
  std::vector<Error> silent;
  const std::vector<Instance> tried = instances(globals, uri);
  for (const Instance& instance : tried) {
    const auto begun = steady_clock::now();
    auto daemon = Daemon::connect(instance);
    // One that was just about to end hangs up at once; one that is stuck would be so again.
    const bool stuck = steady_clock::now() - begun >= instance.patience;
    if (!daemon && !stuck && quiet == Quiet::no && may_start(globals, instance, uri))
      daemon = started_session();
    if (daemon)
      daemons.daemons_.push_back(std::move(*daemon));
    else if (!daemon.error().message.empty())
      silent.push_back(daemon.error());
  }
  if (daemons.daemons_.empty())
    return Unexpected(silent.empty() ? none_runs(tried) : silent.front());
  if (quiet == Quiet::no)
    for (const Error& error : silent)
      say(error.message);

  if (!uri.empty()) {
    std::vector<const Daemon*> all;
    for (const Daemon& daemon : daemons.daemons_)
      all.push_back(&daemon);
    const std::string served = joined_uris(all, " and ");
    std::erase_if(daemons.daemons_, [&](const Daemon& daemon) {
      return daemon.uri() != uri && daemon.instance().uri != uri;
    });
    if (daemons.daemons_.empty())
      return Unexpected(ErrorCode::no_daemon,
                        "no daemon serves " + uri + "; those that run serve " + served);
  }
  if (quiet == Quiet::yes) return daemons;
  if (auto asked = daemons.ask_for_libvirt(libvirt); !asked) return Unexpected(asked.error());
  for (const Daemon& daemon : daemons.daemons_)
    if (daemon.libvirt_connected() && !daemon.relay_connected())
      say(daemon.instance().title + " has no relay at present; its journal says why");
  return daemons;
}

Result<std::vector<Daemons::Tried>> Daemons::survey(const GlobalOptions& globals,
                                                    const std::vector<std::string>& command_line) {
  std::string uri;
  if (globals.connect) {
    auto local = local_uri(*globals.connect, command_line);
    if (!local) return Unexpected(local.error());
    uri = *local;
  }
  const std::string session = session_instance().uri;
  const bool no_session =
      globals.addresses.empty() && uri.empty() && (getuid() == 0 || !session_was_used());
  std::vector<Tried> tried;
  for (Instance& instance : instances(globals, uri)) {
    if (no_session && instance.uri == session) continue;
    auto daemon = Daemon::connect(instance);
    if (!daemon && daemon.error().message.empty()) daemon = Unexpected(none_runs({instance}));
    tried.push_back({std::move(instance), std::move(daemon)});
  }
  return tried;
}

// One that knows no domain tells nothing; one that has known some shows those.
Result<void> Daemons::ask_for_libvirt(Libvirt libvirt) {
  std::vector<Error> blind;
  for (Daemon& daemon : daemons_) {
    const auto knows = daemon.wait_until_settled();
    if (!knows) return Unexpected(knows.error());
    if (daemon.libvirt_connected()) continue;
    std::string message = daemon.instance().title + " has no connection to " + daemon.uri();
    if (!daemon.libvirt_reason().empty()) message += " (" + daemon.libvirt_reason() + ')';
    message += *knows ? "; what it shows may be old"
                      : "; which domains there are is not known until libvirt answers it";
    if (!*knows) blind.push_back({ErrorCode::no_daemon, message});
    if (*knows || libvirt == Libvirt::awaited || daemons_.size() > 1) say(message);
  }
  if (libvirt == Libvirt::needed && !blind.empty() && blind.size() == daemons_.size())
    return daemons_.size() > 1
               ? Unexpected(ErrorCode::no_daemon, "no daemon has a connection to libvirt")
               : Unexpected(blind.front());
  return {};
}

Result<FoundDomain> Daemons::find(const std::string& domain) const {
  std::vector<const Daemon*> holders;
  std::optional<Error> unknown;
  std::string path;
  for (const Daemon& daemon : daemons_) {
    auto found = daemon.find_domain(domain);
    if (found) {
      holders.push_back(&daemon);
      path = *found;
    } else if (!daemon.libvirt_connected() && found.error().code == ErrorCode::no_daemon) {
      unknown = found.error();
    } else if (found.error().code != ErrorCode::no_such_domain) {
      return Unexpected(found.error());
    }
  }
  if (holders.empty() && unknown) return Unexpected(*unknown);
  if (holders.empty()) {
    std::vector<const Daemon*> searched;
    std::vector<std::string> names;
    for (const Daemon& daemon : daemons_) {
      searched.push_back(&daemon);
      if (const auto inventory = daemon.inventory())
        for (const auto& [at, properties] : inventory->domains)
          names.push_back(domain_view(properties).name);
    }
    const std::string hint = did_you_mean(domain, names);
    return Unexpected(ErrorCode::no_such_domain,
                      "no domain " + quote(domain) + " in " + joined_uris(searched, " or ") +
                          (hint.empty() ? "; virsh list --all shows those there are" : hint));
  }
  if (holders.size() > 1)
    return Unexpected(ErrorCode::ambiguous_name,
                      "domain " + quote(domain) + " is in " + joined_uris(holders, " and in ") +
                          "; say which with " + joined_uris(holders, " or ", "--connect "));
  auto properties = holders.front()->properties(path, domain_interface);
  if (!properties) return Unexpected(properties.error());
  return FoundDomain{holders.front(), path, domain_view(*properties)};
}

}  // namespace vf
