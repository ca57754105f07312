// SPDX-License-Identifier: LGPL-2.1-or-later

#include "notify/notice_text.h"

#include <algorithm>

#include "base/printable.h"

namespace vf {
namespace {

constexpr std::size_t name_bytes = 64;
constexpr std::size_t url_bytes = 128;
constexpr std::size_t most_lines = 5;

std::string port_of(const News& news) {
  return std::to_string(news.port.number()) + (news.protocol == Protocol::udp ? "/udp" : "");
}

std::string process_of(const News& news) {
  return notification_text(news.process, name_bytes);
}

std::string line_of(const News& news) {
  const std::string who = news.process.empty() ? "port " + port_of(news) : process_of(news);
  if (news.kind == News::Kind::asking)
    return news.process.empty() ? who : who + ": port " + port_of(news);
  return who + ": " + notification_text(news.url, url_bytes);
}

NoticeText text_of_one(const News& news, const std::string& domain) {
  const bool asking = news.kind == News::Kind::asking;
  std::string title = domain + ": ";
  if (asking)
    title += "forward port " + port_of(news) +
             (news.process.empty() ? "?" : " of " + process_of(news) + "?");
  else
    title += news.process.empty() ? "port " + port_of(news)
                                  : process_of(news) + ", port " + port_of(news);
  return {title, asking ? "Nothing is forwarded before you answer."
                        : notification_text(news.url, url_bytes)};
}

}  // namespace

std::string notification_text(std::string_view text, std::size_t max_bytes) {
  std::string shown;
  for (const char byte : printable(text, max_bytes)) {
    switch (byte) {
      case '<':
        shown += "\u2039";
        break;
      case '>':
        shown += "\u203a";
        break;
      case '&':
        shown += "\uff06";
        break;
      default:
        shown += byte;
    }
  }
  return shown;
}

NoticeText text_of(const Notice& notice) {
  const News& first = notice.news.front();
  const std::string domain = notification_text(first.domain, name_bytes);
  const std::size_t count = notice.news.size();
  if (count == 1) return text_of_one(first, domain);
  NoticeText words;
  const std::string ports = std::to_string(count) + " ports";
  words.title = first.kind == News::Kind::asking ? domain + ": forward " + ports + "?"
                                                 : ports + " of " + domain;
  for (std::size_t i = 0; i < std::min(count, most_lines); ++i)
    words.body += (i == 0 ? "" : "\n") + line_of(notice.news[i]);
  if (count > most_lines) words.body += "\nand " + std::to_string(count - most_lines) + " more";
  return words;
}

}  // namespace vf
