// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/nft_backend.h"

#ifdef VF_HAVE_NFTABLES

#include <nftables/libnftables.h>

#include <string_view>
#include <utility>

#include "base/printable.h"
#include "offload/nft_ruleset.h"

namespace vf {
namespace {

// One netlink socket, which lives as long as the context. (When another's transaction disturbs the
// reading of what is there, libnftables opens it anew, and an owner's table is gone. So what only
// looks has a context of its own; who runs commands must be ready to find that his table went.)
class Context {
 public:
  Context() : context_(nft_ctx_new(NFT_CTX_DEFAULT)) {
    if (!context_) return;
    nft_ctx_buffer_output(context_.get());
    nft_ctx_buffer_error(context_.get());
    nft_ctx_output_set_flags(context_.get(), NFT_CTX_OUTPUT_HANDLE);
  }
  explicit operator bool() const { return context_ != nullptr; }

  // What the commands print. Error messages are those of nft(8): a line that says what is wrong,
  // then the command with a mark below, which nobody typed.
  Result<std::string> run(const std::string& commands) {
    const int status = nft_run_cmd_from_buffer(context_.get(), commands.c_str());
    // Both texts begin anew with each command, and are fetched so that they do.
    std::string output = text(nft_ctx_get_output_buffer(context_.get()));
    const std::string errors = text(nft_ctx_get_error_buffer(context_.get()));
    if (status == 0) return output;
    std::string_view line = errors;
    line = line.substr(0, line.find('\n'));
    if (line.starts_with("netlink: ")) line.remove_prefix(9);
    if (line.starts_with("Error: ")) line.remove_prefix(7);
    const bool refused = line.find("not permitted") != std::string_view::npos ||
                         line.find("Permission denied") != std::string_view::npos;
    return Unexpected(refused ? ErrorCode::not_allowed : ErrorCode::failed,
                      "nftables: " + (line.empty() ? "no reason given" : printable(line, 200)));
  }

 private:
  struct Free {
    void operator()(nft_ctx* context) const { nft_ctx_free(context); }
  };
  static std::string text(const char* buffer) { return buffer ? buffer : ""; }

  std::unique_ptr<nft_ctx, Free> context_;
};

class LibNftables final : public NftBackend {
 public:
  explicit operator bool() const { return static_cast<bool>(owner_) && static_cast<bool>(eyes_); }

  Result<void> run(const std::string& commands) override {
    auto done = owner_.run(commands);
    if (!done) return Unexpected(std::move(done).error());
    return {};
  }

  Result<Standing> look() override {
    auto tables = eyes_.run("list tables ip");
    if (!tables) return Unexpected(std::move(tables).error());
    Standing standing;
    standing.own = lists(*tables, nft_own_table);
    if (lists(*tables, nft_guard_table)) {
      auto guard = eyes_.run("list table ip " + std::string(nft_guard_table));
      // An error: it went in between.
      if (guard) standing.guard = *std::move(guard);
    }
    return standing;
  }

 private:
  static bool lists(const std::string& tables, std::string_view name) {
    std::string line = "table ip ";
    line.append(name);
    for (std::size_t at = tables.find(line); at != std::string::npos;
         at = tables.find(line, at + 1)) {
      const std::size_t end = at + line.size();
      if (end == tables.size() || tables[end] == '\n' || tables[end] == ' ') return true;
    }
    return false;
  }

  Context owner_;
  Context eyes_;
};

}  // namespace

Result<std::unique_ptr<NftBackend>> open_nft_backend() {
  auto backend = std::make_unique<LibNftables>();
  if (!*backend) return Unexpected(ErrorCode::failed, "libnftables cannot be set up");
  return std::unique_ptr<NftBackend>(std::move(backend));
}

}  // namespace vf

#else

namespace vf {

Result<std::unique_ptr<NftBackend>> open_nft_backend() {
  return Unexpected(ErrorCode::not_supported, "this build is without nftables");
}

}  // namespace vf

#endif
