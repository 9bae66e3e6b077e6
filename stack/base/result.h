// Result<T, E>: a value or the reason why there is none. The names are those of std::expected, which this
// compiler's C++20 library does not have. T and E are small values; neither may be a reference.
#pragma once

#include <cassert>
#include <type_traits>
#include <utility>
#include <variant>

#include "stack/base/types.h"

namespace sluice {

template <typename E>
struct Unexpected {
  E error;
};
template <typename E>
Unexpected(E) -> Unexpected<E>;

template <typename T, typename E = Errno>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Unexpected<E> failure) : state_(std::in_place_index<1>, failure.error) {}

  [[nodiscard]] bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& value() { return *get(); }
  const T& value() const { return *get(); }
  T& operator*() { return *get(); }
  const T& operator*() const { return *get(); }
  T* operator->() { return get(); }
  const T* operator->() const { return get(); }
  [[nodiscard]] T value_or(T other) const { return has_value() ? *get() : other; }

  [[nodiscard]] E error() const {
    assert(!has_value());
    return *std::get_if<1>(&state_);
  }

 private:
  T* get() {
    assert(has_value());
    return std::get_if<0>(&state_);
  }
  const T* get() const {
    assert(has_value());
    return std::get_if<0>(&state_);
  }

  std::variant<T, E> state_;
};

template <typename E>
class [[nodiscard]] Result<void, E> {
 public:
  Result() = default;
  Result(Unexpected<E> failure) : error_(failure.error), ok_(false) {}

  [[nodiscard]] bool has_value() const { return ok_; }
  explicit operator bool() const { return ok_; }
  [[nodiscard]] E error() const {
    assert(!ok_);
    return error_;
  }

 private:
  E error_{};
  bool ok_ = true;
};

using Status = Result<void, Errno>;

// `return fail(Errno::kInvalid);`
template <typename E>
Unexpected<E> fail(E error) {
  return Unexpected<E>{error};
}

}  // namespace sluice
