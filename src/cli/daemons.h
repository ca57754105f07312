// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The daemons that a command line means, and its domains in them.

#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/options.h"
#include "client/daemon.h"
#include "core/definition_xml.h"

namespace vf {

struct FoundDomain {
  const Daemon* daemon = nullptr;
  std::string path;
  DomainView domain;

  // "virt-forward block web 80", as a line of a shell; with -c where the session's daemon is meant.
  std::string command(std::string_view verb, std::string_view rest = {}) const;
};

// Its forwards, as the daemon shows them.
Result<std::vector<ForwardView>> forwards_of(const FoundDomain& found);

// One side of the domain's metadata, `side` live or config; nothing where it cannot be read.
std::optional<ParsedDefinitions> read_metadata(const Daemon& daemon, const std::string& path,
                                               const EditFlags& side);

class Daemons {
 public:
  // Those that answer: of the system and of the session unless the options name one. One that is
  // there and does not answer is said on stderr if another does. The user's own is started where a
  // session is or can be meant, unless quiet. NoDaemon says how to start one, or that none of them
  // has reached libvirt and knows anything, unless that is no matter to the caller; one that only
  // just starts is waited for.
  // `command_line`: for the ssh line of a refused --connect. Quiet: nothing is said or waited for.
  enum class Quiet { no, yes };
  enum class Libvirt { needed, awaited };
  static Result<Daemons> open(const GlobalOptions& globals,
                              const std::vector<std::string>& command_line, Quiet quiet = Quiet::no,
                              Libvirt libvirt = Libvirt::needed);

  // All of them, each with why it does not answer: nothing is started and nothing said. The user's
  // own is left out where nothing of a session has been used. Fails for a wrong --connect only.
  struct Tried {
    Instance instance;
    Result<Daemon> daemon;
  };
  static Result<std::vector<Tried>> survey(const GlobalOptions& globals,
                                           const std::vector<std::string>& command_line);

  const std::vector<Daemon>& all() const { return daemons_; }

  // By name, id or UUID; AmbiguousName when more than one daemon knows it, NoDaemon when none does
  // and one of them cannot know.
  Result<FoundDomain> find(const std::string& domain) const;

 private:
  Result<void> ask_for_libvirt(Libvirt libvirt);

  std::vector<Daemon> daemons_;
};

}  // namespace vf
