// SPDX-License-Identifier: LGPL-2.1-or-later

#include <unistd.h>

#include <algorithm>

#include "base/printable.h"
#include "cli/daemons.h"
#include "cli/output.h"
#include "cli/verb.h"
#include "doctor/check.h"

namespace vf {
namespace {

std::vector<SeenDomain> domains_of(const Daemon& daemon, const Objects& objects,
                                   const std::string& only) {
  std::map<std::string, SeenDomain> domains;
  std::map<std::string, std::string> paths;
  for (const auto& [path, properties] : objects.domains) {
    if (!only.empty() && path != only) continue;
    DomainView view = domain_view(properties);
    domains[view.uuid].domain = view;
    paths[view.uuid] = path;
  }
  for (const auto& [path, properties] : objects.forwards) {
    ForwardView view = forward_view(properties);
    if (const auto domain = domains.find(view.uuid); domain != domains.end())
      domain->second.forwards.push_back(std::move(view));
  }
  for (const auto& [path, properties] : objects.ports) {
    PortView view = port_view(properties);
    if (const auto domain = domains.find(view.uuid); domain != domains.end())
      domain->second.ports.push_back(std::move(view));
  }
  std::vector<SeenDomain> list;
  for (auto& [uuid, domain] : domains) {
    if (wants_metadata(domain)) {
      if (domain.domain.active) domain.live = read_metadata(daemon, paths[uuid], {.live = true});
      if (domain.domain.persistent)
        domain.config = read_metadata(daemon, paths[uuid], {.config = true});
    }
    list.push_back(std::move(domain));
  }
  std::ranges::sort(list, {}, [](const SeenDomain& one) { return one.domain.name; });
  return list;
}

// `name`: that domain alone, by its object path in `found` where this daemon has it.
SeenDaemon seen_daemon(const Daemons::Tried& tried, const std::optional<std::string>& name,
                       bool& found) {
  SeenDaemon seen;
  seen.title = tried.instance.title;
  seen.uri = tried.instance.uri;
  seen.start = tried.instance.start;
  if (!tried.daemon) {
    seen.silent = tried.daemon.error();
    seen.system = seen.uri == "qemu:///system";
    return seen;
  }
  const Daemon& daemon = *tried.daemon;
  seen.uri = daemon.uri();
  seen.system = seen.uri == "qemu:///system";
  seen.version = daemon.version();
  seen.libvirt_connected = daemon.libvirt_connected();
  seen.relay_connected = daemon.relay_connected();
  seen.hook_heard = daemon.hook_heard();
  std::string only;
  if (name) {
    const auto path = daemon.find_domain(*name);
    if (!path && path.error().code == ErrorCode::no_such_domain) return seen;
    if (path) only = *path;
    found = true;
  }
  const auto objects = daemon.inventory();
  if (objects)
    seen.domains = domains_of(daemon, *objects, only);
  else
    seen.no_objects = objects.error();
  return seen;
}

std::string indented(const std::string& text, const std::string& by) {
  std::string lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines += by + printable(std::string_view(text).substr(at, end - at), 2000) + '\n';
    at = end + 1;
  }
  return lines;
}

std::string painted(const std::string& text, const char* color, bool wanted) {
  return wanted ? std::string("\x1b[") + color + 'm' + text + "\x1b[0m" : text;
}

std::string page(const Findings& findings, bool color) {
  std::string page;
  for (const Finding& finding : findings) {
    const char* const paint = finding.severity == Severity::error     ? "31"
                              : finding.severity == Severity::warning ? "33"
                                                                      : "2";
    page += painted(std::string(text(finding.severity)), paint, color) + ' ' +
            printable(finding.subject) + ": " + printable(finding.message, 4096) + " [" +
            std::string(text(finding.id)) + "]\n" + indented(finding.fix, "    ");
  }
  const auto unchecked = std::ranges::count(findings, Severity::not_checked, &Finding::severity);
  const auto notes = std::ranges::count(findings, Severity::note, &Finding::severity);
  const auto wrong = std::ssize(findings) - unchecked - notes;
  page += wrong == 0 ? "nothing wrong was found"
                     : std::to_string(wrong) + (wrong == 1 ? " finding" : " findings");
  if (notes > 0) page += "; " + std::to_string(notes) + (notes == 1 ? " note" : " notes");
  if (unchecked > 0) page += "; not checked: " + std::to_string(unchecked);
  return page + '\n';
}

int run_doctor(const Verb& verb, Call& call) {
  Options options(std::string(verb.parameters), std::string(verb.description));
  std::vector<std::string> positional;
  if (const auto over = take_arguments(verb, call, options, positional, 0, 1)) return *over;
  const auto tried = Daemons::survey(call.globals, call.command_line);
  if (!tried) return fail(tried.error());
  std::optional<std::string> name;
  if (!positional.empty()) name = positional[0];
  Seen seen;
  seen.root = geteuid() == 0;
  bool found = false;
  bool silent = false;
  for (const Daemons::Tried& one : *tried) {
    seen.daemons.push_back(seen_daemon(one, name, found));
    silent = silent || seen.daemons.back().silent;
  }
  if (name && !found && !silent)
    return fail({ErrorCode::no_such_domain,
                 "no domain " + quote(*name) + "; virsh list --all shows those there are"});

  Findings findings;
  for (const Check& check : checks())
    check.run(seen, findings);
  std::ranges::stable_sort(findings, {}, &Finding::severity);
  print(call.globals.json ? json_findings(findings)
                          : page(findings, color_wanted(call.globals.color)));
  return any_wrong(findings) ? 1 : 0;
}

}  // namespace

const Verb doctor_verb{
    "doctor",
    "[DOMAIN]",
    "Find what is wrong and how to mend it",
    "Looks at the hook, the daemon, its relay, libvirt, permissions, firewalls, and domains or "
    "one\n"
    "DOMAIN with their guests and forwards. Each finding names the command that mends it. Exit\n"
    "status 0: nothing wrong was found, 1: something was. What this user may not look at is not\n"
    "checked, and said so.",
    false,
    run_doctor};

}  // namespace vf
