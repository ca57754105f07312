// SPDX-License-Identifier: LGPL-2.1-or-later

#include "metrics/exposition.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <utility>
#include <vector>

namespace vf {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

using Labels = std::vector<ClientMetric::Label>;

constexpr char prefix[] = "virt_forward_";

class Metrics {
 public:
  void begin(const char* name, MetricType type, const char* help) {
    families_.push_back({std::string(prefix) + name, help, type, {}});
  }
  // Of the family that was begun last.
  void add(double value, Labels labels = {}) {
    ClientMetric& metric = add_metric(std::move(labels));
    if (families_.back().type == MetricType::Counter)
      metric.counter.value = value;
    else
      metric.gauge.value = value;
  }
  void add_known(const std::optional<std::uint64_t>& value, Labels labels) {
    if (value) add(static_cast<double>(*value), std::move(labels));
  }
  ClientMetric& add_metric(Labels labels) {
    ClientMetric& metric = families_.back().metric.emplace_back();
    metric.label = std::move(labels);
    return metric;
  }
  void one(const char* name, MetricType type, const char* help, double value) {
    begin(name, type, help);
    add(value);
  }
  void one(const char* name, MetricType type, const char* help,
           const std::optional<std::uint64_t>& value) {
    if (value) one(name, type, help, static_cast<double>(*value));
  }
  std::string text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  std::vector<MetricFamily> families_;
};

// How many there are of each set of labels.
using Counts = std::map<Labels, std::uint64_t>;

void add_counts(Metrics& metrics, const char* name, const char* help, const Counts& counts) {
  metrics.begin(name, MetricType::Gauge, help);
  for (const auto& [labels, count] : counts)
    metrics.add(static_cast<double>(count), labels);
}

// The labels that tell whose it is.
Labels place(Detail detail, const std::string& domain, const std::string& forward = {}) {
  if (detail == Detail::host) return {};
  if (detail == Detail::domain || forward.empty()) return {{"domain", domain}};
  return {{"domain", domain}, {"forward", forward}};
}

Labels with(Labels labels, const char* name, std::string_view value) {
  labels.push_back({name, std::string(value)});
  return labels;
}

void add_forwards(Metrics& metrics, const Snapshot& snapshot, Detail detail) {
  Counts forwards;
  for (const auto& [path, forward] : snapshot.forwards) {
    const ForwardView& view = forward.view;
    Labels labels = place(detail, view.domain, view.id);
    labels = with(std::move(labels), "state", text(view.state));
    labels = with(std::move(labels), "transport", view.transport ? text(*view.transport) : "none");
    labels = with(std::move(labels), "offload", text(view.offload));
    ++forwards[std::move(labels)];
  }
  add_counts(metrics, "forwards", "Forwards by state and by the way on which they reach the guest",
             forwards);

  Counts ports;
  for (const PortView& port : snapshot.ports)
    ++ports[with(place(detail, port.domain), "state", text(port.state))];
  add_counts(metrics, "detected_ports", "Ports that guests have open, by what was made of them",
             ports);
}

// Absent where nobody counts it.
struct Traffic {
  Labels labels;
  std::optional<std::uint64_t> accepted;
  std::optional<std::uint64_t> failures;
  std::optional<std::uint64_t> bytes_in;
  std::optional<std::uint64_t> bytes_out;
};

std::vector<Traffic> traffic(const Snapshot& snapshot, Detail detail,
                             const std::map<std::string, TrafficTotals>& totals) {
  std::vector<Traffic> all;
  if (detail != Detail::forward) {
    for (const auto& [domain, sum] : totals)
      all.push_back(
          {place(detail, domain), sum.accepted, sum.failures, sum.bytes_in, sum.bytes_out});
    return all;
  }
  for (const auto& [path, forward] : snapshot.forwards)
    if (const auto& counters = forward.counters)
      all.push_back({place(detail, forward.view.domain, forward.view.id), counters->accepted,
                     counters->failures, counters->bytes_in, counters->bytes_out});
  return all;
}

void add_traffic(Metrics& metrics, const Snapshot& snapshot, Detail detail,
                 const std::map<std::string, TrafficTotals>& totals) {
  Counts connections;
  for (const auto& [path, forward] : snapshot.forwards)
    if (forward.counters)
      connections[place(detail, forward.view.domain, forward.view.id)] +=
          forward.counters->connections;
  add_counts(metrics, "connections",
             "Connections (and clients of UDP) established now, short-cuts in the kernel included",
             connections);

  const std::vector<Traffic> all = traffic(snapshot, detail, totals);
  metrics.begin("connections_accepted_total", MetricType::Counter,
                "Connections (and clients of UDP) that the relay accepted");
  for (const Traffic& one : all)
    metrics.add_known(one.accepted, one.labels);
  metrics.begin("connections_failed_total", MetricType::Counter,
                "Those that never got to the guest, the refused ones included");
  for (const Traffic& one : all)
    metrics.add_known(one.failures, one.labels);
  metrics.begin("bytes_total", MetricType::Counter,
                "Bytes that the relay carried to guests (in) and from guests (out)");
  for (const Traffic& one : all) {
    metrics.add_known(one.bytes_in, with(one.labels, "direction", "in"));
    metrics.add_known(one.bytes_out, with(one.labels, "direction", "out"));
  }
}

void add_lanes(Metrics& metrics, const std::vector<LaneStatistics>& lanes) {
  if (lanes.empty()) return;
  constexpr double second = 1e6;
  metrics.begin("relay_loop_seconds", MetricType::Histogram,
                "Rounds of the relay's loops by how long they took, which is what a byte that "
                "comes meanwhile waits at most");
  for (const LaneStatistics& lane : lanes) {
    auto& histogram = metrics.add_metric({{"lane", lane.lane}}).histogram;
    histogram.sample_count = lane.rounds;
    histogram.sample_sum = static_cast<double>(lane.microseconds) / second;
    for (const auto& [bound, rounds] : lane.within)
      histogram.bucket.push_back({rounds, static_cast<double>(bound) / second});
  }
}

}  // namespace

std::string exposition(const Snapshot& snapshot, Detail detail,
                       const std::map<std::string, TrafficTotals>& totals) {
  Metrics metrics;
  const auto gauge = MetricType::Gauge;
  const auto counter = MetricType::Counter;
  metrics.one("up", gauge, "Whether virt-forwardd runs and answers", snapshot.up ? 1.0 : 0.0);
  if (!snapshot.up) return metrics.text();

  metrics.begin("build_info", gauge, "1; the version of virt-forwardd");
  metrics.add(1, {{"version", snapshot.version}});
  metrics.one("reading_seconds", gauge, "How long it took to read what these metrics are made of",
              snapshot.duration.count());
  metrics.one("libvirt_connected", gauge, "Whether the daemon is connected to libvirt",
              snapshot.libvirt_connected ? 1.0 : 0.0);
  metrics.one("relay_connected", gauge, "Whether the daemon is connected to its relay",
              snapshot.relay_connected ? 1.0 : 0.0);
  Counts domains{{{{"state", "running"}}, 0}, {{{"state", "stopped"}}, 0}};
  for (const DomainView& domain : snapshot.domains)
    ++domains[{{"state", domain.active ? "running" : "stopped"}}];
  add_counts(metrics, "domains", "Domains that the daemon knows", domains);

  add_forwards(metrics, snapshot, detail);
  add_traffic(metrics, snapshot, detail, totals);

  const DaemonStatistics& statistics = snapshot.statistics;
  metrics.one("relay_connections_refused_total", counter,
              "Connections past a bound of their forward or domain",
              statistics.connections_refused);
  metrics.one("relay_datagrams_lost_total", counter, "Datagrams that could not be passed on",
              statistics.datagrams_lost);
  add_lanes(metrics, statistics.lanes);
  metrics.one("guest_reports_slowed_total", counter,
              "Turns in which a guest's ports changed faster than they are followed",
              statistics.guest_reports_slowed);
  metrics.one("guest_ports_left_out", gauge,
              "Ports that guests have open past what is kept of one guest",
              statistics.guest_ports_left_out);
  return metrics.text();
}

}  // namespace vf
