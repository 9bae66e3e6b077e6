// What a driver implements: a small, batched interface. Decorators (capture, impairment) implement it too and
// wrap another device. A device has no thread of its own and never calls the stack.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "stack/base/time.h"
#include "stack/buf/buffer.h"
#include "stack/buf/frame.h"
#include "stack/wire/address.h"

namespace sluice::link {

enum class Medium : std::uint8_t {
  kEthernet,  // frames begin with an Ethernet header (TAP, capture, in-memory Ethernet)
  kIp,        // frames are bare IP packets (TUN, raw captures)
};

// Whether a link is switched on: the host's decision, whatever the device's state.
enum class LinkState : std::uint8_t { kUp, kDown };

// Whether frames carry the 4-byte frame check sequence. A TAP has none, an Ethernet capture may, the in-memory
// Ethernet link always does.
enum class Fcs : std::uint8_t { kNone, kPresent };

struct Capabilities {
  Medium medium = Medium::kEthernet;
  Fcs fcs = Fcs::kNone;
  std::uint32_t mtu = 1500;  // largest IP packet on the wire, bytes
  bool tx_checksum = false;  // completes partial TCP and UDP checksums
  bool tso4 = false;         // cuts large TCP segments, IPv4
  bool tso6 = false;
  bool uso = false;                   // cuts large UDP datagrams
  std::uint32_t max_gso_bytes = 0;    // largest IP packet it cuts; 0: none
  std::uint32_t rx_queue_frames = 0;  // frames it holds that were not read, before it drops; 0: not known, or enough
  wire::MacAddress mac{};             // the station's own address if the device knows one, else zero
};

class NetDevice {
 public:
  virtual ~NetDevice() = default;

  [[nodiscard]] virtual const Capabilities& capabilities() const = 0;

  // Moves up to out.size() frames that have arrived into `out`, with buffers from `pool`. Returns how many; 0 means
  // none now. When the pool is exhausted frames stay in the device or are lost there, never half delivered.
  virtual std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) = 0;

  // Sends frames in order. Returns how many were taken; the rest found the device full and is the caller's to count.
  // Nothing of a frame is referenced after the call.
  virtual std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) = 0;

  // A descriptor that becomes readable when rx() has something; -1 when there is none.
  [[nodiscard]] virtual int poll_handle() const { return -1; }

  // When rx() may have something without the descriptor saying so (delayed frames, capture replay); never() if not.
  [[nodiscard]] virtual Instant next_deadline() const { return Instant::never(); }

  // True when no frame will ever arrive again (end of a capture).
  [[nodiscard]] virtual bool finished() const { return false; }
};

}  // namespace sluice::link
