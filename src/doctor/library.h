// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A library that is loaded when it is asked for. libvirt's takes 10 ms to load with all that it
// needs, which every call of `virt-forward` would pay for the doctor's sake.

#pragma once

#include <dlfcn.h>

#include <string>

#include "base/result.h"

namespace vf {

class Library {
 public:
  static Result<Library> load(const char* name) {
    void* const handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!handle)
      return Unexpected(ErrorCode::not_supported, std::string(name) + " is not installed");
    return Library(handle);
  }

  // Null where the library has none of that name. Never unloaded: libraries with threads cannot be.
  template <typename Function>
  Function* function(const char* name) const {
    return reinterpret_cast<Function*>(dlsym(handle_, name));
  }

 private:
  explicit Library(void* handle) : handle_(handle) {}
  void* handle_;
};

}  // namespace vf
