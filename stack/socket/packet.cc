// The packet socket: frames of the interfaces as they come in and go out, and sent as the program made them; whole
// (SOCK_RAW) or without the link's header (SOCK_DGRAM). packet(7); nobody needs a privilege, since the stack is the
// program's own.
#include <algorithm>
#include <utility>
#include <vector>

#include "stack/base/ring.h"
#include "stack/ip/frames.h"
#include "stack/socket/object.h"

namespace sluice::socket {
namespace {

constexpr std::uint16_t kEveryProtocol = 3;  // ETH_P_ALL
constexpr std::size_t kOverhead = 128;       // charged to the queue for a frame beyond its block

class Packet final : public Object, private ip::FrameUser {
 public:
  Packet(Context& context, ip::Ip& ip, Type t, std::uint16_t protocol, Handle h)
      : Object(t, h), context_(context), ip_(ip) {
    bound_.protocol = protocol;
    ip_.add_frame_user(*this);
  }
  ~Packet() override { ip_.remove_frame_user(*this); }

  Status bind(const Endpoint&) override { return fail(Errno::kInvalid); }
  Status connect(const Endpoint&) override { return fail(Errno::kNotSupported); }
  Status bind_link(const ip::LinkName& name) override {
    if (name.interface != ip::kNoInterface && !ip_.has_link(name.interface)) return fail(Errno::kNoDevice);
    bound_.interface = name.interface;
    if (name.protocol != 0) bound_.protocol = name.protocol;
    return {};
  }

  Result<std::size_t> send(std::span<const Bytes> pieces, const Endpoint*, SendFlags flags) override;
  Result<Received> receive(std::span<const MutableBytes> pieces, ReceiveFlags flags) override;

  Status shutdown(Shutdown) override { return fail(Errno::kNotSupported); }
  [[nodiscard]] Endpoint local_name() const override { return {}; }
  [[nodiscard]] Result<ip::LinkName> link_name() const override {
    ip::LinkName name = bound_;
    name.address = ip_.mac_of(bound_.interface);
    return name;
  }
  [[nodiscard]] Result<Endpoint> peer_name() const override { return fail(Errno::kNotSupported); }
  Status set_option(Option option, std::int64_t v) override {
    if (option == Option::kSendBuffer || option == Option::kReuseAddress) return {};
    if (option != Option::kReceiveBuffer) return fail(Errno::kNoProtocolOption);
    receive_buffer_ = static_cast<std::size_t>(std::clamp<std::int64_t>(v, 2304, 64 << 20));
    return {};
  }
  Result<std::int64_t> get_option(Option option) override {
    if (option == Option::kProtocol) return std::int64_t{0};  // as on Linux: bind() may change it
    if (option == Option::kReceiveBuffer || option == Option::kSendBuffer) {
      return static_cast<std::int64_t>(receive_buffer_);
    }
    if (option == Option::kError || option == Option::kAcceptConnection) return std::int64_t{0};
    return fail(Errno::kNoProtocolOption);
  }
  [[nodiscard]] Ready ready() const override { return queue_.empty() ? Ready::kOut : Ready::kOut | Ready::kIn; }
  [[nodiscard]] Result<std::size_t> readable_bytes() const override {
    return queue_.empty() ? std::size_t{0} : queue_.front().frame.size();
  }

 private:
  struct Waiting {
    Received facts{};
    std::vector<std::uint8_t> frame{};
  };

  void on_frame(const ip::LinkName& name, const buf::TxFrame& frame, std::size_t header_size) override;
  [[nodiscard]] bool is_cooked() const { return type == Type::kPacketPayload; }

  Context& context_;
  ip::Ip& ip_;
  ip::LinkName bound_;    // no interface: all; no protocol: none yet
  bool sending_ = false;  // a frame of its own is on its way out
  std::size_t receive_buffer_ = 212992;
  std::size_t queued_ = 0;  // memory of what waits, bytes
  std::uint32_t dropped_ = 0;
  Ring<Waiting> queue_;
};

// What is sent is seen by those only who want all protocols, and have not sent it themselves, as on Linux.
void Packet::on_frame(const ip::LinkName& name, const buf::TxFrame& frame, std::size_t header_size) {
  if (sending_) return;
  if (bound_.interface != ip::kNoInterface && bound_.interface != name.interface) return;
  const bool fits = bound_.protocol == name.protocol && name.kind != ip::LinkName::Kind::kSent;
  if (bound_.protocol != kEveryProtocol && (bound_.protocol == 0 || !fits)) return;
  if (queued_ >= receive_buffer_) {
    ++dropped_;
    return context_.drop(Drop::kPacketQueueFull, frame.header);
  }
  std::vector<std::uint8_t> copy(frame.size());
  frame.copy_to(copy);
  if (is_cooked()) copy.erase(copy.begin(), copy.begin() + static_cast<std::ptrdiff_t>(header_size));
  queued_ += copy.size() + kOverhead;
  Received facts;
  facts.link = name;
  facts.interface = name.interface;
  facts.at = context_.now;
  facts.dropped = dropped_;
  queue_.push({facts, std::move(copy)});
  changed();
}

Result<Received> Packet::receive(std::span<const MutableBytes> pieces, ReceiveFlags flags) {
  if (queue_.empty()) return fail(Errno::kAgain);
  const Waiting& next = queue_.front();
  Received r = next.facts;
  const std::size_t copied = scatter(next.frame, pieces);
  r.truncated = copied < next.frame.size();
  r.size = flags.trunc ? next.frame.size() : copied;
  if (flags.peek) return r;
  queued_ -= next.frame.size() + kOverhead;
  (void)queue_.pop();
  return r;
}

// A whole frame names its receiver itself; its interface is the one that the socket is bound to, or that is named.
Result<std::size_t> Packet::send(std::span<const Bytes> pieces, const Endpoint*, SendFlags flags) {
  const ip::LinkName& to = flags.link != nullptr ? *flags.link : bound_;
  if (!ip_.has_link(to.interface)) return fail(Errno::kNoSuchAddress);
  if (is_cooked() && flags.link == nullptr) return fail(Errno::kInvalid);  // to whom?
  std::vector<std::uint8_t> all;
  for (Bytes piece : pieces) all.insert(all.end(), piece.begin(), piece.end());
  sending_ = true;
  const Status sent = is_cooked() ? ip_.send_payload(to, all) : ip_.send_frame(to.interface, all);
  sending_ = false;
  return sent ? Result<std::size_t>(all.size()) : fail(sent.error());
}

}  // namespace

Object* make_packet(Context& context, ip::Ip& ip, Type type, std::uint16_t protocol, Handle handle) {
  return new Packet(context, ip, type, protocol, handle);
}

}  // namespace sluice::socket
