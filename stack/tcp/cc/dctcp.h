// DCTCP (RFC 8257): Reno whose window shrinks in proportion to the share of bytes that met congestion, for networks
// that mark early and everywhere. A loss halves the window as ever.
#pragma once

#include "stack/tcp/cc/newreno.h"

namespace sluice::tcp::cc {

class Dctcp final : public NewReno {
 public:
  void on_ack(const Ack& ack) override;
  [[nodiscard]] const char* name() const override { return "dctcp"; }

  static constexpr std::uint32_t kOne = 1u << 20;               // a share of 1
  [[nodiscard]] std::uint32_t alpha() const { return alpha_; }  // estimated share of marked bytes, of kOne

 protected:
  [[nodiscard]] std::uint32_t reduced(const Congestion& event) const override;

 private:
  std::uint32_t alpha_ = kOne;   // §3.3: at first the worst is assumed
  std::uint64_t delivered_ = 0;  // bytes in this window of observation
  std::uint64_t marked_ = 0;
};

}  // namespace sluice::tcp::cc
