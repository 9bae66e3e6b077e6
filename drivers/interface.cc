#include "drivers/interface.h"

#include <arpa/inet.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "stack/wire/address.h"

namespace sluice::drivers {

Failure system_failure(const std::string& what, int error) {
  return {what + ": " + std::strerror(error), Failure::Cause::kRequest};
}

ifreq request_for(const std::string& name) {
  ifreq request{};
  name.copy(request.ifr_name, sizeof request.ifr_name - 1);
  return request;
}

std::uint32_t mtu_of(const std::string& name) {
  const Descriptor s{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  ifreq request = request_for(name);
  constexpr std::uint32_t kUsual = 1500;
  if (s.fd < 0 || ::ioctl(s.fd, SIOCGIFMTU, &request) < 0) return kUsual;
  return static_cast<std::uint32_t>(request.ifr_mtu);
}

Result<void, Failure> configure_interface(const std::string& name, const std::string& prefix, std::uint32_t mtu) {
  const auto parsed = wire::parse_prefix(prefix);
  if (!parsed || !parsed->address.is_v4())
    return fail(Failure{"'" + prefix + "' is not an IPv4 address with a length"});
  const Descriptor s{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  if (s.fd < 0) return fail(system_failure("socket", errno));
  const auto set_address = [&](unsigned long command, std::uint32_t address) {
    ifreq request = request_for(name);
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(address);
    std::memcpy(&request.ifr_addr, &in, sizeof in);
    return ::ioctl(s.fd, command, &request);
  };
  const std::uint32_t mask = parsed->length == 0 ? 0 : 0xffffffffu << (32 - parsed->length);
  if (set_address(SIOCSIFADDR, parsed->address.v4().value) < 0)
    return fail(system_failure(name + ": set address", errno));
  if (set_address(SIOCSIFNETMASK, mask) < 0) return fail(system_failure(name + ": set netmask", errno));
  ifreq request = request_for(name);
  if (mtu != 0) {
    request.ifr_mtu = static_cast<int>(mtu);
    if (::ioctl(s.fd, SIOCSIFMTU, &request) < 0) return fail(system_failure(name + ": set MTU", errno));
  }
  request = request_for(name);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (::ioctl(s.fd, SIOCSIFFLAGS, &request) < 0) return fail(system_failure(name + ": bring up", errno));
  return {};
}

std::size_t gather(const buf::TxFrame& frame, Bytes header, GatherList& pieces) {
  std::size_t count = 0;
  const auto add = [&](Bytes b) { pieces[count++] = {const_cast<std::uint8_t*>(b.data()), b.size()}; };
  if (!header.empty()) add(header);
  add(frame.header);
  for (Bytes piece : frame.payload) add(piece);
  return count;
}

// A short frame goes in one piece, for the same reason as on the way in.
bool write_frame(int fd, Bytes header, const buf::TxFrame& frame) {
  constexpr std::size_t kShort = 512;  // bytes
  GatherList pieces;
  const std::size_t count = gather(frame, header, pieces);
  std::size_t size = 0;
  for (std::size_t i = 0; i < count; ++i) size += pieces[i].iov_len;
  if (size > kShort) return ::writev(fd, pieces.data(), static_cast<int>(count)) >= 0;
  std::array<std::uint8_t, kShort> all;
  std::size_t at = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (pieces[i].iov_len > 0) std::memcpy(all.data() + at, pieces[i].iov_base, pieces[i].iov_len);
    at += pieces[i].iov_len;
  }
  return ::write(fd, all.data(), size) >= 0;
}

bool FrameBuffer::prepare(buf::Pool& pool) {
  if (!large_) large_ = pool.allocate(buf::Pool::kLarge);
  return static_cast<bool>(large_);
}

buf::Buffer FrameBuffer::take(buf::Pool& pool, std::size_t header, std::size_t size) {
  if (headroom_ + size <= buf::Pool::kSmall) {
    buf::Buffer small = pool.allocate(headroom_ + size);
    if (small) {
      std::memcpy(small.storage().data() + headroom_, room().data() + header, size);
      small.set_view(headroom_, size);
      return small;
    }
  }
  buf::Buffer frame = std::move(large_);
  frame.set_view(headroom_ + header, size);
  return frame;
}

}  // namespace sluice::drivers
