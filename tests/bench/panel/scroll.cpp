// SPDX-License-Identifier: LGPL-2.1-or-later
//
// scroll [ROWS]: a window with that many forwards (1000) on the display there is. Prints how long
// frames take while the list is scrolled from its first row to its last, how many widgets of rows
// there are, and how long the list takes to be told of one change among all its rows.

#include <adwaita.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "panel/row_list.h"
#include "panel/row_widgets.h"
#include "panel/window.h"

namespace vf::panel {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double pixels_a_frame = 120;
constexpr std::size_t changes = 20;

double milliseconds(Clock::duration duration) {
  return std::chrono::duration<double, std::milli>(duration).count();
}

Inventory machine_with(unsigned forwards) {
  Inventory inventory;
  DomainView domain;
  domain.uuid = "uuid";
  domain.name = "many";
  domain.id = 1;
  domain.active = true;
  inventory.domains["/domain"] = domain;
  for (unsigned i = 0; i < forwards; ++i) {
    ForwardView forward;
    forward.uuid = domain.uuid;
    forward.id = "tcp:" + std::to_string(20000 + i);
    forward.guest_port = Port::from(1000 + i);
    forward.host_port = forward.requested_port = Port::from(20000 + i);
    forward.host_addresses = {IpAddress::loopback4()};
    forward.transport = Transport::vsock;
    forward.state = ForwardState::active;
    forward.live = true;
    inventory.forwards["/forward/" + std::to_string(i)] = forward;
    inventory.counters["/forward/" + std::to_string(i)] = {i, 1000 * i, 2000 * i, i, 0};
  }
  return inventory;
}

void print(const char* what, std::vector<double> figures) {
  std::ranges::sort(figures);
  std::printf("%s: median %.2f ms, 95 %% %.2f ms, longest %.2f ms of %zu\n", what,
              figures[figures.size() / 2], figures[figures.size() * 95 / 100], figures.back(),
              figures.size());
}

template <typename Of>
GtkWidget* descendant(GtkWidget* widget, Of is_it) {
  if (is_it(widget)) return widget;
  for (GtkWidget* child = gtk_widget_get_first_child(widget); child;
       child = gtk_widget_get_next_sibling(child))
    if (GtkWidget* found = descendant(child, is_it)) return found;
  return nullptr;
}

class Scroll {
 public:
  explicit Scroll(unsigned forwards) : inventory_(machine_with(forwards)) {}

  void start(AdwApplication* application) {
    window_ = vf_window_new(application);
    list_.update(rows({&inventory_}, {}));
    vf_window_set_model(window_, list_.model());
    vf_window_show_page(window_, "list");
    gtk_window_present(GTK_WINDOW(window_));
    gtk_widget_add_tick_callback(GTK_WIDGET(window_), on_tick, this, nullptr);
    GdkFrameClock* clock = gtk_widget_get_frame_clock(GTK_WIDGET(window_));
    g_signal_connect(clock, "before-paint",
                     G_CALLBACK(+[](GdkFrameClock*, Scroll* of) { of->began_ = Clock::now(); }),
                     this);
    g_signal_connect_after(clock, "after-paint", G_CALLBACK(+[](GdkFrameClock*, Scroll* of) {
                             of->frames_.push_back(milliseconds(Clock::now() - of->began_));
                           }),
                           this);
  }

 private:
  static gboolean on_tick(GtkWidget*, GdkFrameClock*, gpointer data) {
    return static_cast<Scroll*>(data)->tick();
  }

  gboolean tick() {
    GtkWidget* list =
        descendant(GTK_WIDGET(window_), [](GtkWidget* one) { return GTK_IS_LIST_VIEW(one) != 0; });
    GtkAdjustment* at = gtk_scrollable_get_vadjustment(GTK_SCROLLABLE(list));
    const double end = gtk_adjustment_get_upper(at) - gtk_adjustment_get_page_size(at);
    if (end <= 0) return G_SOURCE_CONTINUE;  // not laid out yet
    const double here = gtk_adjustment_get_value(at);
    if (here < end) {
      gtk_adjustment_set_value(at, std::min(end, here + pixels_a_frame));
      return G_SOURCE_CONTINUE;
    }
    finish(list);
    return G_SOURCE_REMOVE;
  }

  void finish(GtkWidget* list) {
    frames_.erase(frames_.begin());  // the window's first
    print("a frame while scrolling", frames_);
    unsigned widgets = 0;
    for (GtkWidget* child = gtk_widget_get_first_child(list); child;
         child = gtk_widget_get_next_sibling(child))
      ++widgets;
    std::printf("widgets of rows: %u for %zu rows\n", widgets, list_.size());
    std::vector<double> told;
    for (std::size_t i = 0; i < changes; ++i) {
      ++inventory_.counters.begin()->second.connections;
      const auto began = Clock::now();
      list_.update(rows({&inventory_}, {}));
      told.push_back(milliseconds(Clock::now() - began));
    }
    print("one change among all rows", told);
    std::vector<double> counted;
    for (std::size_t i = 0; i < changes; ++i) {
      ++inventory_.counters.begin()->second.connections;
      const auto began = Clock::now();
      list_.count(0, inventory_.counters);
      counted.push_back(milliseconds(Clock::now() - began));
    }
    print("one counter among all rows", counted);
    gtk_window_destroy(GTK_WINDOW(window_));
  }

  Inventory inventory_;
  RowList list_;
  VfWindow* window_ = nullptr;
  Clock::time_point began_;
  std::vector<double> frames_;
};

}  // namespace
}  // namespace vf::panel

int main(int argc, char** argv) {
  vf::panel::Scroll scroll(argc > 1 ? static_cast<unsigned>(std::atoi(argv[1])) : 1000);
  AdwApplication* application =
      adw_application_new("org.virtforward1.Panel.Bench", G_APPLICATION_NON_UNIQUE);
  g_signal_connect(application, "activate",
                   G_CALLBACK(+[](AdwApplication* of, vf::panel::Scroll* to) { to->start(of); }),
                   &scroll);
  g_application_run(G_APPLICATION(application), 1, argv);
  g_object_unref(application);
  return 0;
}
