// What packet sockets see and send.
#include <algorithm>

#include "stack/ip/impl.h"
#include "stack/wire/ethernet.h"

namespace sluice::ip {

namespace {
LinkName::Kind kind_of(const wire::MacAddress& destination, const link::Link& link) {
  if (destination.is_broadcast()) return LinkName::Kind::kBroadcast;
  if (destination.is_group()) return LinkName::Kind::kMulticast;
  return destination == link.mac() ? LinkName::Kind::kToUs : LinkName::Kind::kToOthers;
}
}  // namespace

void Ip::Impl::on_frame(link::Link& link, const buf::TxFrame& frame, Direction direction) {
  LinkName name;
  name.interface = interface_of(link).id;
  std::size_t header_size = 0;
  if (link.is_ethernet()) {
    const auto parsed = wire::ethernet::parse(frame.header);  // of what is sent the header may be all there is here
    if (!parsed) return;
    header_size = parsed->header_size;
    name.protocol = parsed->header.type;
    name.address = parsed->header.source;
    name.kind = kind_of(parsed->header.destination, link);
  } else {
    name.protocol = wire::ethernet::kIpv4;
    name.medium = link::Medium::kIp;
  }
  if (direction == Direction::kOut) name.kind = LinkName::Kind::kSent;
  for (FrameUser* user : frame_users_) user->on_frame(name, frame, header_size);
}

void Ip::add_frame_user(FrameUser& user) {
  impl_->frame_users_.push_back(&user);
  for (std::size_t i = 0; i < impl_->interface_count_; ++i) impl_->interfaces_[i]->link.watch_frames(impl_);
}

void Ip::remove_frame_user(FrameUser& user) {
  std::erase(impl_->frame_users_, &user);
  if (!impl_->frame_users_.empty()) return;
  for (std::size_t i = 0; i < impl_->interface_count_; ++i) impl_->interfaces_[i]->link.watch_frames(nullptr);
}

Status Ip::send_frame(InterfaceId id, Bytes frame) {
  Interface* out = impl_->interface(id);
  const bool up = out != nullptr && out->link.state() == link::LinkState::kUp;
  return up ? out->link.send_frame(frame) : fail(Errno::kNetworkDown);
}

Status Ip::send_payload(const LinkName& to, Bytes payload) {
  Interface* out = impl_->interface(to.interface);
  const bool up = out != nullptr && out->link.state() == link::LinkState::kUp;
  return up ? out->link.send_payload(payload, to.address, to.protocol) : fail(Errno::kNetworkDown);
}

bool Ip::has_link(InterfaceId id) const {
  return impl_->interface(id) != nullptr;
}

}  // namespace sluice::ip
