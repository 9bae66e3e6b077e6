// A link: one device with Ethernet framing and ARP, or with bare IP packets. RFC 894, RFC 826, RFC 1122 §2,
// IEEE 802.3 clause 3.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "stack/base/context.h"
#include "stack/base/result.h"
#include "stack/buf/buffer.h"
#include "stack/buf/frame.h"
#include "stack/link/address_guard.h"
#include "stack/link/neighbor_cache.h"
#include "stack/link/netdev.h"
#include "stack/wire/address.h"
#include "stack/wire/ethernet.h"

namespace sluice::link {

enum class LinkCast : std::uint8_t { kUnicast, kBroadcast, kMulticast };

struct LinkConfig {
  wire::MacAddress mac{};
  std::uint32_t mtu = 1500;
  std::uint16_t vlan = 0;  // 0: untagged
  enum class Promiscuity : std::uint8_t { kOff, kOn } promiscuity = Promiscuity::kOff;
  // Joining of received TCP segments where the device does not do it (coalescer.h).
  enum class Coalescing : std::uint8_t { kOff, kOn } coalescing = Coalescing::kOn;
  AddressGuard::Start address_start = AddressGuard::Start::kAnnounce;
  NeighborConfig neighbors{};
};

class Link;

// Sees the frames of a link: as they come in, before they are looked at, but for their FCS; and as they are sent.
class FrameWatcher {
 public:
  virtual ~FrameWatcher() = default;
  enum class Direction : std::uint8_t { kIn, kOut };
  virtual void on_frame(Link& link, const buf::TxFrame& frame, Direction direction) = 0;
};

class LinkUser {
 public:
  virtual ~LinkUser() = default;
  // An IP packet arrived: the buffer's view begins with its header and may be longer than it (padding). The offload's
  // offsets count from there.
  virtual void on_packet(Link& link, buf::Buffer packet, LinkCast cast, const buf::Offload& offload) = 0;
  // The next hop of a packet we sent does not answer.
  virtual void on_unreachable(Link& link, Bytes packet) = 0;
  // address_usable() may answer differently now.
  virtual void on_addresses_changed() = 0;
};

class Link final : private NeighborUser, private AddressGuardUser {
 public:
  static constexpr std::size_t kRxBatch = 64;

  Link(Context& context, buf::Pool& pool, NetDevice& device, LinkUser& user, const LinkConfig& config);

  // Takes in at most `budget` frames; returns how many there were.
  std::size_t poll(std::size_t budget);

  // Sends an IP packet. With offload.gso_size set it may exceed the MTU: the device or the segmenter cuts it.
  // A unicast packet waits, copied, while its next hop is being resolved.
  void send(buf::TxPacket& packet, const wire::Address& next_hop, LinkCast cast);

  // Sends a frame as it is, with its link header; kInvalid: it has none; kMessageSize.
  Status send_frame(Bytes frame);
  // Sends what is no IP packet, or one to a station that the caller knows. kMessageSize.
  Status send_payload(Bytes payload, const wire::MacAddress& destination, std::uint16_t type);
  void watch_frames(FrameWatcher* watcher) { watcher_ = watcher; }  // null: nobody

  Status add_address(wire::Ipv4Address address) { return guard_.add(address, config_.address_start); }
  void remove_address(wire::Ipv4Address address) { guard_.remove(address); }
  [[nodiscard]] bool address_usable(wire::Ipv4Address address) const { return guard_.usable(address); }

  // Down: what arrives and what is to be sent is dropped, and the learned neighbours are forgotten. Up again, and with
  // another MAC, our addresses are announced.
  void set_state(LinkState state);
  void set_mac(const wire::MacAddress& mac);
  void set_mtu(std::uint32_t mtu) { config_.mtu = mtu; }

  Status join(const wire::MacAddress& group);  // counted; kNoBuffers
  void leave(const wire::MacAddress& group);

  NeighborCache& neighbors() { return neighbors_; }
  [[nodiscard]] const NeighborCache& neighbors() const { return neighbors_; }
  NetDevice& device() { return device_; }
  [[nodiscard]] const NetDevice& device() const { return device_; }
  [[nodiscard]] const wire::MacAddress& mac() const { return config_.mac; }
  [[nodiscard]] std::uint32_t mtu() const { return config_.mtu; }
  [[nodiscard]] LinkState state() const { return state_; }
  [[nodiscard]] bool is_ethernet() const { return ethernet_; }
  [[nodiscard]] std::uint32_t max_gso_bytes() const;

 private:
  struct Group {
    wire::MacAddress mac{};
    std::uint32_t users = 0;
  };

  void send_solicitation(const wire::Address& address, const wire::MacAddress* known) override;
  void send_resolved(const wire::MacAddress& mac, Bytes packet) override;
  void on_unreachable(const wire::Address& address, Bytes packet) override;
  void send_probe(wire::Ipv4Address address) override;
  void send_announcement(wire::Ipv4Address address) override;
  void on_usable_changed() override { user_.on_addresses_changed(); }

  void announce_again();
  void receive(buf::RxFrame frame);
  bool strip_fcs(buf::RxFrame& frame);
  bool accept_frame(const wire::ethernet::Frame& frame, Bytes bytes, LinkCast& cast);
  bool vlan_matches(const wire::ethernet::Header& header) const;
  [[nodiscard]] LinkCast cast_of(const wire::MacAddress& destination) const;
  [[nodiscard]] bool joined(const wire::MacAddress& group) const;
  void receive_bare(buf::RxFrame frame);
  void receive_arp(Bytes payload);
  void answer_arp(const wire::arp::Packet& request);
  void send_arp(const wire::arp::Packet& arp, const wire::MacAddress& destination);

  void transmit(buf::TxPacket& packet, const wire::MacAddress& destination, std::uint16_t type);
  void transmit_cut(const buf::TxPacket& packet, std::size_t ip_offset);
  void enqueue_unresolved(buf::TxPacket& packet, const wire::Address& next_hop);
  void put(std::span<const buf::TxFrame> frames);
  void put_with_trailer(const buf::TxFrame& frame);
  void hand_over(std::span<const buf::TxFrame> frames);
  [[nodiscard]] bool device_cuts(const buf::Offload& offload) const;

  Context& context_;
  buf::Pool& pool_;
  NetDevice& device_;
  LinkUser& user_;
  LinkConfig config_;
  LinkState state_ = LinkState::kUp;
  bool ethernet_;
  bool fcs_;
  NeighborCache neighbors_;
  AddressGuard guard_;
  FrameWatcher* watcher_ = nullptr;
  std::array<Group, 16> groups_{};
  std::array<buf::RxFrame, kRxBatch> batch_;  // empty between two polls
};

// True when every offload field points into a frame of this size and fits its protocol. A device's word about a frame
// that arrived is not to be trusted before this.
bool offload_valid(const buf::Offload& offload, std::size_t frame_size);

}  // namespace sluice::link
