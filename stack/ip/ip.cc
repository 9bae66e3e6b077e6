// Configuration of IP, questions about it, and the facade.
#include "stack/ip/ip.h"

#include <algorithm>

#include "stack/ip/impl.h"

namespace sluice::ip {

namespace {
constexpr std::uint32_t kMinMtu = 68;  // RFC 791 §3.2: every link carries that much
constexpr std::uint32_t kMaxMtu = 65535;
constexpr std::uint16_t kMaxVid = 4094;

bool is_mtu(std::uint32_t mtu) {
  return mtu >= kMinMtu && mtu <= kMaxMtu;
}

bool is_unicast_host(const Prefix& p) {
  if (!p.address.is_v4()) return false;
  const wire::Ipv4Address a = p.address.v4();
  if (a.is_multicast() || a.is_class_e() || a.is_this_network() || p.length > 32 || p.length == 0) return false;
  if (p.length >= 31) return true;  // point to point (RFC 3021)
  const std::uint32_t host = a.value & (0xffffffffu >> p.length);
  return host != 0 && host != 0xffffffffu >> p.length;
}

Prefix network_of(const Prefix& p) {
  const std::uint32_t mask = p.length == 0 ? 0 : 0xffffffffu << (32 - p.length);
  return {wire::Ipv4Address{p.address.v4().value & mask}, p.length};
}
}  // namespace

Errno errno_of(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kNetUnreachable:
      return Errno::kNetworkUnreachable;
    case ErrorKind::kHostUnreachable:
      return Errno::kHostUnreachable;
    case ErrorKind::kProtocolUnreachable:
      return Errno::kNoProtocolOption;
    case ErrorKind::kPortUnreachable:
      return Errno::kConnectionRefused;
    case ErrorKind::kFragmentationNeeded:
      return Errno::kMessageSize;
    case ErrorKind::kProhibited:
      return Errno::kHostUnreachable;
    case ErrorKind::kTimeExceeded:
      return Errno::kHostUnreachable;
    case ErrorKind::kParameterProblem:
      return Errno::kProtocol;
  }
  return Errno::kIo;
}

Ip::Impl::Impl(Context& context, buf::Pool& pool, const IpConfig& config)
    : context_(context),
      pool_(pool),
      config_(config),
      path_mtu_(context, generation_),
      error_limit_(context, config.icmp_errors_per_second),
      identification_(context),
      reassembler_(context, pool, *this, config) {}

Ip::Impl::~Impl() {
  for (std::size_t i = 0; i < interface_count_; ++i) delete interfaces_[i];
}

Interface* Ip::Impl::interface(InterfaceId id) {
  return id >= 1 && id <= interface_count_ ? interfaces_[id - 1u] : nullptr;
}
const Interface* Ip::Impl::interface(InterfaceId id) const {
  return id >= 1 && id <= interface_count_ ? interfaces_[id - 1u] : nullptr;
}

link::NeighborCache* Ip::Impl::neighbors_of(InterfaceId id) {
  Interface* found = interface(id);
  return found != nullptr && found->link.is_ethernet() ? &found->link.neighbors() : nullptr;
}

Interface& Ip::Impl::interface_of(const link::Link& link) {
  const auto end = interfaces_.begin() + static_cast<std::ptrdiff_t>(interface_count_);
  return **std::find_if(interfaces_.begin(), end, [&](const Interface* i) { return &i->link == &link; });
}

InterfaceId Ip::Impl::interface_with(const Address& address) const {
  if (address.is_loopback()) return kLoopback;
  for (std::size_t i = 0; i < interface_count_; ++i) {
    const auto all = interfaces_[i]->all_addresses();
    if (std::any_of(all.begin(), all.end(), [&](const Prefix& p) { return p.address == address; })) {
      return interfaces_[i]->id;
    }
  }
  return kNoInterface;
}

bool Ip::Impl::is_local(const Address& address) const {
  if (address.is_loopback()) return true;
  for (std::size_t i = 0; i < interface_count_; ++i) {
    for (const Prefix& p : interfaces_[i]->all_addresses()) {
      if (p.address == address) return interfaces_[i]->link.address_usable(address.v4());
    }
  }
  return false;
}

bool Ip::Impl::is_subnet_broadcast(wire::Ipv4Address address, const Interface& interface) const {
  return std::any_of(interface.all_addresses().begin(), interface.all_addresses().end(), [address](const Prefix& p) {
    return p.length < 31 && p.contains(address) && (address.value | 0xffffffffu << (32 - p.length)) == 0xffffffffu;
  });
}

// All standard forms of broadcast (RFC1122-BC-01): limited, and to a subnet of the interface.
Cast Ip::Impl::cast_of(const Address& address, const Interface* interface) const {
  if (address.is_multicast()) return Cast::kMulticast;
  if (!address.is_v4()) return Cast::kUnicast;
  if (address.v4().is_broadcast()) return Cast::kBroadcast;
  if (interface != nullptr) {
    return is_subnet_broadcast(address.v4(), *interface) ? Cast::kBroadcast : Cast::kUnicast;
  }
  const auto end = interfaces_.begin() + static_cast<std::ptrdiff_t>(interface_count_);
  const bool any =
      std::any_of(interfaces_.begin(), end, [&](const Interface* i) { return is_subnet_broadcast(address.v4(), *i); });
  return any ? Cast::kBroadcast : Cast::kUnicast;
}

const Groups* Ip::Impl::groups_of(InterfaceId id) const {
  if (id == kLoopback) return &loopback_groups_;
  const Interface* one = interface(id);
  return one != nullptr ? &one->groups : nullptr;
}

bool Ip::Impl::in_group(const Address& group, InterfaceId id) const {
  const Groups* groups = groups_of(id);
  return groups != nullptr && groups->has(group);
}

// --- the facade ------------------------------------------------------------------------------------------------------

Ip::Ip(Context& context, buf::Pool& pool, const IpConfig& config) : impl_(new Impl(context, pool, config)) {}
Ip::~Ip() {
  delete impl_;
}

namespace {
wire::MacAddress choose_mac(Context& context, const wire::MacAddress& wanted, const wire::MacAddress& of_device) {
  if (!wanted.is_zero()) return wanted;
  if (!of_device.is_zero()) return of_device;
  wire::MacAddress mac;
  context.rng.fill(mac.octets);
  mac.octets[0] = static_cast<std::uint8_t>((mac.octets[0] & 0xfc) | 0x02);  // unicast, locally administered
  return mac;
}
}  // namespace

Result<InterfaceId> Ip::add_interface(link::NetDevice& device, const InterfaceConfig& config) {
  Impl& im = *impl_;
  if (im.interface_count_ == Impl::kMaxInterfaces) return fail(Errno::kNoBuffers);
  link::LinkConfig link;
  link.mac = choose_mac(im.context_, config.mac, device.capabilities().mac);
  link.mtu = config.mtu != 0 ? config.mtu : device.capabilities().mtu;  // (RFC1122-FRAG-10)
  link.vlan = config.vlan;
  link.neighbors.lifetime = im.config_.neighbor_lifetime;
  if (config.coalescing == InterfaceConfig::Coalescing::kOff) link.coalescing = link::LinkConfig::Coalescing::kOff;
  if (config.promiscuity == InterfaceConfig::Promiscuity::kOn) link.promiscuity = link::LinkConfig::Promiscuity::kOn;
  const bool ethernet = device.capabilities().medium == link::Medium::kEthernet;
  using Start = link::AddressGuard::Start;
  using Check = InterfaceConfig::AddressCheck;
  link.address_start = !ethernet || config.address_check == Check::kNone ? Start::kQuiet
                       : config.address_check == Check::kProbe           ? Start::kProbe
                                                                         : Start::kAnnounce;
  if (!is_mtu(link.mtu) || link.mac.is_group() || link.vlan > kMaxVid) {
    return fail(Errno::kInvalid);
  }
  const auto id = static_cast<InterfaceId>(im.interface_count_ + 1);
  auto* interface = new Interface(im.context_, im.pool_, device, im, link, im, id);
  im.interfaces_[im.interface_count_++] = interface;
  if (!im.frame_users_.empty()) interface->link.watch_frames(&im);
  ++im.generation_;
  const auto all_hosts = wire::Ipv4Address::of(224, 0, 0, 1);
  if (const Status joined = join_group(id, all_hosts); !joined) return fail(joined.error());
  return id;
}

Status Ip::add_address(InterfaceId id, const Prefix& address) {
  Interface* interface = impl_->interface(id);
  if (interface == nullptr || !is_unicast_host(address)) return fail(Errno::kInvalid);
  if (interface->address_count == Interface::kMaxAddresses) return fail(Errno::kNoBuffers);
  if (const Status added = interface->link.add_address(address.address.v4()); !added) return added;
  interface->addresses[interface->address_count++] = address;
  ++impl_->generation_;
  const Status routed = impl_->routes_.add({network_of(address), Address(), id, 0});
  if (routed || routed.error() == Errno::kExist) return {};
  (void)remove_address(id, address.address);
  return routed;
}

Status Ip::remove_address(InterfaceId id, const Address& address) {
  Interface* interface = impl_->interface(id);
  if (interface == nullptr) return fail(Errno::kInvalid);
  const auto end = interface->addresses.begin() + static_cast<std::ptrdiff_t>(interface->address_count);
  const auto at =
      std::find_if(interface->addresses.begin(), end, [&](const Prefix& p) { return p.address == address; });
  if (at == end) return fail(Errno::kAddressNotAvailable);
  const Prefix network = network_of(*at);
  interface->link.remove_address(address.v4());
  std::move(at + 1, end, at);
  --interface->address_count;
  const auto left = interface->all_addresses();
  const bool shared = std::any_of(left.begin(), left.end(), [&](const Prefix& p) { return network_of(p) == network; });
  if (!shared) impl_->routes_.remove_on(id, network);
  ++impl_->generation_;
  return {};
}

Status Ip::add_route(const RouteEntry& entry) {
  RouteEntry route = entry;
  if (!route.destination.address.is_v4() || route.destination.length > 32) return fail(Errno::kInvalid);
  if (route.mtu != 0 && route.mtu < kMinMtu) return fail(Errno::kInvalid);
  route.destination = network_of(route.destination);
  if (!route.gateway.is_any()) {
    const RouteEntry* on_link = impl_->routes_.find(route.gateway, route.interface);
    if (on_link == nullptr || !on_link->gateway.is_any()) return fail(Errno::kNetworkUnreachable);
    route.interface = on_link->interface;
  }
  if (impl_->interface(route.interface) == nullptr) return fail(Errno::kInvalid);
  ++impl_->generation_;
  return impl_->routes_.add(route);
}

Status Ip::remove_route(const RouteEntry& entry) {
  ++impl_->generation_;
  return impl_->routes_.remove(entry);
}

// Whatever is cached about the way over the interface is looked up again.
Status Ip::set_link_state(InterfaceId id, link::LinkState state) {
  Interface* interface = impl_->interface(id);
  if (interface == nullptr) return fail(Errno::kInvalid);
  interface->link.set_state(state);
  interface->igmp.on_link_state(state);
  impl_->routes_.set_state(id, state);
  ++impl_->generation_;
  return {};
}

Status Ip::set_mtu(InterfaceId id, std::uint32_t mtu) {
  Interface* interface = impl_->interface(id);
  if (interface == nullptr || !is_mtu(mtu)) return fail(Errno::kInvalid);
  interface->link.set_mtu(mtu);
  ++impl_->generation_;
  return {};
}

Status Ip::set_mac(InterfaceId id, const wire::MacAddress& mac) {
  Interface* interface = impl_->interface(id);
  if (interface == nullptr || !interface->link.is_ethernet() || mac.is_group() || mac.is_zero()) {
    return fail(Errno::kInvalid);
  }
  interface->link.set_mac(mac);
  return {};
}

Status Ip::set_neighbor(InterfaceId id, const Address& address, const wire::MacAddress& mac, Known known) {
  link::NeighborCache* cache = impl_->neighbors_of(id);
  if (cache == nullptr || mac.is_group() || mac.is_zero() || !is_unicast_host({address, 32})) {
    return fail(Errno::kInvalid);
  }
  if (known == Known::kKeep && cache->has(address)) return fail(Errno::kExist);
  return cache->set_permanent(address, mac);
}

Status Ip::remove_neighbor(InterfaceId id, const Address& address) {
  link::NeighborCache* cache = impl_->neighbors_of(id);
  if (cache == nullptr) return fail(Errno::kInvalid);
  return cache->forget(address) ? Status() : fail(Errno::kAddressNotAvailable);
}

Status Ip::forget_neighbors(InterfaceId id) {
  link::NeighborCache* cache = impl_->neighbors_of(id);
  if (cache == nullptr) return fail(Errno::kInvalid);
  cache->forget_learned();
  return {};
}

Status Ip::join_group(InterfaceId id, const Address& group) {
  Interface* interface = impl_->interface(id);
  if ((interface == nullptr && id != kLoopback) || !group.is_v4() || !group.is_multicast())
    return fail(Errno::kInvalid);
  Groups& groups = interface != nullptr ? interface->groups : impl_->loopback_groups_;
  const auto first = groups.join(group);
  if (!first) return fail(first.error());
  if (!*first || interface == nullptr) return {};
  if (const Status heard = interface->link.join(wire::multicast_mac(group)); !heard) {
    (void)groups.leave(group);
    return heard;
  }
  interface->igmp.join(group.v4());
  return {};
}

Status Ip::leave_group(InterfaceId id, const Address& group) {
  Interface* interface = impl_->interface(id);
  if (interface == nullptr && id != kLoopback) return fail(Errno::kInvalid);
  const auto last = interface != nullptr ? interface->groups.leave(group) : impl_->loopback_groups_.leave(group);
  if (!last) return fail(last.error());
  if (!*last || interface == nullptr) return {};
  interface->igmp.leave(group.v4());
  interface->link.leave(wire::multicast_mac(group));
  return {};
}

void Ip::register_transport(Protocol protocol, Transport& transport) {
  impl_->transports_[static_cast<std::size_t>(protocol)] = &transport;
}

void Ip::add_raw_user(RawUser& user, std::uint8_t protocol) {
  impl_->raw_users_.push_back({&user, protocol});
}
void Ip::remove_raw_user(RawUser& user) {
  std::erase_if(impl_->raw_users_, [&](const Impl::RawEntry& e) { return e.user == &user; });
}
Status Ip::send_as_it_is(MutableBytes packet, const Route& route) {
  return impl_->send_as_it_is(packet, route);
}

Result<Route> Ip::route(const Address& destination, const Address& source, InterfaceId interface) {
  return impl_->route(destination, source, interface);
}
Result<Route> Ip::route_from(const Binding& binding, const Address& destination, const Choices& choices) {
  const bool of_many = cast_of(binding.address, kNoInterface) != Cast::kUnicast;
  const Address own = of_many ? Address() : binding.address;
  const bool chosen = choices.interface != kNoInterface || !destination.is_multicast();
  return route(destination, choices.source.is_any() ? own : choices.source,
               chosen ? choices.interface : binding.for_groups);
}
std::uint32_t Ip::route_generation() const {
  return impl_->generation_;
}

Status Ip::send(buf::TxPacket& packet, const SendOptions& options, const Path& route) {
  return impl_->send(packet, options, route);
}

void Ip::accept_path_mtu(const Address& destination, std::uint32_t mtu) {
  const auto current = impl_->route(destination, Address(), kNoInterface);
  const std::uint32_t floor = std::max(impl_->config_.min_path_mtu, kMinMtu);  // (RFC1191-03)
  if (!current || impl_->config_.path_mtu_discovery == IpConfig::Discovery::kOff) return;
  if (!impl_->path_mtu_.lower(destination, mtu, floor, current->link_mtu)) return;
  impl_->context_.counters.add(Counter::kPathMtuReduced);
  ++impl_->generation_;
}

void Ip::confirm_reachable(const Path& route) {
  Interface* interface = impl_->interface(route.interface);
  if (interface != nullptr && interface->link.is_ethernet()) interface->link.neighbors().confirm(route.next_hop);
}

void Ip::doubt_reachable(const Path& route) {
  Interface* interface = impl_->interface(route.interface);
  if (interface != nullptr && interface->link.is_ethernet()) interface->link.neighbors().doubt(route.next_hop);
}

bool Ip::is_local(const Address& address) const {
  return impl_->is_local(address);
}
InterfaceId Ip::interface_of(const Address& address) const {
  return impl_->interface_with(address);
}
bool Ip::has_interface(InterfaceId id) const {
  return impl_->groups_of(id) != nullptr;
}
InterfaceId Ip::interface_for_group(const Address& group) const {
  return impl_->pick_for_group(group, Address());
}
Address Ip::address_of(InterfaceId id) const {
  if (id == kLoopback) return kLoopbackAddress;
  const Interface* interface = std::as_const(*impl_).interface(id);
  return interface != nullptr && interface->address_count > 0 ? interface->addresses[0].address : Address();
}
Cast Ip::cast_of(const Address& address, InterfaceId interface) const {
  return impl_->cast_of(address, std::as_const(*impl_).interface(interface));
}

// Whatever reassembly can hold fits: the largest datagram less its header (RFC1122-FRAG-03, -04).
std::uint32_t Ip::max_receive_size() const {
  return static_cast<std::uint32_t>(wire::ipv4::kMaxSize - wire::ipv4::kHeaderSize);
}

void Ip::visit_interfaces(InterfaceVisitor visit, void* arg) const {
  for (std::size_t i = 0; i < impl_->interface_count_; ++i) {
    const Interface& one = *impl_->interfaces_[i];
    const link::Medium medium = one.link.is_ethernet() ? link::Medium::kEthernet : link::Medium::kIp;
    const wire::MacAddress mac = one.link.is_ethernet() ? one.link.mac() : wire::MacAddress{};
    visit(arg, {one.id, mac, one.link.mtu(), medium, one.link.state(), one.all_addresses()});
  }
}

std::span<const RouteEntry> Ip::routes() const {
  return impl_->routes_.all();
}

void Ip::visit_neighbors(NeighborVisitor visit, void* arg) const {
  for (std::size_t i = 0; i < impl_->interface_count_; ++i) {
    const link::NeighborCache& cache = std::as_const(impl_->interfaces_[i]->link).neighbors();
    link::NeighborCache::Row row;
    for (std::size_t k = 0; k < link::NeighborCache::kCapacity; ++k) {
      if (cache.row(k, row))
        visit(arg, {row.address, row.mac, impl_->interfaces_[i]->id, name_of(row.state), row.confirmed});
    }
  }
}

Status Ip::probe_neighbor(InterfaceId id, const Address& address) {
  Interface* interface = impl_->interface(id);
  if (interface == nullptr || !interface->link.is_ethernet() || !address.is_v4()) return fail(Errno::kInvalid);
  interface->link.neighbors().solicit(address);
  return {};
}

wire::MacAddress Ip::mac_of(InterfaceId id) const {
  const Interface* interface = std::as_const(*impl_).interface(id);
  return interface != nullptr ? interface->link.mac() : wire::MacAddress{};
}

std::size_t Ip::poll_devices(std::size_t budget) {
  std::size_t total = 0;
  for (std::size_t i = 0; i < impl_->interface_count_; ++i) {
    link::Link& link = impl_->interfaces_[i]->link;
    for (std::size_t done = 0; done < budget;) {
      const std::size_t n = link.poll(budget - done);
      if (n == 0) break;
      impl_->batch_end();
      done += n;
      total += n;
      if (n < link::Link::kRxBatch) break;
    }
  }
  return total;
}

std::size_t Ip::poll_loopback(std::size_t budget) {
  return impl_->poll_loopback(budget);
}
bool Ip::has_loopback_work() const {
  return !impl_->loopback_.empty();
}

Instant Ip::next_device_deadline() const {
  Instant next = Instant::never();
  for (std::size_t i = 0; i < impl_->interface_count_; ++i) {
    next = std::min(next, std::as_const(impl_->interfaces_[i]->link).device().next_deadline());
  }
  return next;
}

}  // namespace sluice::ip
