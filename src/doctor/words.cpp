// SPDX-License-Identifier: LGPL-2.1-or-later

#include "doctor/words.h"

#include <glib.h>

#include "glib/ref.h"

namespace vf {

std::string shell_word(const std::string& word) {
  constexpr std::string_view plain =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_./:=@%+,";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  return take_string(g_shell_quote(word.c_str()));
}

std::string forward_name(const ForwardView& forward) {
  return forward.name.empty() ? forward.definition : forward.name;
}

std::string remove_command(const ForwardView& forward, std::string_view scope) {
  return "virt-forward remove " + shell_word(forward.domain) + ' ' +
         shell_word(forward_name(forward)) + ' ' + std::string(scope);
}

std::string add_command(const ForwardView& forward, std::string_view scope) {
  std::string spec;
  if (forward.requested_port) spec = std::to_string(forward.requested_port->number()) + ':';
  if (!forward.host_socket.empty()) spec = forward.host_socket + ':';
  spec += forward.guest_port ? std::to_string(forward.guest_port->number()) : forward.guest_socket;
  if (forward.protocol != Protocol::tcp) spec += '/' + std::string(text(forward.protocol));
  std::string command = "virt-forward add " + shell_word(forward.domain) + ' ' + shell_word(spec);
  if (!forward.name.empty()) command += " --name " + shell_word(forward.name);
  if (!forward.label.empty()) command += " --label " + shell_word(forward.label);
  return command + ' ' + std::string(scope);
}

}  // namespace vf
