// Errors about what a socket has sent, kept until the application takes them: IP_RECVERR of ip(7).
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "stack/base/result.h"
#include "stack/base/ring.h"
#include "stack/ip/types.h"

namespace sluice::ip {

struct ReceivedError {
  enum class Origin : std::uint8_t { kLocal, kIcmp } origin = Origin::kIcmp;
  Errno error{};
  std::uint8_t type = 0;  // these of an ICMP error
  std::uint8_t code = 0;
  std::uint8_t ttl = 0;  // with which it came, as the next two
  std::uint8_t tos = 0;
  InterfaceId interface = kNoInterface;
  Address reporter{};
  Endpoint destination{};               // of what was sent
  std::uint32_t mtu = 0;                // kMessageSize: what fits, bytes
  std::vector<std::uint8_t> payload{};  // of what was sent, as much as was quoted
};

class ErrorQueue {
 public:
  static constexpr std::size_t kMost = 64;  // what comes then is dropped

  // `destination` and `payload` are what the transport makes of the quote.
  void push(const IcmpError& error, const Endpoint& destination, Bytes payload);
  // A packet did not fit the path, and may not be fragmented.
  void push_too_big(const Endpoint& destination, std::uint32_t mtu);
  // The oldest. `pending`, the socket's error, becomes that of the next, or none.
  Result<ReceivedError> take(Errno& pending);
  [[nodiscard]] bool empty() const { return errors_.empty(); }

 private:
  void push(ReceivedError error);

  Ring<ReceivedError> errors_;
};

}  // namespace sluice::ip
