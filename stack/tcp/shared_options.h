// The options of connections, kept once for all that have the same: few programs use more than a handful of sets, and
// connections are many.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "stack/tcp/options.h"

namespace sluice::tcp {

// A counted reference to a set that never changes. Never null, but when it was moved from.
class SharedOptions {
 public:
  explicit SharedOptions(const ConnectionOptions& options) : held_(new Held{options, 1}) {}
  SharedOptions(const SharedOptions& other) : held_(other.held_) { ++held_->users; }
  SharedOptions(SharedOptions&& other) noexcept : held_(std::exchange(other.held_, nullptr)) {}
  SharedOptions& operator=(SharedOptions other) noexcept {
    std::swap(held_, other.held_);
    return *this;
  }
  ~SharedOptions() {
    if (held_ != nullptr && --held_->users == 0) delete held_;
  }

  const ConnectionOptions& operator*() const { return held_->options; }
  const ConnectionOptions* operator->() const { return &held_->options; }

 private:
  struct Held {
    ConnectionOptions options;
    std::uint32_t users;
  };
  Held* held_;
};

// The sets met last, so that equal ones are found again.
class OptionSets {
 public:
  SharedOptions share(const ConnectionOptions& options) {
    for (const SharedOptions& set : recent_) {
      if (*set == options) return set;
    }
    SharedOptions& oldest = recent_[next_];
    next_ = (next_ + 1) % recent_.size();
    oldest = SharedOptions(options);
    return oldest;
  }

 private:
  SharedOptions defaults_{ConnectionOptions{}};
  std::array<SharedOptions, 8> recent_{defaults_, defaults_, defaults_, defaults_,
                                       defaults_, defaults_, defaults_, defaults_};
  std::size_t next_ = 0;
};

}  // namespace sluice::tcp
