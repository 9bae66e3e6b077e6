#include "apps/run/tags.h"

#include <netinet/in.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sluice/socket.hpp"

namespace sluice::apps::run {

namespace {

// An IPv4 address, then a port; or an errno.
constexpr int kPortBits = 16;
constexpr std::uint64_t kSource = std::uint64_t{1} << 48;
constexpr std::uint64_t kError = std::uint64_t{1} << 49;
constexpr std::size_t kMostKnown = 64;

KernelFd make_file(std::uint64_t tag, Bytes control) {
  KernelFd file(::memfd_create("sluice-tag", MFD_CLOEXEC));
  if (!control.empty()) (void)!::pwrite(file.get(), control.data(), control.size(), 0);
  (void)::lseek(file.get(), static_cast<off_t>(tag), SEEK_SET);
  return file;
}

}  // namespace

std::uint64_t source_tag(const SocketAddress& source) {
  const wire::Endpoint endpoint =
      net::to_endpoint(*static_cast<const sockaddr_in*>(static_cast<const void*>(&source.storage)));
  return kSource | std::uint64_t{endpoint.address.v4().value} << kPortBits | endpoint.port;
}

std::uint64_t error_tag(int error) {
  return kError | static_cast<std::uint64_t>(error);
}

bool names_source(std::uint64_t tag) {
  return (tag & kSource) != 0;
}

SocketAddress source_of(std::uint64_t tag) {
  SocketAddress source;
  source.length = sizeof(sockaddr_in);
  *static_cast<sockaddr_in*>(static_cast<void*>(&source.storage)) = net::to_sockaddr(
      {wire::Ipv4Address{static_cast<std::uint32_t>(tag >> kPortBits)}, static_cast<std::uint16_t>(tag)});
  return source;
}

int error_of(std::uint64_t tag) {
  return (tag & kError) != 0 ? static_cast<int>(tag & ~kError) : 0;
}

int Tags::descriptor_for(std::uint64_t tag, Bytes control) {
  if (!control.empty()) return latest_.emplace_back(make_file(tag, control)).get();
  KernelFd& file = known_[tag];
  if (!file) file = make_file(tag, {});
  return file.get();
}

void Tags::begin_batch() {
  latest_.clear();
  if (known_.size() >= kMostKnown) known_.clear();
}

Bytes Tags::read_control(int descriptor, MutableBytes room) {
  const ssize_t n = ::pread(descriptor, room.data(), room.size(), 0);
  return room.first(n < 0 ? 0 : static_cast<std::size_t>(n));
}

std::uint64_t Tags::read(int descriptor) {
  const off_t offset = ::lseek(descriptor, 0, SEEK_CUR);
  return offset < 0 ? kNoTag : static_cast<std::uint64_t>(offset);
}

}  // namespace sluice::apps::run
