// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Result<T>: a value or an Error. It spells like std::expected, which needs C++23, so that it can
// be swapped for it. Reading the value of a failed Result ends the program.

#pragma once

#include <cstdlib>
#include <utility>
#include <variant>

#include "base/error.h"

namespace vf {

// Carries an error into any Result: `return Unexpected(Error{...})`.
class Unexpected {
 public:
  explicit Unexpected(Error error) : error_(std::move(error)) {}
  Unexpected(ErrorCode code, std::string message) : error_{code, std::move(message)} {}

  Error&& take() && { return std::move(error_); }

 private:
  Error error_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : storage_(std::in_place_index<0>, std::move(value)) {}
  Result(Unexpected unexpected) : storage_(std::in_place_index<1>, std::move(unexpected).take()) {}

  bool has_value() const { return storage_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& value() & { return require(); }
  const T& value() const& { return const_cast<Result*>(this)->require(); }
  T&& value() && { return std::move(require()); }
  T& operator*() & { return require(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(require()); }
  T* operator->() { return &require(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& { return std::get<1>(storage_); }
  Error&& error() && { return std::get<1>(std::move(storage_)); }

 private:
  T& require() {
    if (!has_value()) std::abort();
    return *std::get_if<0>(&storage_);
  }

  std::variant<T, Error> storage_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Unexpected unexpected) : failed_(true), error_(std::move(unexpected).take()) {}

  bool has_value() const { return !failed_; }
  explicit operator bool() const { return has_value(); }

  const Error& error() const& { return error_; }
  Error&& error() && { return std::move(error_); }

 private:
  bool failed_ = false;
  Error error_;
};

}  // namespace vf
