#include "stack/socket/sockets.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <vector>

#include "stack/socket/object.h"

namespace sluice::socket {

namespace {
constexpr std::size_t kMaxSockets = 1u << 20;
}

std::size_t scatter(Bytes from, std::span<const MutableBytes> pieces) {
  std::size_t done = 0;
  for (const MutableBytes piece : pieces) {
    const std::size_t n = std::min(piece.size(), from.size() - done);
    if (n == 0) continue;
    std::memcpy(piece.data(), from.data() + done, n);
    done += n;
  }
  return done;
}

struct Sockets::Impl {
  Impl(Context& c, ip::Ip& i, udp::Udp& u, tcp::Tcp& t) : context(c), ip(i), udp(u), tcp(t) {}

  [[nodiscard]] Object* find(Handle h) const {
    return h >= 0 && static_cast<std::size_t>(h) < objects.size() ? objects[static_cast<std::size_t>(h)] : nullptr;
  }
  // The number that put() will take: the one given back last, as it is in the cache. -1 when there is none.
  Handle free_handle() {
    if (free.empty()) {
      if (objects.size() == kMaxSockets) return -1;
      free.push_back(static_cast<Handle>(objects.size()));
      objects.push_back(nullptr);
    }
    return free.back();
  }
  Handle put(Object* object) {
    assert(object->handle == free.back());
    free.pop_back();
    objects[static_cast<std::size_t>(object->handle)] = object;
    return object->handle;
  }

  Context& context;
  ip::Ip& ip;
  udp::Udp& udp;
  tcp::Tcp& tcp;
  std::vector<Object*> objects;
  std::vector<Handle> free;  // those below objects.size() that nobody has
};

Sockets::Sockets(Context& context, ip::Ip& ip, udp::Udp& udp, tcp::Tcp& tcp) : impl_(new Impl(context, ip, udp, tcp)) {}

Sockets::~Sockets() {
  for (Object* o : impl_->objects) delete o;
  delete impl_;
}

Result<Handle> Sockets::open(Family family, Type type, std::uint16_t protocol) {
  if (family != Family::kV4) return fail(Errno::kFamilyNotSupported);
  const Handle h = impl_->free_handle();
  if (h < 0) return fail(Errno::kTooManyFiles);
  Object* object = nullptr;
  switch (type) {
    case Type::kStream:
      object = make_stream(impl_->tcp, family, h);
      break;
    case Type::kDatagram:
      object = make_datagram(impl_->udp, family, h);
      break;
    case Type::kIcmpEcho:
      object = make_echo(impl_->ip, h);
      break;
    case Type::kRaw:
      if (protocol == 0) return fail(Errno::kProtocolNotSupported);
      object = make_raw(impl_->context, impl_->ip, static_cast<std::uint8_t>(protocol), h);
      break;
    case Type::kPacket:
    case Type::kPacketPayload:
      object = make_packet(impl_->context, impl_->ip, type, protocol, h);
      break;
  }
  return object != nullptr ? Result<Handle>(impl_->put(object)) : fail(Errno::kTooManyFiles);
}

Result<Handle> Sockets::accept(Handle handle, Endpoint* peer) {
  Object* o = impl_->find(handle);
  if (o == nullptr) return fail(Errno::kBadFile);
  const Handle h = impl_->free_handle();  // first, so that no accepted connection is lost for want of a handle
  if (h < 0) return fail(Errno::kTooManyFiles);
  const auto connection = o->accept();
  if (!connection) return fail(connection.error());
  if (peer != nullptr) *peer = (*connection)->peer();
  Object* accepted = make_accepted_stream(*connection, h);
  const auto low_water = o->get_option(Option::kReceiveLowWater).value_or(1);  // the listener's, as on Linux
  if (low_water != 1) (void)accepted->set_option(Option::kReceiveLowWater, low_water);
  return impl_->put(accepted);
}

Status Sockets::close(Handle handle) {
  Object* o = impl_->find(handle);
  if (o == nullptr) return fail(Errno::kBadFile);
  impl_->objects[static_cast<std::size_t>(handle)] = nullptr;
  impl_->free.push_back(handle);
  delete o;
  return {};
}

// The rest finds the object and asks it.

Status Sockets::bind(Handle handle, const Endpoint& local) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->bind(local) : fail(Errno::kBadFile);
}
Status Sockets::bind_link(Handle handle, const ip::LinkName& name) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->bind_link(name) : fail(Errno::kBadFile);
}
Result<ip::LinkName> Sockets::link_name(Handle handle) const {
  const Object* o = impl_->find(handle);
  return o != nullptr ? o->link_name() : fail(Errno::kBadFile);
}
Status Sockets::listen(Handle handle, int backlog) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->listen(backlog) : fail(Errno::kBadFile);
}
Status Sockets::connect(Handle handle, const Endpoint& peer) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->connect(peer) : fail(Errno::kBadFile);
}
Status Sockets::disconnect(Handle handle) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->disconnect() : fail(Errno::kBadFile);
}
Result<std::size_t> Sockets::send(Handle handle, std::span<const Bytes> pieces, const Endpoint* destination,
                                  SendFlags flags) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->send(pieces, destination, flags) : fail(Errno::kBadFile);
}
Result<Received> Sockets::receive(Handle handle, std::span<const MutableBytes> pieces, ReceiveFlags flags) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->receive(pieces, flags) : fail(Errno::kBadFile);
}
Result<Lent> Sockets::lend(Handle handle) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->lend() : fail(Errno::kBadFile);
}
void Sockets::give_back(Handle handle, std::size_t bytes) {
  if (Object* o = impl_->find(handle); o != nullptr) o->give_back(bytes);
}
Status Sockets::send(Handle handle, buf::Buffer& block, SendFlags flags) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->send(block, flags) : fail(Errno::kBadFile);
}
Result<ReceivedError> Sockets::take_error(Handle handle) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->take_error() : fail(Errno::kBadFile);
}
Status Sockets::join_group(Handle handle, const ip::Membership& membership) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->join_group(membership) : fail(Errno::kBadFile);
}
Status Sockets::leave_group(Handle handle, const ip::Membership& membership) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->leave_group(membership) : fail(Errno::kBadFile);
}
void Sockets::report_copied(Handle handle) {
  if (Object* o = impl_->find(handle); o != nullptr) o->report_copied();
}
void Sockets::report_progress(Handle handle) {
  if (Object* o = impl_->find(handle); o != nullptr) o->report_progress();
}
Result<Report> Sockets::take_report(Handle handle) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->take_report() : fail(Errno::kBadFile);
}
Status Sockets::shutdown(Handle handle, Shutdown how) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->shutdown(how) : fail(Errno::kBadFile);
}
Result<Endpoint> Sockets::local_name(Handle handle) const {
  const Object* o = impl_->find(handle);
  return o != nullptr ? Result<Endpoint>(o->local_name()) : fail(Errno::kBadFile);
}
Result<Endpoint> Sockets::peer_name(Handle handle) const {
  const Object* o = impl_->find(handle);
  return o != nullptr ? o->peer_name() : fail(Errno::kBadFile);
}
Status Sockets::set_option(Handle handle, Option option, std::int64_t value) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->set_option(option, value) : fail(Errno::kBadFile);
}
Result<std::int64_t> Sockets::get_option(Handle handle, Option option) {
  Object* o = impl_->find(handle);
  if (o == nullptr) return fail(Errno::kBadFile);
  if (option == Option::kType) return static_cast<std::int64_t>(o->type);
  return o->get_option(option);
}
bool Sockets::in_handshake(Handle handle) const {
  const Object* o = impl_->find(handle);
  return o != nullptr && o->in_handshake();
}
Status Sockets::set_fast_open_keys(Handle handle, const tcp::FastOpenKeys& keys) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->set_fast_open_keys(keys) : fail(Errno::kBadFile);
}
Result<tcp::FastOpenKeys> Sockets::fast_open_keys(Handle handle) const {
  const Object* o = impl_->find(handle);
  return o != nullptr ? o->fast_open_keys() : fail(Errno::kBadFile);
}
Status Sockets::set_md5_key(Handle handle, const tcp::Md5Key& key) {
  Object* o = impl_->find(handle);
  return o != nullptr ? o->set_md5_key(key) : fail(Errno::kBadFile);
}
const ip::Ip& Sockets::ip() const {
  return impl_->ip;
}
bool Sockets::receives(Handle handle, std::size_t least) const {
  const Object* o = impl_->find(handle);
  return o == nullptr || o->receives(least);
}
Ready Sockets::ready(Handle handle) const {
  const Object* o = impl_->find(handle);
  return o != nullptr ? o->ready() : Ready::kNone;
}
Result<std::size_t> Sockets::readable_bytes(Handle handle) const {
  const Object* o = impl_->find(handle);
  return o != nullptr ? o->readable_bytes() : fail(Errno::kBadFile);
}
Result<tcp::Info> Sockets::tcp_info(Handle handle) const {
  const Object* o = impl_->find(handle);
  return o != nullptr ? o->tcp_info() : fail(Errno::kBadFile);
}
ReadyObserver* Sockets::observer(Handle handle) const {
  const Object* o = impl_->find(handle);
  return o != nullptr ? o->observer : nullptr;
}
Status Sockets::set_observer(Handle handle, ReadyObserver* observer) {
  Object* o = impl_->find(handle);
  if (o == nullptr) return fail(Errno::kBadFile);
  o->observer = observer;
  return {};
}

}  // namespace sluice::socket
