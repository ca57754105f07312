// SPDX-License-Identifier: LGPL-2.1-or-later
//
// In place of redirect.cpp where clang, bpftool or libbpf was missing when this was built.

#include "offload/redirect.h"

namespace vf {
namespace {

Unexpected not_built() {
  return {ErrorCode::not_supported,
          "this build has no socket redirection (it was built without clang, bpftool or libbpf, or "
          "with VF_REDIRECT=OFF)"};
}

}  // namespace

class RedirectOffload::Impl {};

RedirectOffload::RedirectOffload(std::chrono::milliseconds) {}
RedirectOffload::~RedirectOffload() = default;

Result<void> RedirectOffload::start(Events) {
  return not_built();
}
const Fd* RedirectOffload::left() {
  return nullptr;
}
void RedirectOffload::inherit(Fd) {}
Result<void> RedirectOffload::admits(const OffloadEntry&) const {
  return not_built();
}
Result<void> RedirectOffload::apply(std::span<const OffloadEntry>, std::span<const OffloadEntry>) {
  return not_built();
}
void RedirectOffload::cut(std::span<const std::string>) {}
Result<std::map<std::string, KernelOffload::Count>> RedirectOffload::counts() {
  return not_built();
}

}  // namespace vf
