// SPDX-License-Identifier: LGPL-2.1-or-later

#include "offload/nft_backend.h"

#ifdef VF_HAVE_NFTABLES

#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <nftables/libnftables.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <initializer_list>
#include <string_view>
#include <utility>

#include "base/printable.h"
#include "offload/netlink_socket.h"
#include "offload/nft_ruleset.h"

namespace vf {
namespace {

// One netlink socket, which lives as long as the context. When another's transaction disturbs the
// reading of what is there, libnftables opens it anew, and an owner's table is gone: who runs
// commands must be ready to find that his table went. Nor is it asked what stands: it would read
// all elements of all tables for that, 70 ms for 10,000.
class Context {
 public:
  Context() : context_(nft_ctx_new(NFT_CTX_DEFAULT)) {
    if (!context_) return;
    nft_ctx_buffer_output(context_.get());
    nft_ctx_buffer_error(context_.get());
  }
  explicit operator bool() const { return context_ != nullptr; }

  // Error messages are those of nft(8): a line that says what is wrong, then the command with a
  // mark below, which nobody typed.
  Result<void> run(const std::string& commands) {
    const int status = nft_run_cmd_from_buffer(context_.get(), commands.c_str());
    // Both texts begin anew with each command, and are fetched so that they do.
    nft_ctx_get_output_buffer(context_.get());
    const char* errors = nft_ctx_get_error_buffer(context_.get());
    if (status == 0) return {};
    std::string_view line = errors ? errors : "";
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
  std::unique_ptr<nft_ctx, Free> context_;
};

// Questions about one thing or, as a dump, many.
class Questions {
 public:
  explicit Questions(NetlinkSocket socket) : socket_(std::move(socket)) {}

  struct Name {
    std::uint16_t attribute;
    std::string_view name;
  };
  // The answers' attributes, as they came: names, handles, uses, expressions. 0 or an errno value.
  int ask(unsigned type, std::uint16_t flags, std::initializer_list<Name> names,
          std::string& answers) {
    alignas(nlmsghdr) std::array<char, 256> buffer{};
    nlmsghdr* request = mnl_nlmsg_put_header(buffer.data());
    request->nlmsg_type = static_cast<std::uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type);
    request->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    auto* header = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(nfgenmsg)));
    header->nfgen_family = AF_INET;
    header->version = NFNETLINK_V0;
    for (const Name& name : names)
      mnl_attr_put_strz(request, name.attribute, std::string(name.name).c_str());
    return socket_.ask(request, [&](const nlmsghdr* answer) {
      if (mnl_nlmsg_get_payload_len(answer) < sizeof(nfgenmsg)) return;
      answers.append(
          static_cast<const char*>(mnl_nlmsg_get_payload_offset(answer, sizeof(nfgenmsg))),
          mnl_nlmsg_get_payload_len(answer) - sizeof(nfgenmsg));
    });
  }

 private:
  NetlinkSocket socket_;
};

class LibNftables final : public NftBackend {
 public:
  explicit LibNftables(NetlinkSocket socket) : questions_(std::move(socket)) {}

  // Whether we may ask at all: libnftables would write to our standard error.
  Result<void> try_out() {
    std::string generation;
    const int error = questions_.ask(NFT_MSG_GETGEN, 0, {}, generation);
    if (error == EPERM)
      return Unexpected(ErrorCode::not_allowed,
                        "nftables needs the privilege to administer the network (CAP_NET_ADMIN)");
    if (error != 0)
      return Unexpected(ErrorCode::not_supported,
                        system_error(error, "this kernel is without nftables").message);
    if (!owner_) return Unexpected(ErrorCode::failed, "libnftables cannot be set up");
    return {};
  }

  Result<void> run(const std::string& commands) override { return owner_.run(commands); }

  Result<Standing> look() override {
    Standing standing;
    std::string own;
    int error = questions_.ask(NFT_MSG_GETTABLE, 0, {{NFTA_TABLE_NAME, nft_own_table}}, own);
    standing.own = error == 0;
    if (error == 0 || error == ENOENT) error = look_at_guard(standing.guard);
    if (error == ENOENT)
      standing.guard.clear();
    else if (error != 0)
      return Unexpected(system_error(error, "nftables cannot be read"));
    return standing;
  }

 private:
  int look_at_guard(std::string& guard) {
    constexpr std::string_view table = nft_guard_table;
    if (const int error = questions_.ask(NFT_MSG_GETTABLE, 0, {{NFTA_TABLE_NAME, table}}, guard))
      return error;
    for (const std::string_view chain : nft_guard_chains)
      if (const int error = questions_.ask(
              NFT_MSG_GETCHAIN, 0, {{NFTA_CHAIN_TABLE, table}, {NFTA_CHAIN_NAME, chain}}, guard);
          error != 0 && error != ENOENT)
        return error;
    return questions_.ask(NFT_MSG_GETRULE, NLM_F_DUMP, {{NFTA_RULE_TABLE, table}}, guard);
  }

  Questions questions_;
  Context owner_;
};

}  // namespace

Result<std::unique_ptr<NftBackend>> open_nft_backend() {
  auto socket = NetlinkSocket::for_questions(NETLINK_NETFILTER);
  if (!socket) return Unexpected(std::move(socket).error());
  auto backend = std::make_unique<LibNftables>(*std::move(socket));
  if (auto usable = backend->try_out(); !usable) return Unexpected(std::move(usable).error());
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
