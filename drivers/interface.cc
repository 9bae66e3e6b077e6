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
bool FrameBuffers::prepare(buf::Pool& pool) {
  if (!small_) small_ = pool.allocate(buf::Pool::kSmall);
  if (!large_) large_ = pool.allocate(buf::Pool::kLarge);
  return small_ && large_;
}

std::array<iovec, 2> FrameBuffers::pieces() {
  const MutableBytes head = small_.storage().subspan(headroom_);
  const MutableBytes tail = large_.storage().subspan(small_.storage().size());
  return {{{head.data(), head.size()}, {tail.data(), tail.size()}}};
}

buf::Buffer FrameBuffers::take(std::size_t size) {
  const MutableBytes head = small_.storage();
  const bool fits = headroom_ + size <= head.size();
  if (!fits) std::memcpy(large_.storage().data(), head.data(), head.size());
  buf::Buffer frame = std::move(fits ? small_ : large_);
  frame.set_view(headroom_, size);
  return frame;
}

}  // namespace sluice::drivers
