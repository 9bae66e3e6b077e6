// What stands behind a handle. Calls that a kind of socket does not have keep the default, which is Linux's errno.
#pragma once

#include "stack/socket/sockets.h"

namespace sluice::socket {

// IP_MTU_DISCOVER (RFC4821-09)
inline bool is_path_mtu_use(std::int64_t v) {
  return v >= 0 && v < ip::kPathMtuUses;
}

class Object {
 public:
  Object(Type t, Handle h) : type(t), handle(h) {}
  virtual ~Object() = default;

  virtual Status bind(const Endpoint& local) = 0;
  virtual Status bind_link(const ip::LinkName&) { return fail(Errno::kInvalid); }
  [[nodiscard]] virtual Result<ip::LinkName> link_name() const { return fail(Errno::kNotSupported); }
  virtual Status listen(int) { return fail(Errno::kNotSupported); }
  // The connection to be wrapped in a socket of its own.
  virtual Result<tcp::ConnectionHandle*> accept() { return fail(Errno::kNotSupported); }
  virtual Status connect(const Endpoint& peer) = 0;
  virtual Status disconnect() { return fail(Errno::kNotSupported); }
  virtual Result<std::size_t> send(std::span<const Bytes> pieces, const Endpoint* destination, SendFlags flags) = 0;
  virtual Result<Received> receive(std::span<const MutableBytes> pieces, ReceiveFlags flags) = 0;
  virtual Result<Lent> lend() { return fail(Errno::kNotSupported); }
  virtual void give_back(std::size_t) {}
  virtual Status send(buf::Buffer&, SendFlags) { return fail(Errno::kNotSupported); }
  virtual Status join_group(const ip::Membership&) { return fail(Errno::kNoProtocolOption); }
  virtual Status leave_group(const ip::Membership&) { return fail(Errno::kNoProtocolOption); }
  virtual Result<ReceivedError> take_error() { return fail(Errno::kAgain); }
  virtual void report_copied() {}
  virtual void report_progress() {}
  virtual Result<Report> take_report() { return fail(Errno::kAgain); }
  virtual Status shutdown(Shutdown) { return fail(Errno::kNotConnected); }
  [[nodiscard]] virtual Endpoint local_name() const = 0;
  [[nodiscard]] virtual Result<Endpoint> peer_name() const = 0;
  virtual Status set_option(Option option, std::int64_t value) = 0;
  virtual Result<std::int64_t> get_option(Option option) = 0;
  virtual Status set_fast_open_keys(const tcp::FastOpenKeys&) { return fail(Errno::kNoProtocolOption); }
  [[nodiscard]] virtual Result<tcp::FastOpenKeys> fast_open_keys() const { return fail(Errno::kNoProtocolOption); }
  virtual Status set_md5_key(const tcp::Md5Key&) { return fail(Errno::kNoProtocolOption); }
  [[nodiscard]] virtual bool in_handshake() const { return false; }
  [[nodiscard]] virtual Ready ready() const = 0;
  [[nodiscard]] virtual bool receives(std::size_t) const {
    return any(ready() & (Ready::kIn | Ready::kError | Ready::kHangup));
  }
  [[nodiscard]] virtual Result<std::size_t> readable_bytes() const = 0;
  [[nodiscard]] virtual Result<tcp::Info> tcp_info() const { return fail(Errno::kNotSupported); }

  void changed() const {
    if (observer != nullptr) observer->on_ready(handle);
  }

  const Type type;
  const Handle handle;
  ReadyObserver* observer = nullptr;
};

// Makes the kinds; in the files of these names.
Object* make_stream(tcp::Tcp& tcp, Family family, Handle handle);
Object* make_accepted_stream(tcp::ConnectionHandle* connection, Handle handle);
Object* make_datagram(udp::Udp& udp, Family family, Handle handle);
Object* make_echo(ip::Ip& ip, Handle handle);
Object* make_packet(Context& context, ip::Ip& ip, Type type, std::uint16_t protocol, Handle handle);
Object* make_raw(Context& context, ip::Ip& ip, std::uint8_t protocol, Handle handle);

// Copies a datagram into pieces; returns how much fitted.
std::size_t scatter(Bytes from, std::span<const MutableBytes> pieces);

}  // namespace sluice::socket
