// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The options of one verb on GOptionContext: declared with the variables that they set, parsed
// once. Values are taken as bytes, whatever the locale.

#pragma once

#include <glib.h>

#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "glib/ref.h"

namespace vf {

// What each verb understands besides its own options.
struct GlobalOptions {
  std::optional<std::string> connect;
  std::vector<std::string> addresses;  // --address, instead of a search
  std::string color = "auto";          // auto, always, never
  bool json = false;
  bool help = false;
};

class Options {
 public:
  // `parameters`: what follows the options in the usage line. The variables given here outlive
  // parse().
  Options(std::string parameters, std::string description);
  Options(const Options&) = delete;
  Options& operator=(const Options&) = delete;

  void flag(const char* name, char letter, bool& value, const char* help);
  void text(const char* name, char letter, std::optional<std::string>& value,
            const char* placeholder, const char* help);
  // May be repeated.
  void texts(const char* name, char letter, std::vector<std::string>& values,
             const char* placeholder, const char* help);
  void global(GlobalOptions& globals, bool with_json = true);

  // The arguments that are no options. Stops at the first of them when `stop_early`. Sets the
  // variables of the options that are there. InvalidArgument names the wrong one.
  Result<std::vector<std::string>> parse(const std::vector<std::string>& arguments,
                                         bool stop_early = false);
  // The page of --help. `program` is "virt-forward VERB".
  std::string help(const std::string& program);

 private:
  struct Flag {
    gboolean given = FALSE;
    bool* value;
  };
  struct Text {
    gchar* given = nullptr;
    std::optional<std::string>* value;
  };
  struct Texts {
    gchar** given = nullptr;
    std::vector<std::string>* value;
  };
  GOptionContext* context();
  std::string explained(const GErrorOut& error, const std::vector<std::string>& arguments) const;
  void entry(const char* name, char letter, GOptionArg kind, gpointer target, const char* help,
             const char* placeholder);

  std::string parameters_;
  std::string description_;
  std::vector<GOptionEntry> entries_;
  std::deque<Flag> flags_;
  std::deque<Text> texts_;
  std::deque<Texts> lists_;
  std::optional<std::string> color_;
  GlobalOptions* globals_ = nullptr;
};

}  // namespace vf
