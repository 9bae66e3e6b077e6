// The ICMP echo ("ping") socket: what is sent is an echo request, what is received its reply, ICMP header included, as
// with Linux's SOCK_DGRAM, IPPROTO_ICMP. The identifier is the socket's: bind() port, or chosen.
#include <algorithm>
#include <array>
#include <memory>
#include <utility>
#include <vector>

#include "stack/base/byte_order.h"
#include "stack/base/ring.h"
#include "stack/socket/object.h"
#include "stack/wire/icmp.h"

namespace sluice::socket {
namespace {

namespace icmp = wire::icmp;

class Echo final : public Object, private ip::IcmpUser {
 public:
  Echo(ip::Ip& ip, Handle h) : Object(Type::kIcmpEcho, h), ip_(ip) {}
  ~Echo() override {
    if (identifier_ != 0) ip_.unregister_icmp_user(identifier_);
  }

  Status bind(const Endpoint& local) override {
    if (identifier_ != 0) return fail(Errno::kInvalid);
    if (!local.address.is_any() && !ip_.is_local(local.address)) return fail(Errno::kAddressNotAvailable);
    const auto id = ip_.register_icmp_user(*this, local.port);
    if (!id) return fail(id.error());
    identifier_ = *id;
    source_ = local.address;
    return {};
  }
  Status connect(const Endpoint& peer) override {
    const Address to = peer.address.is_any() ? Address(ip::kLoopbackAddress) : peer.address;
    const auto route = ip_.route(to, source_);
    if (!route) return fail(route.error());
    if (identifier_ == 0) {
      if (const Status bound = bind({source_, 0}); !bound) return bound;
    }
    if (source_.is_any()) source_ = route->source;
    peer_ = {to, peer.port};
    connected_ = true;
    return {};
  }
  Status disconnect() override { return connected_ = false, Status(); }

  Result<std::size_t> send(std::span<const Bytes> pieces, const Endpoint* destination, SendFlags) override;
  Result<Received> receive(std::span<const MutableBytes> pieces, ReceiveFlags flags) override;

  Result<ReceivedError> take_error() override {
    return errors_ != nullptr ? errors_->take(error_) : fail(Errno::kAgain);
  }

  [[nodiscard]] Endpoint local_name() const override { return {source_, identifier_}; }
  [[nodiscard]] Result<Endpoint> peer_name() const override {
    if (!connected_) return fail(Errno::kNotConnected);
    return peer_;
  }
  Status set_option(Option option, std::int64_t v) override {
    if (option == Option::kIpReceiveErrors) {
      if (v == 0) return errors_.reset(), Status();
      if (errors_ == nullptr) errors_ = std::make_unique<ip::ErrorQueue>();
      return {};
    }
    if (option != Option::kIpTtl) return fail(Errno::kNoProtocolOption);
    if (v == 0 || v < -1 || v > 255) return fail(Errno::kInvalid);
    ttl_ = v < 0 ? std::uint8_t{0} : static_cast<std::uint8_t>(v);
    return {};
  }
  Result<std::int64_t> get_option(Option option) override {
    if (option == Option::kError) return static_cast<std::int64_t>(std::exchange(error_, Errno::kOk));
    if (option == Option::kIpReceiveErrors) return std::int64_t{errors_ != nullptr};
    if (option == Option::kIpTtl) return ttl_ != 0 ? std::int64_t{ttl_} : std::int64_t{64};
    return fail(Errno::kNoProtocolOption);
  }
  [[nodiscard]] Ready ready() const override {
    Ready r = Ready::kOut;
    if (!replies_.empty() || error_ != Errno::kOk) r = r | Ready::kIn;
    if (error_ != Errno::kOk || (errors_ != nullptr && !errors_->empty())) r = r | Ready::kError;
    return r;
  }
  [[nodiscard]] Result<std::size_t> readable_bytes() const override {
    return replies_.empty() ? std::size_t{0} : replies_.front().message.size();
  }

 private:
  struct Reply {
    Address from;
    std::uint8_t ttl = 0;
    buf::Buffer message;
  };
  static constexpr std::size_t kMaxReplies = 256;
  static constexpr std::size_t kMaxMessage = 65515;

  void on_echo_reply(const Address& from, std::uint8_t ttl, Bytes message) override {
    if (connected_ && from != peer_.address) return;
    if (replies_.size() == kMaxReplies) return;
    replies_.push({from, ttl, buf::Buffer::copy_of(message)});
    changed();
  }
  void on_icmp_error(const ip::IcmpError& e) override {
    if (errors_ != nullptr) {
      errors_->push(e, {e.destination, 0}, e.quoted);
    } else if (!connected_ || e.kind == ip::ErrorKind::kTimeExceeded) {
      return;
    }
    error_ = ip::errno_of(e.kind);
    changed();
  }

  ip::Ip& ip_;
  std::uint16_t identifier_ = 0;
  std::uint8_t ttl_ = 0;
  bool connected_ = false;
  Errno error_ = Errno::kOk;
  std::unique_ptr<ip::ErrorQueue> errors_;  // null: they are not kept
  Address source_;
  Endpoint peer_;
  Ring<Reply> replies_;
};

// The message is an echo request with its 8-byte header; identifier and checksum are filled in here.
Result<std::size_t> Echo::send(std::span<const Bytes> pieces, const Endpoint* destination, SendFlags) {
  if (error_ != Errno::kOk) return fail(std::exchange(error_, Errno::kOk));
  if (destination == nullptr && !connected_) return fail(Errno::kDestinationRequired);
  if (identifier_ == 0) {
    if (const Status bound = bind({}); !bound) return fail(bound.error());
  }
  std::size_t size = 0;
  for (Bytes piece : pieces) size += piece.size();
  if (size > kMaxMessage) return fail(Errno::kMessageSize);
  std::vector<std::uint8_t> message(size);
  const MutableBytes whole(message);
  std::size_t at = 0;
  for (Bytes piece : pieces) at += scatter(piece, std::array{whole.subspan(at)});
  if (size < icmp::kHeaderSize || message[0] != icmp::kEchoRequest || message[1] != 0) return fail(Errno::kInvalid);
  const Address to = destination != nullptr ? destination->address : peer_.address;
  const Status sent =
      ip_.send_echo(to, source_, ttl_, identifier_, load_be16(message.data() + 6), whole.subspan(icmp::kHeaderSize));
  if (!sent) return fail(sent.error());
  return size;
}

Result<Received> Echo::receive(std::span<const MutableBytes> pieces, ReceiveFlags flags) {
  if (error_ != Errno::kOk) return fail(std::exchange(error_, Errno::kOk));
  if (replies_.empty()) return fail(Errno::kAgain);
  const Reply& reply = replies_.front();
  Received r;
  const std::size_t copied = scatter(reply.message.bytes(), pieces);
  r.truncated = copied < reply.message.size();
  r.size = copied;  // with MSG_TRUNC too, as on Linux
  r.source.address = reply.from;
  r.ttl = reply.ttl;
  if (!flags.peek) (void)replies_.pop();
  return r;
}

}  // namespace

Object* make_echo(ip::Ip& ip, Handle handle) {
  return new Echo(ip, handle);
}

}  // namespace sluice::socket
