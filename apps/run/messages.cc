#include "apps/run/messages.h"

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <sys/syscall.h>

#include <algorithm>

namespace sluice::apps::run {

namespace {

constexpr std::size_t kMostMessages = 1024;  // of one call, as in the kernel

std::uint64_t address_of(const void* theirs) {
  return reinterpret_cast<std::uint64_t>(theirs);
}

}  // namespace

bool takes_several(const Call& call) {
  return call.number() == SYS_sendmmsg || call.number() == SYS_recvmmsg;
}

std::size_t count_of_messages(const Call& call) {
  return takes_several(call) ? std::min<std::size_t>(call.argument(2), kMostMessages) : 1;
}

int flags_of_messages(const Call& call) {
  return call.int_argument(call.number() == SYS_sendmsg || call.number() == SYS_recvmsg ? 2 : 3);
}

msghdr Datagram::header(iovec& piece) {
  piece = {const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
  msghdr header{};
  header.msg_name = name.length > 0 ? name.get() : nullptr;
  header.msg_namelen = name.length;
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control_size > 0 ? control.data() : nullptr;
  header.msg_controllen = control_size;
  return header;
}

int ProgramMessage::find(const Call& call, std::size_t index) {
  *this = {};
  if (call.number() == SYS_sendto || call.number() == SYS_recvfrom) {
    pieces_ = {{reinterpret_cast<void*>(call.argument(1)), call.argument(2)}};
    room_ = call.argument(2);
    name_ = call.argument(4);
    (call.number() == SYS_sendto ? name_size_ : name_size_at_) = call.argument(5);
    return 0;
  }
  if (!takes_several(call)) return find_header(call, call.argument(1));
  const std::uint64_t entry = call.argument(1) + index * sizeof(mmsghdr);
  length_ = entry + offsetof(mmsghdr, msg_len);
  return find_header(call, entry + offsetof(mmsghdr, msg_hdr));
}

int ProgramMessage::find_header(const Call& call, std::uint64_t address) {
  header_ = address;
  msghdr header{};
  if (!call.read(address, header)) return EFAULT;
  if (header.msg_iovlen > IOV_MAX) return EMSGSIZE;
  name_ = address_of(header.msg_name);
  name_size_ = header.msg_namelen;
  control_ = address_of(header.msg_control);
  control_size_ = control_ != 0 ? header.msg_controllen : 0;
  pieces_.resize(header.msg_iovlen);
  if (!call.read(address_of(header.msg_iov), pieces_.data(), pieces_.size() * sizeof(iovec))) return EFAULT;
  for (const iovec& piece : pieces_) room_ += piece.iov_len;
  return 0;
}

int ProgramMessage::read(const Call& call, MutableBytes room, Datagram& datagram) const {
  return room_ > room.size() ? EMSGSIZE : read_front(call, room, datagram);
}

int ProgramMessage::read_name(const Call& call, SocketAddress& name) const {
  return name_ != 0 ? name.read_from(call, name_, name_size_) : 0;
}

int ProgramMessage::read_front(const Call& call, MutableBytes room, Datagram& datagram) const {
  if (const int error = read_name(call, datagram.name); error != 0) return error;
  if (control_size_ > datagram.control.size()) return EINVAL;
  datagram.bytes = room.first(std::min(room_, room.size()));
  datagram.control_size = control_size_;
  const bool read = call.read(pieces_, room.data(), datagram.bytes.size()) &&
                    call.read(control_, datagram.control.data(), datagram.control_size);
  return read ? 0 : EFAULT;
}

int ProgramMessage::set_sent(const Call& call, std::size_t bytes) const {
  return length_ == 0 || call.write(length_, static_cast<unsigned>(bytes)) ? 0 : EFAULT;
}

int ProgramMessage::store(const Call& call, const Datagram& datagram, int flags) const {
  const std::size_t stored = std::min(datagram.bytes.size(), room_);
  if (!call.write(pieces_, datagram.bytes.data(), stored)) return EFAULT;
  if (stored < datagram.bytes.size()) flags |= MSG_TRUNC;
  if (header_ == 0) return datagram.name.write_to(call, name_, name_size_at_);
  if (length_ != 0 && !call.write(length_, static_cast<unsigned>(stored))) return EFAULT;
  return store_header(call, datagram, flags);
}

int ProgramMessage::store_header(const Call& call, const Datagram& datagram, int flags) const {
  const socklen_t named = name_ != 0 ? datagram.name.length : 0;
  const bool fits = datagram.control_size <= control_size_;
  const std::size_t control_size = fits ? datagram.control_size : 0;
  if (!fits) flags |= MSG_CTRUNC;
  const bool stored = call.write(name_, &datagram.name.storage, std::min<std::size_t>(named, name_size_)) &&
                      call.write(control_, datagram.control.data(), control_size) &&
                      call.write(header_ + offsetof(msghdr, msg_namelen), named) &&
                      call.write(header_ + offsetof(msghdr, msg_controllen), control_size) &&
                      call.write(header_ + offsetof(msghdr, msg_flags), flags);
  return stored ? 0 : EFAULT;
}

}  // namespace sluice::apps::run
