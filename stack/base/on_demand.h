// A value that most owners never change from its default, and that then costs a pointer only.
#pragma once

#include <memory>

namespace sluice {

template <class T>
class OnDemand {
 public:
  OnDemand() = default;
  OnDemand(const OnDemand& other) : value_(other.value_ != nullptr ? std::make_unique<T>(*other.value_) : nullptr) {}
  OnDemand(OnDemand&&) noexcept = default;
  OnDemand& operator=(OnDemand other) noexcept {
    value_ = std::move(other.value_);
    return *this;
  }
  ~OnDemand() = default;

  const T* operator->() const { return &view(); }
  [[nodiscard]] const T& view() const {
    static const T none{};
    return value_ != nullptr ? *value_ : none;
  }
  T& edit() {
    if (value_ == nullptr) value_ = std::make_unique<T>();
    return *value_;
  }

 private:
  std::unique_ptr<T> value_;  // null: the default
};

}  // namespace sluice
