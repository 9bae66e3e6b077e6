// What a stream has to tell about data it was given, oldest first. Calls that were copied one after the other are one
// report, as on Linux.
#pragma once

#include <deque>

#include "stack/socket/sockets.h"

namespace sluice::socket {

class Reports {
 public:
  static constexpr std::size_t kMost = 4096;  // of a user who never looks; later ones are lost

  void copied() {
    const std::uint32_t call = calls_++;
    if (!reports_.empty() && reports_.back().kind == Report::Kind::kCopied && reports_.back().last + 1 == call) {
      reports_.back().last = call;
    } else {
      add({Report::Kind::kCopied, call, call, {}});
    }
  }
  void add(const Report& report) {
    if (reports_.size() < kMost) reports_.push_back(report);
  }
  [[nodiscard]] bool empty() const { return reports_.empty(); }
  Report take() {  // not of an empty one
    const Report first = reports_.front();
    reports_.pop_front();
    return first;
  }

 private:
  std::deque<Report> reports_;
  std::uint32_t calls_ = 0;
};

}  // namespace sluice::socket
