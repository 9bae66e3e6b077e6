#include "drivers/tuntap.h"

#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "drivers/virtio_header.h"

namespace sluice::drivers {

namespace {

// Segmentation of UDP came later than the other kinds (Linux 6.2), and Debian's header does not know it.
constexpr unsigned kTunUso4 = 0x20;
constexpr unsigned kTunUso6 = 0x40;

Failure open_failure(const std::string& name, int error) {
  Failure failure = system_failure("/dev/net/tun", error);
  failure.cause = Failure::Cause::kEnvironment;
  if (error == EPERM || error == EACCES) {
    failure.message += "; run as root, or inside a namespace: unshare -Urn";
  } else if (error == EBUSY) {
    failure.message = "interface " + name + " is in use by another program; end that one, or give another name";
  } else if (error == EINVAL) {
    failure.message = "interface " + name + " exists and is of another kind; `ip -d link show` tells which";
  }
  return failure;
}

// Frames for us that the kernel keeps; what comes then it drops.
std::uint32_t queue_of(const std::string& name) {
  const Descriptor s{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  ifreq request = request_for(name);
  constexpr std::uint32_t kUsual = 1000;
  if (s.fd < 0 || ::ioctl(s.fd, SIOCGIFTXQLEN, &request) < 0) return kUsual;
  return static_cast<std::uint32_t>(request.ifr_qlen);
}

// Tells the kernel what it may hand to us, the most it knows first. What it does not know it refuses as a whole.
bool accept_offload(int fd, link::Capabilities& c) {
  constexpr unsigned kTcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
  const bool uso = ::ioctl(fd, TUNSETOFFLOAD, kTcp | kTunUso4 | kTunUso6) == 0;
  if (!uso && ::ioctl(fd, TUNSETOFFLOAD, kTcp) != 0) return false;
  c.tx_checksum = c.tso4 = c.tso6 = true;
  c.uso = uso;
  c.max_gso_bytes = kMaxGsoBytes;
  return true;
}

int attach(int fd, const std::string& name, TunTap::Kind kind, HostOffload offload) {
  ifreq request = request_for(name);
  int flags = (kind == TunTap::Kind::kTap ? IFF_TAP : IFF_TUN) | IFF_NO_PI;
  if (offload == HostOffload::kOn) flags |= IFF_VNET_HDR;
  request.ifr_flags = static_cast<short>(flags);
  return ::ioctl(fd, TUNSETIFF, &request);
}

// The kernel gives the interface its queue a moment after somebody has attached to it. What it sends us before that is
// lost, and that would be its answer to our first ARP request. An interface that is down is not waited for.
void wait_until_running(const std::string& name) {
  constexpr int kLongest = 1200;  // ms: such changes are carried out once a second
  const Descriptor s{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  for (int i = 0; s.fd >= 0 && i < kLongest; ++i) {
    ifreq request = request_for(name);
    if (::ioctl(s.fd, SIOCGIFFLAGS, &request) < 0) return;
    if ((request.ifr_flags & IFF_UP) == 0 || (request.ifr_flags & IFF_RUNNING) != 0) return;
    ::usleep(1000);
  }
}
}  // namespace

Result<std::unique_ptr<TunTap>, Failure> TunTap::open(Kind kind, const std::string& name, HostOffload offload,
                                                      WriteBatch writes) {
  if (name.empty() || name.size() >= IFNAMSIZ) {
    return fail(Failure{"'" + name + "' is no interface name: 1 to " + std::to_string(IFNAMSIZ - 1) + " characters"});
  }
  Descriptor d{::open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC)};
  if (d.fd < 0) return fail(open_failure(name, errno));
  if (attach(d.fd, name, kind, offload) < 0) return fail(open_failure(name, errno));
  wait_until_running(name);
  link::Capabilities c;
  c.medium = kind == Kind::kTap ? link::Medium::kEthernet : link::Medium::kIp;
  c.mtu = mtu_of(name);
  // A persistent interface remembers what its last user accepted: it is told in either case.
  if (offload == HostOffload::kOff) {
    c.rx_queue_frames = queue_of(name);  // with offload a frame carries up to 64 KiB: more than any window
    (void)::ioctl(d.fd, TUNSETOFFLOAD, 0);
  } else if (!accept_offload(d.fd, c)) {
    return fail(system_failure(name + ": segmentation offload", errno));
  }
  std::optional<Uring> ring;
  if (writes == WriteBatch::kUring && offload == HostOffload::kOff) {
    ring = Uring::open(kWriteBatch, Uring::Submission::kByCall);
    if (!ring) return fail(system_failure("io_uring", errno));
  }
  return std::unique_ptr<TunTap>(new TunTap(d.release(), c, offload, std::move(ring)));
}

TunTap::~TunTap() {
  ::close(fd_);
}

std::size_t TunTap::rx(Instant, buf::Pool& pool, std::span<buf::RxFrame> out) {
  return offload_ == HostOffload::kOn ? rx_offload(pool, out) : rx_plain(pool, out);
}

std::size_t TunTap::rx_plain(buf::Pool& pool, std::span<buf::RxFrame> out) {
  const std::size_t room = capabilities_.mtu + kEthernetRoom;
  std::size_t n = 0;
  for (; n < out.size(); ++n) {
    buf::Buffer buffer = pool.allocate(room);
    if (!buffer) break;
    const MutableBytes storage = buffer.storage();
    const ssize_t got = ::read(fd_, storage.data(), storage.size());
    if (got <= 0) break;
    buffer.set_view(0, static_cast<std::size_t>(got));
    out[n] = {std::move(buffer), {}, static_cast<std::uint32_t>(got)};
  }
  return n;
}

std::size_t TunTap::rx_offload(buf::Pool& pool, std::span<buf::RxFrame> out) {
  std::size_t n = 0;
  for (std::size_t bytes = 0; n < out.size() && bytes < kBatchBytes; ++n) {
    if (!read_offload(pool, out[n])) break;
    bytes += out[n].wire_length;
  }
  return n;
}

bool TunTap::read_offload(buf::Pool& pool, buf::RxFrame& frame) {
  if (!buffer_.prepare(pool)) return false;
  const MutableBytes room = buffer_.room();
  const ssize_t got = ::read(fd_, room.data(), room.size());
  if (got <= static_cast<ssize_t>(kVirtioHeaderSize)) return false;
  const std::size_t size = static_cast<std::size_t>(got) - kVirtioHeaderSize;
  const ParsedVirtioHeader parsed = parse_virtio_header(room.first(kVirtioHeaderSize), size);
  frame.buffer = buffer_.take(pool, kVirtioHeaderSize, size);
  frame.offload = parsed.offload;
  if (!parsed.valid) frame.offload = buf::Offload{.gso_size = 1};  // the link layer drops it and counts it
  frame.wire_length = static_cast<std::uint32_t>(size);
  return true;
}

std::size_t TunTap::tx(Instant, std::span<const buf::TxFrame> frames) {
  if (ring_ && frames.size() > 1) return tx_by_ring(frames);
  std::size_t n = 0;
  for (const buf::TxFrame& frame : frames) {
    std::array<std::uint8_t, kVirtioHeaderSize> header;
    const bool offload = offload_ == HostOffload::kOn;
    if (offload) emit_virtio_header(header, frame.offload);
    // An interface that is down refuses (EIO); a full one says EAGAIN: either way the frame did not go.
    if (!write_frame(fd_, offload ? Bytes(header) : Bytes(), frame)) break;
    ++n;
  }
  return n;
}

std::size_t TunTap::tx_by_ring(std::span<const buf::TxFrame> frames) {
  std::size_t sent = 0;
  while (!frames.empty()) {
    const std::size_t batch = std::min(frames.size(), kWriteBatch);
    std::array<GatherList, kWriteBatch> pieces;
    for (std::size_t i = 0; i < batch; ++i) {
      const std::size_t count = gather(frames[i], {}, pieces[i]);
      ring_->add(Uring::Transfer::kWrite, fd_, {pieces[i].data(), count});
    }
    sent += ring_->run();
    frames = frames.subspan(batch);
  }
  return sent;
}

}  // namespace sluice::drivers
