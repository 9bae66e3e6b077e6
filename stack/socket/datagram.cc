// The UDP socket: udp(7).
#include <algorithm>
#include <vector>

#include "stack/socket/object.h"

namespace sluice::socket {
namespace {

constexpr std::size_t kMostPieces = 15;
constexpr std::size_t kMostBytes = 65'507;

class Datagram final : public Object, private udp::PortUser {
 public:
  Datagram(udp::Udp& udp, udp::Port* port, Handle h) : Object(Type::kDatagram, h), udp_(udp), port_(port) {}
  ~Datagram() override {
    if (port_ != nullptr) udp_.close(port_);
  }

  static Object* make(udp::Udp& udp, Family family, Handle h) {
    auto* d = new Datagram(udp, nullptr, h);
    const auto port = udp.open(family, d);
    if (port) {
      d->port_ = *port;
      return d;
    }
    delete d;
    return nullptr;
  }

  Status bind(const Endpoint& local) override {
    return port_->bind(local, reuse_ ? udp::Port::Sharing::kReuseAddress : udp::Port::Sharing::kExclusive);
  }
  Status connect(const Endpoint& peer) override { return port_->connect(to_this_host(peer)); }
  Status disconnect() override { return port_->disconnect(), Status(); }

  Result<std::size_t> send(std::span<const Bytes> pieces, const Endpoint* destination, SendFlags flags) override {
    if (write_shut_) return fail(Errno::kPipe);
    if (port_->pending_error() != Errno::kOk) return fail(port_->take_error());
    std::size_t size = 0;
    for (Bytes piece : pieces) size += piece.size();
    // A packet is sent from few pieces. What is too large for one is told before it is copied.
    std::vector<std::uint8_t> together;
    Bytes whole;
    if (pieces.size() > kMostPieces && size <= kMostBytes) {
      for (Bytes piece : pieces) together.insert(together.end(), piece.begin(), piece.end());
      whole = together;
      pieces = {&whole, 1};
    }
    Endpoint to;
    if (destination != nullptr) to = to_this_host(*destination);
    const ip::Choices choices = flags.choices != nullptr ? *flags.choices : ip::Choices();
    const Status sent = port_->send(pieces, destination != nullptr ? &to : nullptr, choices);
    if (!sent) return fail(sent.error());
    return size;
  }

  Result<Received> receive(std::span<const MutableBytes> pieces, ReceiveFlags flags) override {
    if (port_->pending_error() != Errno::kOk) return fail(port_->take_error());
    if (read_shut_ && !port_->readable()) return Received{};
    if (const udp::ReceivedDatagram* next = port_->peek(); next != nullptr && flags.peek) {
      return describe(*next, scatter(next->payload.bytes(), pieces), flags);
    }
    const auto got = port_->receive();
    if (!got) return fail(got.error());
    return describe(*got, scatter(got->payload.bytes(), pieces), flags);
  }

  Result<Lent> lend() override {
    if (port_->pending_error() != Errno::kOk) return fail(port_->take_error());
    if (read_shut_ && !port_->readable()) return Lent{};
    auto got = port_->receive();
    if (!got) return fail(got.error());
    return Lent{std::move(got->payload), got->source};
  }

  Result<ReceivedError> take_error() override { return port_->take_received_error(); }
  Status join_group(const ip::Membership& m) override { return port_->join(m); }
  Status leave_group(const ip::Membership& m) override { return port_->leave(m); }
  Status shutdown(Shutdown how) override {
    if (port_->peer() == nullptr) return fail(Errno::kNotConnected);
    if (how != Shutdown::kWrite) read_shut_ = true;
    if (how != Shutdown::kRead) write_shut_ = true;
    changed();
    return {};
  }
  [[nodiscard]] Endpoint local_name() const override { return port_->local(); }
  [[nodiscard]] Result<Endpoint> peer_name() const override {
    if (port_->peer() == nullptr) return fail(Errno::kNotConnected);
    return *port_->peer();
  }
  [[nodiscard]] Ready ready() const override {
    Ready r = Ready::kOut;
    if (port_->next_size() || read_shut_) r = r | Ready::kIn;
    if (port_->pending_error() != Errno::kOk || port_->has_received_errors()) r = r | Ready::kError;
    if (read_shut_) r = r | Ready::kReadHangup;
    if (read_shut_ && write_shut_) r = r | Ready::kHangup;
    return r;
  }
  [[nodiscard]] Result<std::size_t> readable_bytes() const override { return port_->next_size().value_or(0); }

  Status set_option(Option option, std::int64_t v) override;
  Result<std::int64_t> get_option(Option option) override;

 private:
  // As a destination, no address is this host, as on Linux.
  [[nodiscard]] Endpoint to_this_host(Endpoint to) const {
    if (!to.address.is_any()) return to;
    const Address own = port_->local().address;
    return {own.is_any() ? Address(wire::Ipv4Address{0x7f000001}) : own, to.port};
  }
  void on_udp_readable() override { changed(); }
  void on_udp_error() override { changed(); }

  static Received describe(const udp::ReceivedDatagram& d, std::size_t copied, ReceiveFlags flags) {
    Received r;
    r.truncated = copied < d.payload.size();
    r.size = flags.trunc ? d.payload.size() : copied;
    r.source = d.source;
    r.destination = d.destination;
    r.ttl = d.ttl;
    r.tos = d.tos;
    r.interface = d.interface;
    r.at = d.at;
    r.dropped = d.dropped;
    r.segment = d.segment;
    return r;
  }

  udp::Udp& udp_;
  udp::Port* port_;
  bool reuse_ = false;
  bool read_shut_ = false;
  bool write_shut_ = false;
};

Status Datagram::set_option(Option option, std::int64_t v) {
  using Allow = udp::Port::Options::Allow;
  udp::Port::Options& o = port_->options();
  const bool is_octet = v >= 0 && v <= 255;
  switch (option) {
    case Option::kReuseAddress:
    case Option::kReusePort:
      return reuse_ = v != 0, Status();
    case Option::kBroadcast:
      return o.broadcast = v != 0 ? Allow::kYes : Allow::kNo, Status();
    case Option::kReceiveBuffer:
      return o.receive_buffer = static_cast<std::size_t>(std::clamp<std::int64_t>(v, 2304, 64 << 20)), Status();
    case Option::kSendBuffer:
    case Option::kKeepAlive:
    case Option::kLinger:
      return {};  // accepted without effect, as on Linux
    case Option::kIpTtl:
      if (v == 0 || v < -1 || v > 255) return fail(Errno::kInvalid);
      return o.ttl = static_cast<std::uint8_t>(std::max<std::int64_t>(v, 0)), Status();
    case Option::kIpTos:
      return is_octet ? (o.tos = static_cast<std::uint8_t>(v), Status()) : fail(Errno::kInvalid);
    case Option::kIpMtuDiscover:
      return is_path_mtu_use(v) ? (o.path_mtu = static_cast<ip::PathMtuUse>(v), Status()) : fail(Errno::kInvalid);
    case Option::kIpMulticastTtl:
      if (v == -1) return o.multicast_ttl = 1, Status();
      return is_octet ? (o.multicast_ttl = static_cast<std::uint8_t>(v), Status()) : fail(Errno::kInvalid);
    case Option::kIpMulticastLoop:
      return o.multicast_loop = v != 0 ? Allow::kYes : Allow::kNo, Status();
    case Option::kUdpSegment:
      if (v < 0 || v > UINT16_MAX) return fail(Errno::kInvalid);
      return o.segment = static_cast<std::uint16_t>(v), Status();
    case Option::kUdpJoined:
      return o.joined = v != 0 ? Allow::kYes : Allow::kNo, Status();
    case Option::kIpReceiveErrors:
      return port_->keep_errors(v != 0 ? udp::Port::Keep::kErrors : udp::Port::Keep::kNothing), Status();
    case Option::kIpMulticastInterface:
      return o.multicast_interface = static_cast<ip::InterfaceId>(v), Status();
    case Option::kIpMulticastAll:
      if (v != 0 && v != 1) return fail(Errno::kInvalid);
      return o.other_groups = v != 0 ? Allow::kYes : Allow::kNo, Status();
    default:
      return fail(Errno::kNoProtocolOption);
  }
}

Result<std::int64_t> Datagram::get_option(Option option) {
  const udp::Port::Options& o = port_->options();
  switch (option) {
    case Option::kReuseAddress:
    case Option::kReusePort:
      return std::int64_t{reuse_};
    case Option::kBroadcast:
      return std::int64_t{o.broadcast == udp::Port::Options::Allow::kYes};
    case Option::kReceiveBuffer:
      return static_cast<std::int64_t>(o.receive_buffer);
    case Option::kSendBuffer:
      return static_cast<std::int64_t>(o.receive_buffer);
    case Option::kKeepAlive:
      return std::int64_t{0};
    case Option::kLinger:
      return std::int64_t{-1};
    case Option::kError:
      return static_cast<std::int64_t>(port_->take_error());
    case Option::kAcceptConnection:
      return std::int64_t{0};
    case Option::kIpTtl:
      return o.ttl != 0 ? std::int64_t{o.ttl} : std::int64_t{64};
    case Option::kIpTos:
      return std::int64_t{o.tos};
    case Option::kIpMtuDiscover:
      return static_cast<std::int64_t>(o.path_mtu);
    case Option::kIpMulticastTtl:
      return std::int64_t{o.multicast_ttl};
    case Option::kIpMulticastLoop:
      return std::int64_t{o.multicast_loop == udp::Port::Options::Allow::kYes};
    case Option::kUdpSegment:
      return std::int64_t{o.segment};
    case Option::kUdpJoined:
      return std::int64_t{o.joined == udp::Port::Options::Allow::kYes};
    case Option::kIpReceiveErrors:
      return std::int64_t{port_->keeps_errors()};
    case Option::kIpMtu: {
      const auto mtu = port_->path_mtu();
      return mtu ? Result<std::int64_t>(std::int64_t{*mtu}) : fail(mtu.error());
    }
    case Option::kIpMulticastInterface:
      return std::int64_t{o.multicast_interface};
    case Option::kIpMulticastAll:
      return std::int64_t{o.other_groups == udp::Port::Options::Allow::kYes};
    default:
      return fail(Errno::kNoProtocolOption);
  }
}

}  // namespace

Object* make_datagram(udp::Udp& udp, Family family, Handle handle) {
  return Datagram::make(udp, family, handle);
}

}  // namespace sluice::socket
