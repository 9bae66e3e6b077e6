// The raw socket: whole packets of one protocol come in, and go out with a header that the stack makes or (IP_HDRINCL)
// with their own. raw(7); nobody needs a privilege, since the stack is the program's own.
#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "stack/base/ring.h"
#include "stack/ip/error_queue.h"
#include "stack/socket/object.h"
#include "stack/wire/ipv4.h"

namespace sluice::socket {
namespace {

constexpr std::uint8_t kHeadersOnly = 255;  // IPPROTO_RAW: sends only, and with headers of its own
constexpr std::size_t kOverhead = 128;      // charged to the queue for a packet beyond its block
constexpr std::size_t kMostBytes = 65'535;

class Raw final : public Object, private ip::RawUser {
 public:
  Raw(Context& context, ip::Ip& ip, std::uint8_t protocol, Handle h)
      : Object(Type::kRaw, h), context_(context), ip_(ip), protocol_(protocol), memberships_(ip) {
    own_headers_ = protocol == kHeadersOnly;
    ip_.add_raw_user(*this, protocol);
  }
  ~Raw() override { ip_.remove_raw_user(*this); }

  Status bind(const Endpoint& local) override {
    const bool usable = local.address.is_any() || ip_.is_local(local.address) ||
                        ip_.cast_of(local.address, ip::kNoInterface) != ip::Cast::kUnicast;
    if (!usable) return fail(Errno::kAddressNotAvailable);
    local_ = local.address;
    return {};
  }
  Status connect(const Endpoint& peer) override {
    const auto route = route_to(peer.address, {});
    if (!route) return fail(route.error());
    if (local_.is_any()) local_ = route->source;
    peer_ = peer;
    connected_ = true;
    return {};
  }
  Status disconnect() override { return connected_ = false, Status(); }

  Result<std::size_t> send(std::span<const Bytes> pieces, const Endpoint* destination, SendFlags flags) override;
  Result<Received> receive(std::span<const MutableBytes> pieces, ReceiveFlags flags) override;
  Result<ReceivedError> take_error() override {
    return errors_ != nullptr ? errors_->take(error_) : fail(Errno::kAgain);
  }
  Status join_group(const ip::Membership& m) override { return memberships_.join(m); }
  Status leave_group(const ip::Membership& m) override { return memberships_.leave(m); }

  // Where others have a port, the protocol.
  [[nodiscard]] Endpoint local_name() const override { return {local_, protocol_}; }
  [[nodiscard]] Result<Endpoint> peer_name() const override {
    if (!connected_ || peer_.port == 0) return fail(Errno::kNotConnected);  // as on Linux
    return peer_;
  }
  Status set_option(Option option, std::int64_t value) override;
  Result<std::int64_t> get_option(Option option) override;
  [[nodiscard]] Ready ready() const override {
    Ready r = Ready::kOut;
    if (!queue_.empty()) r = r | Ready::kIn;
    if (error_ != Errno::kOk || (errors_ != nullptr && !errors_->empty())) r = r | Ready::kError;
    return r;
  }
  [[nodiscard]] Result<std::size_t> readable_bytes() const override {
    return queue_.empty() ? std::size_t{0} : queue_.front().packet.size();
  }

 private:
  struct Waiting {
    Received facts{};
    buf::Buffer packet{};
  };

  [[nodiscard]] bool is_icmp() const { return protocol_ == static_cast<std::uint8_t>(ip::Protocol::kIcmp); }
  bool on_raw_packet(const ip::RawPacket& packet) override;
  void on_raw_error(const ip::IcmpError& error) override;
  [[nodiscard]] bool wants(const ip::RawPacket& packet) const;
  [[nodiscard]] Result<ip::Route> route_to(const Address& to, const ip::Choices& choices) const {
    return ip_.route_from({local_, multicast_interface_}, to, choices);
  }
  Status send_with_header(const Address& to, Bytes payload, const ip::Choices& choices, const ip::Route& route);

  Context& context_;
  ip::Ip& ip_;
  std::uint8_t protocol_;
  ip::Memberships memberships_;
  Address local_{};
  Endpoint peer_{};
  bool connected_ = false;
  bool own_headers_ = false;
  bool broadcast_ = false;
  ip::PathMtuUse path_mtu_ = ip::PathMtuUse::kWant;
  bool multicast_loop_ = true;
  bool other_groups_ = true;
  std::uint8_t ttl_ = 0;  // 0: the stack's default
  std::uint8_t tos_ = 0;
  std::uint8_t multicast_ttl_ = 1;
  ip::InterfaceId multicast_interface_ = ip::kNoInterface;
  std::uint32_t icmp_filter_ = 0;  // bits: types that are not wanted
  std::size_t receive_buffer_ = 212992;
  std::size_t queued_ = 0;  // memory of what waits, bytes
  std::uint32_t dropped_ = 0;
  Errno error_ = Errno::kOk;
  std::unique_ptr<ip::ErrorQueue> errors_;  // null: they are not kept
  Ring<Waiting> queue_;
};

// --- receiving -------------------------------------------------------------------------------------------------------

bool Raw::wants(const ip::RawPacket& p) const {
  if (!local_.is_any() && local_ != p.destination) return false;
  if (connected_ && peer_.address != p.source) return false;
  const bool in_group = other_groups_ || memberships_.has({p.destination, p.interface});
  return !p.destination.is_multicast() || in_group;
}

bool Raw::on_raw_packet(const ip::RawPacket& p) {
  if (!wants(p)) return false;
  const std::uint8_t message = p.packet.size() > p.header_size ? p.packet[p.header_size] : 0;
  if (is_icmp() && message < 32 && (icmp_filter_ >> message & 1) != 0) return true;
  buf::Buffer copy = queued_ < receive_buffer_ ? buf::Buffer::copy_of(p.packet) : buf::Buffer();
  if (!copy) {
    ++dropped_;
    context_.drop(Drop::kRawQueueFull, p.packet);
    return true;
  }
  queued_ += copy.capacity() + kOverhead;
  Received facts;
  facts.source.address = p.source;
  facts.destination.address = p.destination;
  facts.interface = p.interface;
  facts.ttl = p.ttl;
  facts.tos = p.tos;
  facts.at = context_.now;
  facts.dropped = dropped_;
  queue_.push({facts, std::move(copy)});
  changed();
  return true;
}

void Raw::on_raw_error(const ip::IcmpError& e) {
  if ((connected_ && peer_.address != e.destination) || (!local_.is_any() && local_ != e.source)) return;
  if (errors_ != nullptr) {
    errors_->push(e, {e.destination, 0}, e.quoted);
  } else if (!connected_ || e.kind == ip::ErrorKind::kTimeExceeded) {
    return;
  }
  error_ = ip::errno_of(e.kind);
  changed();
}

Result<Received> Raw::receive(std::span<const MutableBytes> pieces, ReceiveFlags flags) {
  if (error_ != Errno::kOk) return fail(std::exchange(error_, Errno::kOk));
  if (queue_.empty()) return fail(Errno::kAgain);
  const Waiting& next = queue_.front();
  Received r = next.facts;
  const std::size_t copied = scatter(next.packet.bytes(), pieces);
  r.truncated = copied < next.packet.size();
  r.size = flags.trunc ? next.packet.size() : copied;
  if (flags.peek) return r;
  queued_ -= next.packet.capacity() + kOverhead;
  (void)queue_.pop();
  return r;
}

// --- sending ---------------------------------------------------------------------------------------------------------

Status Raw::send_with_header(const Address& to, Bytes payload, const ip::Choices& choices, const ip::Route& route) {
  buf::TxPacket packet;
  (void)packet.append(payload);
  ip::SendOptions options{.source = route.source, .destination = to, .protocol = static_cast<ip::Protocol>(protocol_)};
  if (route.cast == ip::Cast::kMulticast) {
    options.ttl = multicast_ttl_;
  } else if (ttl_ != 0) {
    options.ttl = ttl_;
  }
  if (choices.ttl != 0) options.ttl = choices.ttl;
  options.tos = choices.tos >= 0 ? static_cast<std::uint8_t>(choices.tos) : tos_;
  options.path_mtu = path_mtu_;
  options.to_members_here = multicast_loop_;
  return ip_.send(packet, options, route);
}

Result<std::size_t> Raw::send(std::span<const Bytes> pieces, const Endpoint* destination, SendFlags flags) {
  if (error_ != Errno::kOk) return fail(std::exchange(error_, Errno::kOk));
  if (destination == nullptr && !connected_) return fail(Errno::kDestinationRequired);
  std::vector<std::uint8_t> all;
  for (Bytes piece : pieces) all.insert(all.end(), piece.begin(), piece.end());
  if (all.size() > kMostBytes) return fail(Errno::kMessageSize);
  const ip::Choices choices = flags.choices != nullptr ? *flags.choices : ip::Choices();
  Address to = destination != nullptr ? destination->address : peer_.address;
  if (to.is_any()) to = local_.is_any() ? Address(ip::kLoopbackAddress) : local_;  // this host, as on Linux
  const auto route = route_to(to, choices);
  if (!route) return fail(route.error());
  if (route->cast == ip::Cast::kBroadcast && !broadcast_) return fail(Errno::kAccess);
  const Status sent = own_headers_ ? ip_.send_as_it_is(all, *route) : send_with_header(to, all, choices, *route);
  if (!sent && sent.error() == Errno::kMessageSize && errors_ != nullptr) {
    errors_->push_too_big({to, peer_.port}, route->mtu_for(path_mtu_));
  }
  return sent ? Result<std::size_t>(all.size()) : fail(sent.error());
}

// --- options ---------------------------------------------------------------------------------------------------------

Status Raw::set_option(Option option, std::int64_t v) {
  const bool is_octet = v >= 0 && v <= 255;
  const auto octet = static_cast<std::uint8_t>(v);
  switch (option) {
    case Option::kIpHeaderIncluded:
      return own_headers_ = v != 0, Status();
    case Option::kIcmpFilter:
      if (!is_icmp()) return fail(Errno::kNotSupported);
      return icmp_filter_ = static_cast<std::uint32_t>(v), Status();
    case Option::kIpReceiveErrors:
      if (v == 0) return errors_.reset(), Status();
      if (errors_ == nullptr) errors_ = std::make_unique<ip::ErrorQueue>();
      return {};
    case Option::kBroadcast:
      return broadcast_ = v != 0, Status();
    case Option::kReceiveBuffer:
      return receive_buffer_ = static_cast<std::size_t>(std::clamp<std::int64_t>(v, 2304, 64 << 20)), Status();
    case Option::kSendBuffer:
    case Option::kReuseAddress:
    case Option::kReusePort:
    case Option::kLinger:
      return {};  // accepted without effect, as on Linux
    case Option::kIpTtl:
      if (v == 0 || v < -1 || v > 255) return fail(Errno::kInvalid);
      return ttl_ = v < 0 ? std::uint8_t{0} : octet, Status();
    case Option::kIpTos:
      return is_octet ? (tos_ = octet, Status()) : fail(Errno::kInvalid);
    case Option::kIpMtuDiscover:
      return is_path_mtu_use(v) ? (path_mtu_ = static_cast<ip::PathMtuUse>(v), Status()) : fail(Errno::kInvalid);
    case Option::kIpMulticastTtl:
      if (v == -1) return multicast_ttl_ = 1, Status();
      return is_octet ? (multicast_ttl_ = octet, Status()) : fail(Errno::kInvalid);
    case Option::kIpMulticastLoop:
      return multicast_loop_ = v != 0, Status();
    case Option::kIpMulticastAll:
      if (v != 0 && v != 1) return fail(Errno::kInvalid);
      return other_groups_ = v != 0, Status();
    case Option::kIpMulticastInterface:
      return multicast_interface_ = octet, Status();
    default:
      return fail(Errno::kNoProtocolOption);
  }
}

Result<std::int64_t> Raw::get_option(Option option) {
  switch (option) {
    case Option::kProtocol:
      return std::int64_t{protocol_};
    case Option::kIpHeaderIncluded:
      return std::int64_t{own_headers_};
    case Option::kIcmpFilter:
      if (!is_icmp()) return fail(Errno::kNotSupported);
      return std::int64_t{icmp_filter_};
    case Option::kIpReceiveErrors:
      return std::int64_t{errors_ != nullptr};
    case Option::kError:
      return static_cast<std::int64_t>(std::exchange(error_, Errno::kOk));
    case Option::kBroadcast:
      return std::int64_t{broadcast_};
    case Option::kReceiveBuffer:
    case Option::kSendBuffer:
      return static_cast<std::int64_t>(receive_buffer_);
    case Option::kReuseAddress:
    case Option::kReusePort:
    case Option::kAcceptConnection:
      return std::int64_t{0};
    case Option::kLinger:
      return std::int64_t{-1};
    case Option::kIpTtl:
      return ttl_ != 0 ? std::int64_t{ttl_} : std::int64_t{64};
    case Option::kIpTos:
      return std::int64_t{tos_};
    case Option::kIpMtuDiscover:
      return static_cast<std::int64_t>(path_mtu_);
    case Option::kIpMulticastTtl:
      return std::int64_t{multicast_ttl_};
    case Option::kIpMulticastLoop:
      return std::int64_t{multicast_loop_};
    case Option::kIpMulticastAll:
      return std::int64_t{other_groups_};
    case Option::kIpMulticastInterface:
      return std::int64_t{multicast_interface_};
    default:
      return fail(Errno::kNoProtocolOption);
  }
}

}  // namespace

Object* make_raw(Context& context, ip::Ip& ip, std::uint8_t protocol, Handle handle) {
  return new Raw(context, ip, protocol, handle);
}

}  // namespace sluice::socket
