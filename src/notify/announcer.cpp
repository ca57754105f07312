// SPDX-License-Identifier: LGPL-2.1-or-later

#include "notify/announcer.h"

#include <algorithm>
#include <iterator>

namespace vf {
namespace {

constexpr std::size_t most_remembered = 4096;

std::string memory_key(const News& news, const char* what) {
  return what + news.key() + '\n' + news.process;
}

}  // namespace

void Announcer::seen(const News& news, Moment now) {
  if (!news.notify) return;
  const bool asking = news.kind == News::Kind::asking;
  if (!asking && remembered(memory_key(news, "told "), now)) return;
  const auto [entry, is_new] = pending_.try_emplace(
      Group{{news.daemon, news.domain_path}, news.kind, asking ? news.process : std::string()});
  Pending& pending = entry->second;
  if (is_new) pending.since = now;
  std::erase_if(pending.news, [&](const News& one) { return one.key() == news.key(); });
  pending.news.push_back(news);
}

std::vector<std::string> Announcer::gone(const std::string& key) {
  for (auto& [group, pending] : pending_)
    std::erase_if(pending.news, [&](const News& one) { return one.key() == key; });
  std::erase_if(pending_, [](const auto& item) { return item.second.news.empty(); });
  std::vector<std::string> withdrawn;
  for (auto& [id, keys] : shown_)
    if (keys.erase(key) > 0 && keys.empty()) withdrawn.push_back(id);
  for (const std::string& id : withdrawn)
    shown_.erase(id);
  return withdrawn;
}

Announcer::Moment Announcer::moment_of(const Group& group, const Pending& pending) const {
  const auto budget = budgets_.find(group.domain);
  const Moment allowed = budget == budgets_.end() ? budget_.next() : budget->second.next();
  return std::max({pending.since + window, budget_.next(), allowed});
}

std::optional<Announcer::Moment> Announcer::next() const {
  std::optional<Moment> next;
  for (const auto& [group, pending] : pending_) {
    const Moment moment = moment_of(group, pending);
    next = std::min(next.value_or(moment), moment);
  }
  return next;
}

std::vector<Notice> Announcer::due(Moment now) {
  forget(now);
  std::vector<Notice> notices;
  while (true) {
    const std::pair<const Group, Pending>* oldest = nullptr;
    for (const auto& item : pending_)
      if (moment_of(item.first, item.second) <= now &&
          (!oldest || item.second.since < oldest->second.since))
        oldest = &item;
    if (!oldest) return notices;
    notices.push_back(take(Group(oldest->first), now));
  }
}

// A domain's last one before it has to wait tells of everything there is of its kind.
Notice Announcer::take(const Group& group, Moment now) {
  Budget& budget =
      budgets_.try_emplace(group.domain, Budget(domain_burst, domain_refill)).first->second;
  budget.take(now);
  budget_.take(now);
  Notice notice;
  const bool last = !budget.has(now);
  for (auto item = pending_.begin(); item != pending_.end();) {
    const bool meant = last ? item->first.domain == group.domain && item->first.kind == group.kind
                            : item->first == group;
    if (meant) std::ranges::move(item->second.news, std::back_inserter(notice.news));
    item = meant ? pending_.erase(item) : std::next(item);
  }
  notice.id = last ? (group.kind == News::Kind::asking ? "asking " : "forwarded ") +
                         group.domain.first + group.domain.second
                   : "notice " + std::to_string(++last_id_);
  std::set<std::string> keys;
  for (const News& news : notice.news) {
    keys.insert(news.key());
    if (news.kind == News::Kind::forwarded) told_[memory_key(news, "told ")] = now;
  }
  shown_[notice.id] = std::move(keys);
  return notice;
}

bool Announcer::may_open(const News& news, Moment now) {
  const std::string key = memory_key(news, "opened ");
  if (remembered(key, now)) return false;
  Budget& budget =
      opens_.try_emplace({news.daemon, news.domain_path}, Budget(open_burst, open_refill))
          .first->second;
  if (!budget.has(now)) return false;
  budget.take(now);
  told_[key] = now;
  return true;
}

bool Announcer::remembered(const std::string& key, Moment now) {
  const auto found = told_.find(key);
  return found != told_.end() && now - found->second < memory;
}

void Announcer::forget(Moment now) {
  std::erase_if(told_, [&](const auto& item) { return now - item.second >= memory; });
  if (told_.size() > most_remembered) told_.clear();
  const auto full = [&](const auto& item) { return item.second.full(now); };
  std::erase_if(budgets_, full);
  std::erase_if(opens_, full);
}

std::vector<std::string> Announcer::shown() const {
  std::vector<std::string> ids;
  for (const auto& [id, keys] : shown_)
    ids.push_back(id);
  return ids;
}

}  // namespace vf
