// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The only place that counts references of GLib types. adopt() takes over a reference that the
// caller was given ("transfer full"); borrow() adds one of its own ("transfer none").

#pragma once

#include <gio/gio.h>

#include <memory>
#include <string>
#include <utility>

#include "base/result.h"

namespace vf {

namespace detail {

inline void acquire(gpointer object) {
  g_object_ref(object);
}
inline void release(gpointer object) {
  g_object_unref(object);
}
inline void acquire(GVariant* variant) {
  g_variant_ref_sink(variant);
}
inline void release(GVariant* variant) {
  g_variant_unref(variant);
}
inline void acquire(GMainLoop* loop) {
  g_main_loop_ref(loop);
}
inline void release(GMainLoop* loop) {
  g_main_loop_unref(loop);
}
inline void acquire(GMainContext* context) {
  g_main_context_ref(context);
}
inline void release(GMainContext* context) {
  g_main_context_unref(context);
}
inline void acquire(GBytes* bytes) {
  g_bytes_ref(bytes);
}
inline void release(GBytes* bytes) {
  g_bytes_unref(bytes);
}
inline void acquire(GDBusNodeInfo* info) {
  g_dbus_node_info_ref(info);
}
inline void release(GDBusNodeInfo* info) {
  g_dbus_node_info_unref(info);
}
inline void release(GKeyFile* file) {
  g_key_file_unref(file);
}
inline void acquire(GKeyFile* file) {
  g_key_file_ref(file);
}

}  // namespace detail

// One counted reference; empty when null.
template <typename T>
class Ref {
 public:
  Ref() = default;
  Ref(const Ref& other) : object_(other.object_) {
    if (object_) detail::acquire(object_);
  }
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_) detail::release(object_);
  }

  T* get() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }
  [[nodiscard]] T* release() { return std::exchange(object_, nullptr); }

  static Ref adopt(T* object) { return Ref(object); }
  static Ref borrow(T* object) {
    if (object) detail::acquire(object);
    return Ref(object);
  }

 private:
  explicit Ref(T* object) : object_(object) {}
  T* object_ = nullptr;
};

template <typename T>
Ref<T> adopt(T* object) {
  return Ref<T>::adopt(object);
}

template <typename T>
Ref<T> borrow(T* object) {
  return Ref<T>::borrow(object);
}

struct GFree {
  void operator()(gpointer memory) const { g_free(memory); }
};
using GCharPtr = std::unique_ptr<gchar, GFree>;

// An empty text for null; the memory is freed.
inline std::string take_string(gchar* text) {
  GCharPtr owned(text);
  return owned ? std::string(owned.get()) : std::string();
}

// A GError as the out-parameter of one call: `GErrorOut e; f(..., e.out()); if (e) ...`.
class GErrorOut {
 public:
  GErrorOut() = default;
  GErrorOut(const GErrorOut&) = delete;
  GErrorOut& operator=(const GErrorOut&) = delete;
  ~GErrorOut() { g_clear_error(&error_); }

  GError** out() {
    g_clear_error(&error_);
    return &error_;
  }
  const GError* get() const { return error_; }
  explicit operator bool() const { return error_ != nullptr; }
  std::string message() const { return error_ ? error_->message : ""; }

 private:
  GError* error_ = nullptr;
};

}  // namespace vf
