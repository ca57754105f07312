// SPDX-License-Identifier: LGPL-2.1-or-later

#include "cli/clipboard.h"

#include <fcntl.h>
#include <glib.h>
#include <unistd.h>

#include "base/fd.h"
#include "desktop/clipboard.h"
#include "glib/ref.h"

namespace vf {

Result<void> copy_to_clipboard(const std::string& text) {
  const auto copied = copy_to_desktop(text);
  if (copied) return {};
  if (copied.error().code != ErrorCode::not_supported)
    return Unexpected(copied.error().code, copied.error().message + "; the URL is on stdout");
  const Fd terminal(open("/dev/tty", O_WRONLY | O_CLOEXEC | O_NOCTTY));
  if (!terminal)
    return Unexpected(ErrorCode::failed,
                      "cannot copy: there is neither a desktop with wl-copy, xclip or xsel nor a "
                      "terminal; the URL is on stdout");
  const std::string encoded =
      take_string(g_base64_encode(reinterpret_cast<const guchar*>(text.data()), text.size()));
  const std::string request = "\x1b]52;c;" + encoded + "\x07";
  if (write(terminal.get(), request.data(), request.size()) != static_cast<ssize_t>(request.size()))
    return Unexpected(system_error(errno, "cannot copy by the terminal"));
  return {};
}

}  // namespace vf
