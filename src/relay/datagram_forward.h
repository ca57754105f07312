// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Datagrams between clients and a guest.
//
// A client is known by its address and the one it wrote to. Each has a socket of its own that is
// connected to the guest, so that the guest tells clients apart, nobody but the guest can answer,
// and an answer finds its client; it leaves from the address that the client wrote to. Datagrams
// have no end, so a client lasts until nothing has come or gone for a while. The table is bounded:
// a new client takes the place of the one that has been silent for longest.
//
// Nothing is kept: what the kernel has no room for is lost, as on any way of datagrams. So the
// memory is that of the table, plus a batch for each thread.
//
// Where the guest answers that nobody listens, and has not answered a client before, the client's
// next datagram goes to the next endpoint of the target.
//
// To what a guest's agent reaches, each client has a stream to the agent.

#pragma once

#include <list>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "relay/datagram_batch.h"
#include "relay/forward.h"

namespace vf {

class DatagramForward final : public Forward {
 public:
  DatagramForward(RelayContext& context, RelayForward definition,
                  std::shared_ptr<ForwardShare> share, OnDrained on_drained);
  ~DatagramForward() override;

  // True for a UDP socket that has a port.
  static bool serves(int fd);

  // Clients whose endpoint is a target no more are forgotten: one that keeps sending would never
  // become idle.
  void redefine(RelayForward definition) override;
  void replace_listeners(std::vector<Listener::Socket> listeners) override;
  // Answers need the sockets, so the clients go too.
  void stop_listening() override;
  void cut() override;
  bool drained() const override { return sockets_.empty(); }

 private:
  class Socket;
  class Client;
  // A client's address and port, the address it wrote to, and the socket it wrote to.
  struct Key {
    std::array<std::uint8_t, 16> client{};
    std::array<std::uint8_t, 16> local{};
    std::uint32_t client_scope = 0;
    std::uint32_t local_scope = 0;
    std::uint32_t socket = 0;
    std::uint32_t port = 0;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const;
  };
  struct IdleTimer final : vf::Timer {
    IdleTimer(Loop& loop, DatagramForward& its_forward) : vf::Timer(loop), forward(its_forward) {}
    void expired() override { forward.end_idle(); }
    DatagramForward& forward;
  };
  // Silent for longest first.
  using Clients = std::list<std::unique_ptr<Client>>;

  void receive(Socket& socket);
  Client* client_of(Socket& socket, const DatagramBatch& batch, std::size_t index);
  Client* new_client(Socket& socket, const Key& key, const DatagramBatch& batch, std::size_t index);
  bool take_place();
  bool has_way(Client& client);
  void put(Client& client, const DatagramBatch::Datagram& run);
  void answer(Client& client);
  void answer(Client& client, std::span<const std::uint8_t> datagram);
  static DatagramRoute way_to(const Client& client);
  void answered(Client& client, DatagramWriter& writer);
  bool connect(Client& client);
  void refused(Client& client, int error_number);
  void lost(std::uint64_t datagrams, int error_number);
  void touch(Client& client);
  void forget(Client& client);
  void end_idle();
  gint64 idle_time() const;

  std::vector<std::unique_ptr<Socket>> sockets_;
  std::uint32_t next_socket_ = 0;
  Clients clients_;
  std::unordered_map<Key, Client*, KeyHash> by_key_;
  IdleTimer idle_timer_;
  std::uint64_t lost_ = 0;  // not yet told
  gint64 told_lost_ = 0;
};

}  // namespace vf
