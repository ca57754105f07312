// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Says when libvirt's DHCP servers wrote their leases: libvirt sends no event for it. What the
// leases are is libvirt's to say.

#pragma once

#include <functional>
#include <string>

#include "base/fd.h"
#include "glib/source.h"

namespace vf {

class LeaseWatch {
 public:
  LeaseWatch(std::string directory, std::function<void()> changed);

  // Watches the directory unless it does so already; quietly does not while there is none or it
  // may not be read.
  void start();

 private:
  void receive();

  const std::string directory_;
  const std::function<void()> changed_;
  bool watching_ = false;
  Fd inotify_;
  Source source_;
};

}  // namespace vf
