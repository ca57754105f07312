// SPDX-License-Identifier: LGPL-2.1-or-later

#include "relay/crew.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <future>
#include <thread>
#include <utility>

#include "glib/source.h"
#include "relay/connection.h"

namespace vf {
namespace {

constexpr std::size_t max_staged = 200'000;
constexpr std::size_t max_pairs = 8;
constexpr int bulk_niceness = 10;

std::uint64_t cookie_of(int socket) {
  std::uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  getsockopt(socket, SOL_SOCKET, SO_COOKIE, &cookie, &length);
  return cookie;
}

}  // namespace

// One thread. What it does is posted to its context, in order.
class Crew::Hand final : public Lane, private RelayEvents {
 public:
  using Change = std::variant<ServedAdd, RelayUpdate, RelayRemove>;

  // Of pair number `pair` of so many.
  Hand(Crew& crew, std::size_t pair, std::size_t pairs, bool carries_bulk,
       std::shared_ptr<Hurry> hurry)
      : pair_(pair),
        pairs_(pairs),
        carries_bulk_(carries_bulk),
        hurry_(std::move(hurry)),
        crew_context_(borrow(crew.context_.get())),
        crew_alive_(crew.alive_),
        events_(crew.events_),
        descriptors_(crew.descriptors_),
        context_(adopt(g_main_context_new())) {}

  ~Hand() override { stop(); }

  // Not while one of them runs.
  void pair_with(Hand& other) { other_lane_ = &other; }
  // The partner may still pass connections on; they end with this object.
  void stop() {
    if (!thread_.joinable()) return;
    post(context_.get(), [this] { ended_ = true; });
    thread_.join();
  }

  Result<void> start() {
    std::promise<Result<void>> started;
    auto outcome = started.get_future();
    // Signals are the main thread's.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this, &started] { run(started); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return outcome.get();
  }

  // Applies what of it is this thread's.
  void apply(ServedForwards& served, const Change& change) const {
    const auto* add = std::get_if<ServedAdd>(&change);
    if (!add || listens(add->forward))
      std::visit([&](const auto& typed) { served.apply(typed); }, change);
    else if (add->forward.protocol == RelayProtocol::stream)
      served.apply(ServedAdd{add->forward, add->share, {}});
    else
      served.apply(RelayRemove{add->forward.key, RelayRemoval::drain});
  }

  void take(MovingConnection connection) override {
    post(context_.get(), [this, moved = std::make_shared<MovingConnection>(std::move(connection))] {
      served_->take(std::move(*moved));
    });
  }

  // Runs on this thread, then `answer(result)` on the crew's, unless the crew is gone.
  template <typename Work, typename Answer>
  void ask(Work work, Answer answer) {
    post(context_.get(), [this, work = std::move(work), answer = std::move(answer)] {
      tell([result = work(*served_), answer] { answer(result); });
    });
  }

 private:
  void run(std::promise<Result<void>>& started) {
    pthread_setname_np(pthread_self(), carries_bulk_ ? "relay-bulk" : "relay-swift");
    // Between the two lanes the swift one goes first. Others are not meant: where the scheduler
    // groups processes by session or service, as Linux does, this counts within the relay only.
    if (carries_bulk_) setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), bulk_niceness);
    g_main_context_push_thread_default(context_.get());
    std::optional<RelayContext> relay;  // outlives the loop, which destroys what was retired
    if (auto loop = Loop::create(context_.get())) {
      relay.emplace(RelayContext{**loop, descriptors_, *this, hurry_, carries_bulk_, other_lane_});
      ServedForwards served(*relay);
      served_ = &served;
      started.set_value({});
      while (!ended_)
        g_main_context_iteration(context_.get(), TRUE);
    } else {
      started.set_value(Unexpected(std::move(loop).error()));
    }
    g_main_context_pop_thread_default(context_.get());
  }

  // All datagrams of a forward are one thread's: those of one client must come from one socket.
  bool listens(const RelayForward& forward) const {
    if (carries_bulk_) return false;
    return forward.protocol == RelayProtocol::stream ||
           std::hash<std::string>()(forward.key) % pairs_ == pair_;
  }

  void tell(std::function<void()> news) {
    post(crew_context_.get(), [alive = crew_alive_, news = std::move(news)] {
      if (!alive.expired()) news();
    });
  }

  void proven(const std::string& key, std::size_t endpoint) override {
    tell([&events = events_, key, endpoint] { events.proven(key, endpoint); });
  }
  void failing(const std::string& key, int error_number) override {
    tell([&events = events_, key, error_number] { events.failing(key, error_number); });
  }

  const std::size_t pair_;
  const std::size_t pairs_;
  const bool carries_bulk_;
  const std::shared_ptr<Hurry> hurry_;
  Lane* other_lane_ = nullptr;
  Ref<GMainContext> crew_context_;
  std::weak_ptr<int> crew_alive_;
  RelayEvents& events_;
  DescriptorBudget& descriptors_;
  Ref<GMainContext> context_;
  ServedForwards* served_ = nullptr;
  bool ended_ = false;
  std::thread thread_;
};

std::size_t Crew::usual_pairs() {
  const std::size_t cores = std::max(std::thread::hardware_concurrency(), 1u);
  return std::clamp<std::size_t>(cores - 1, 1, max_pairs);
}

Crew::Crew(DescriptorBudget& descriptors, RelayEvents& events)
    : context_(adopt(g_main_context_ref_thread_default())),
      descriptors_(descriptors),
      events_(events) {}

Result<std::unique_ptr<Crew>> Crew::create(std::size_t pairs, DescriptorBudget& descriptors,
                                           RelayEvents& events) {
  std::unique_ptr<Crew> crew(new Crew(descriptors, events));
  for (std::size_t i = 0; i < pairs; ++i) {
    const auto hurry = std::make_shared<Hurry>();
    auto swift = std::make_unique<Hand>(*crew, i, pairs, false, hurry);
    auto bulk = std::make_unique<Hand>(*crew, i, pairs, true, hurry);
    swift->pair_with(*bulk);
    bulk->pair_with(*swift);
    crew->hands_.push_back(std::move(swift));
    crew->hands_.push_back(std::move(bulk));
  }
  for (const auto& hand : crew->hands_)
    if (auto started = hand->start(); !started) return Unexpected(std::move(started).error());
  return crew;
}

Crew::~Crew() {
  alive_.reset();
  for (const auto& hand : hands_)
    hand->stop();
}

Result<void> Crew::push(Change change) {
  if (staged_.size() >= max_staged)
    return Unexpected(ErrorCode::invalid_argument, "too many changes without a commit");
  staged_.push_back(std::move(change));
  return {};
}

Result<void> Crew::stage(RelayAdd add) {
  for (const Fd& listener : add.listeners)
    if (!Forward::serves(add.forward.protocol, listener.get()))
      return Unexpected(ErrorCode::invalid_argument, add.forward.protocol == RelayProtocol::datagram
                                                         ? "not a bound datagram socket"
                                                         : "not a stream socket");
  return push(std::move(add));
}

Result<void> Crew::stage(RelayUpdate update) {
  return push(std::move(update));
}

Result<void> Crew::stage(RelayRemove remove) {
  return push(std::move(remove));
}

void Crew::forget(const std::string& key) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  descriptors_.give_back(found->second.listeners.size());
  entries_.erase(found);
  if (entries_.empty())
    std::erase_if(domains_, [](const auto& one) { return one.second.expired(); });
}

// A domain's part lives as long as its forwards and their connections.
std::shared_ptr<ForwardShare> Crew::share_of(const std::string& key) {
  const auto before = entries_.find(key);
  if (before != entries_.end()) return before->second.share;
  auto share = std::make_shared<ForwardShare>();
  share->domain = domain(key.substr(0, key.find('/')));
  return share;
}

std::shared_ptr<DomainShare> Crew::domain(const std::string& uuid) {
  if (domains_.size() > 2 * entries_.size() + 64)
    std::erase_if(domains_, [](const auto& one) { return one.second.expired(); });
  std::weak_ptr<DomainShare>& known = domains_[uuid];
  auto share = known.lock();
  if (!share) known = share = std::make_shared<DomainShare>();
  return share;
}

// Connections on their way from thread to thread are told by the share.
void Crew::remove(const RelayRemove& remove) {
  const bool cut = remove.removal == RelayRemoval::cut;
  const auto found = entries_.find(remove.key);
  if (found != entries_.end()) draining_.emplace(remove.key, found->second.share);
  forget(remove.key);
  if (cut) {
    const auto [first, last] = draining_.equal_range(remove.key);
    for (auto one = first; one != last; ++one)
      if (const auto share = one->second.lock()) share->cut = true;
  }
}

ServedAdd Crew::admit(RelayAdd add) {
  const std::string key = add.forward.key;
  const auto before = entries_.find(key);
  if (before != entries_.end()) {
    const RelayForward& old = before->second.forward;
    if (old.target != add.forward.target) before->second.share->new_target();
    // What streams and datagrams share is nothing.
    if (old.protocol != add.forward.protocol) remove({key, RelayRemoval::drain});
  }
  Entry entry{std::move(add.forward), share_of(key), {}};
  forget(key);
  for (Fd& listener : add.listeners)
    entry.listeners.push_back(std::make_shared<const Fd>(std::move(listener)));
  descriptors_.take_anyway(entry.listeners.size());
  ServedAdd served{entry.forward, entry.share, entry.listeners};
  entries_.emplace(key, std::move(entry));
  return served;
}

bool Crew::redefine(const RelayUpdate& update) {
  const auto found = entries_.find(update.forward.key);
  if (found == entries_.end()) return false;
  Entry& entry = found->second;
  if (entry.forward.target != update.forward.target) entry.share->new_target();
  entry.share->proven = false;
  entry.forward = update.forward;
  return true;
}

void Crew::commit(std::function<void()> applied) {
  const auto changes = std::make_shared<std::vector<Hand::Change>>();
  for (Change& change : std::exchange(staged_, {})) {
    if (auto* add = std::get_if<RelayAdd>(&change)) {
      changes->push_back(admit(std::move(*add)));
    } else if (auto* update = std::get_if<RelayUpdate>(&change)) {
      if (redefine(*update)) changes->push_back(std::move(*update));
    } else {
      auto& removal = std::get<RelayRemove>(change);
      remove(removal);
      changes->push_back(std::move(removal));
    }
  }
  std::erase_if(draining_, [](const auto& one) { return one.second.expired(); });
  const auto missing = std::make_shared<std::size_t>(hands_.size());
  for (const auto& hand : hands_)
    hand->ask(
        [changes, hand = hand.get()](ServedForwards& served) {
          for (const Hand::Change& change : *changes)
            hand->apply(served, change);
          return true;
        },
        [missing, applied](bool) {
          if (--*missing == 0 && applied) applied();
        });
}

const Crew::Entry* Crew::after(const std::string& key) const {
  const auto next = entries_.upper_bound(key);
  return next == entries_.end() ? nullptr : &next->second;
}

Result<RelayHeld> Crew::Entry::held() const {
  RelayHeld held{forward, share->proven, {}, {}, share->endpoint};
  for (const Listener::Socket& listener : listeners) {
    Fd duplicate(fcntl(listener->get(), F_DUPFD_CLOEXEC, 0));
    if (!duplicate) return Unexpected(system_error(errno, "fcntl"));
    held.cookies.push_back(cookie_of(listener->get()));
    held.listeners.push_back(std::move(duplicate));
  }
  return held;
}

std::size_t Crew::draining() {
  std::erase_if(draining_, [](const auto& one) { return one.second.expired(); });
  return draining_.size();
}

void Crew::mark_proven(const std::string& key, std::uint8_t endpoint) {
  const auto found = entries_.find(key);
  if (found == entries_.end()) return;
  found->second.share->endpoint = endpoint;
  found->second.share->proven = true;
}

void Crew::cut_outlived(const std::string& guest) {
  for (const auto& hand : hands_)
    hand->ask(
        [prefix = guest + '/'](ServedForwards& served) {
          served.cut_outlived(prefix);
          return true;
        },
        [](bool) {});
}

void Crew::statistics(std::function<void(Statistics)> done) {
  using Part = std::pair<std::vector<RelayCounters>, RelayLaneStatistics>;
  struct Sum {
    std::size_t missing;
    std::map<std::string, RelayCounters> by_key = {};
    std::map<bool, RelayLaneStatistics> by_lane = {};
  };
  const auto sum = std::make_shared<Sum>(Sum{hands_.size()});
  for (const auto& hand : hands_)
    hand->ask(
        [](ServedForwards& served) { return Part(served.counters(), served.lane_statistics()); },
        [sum, done](const Part& part) {
          for (const RelayCounters& one : part.first) {
            RelayCounters& total = sum->by_key[one.key];
            total.key = one.key;
            total += one;
          }
          RelayLaneStatistics& lane = sum->by_lane[part.second.bulk];
          lane.bulk = part.second.bulk;
          lane += part.second;
          if (--sum->missing > 0) return;
          Statistics all;
          for (auto& [key, counters] : sum->by_key)
            all.forwards.push_back(std::move(counters));
          for (const auto& [bulk, statistics] : sum->by_lane)
            all.lanes.push_back(statistics);
          done(std::move(all));
        });
}

}  // namespace vf
