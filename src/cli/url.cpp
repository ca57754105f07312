// SPDX-License-Identifier: LGPL-2.1-or-later

#include <algorithm>

#include "base/printable.h"
#include "cli/clipboard.h"
#include "cli/daemons.h"
#include "cli/forward_match.h"
#include "cli/output.h"
#include "cli/shown.h"
#include "cli/verb.h"
#include "client/json.h"

namespace vf {
namespace {

Result<std::vector<ForwardView>> bound_forwards(const FoundDomain& found) {
  auto forwards = forwards_of(found);
  if (!forwards) return forwards;
  std::erase_if(*forwards, [](const ForwardView& forward) { return !is_shown(forward, false); });
  std::sort(forwards->begin(), forwards->end(), [](const ForwardView& a, const ForwardView& b) {
    return std::tie(a.host_port, a.id) < std::tie(b.host_port, b.id);
  });
  return forwards;
}

Error no_url(const FoundDomain& found, const std::vector<ForwardView>& forwards) {
  if (forwards.empty())
    return {ErrorCode::no_such_forward, "domain " + quote(found.domain.name) +
                                            " has no forwards; make one with: virt-forward add"};
  const ForwardView& first = forwards.front();
  if (first.protocol == Protocol::udp)
    return {ErrorCode::no_such_forward, quote(first.id) + " has no URL, it is udp"};
  return {ErrorCode::no_such_forward, quote(first.id) + " has no URL, it is " +
                                          std::string(text(first.state)) + ": " + first.reason};
}

int open_url(const std::string& url) {
  if (url.find("://") == std::string::npos)
    return fail({ErrorCode::invalid_argument,
                 quote(url) + " names no scheme to open it with; give the forward one (--scheme "
                              "http) or use the address as it is"});
  GErrorOut error;
  if (!g_app_info_launch_default_for_uri(url.c_str(), nullptr, error.out()))
    return fail({ErrorCode::failed, "cannot open " + url + ": " + error.message()});
  return 0;
}

int run_url(const Verb& verb, Call& call) {
  bool copy = false;
  bool open = false;
  Options options(std::string(verb.parameters), std::string(verb.description));
  options.flag("copy", 0, copy, "Copy it to the clipboard as well");
  options.flag("open", 0, open, "Open it in the desktop's program for it as well");
  std::vector<std::string> positional;
  if (const auto over = take_arguments(verb, call, options, positional, 1, 2)) return *over;

  const auto daemons = Daemons::open(call.globals, call.command_line);
  if (!daemons) return fail(daemons.error());
  const auto found = daemons->find(positional[0]);
  if (!found) return fail(found.error());
  if (!found->domain.active)
    return fail({ErrorCode::domain_not_running, "domain " + quote(found->domain.name) +
                                                    " does not run, so it has no URL; start it "
                                                    "first"});
  auto forwards = bound_forwards(*found);
  if (!forwards) return fail(forwards.error());
  if (positional.size() > 1) {
    forwards = match_forward(*forwards, positional[1]);
    if (!forwards) return fail(forwards.error());
  }

  std::string urls;
  std::vector<std::string> list;
  std::vector<CountedForward> with_url;
  for (const ForwardView& forward : *forwards) {
    if (forward.url.empty()) continue;
    list.push_back(printable(forward.url));
    urls += list.back() + '\n';
    with_url.push_back({forward, std::nullopt});
  }
  if (list.empty()) return fail(no_url(*found, *forwards));
  if (open && list.size() > 1)
    return fail({ErrorCode::ambiguous_name, quote(found->domain.name) + " has " +
                                                std::to_string(list.size()) +
                                                " URLs; say which forward to open"});
  print(call.globals.json ? json_forwards(with_url) : urls);
  if (copy) {
    urls.pop_back();
    if (const auto copied = copy_to_clipboard(urls); !copied) return fail(copied.error());
  }
  return open ? open_url(list.front()) : 0;
}

}  // namespace

const Verb url_verb{"url",
                    "DOMAIN [FORWARD]",
                    "Print the URL of a forward",
                    "Prints the URLs of DOMAIN's forwards, one a line, or that of FORWARD alone: "
                    "address and port,\n"
                    "with a scheme in front where one is known.",
                    false,
                    run_url};

}  // namespace vf
