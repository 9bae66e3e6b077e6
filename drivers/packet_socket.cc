#include "drivers/packet_socket.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if_arp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "drivers/virtio_header.h"
#include "stack/base/byte_order.h"

namespace sluice::drivers {

namespace {

constexpr int kSocketBytes = 8 << 20;  // of buffers each way, as far as the system's limits allow
constexpr std::size_t kAddressesSize = 12;

bool set(int fd, int level, int name, int value) {
  return ::setsockopt(fd, level, name, &value, sizeof value) == 0;
}

// Frames of other interfaces never arrive: the socket has no protocol before bind() names both.
bool attach(int fd, int index) {
  if (!set(fd, SOL_PACKET, PACKET_VNET_HDR, 1) || !set(fd, SOL_PACKET, PACKET_AUXDATA, 1) ||
      !set(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)) {
    return false;
  }
  if (!set(fd, SOL_SOCKET, SO_RCVBUFFORCE, kSocketBytes)) (void)set(fd, SOL_SOCKET, SO_RCVBUF, kSocketBytes);
  if (!set(fd, SOL_SOCKET, SO_SNDBUFFORCE, kSocketBytes)) (void)set(fd, SOL_SOCKET, SO_SNDBUF, kSocketBytes);
  packet_mreq membership{};
  membership.mr_ifindex = index;
  membership.mr_type = PACKET_MR_PROMISC;
  if (::setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership) != 0) return false;
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(ETH_P_ALL);
  address.sll_ifindex = index;
  return ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

bool is_ethernet(int fd, const std::string& interface) {
  ifreq request = request_for(interface);
  return ::ioctl(fd, SIOCGIFHWADDR, &request) == 0 && request.ifr_hwaddr.sa_family == ARPHRD_ETHER;
}

std::optional<tpacket_auxdata> auxiliary_data(msghdr& message) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA) continue;
    tpacket_auxdata data;
    std::memcpy(&data, CMSG_DATA(c), sizeof data);
    return data;
  }
  return std::nullopt;
}

}  // namespace

Result<std::unique_ptr<PacketSocket>, Failure> PacketSocket::open(const std::string& interface, HostOffload offload) {
  const int index = static_cast<int>(::if_nametoindex(interface.c_str()));
  if (index == 0) return fail(Failure{"there is no interface '" + interface + "'; `ip link` lists them"});
  Descriptor d{::socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  if (d.fd < 0) {
    Failure failure = system_failure("packet socket", errno);
    failure.message += "; run as root, or inside a namespace: unshare -Urn";
    failure.cause = Failure::Cause::kEnvironment;
    return fail(std::move(failure));
  }
  if (!is_ethernet(d.fd, interface)) return fail(Failure{"interface " + interface + " is not Ethernet"});
  if (!attach(d.fd, index)) return fail(system_failure("packet socket on " + interface, errno));
  link::Capabilities c;
  c.mtu = mtu_of(interface);
  if (offload == HostOffload::kOn) {  // what the interface itself cannot do, the kernel does before it
    c.tx_checksum = c.tso4 = c.tso6 = true;
    c.max_gso_bytes = kMaxGsoBytes;
  }
  return std::unique_ptr<PacketSocket>(new PacketSocket(d.release(), c));
}

PacketSocket::~PacketSocket() {
  ::close(fd_);
}

std::size_t PacketSocket::rx(Instant, buf::Pool& pool, std::span<buf::RxFrame> out) {
  std::size_t n = 0;
  for (std::size_t bytes = 0; n < out.size() && bytes < kBatchBytes;) {
    const Read read = read_frame(pool, out[n]);
    if (read == Read::kNothing) break;
    if (read == Read::kFrame) bytes += out[n++].wire_length;
  }
  return n;
}

PacketSocket::Read PacketSocket::read_frame(buf::Pool& pool, buf::RxFrame& frame) {
  if (!buffer_.prepare(pool)) return Read::kNothing;
  alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof(tpacket_auxdata))> control;
  const MutableBytes room = buffer_.room();
  iovec piece{room.data(), room.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  const ssize_t got = ::recvmsg(fd_, &message, MSG_TRUNC);
  // A kind of segmentation that the header has no word for takes the frame with it (EINVAL); ENETDOWN is told once.
  if (got < 0) return errno == EINVAL || errno == ENETDOWN ? Read::kLost : Read::kNothing;
  if (got <= static_cast<ssize_t>(kVirtioHeaderSize)) return Read::kLost;
  const std::size_t wire = static_cast<std::size_t>(got) - kVirtioHeaderSize;
  const std::size_t size = std::min(wire, room.size() - kVirtioHeaderSize);
  const ParsedVirtioHeader parsed = parse_virtio_header(room.first(kVirtioHeaderSize), size);
  frame.buffer = buffer_.take(pool, kVirtioHeaderSize, size);
  frame.offload = parsed.valid ? parsed.offload : buf::Offload{.gso_size = 1};  // the link layer drops it and counts it
  frame.wire_length = static_cast<std::uint32_t>(wire);
  const auto auxiliary = auxiliary_data(message);
  if (auxiliary && (auxiliary->tp_status & TP_STATUS_VLAN_VALID) != 0) {
    const bool named = (auxiliary->tp_status & TP_STATUS_VLAN_TPID_VALID) != 0;
    restore_tag(frame, named ? auxiliary->tp_vlan_tpid : ETHERTYPE_VLAN, auxiliary->tp_vlan_tci);
  }
  return Read::kFrame;
}

void restore_tag(buf::RxFrame& frame, std::uint16_t type, std::uint16_t control) {
  constexpr std::size_t kTag = 4;
  buf::Buffer& buffer = frame.buffer;
  if (buffer.size() < kAddressesSize) return;
  const std::size_t begin = static_cast<std::size_t>(buffer.bytes().data() - buffer.storage().data());
  std::uint8_t* to = buffer.storage().data() + begin - kTag;
  std::memmove(to, to + kTag, kAddressesSize);
  store_be16(to + kAddressesSize, type);
  store_be16(to + kAddressesSize + 2, control);
  buffer.set_view(begin - kTag, buffer.size() + kTag);
  frame.wire_length += kTag;
  if (frame.offload.checksum == buf::ChecksumState::kPartial) frame.offload.checksum_start += kTag;
  if (frame.offload.gso != buf::GsoType::kNone) frame.offload.header_length += kTag;
}

std::size_t PacketSocket::tx(Instant, std::span<const buf::TxFrame> frames) {
  std::size_t sent = 0;
  while (sent < frames.size()) {
    const std::size_t batch = std::min(frames.size() - sent, kWriteBatch);
    const std::size_t taken = send_batch(frames.subspan(sent, batch));
    sent += taken;
    if (taken < batch) break;  // the interface is down, or its queue or the socket's is full
  }
  return sent;
}

std::size_t PacketSocket::send_batch(std::span<const buf::TxFrame> frames) {
  std::array<std::array<std::uint8_t, kVirtioHeaderSize>, kWriteBatch> headers;
  std::array<GatherList, kWriteBatch> pieces;
  std::array<mmsghdr, kWriteBatch> messages{};
  for (std::size_t i = 0; i < frames.size(); ++i) {
    emit_virtio_header(headers[i], frames[i].offload);
    messages[i].msg_hdr.msg_iov = pieces[i].data();
    messages[i].msg_hdr.msg_iovlen = gather(frames[i], headers[i], pieces[i]);
  }
  const int sent = ::sendmmsg(fd_, messages.data(), static_cast<unsigned>(frames.size()), 0);
  return sent < 0 ? 0 : static_cast<std::size_t>(sent);
}

}  // namespace sluice::drivers
