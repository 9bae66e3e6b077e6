// A harness for link and IP by packet scripts: one stack on an Ethernet device whose other end is played by hand, in
// virtual time. We are 192.0.2.2 at 02:00:00:00:00:02, the peer is 192.0.2.1 at 02:00:00:00:00:01.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "stack/stack.h"
#include "stack/wire/ethernet.h"
#include "stack/wire/icmp.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/printer.h"
#include "stack/wire/udp.h"
#include "tests/unit/known_frames.h"

namespace sluice::test {

using Octets = std::vector<std::uint8_t>;
using wire::Ipv4Address;
using wire::MacAddress;

inline constexpr MacAddress kPeerMac{{2, 0, 0, 0, 0, 1}};
inline constexpr MacAddress kOurMac{{2, 0, 0, 0, 0, 2}};
inline constexpr Ipv4Address kPeer = Ipv4Address::of(192, 0, 2, 1);
inline constexpr Ipv4Address kUs = Ipv4Address::of(192, 0, 2, 2);

inline Octets from_hex(std::string_view hex) {
  Octets out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<std::uint8_t>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  return out;
}
inline Octets known(std::string_view name) {
  for (const KnownFrame& f : kKnownFrames) {
    if (name == f.name) return from_hex(f.bytes);
  }
  return {};
}

class WireDevice final : public link::NetDevice {
 public:
  explicit WireDevice(link::Fcs fcs) { capabilities_.fcs = fcs; }
  void cut_udp() { capabilities_.tx_checksum = capabilities_.uso = true; }
  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant, buf::Pool&, std::span<buf::RxFrame> out) override {
    std::size_t n = 0;
    for (; n < out.size() && !in.empty(); ++n) {
      out[n] = {buf::Buffer::copy_of(in.front()), offload, static_cast<std::uint32_t>(in.front().size() + cut_off)};
      in.pop_front();
    }
    return n;
  }
  std::size_t tx(Instant, std::span<const buf::TxFrame> frames) override {
    batches.push_back(frames.size());
    const auto taken = frames.first(std::min(frames.size(), room));
    for (const buf::TxFrame& f : taken) {
      Octets bytes(f.size());
      f.copy_to(bytes);
      sent.push_back(bytes);
      left_to_do.push_back(f.offload);
    }
    return taken.size();
  }
  std::deque<Octets> in, sent;
  std::deque<buf::Offload> left_to_do;  // of each frame in `sent`, while none is taken from there
  std::vector<std::size_t> batches;     // frames handed over in each call
  std::uint32_t cut_off = 0;            // bytes that a frame had more on the wire
  buf::Offload offload;                 // said of every frame that arrives
  std::size_t room = SIZE_MAX;          // frames taken in one call

 private:
  link::Capabilities capabilities_;
};

class IpScript {
 public:
  using Check = ip::InterfaceConfig::AddressCheck;
  explicit IpScript(link::Fcs fcs = link::Fcs::kNone, Check check = Check::kNone)
      : IpScript({.mac = kOurMac, .address_check = check}, {}, fcs) {}
  explicit IpScript(const ip::InterfaceConfig& interface, const ip::IpConfig& ip = {}, link::Fcs fcs = link::Fcs::kNone)
      : device(fcs) {
    StackConfig config;
    config.seed = Rng::seed_from(1);
    config.ip = ip;
    stack = std::make_unique<Stack>(config);
    stack->set_time(now);
    id = stack->ip().add_interface(device, interface).value();
    EXPECT_TRUE(stack->ip().add_address(id, {kUs, 24}).has_value());
    run();
  }
  void run() {
    for (int i = 0; i < 100 && (stack->poll(now) || stack->next_deadline() <= now || !device.in.empty()); ++i) {
    }
  }
  void after(Duration d) {
    const Instant end = now + d;
    while (stack->next_deadline() <= end) {
      now = std::max(now, stack->next_deadline());
      run();
    }
    now = end;
    run();
  }
  void rx(const Octets& frame) {
    device.in.push_back(frame);
    run();
  }
  // The next frame sent, as dump prints it; "" when there is none.
  std::string sent() {
    if (device.sent.empty()) return "";
    last = device.sent.front();
    device.sent.pop_front();
    return wire::print_line(last, wire::Layer::kEthernet);
  }
  std::uint64_t dropped(Drop d) { return stack->counters().get(d); }
  void learn_peer() {
    rx(known("arp-request"));
    device.sent.clear();
  }

  WireDevice device;
  std::unique_ptr<Stack> stack;
  Instant now = Instant::from_nanos(1'000'000'000'000);
  ip::InterfaceId id = 0;
  Octets last;
};

// An IPv4 packet in a frame from the peer, changed by `edit` before its header checksum is made.
inline Octets packet(std::uint8_t protocol, const Octets& l4, void (*edit)(wire::ipv4::Header&) = nullptr,
                     MacAddress to = kOurMac) {
  wire::ipv4::Header h{.total_length = static_cast<std::uint16_t>(20 + l4.size()),
                       .ttl = 64,
                       .protocol = protocol,
                       .source = kPeer,
                       .destination = kUs};
  if (edit != nullptr) edit(h);
  Octets frame(34 + l4.size());
  wire::ethernet::emit(frame, {to, kPeerMac, wire::ethernet::kIpv4});
  wire::ipv4::emit(MutableBytes(frame).subspan(14), h);
  std::copy(l4.begin(), l4.end(), frame.begin() + 34);
  return frame;
}
inline Octets echo_request(std::size_t data = 16) {
  Octets l4(8 + data, 0x55);
  const wire::icmp::Message m{8, 0, 0x12340001, Bytes(l4).subspan(8)};
  wire::icmp::emit(l4, m);
  return l4;
}
inline Octets udp(std::uint16_t port, std::size_t data = 8) {
  Octets l4(8 + data, 0x55);
  wire::udp::emit(l4, {1000, port, static_cast<std::uint16_t>(l4.size())}, 0);
  return l4;
}

}  // namespace sluice::test
