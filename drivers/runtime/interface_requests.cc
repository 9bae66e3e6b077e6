// netdevice(7): what ioctl(2) and if_nametoindex(3) tell of the interfaces. Those of a stack are sl1, sl2 ..., with
// their number as index; the loopback is lo. They are shown here; `sluice ip` changes them.
#include "drivers/runtime/interface_requests.h"

#include <errno.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "drivers/runtime/impl.h"
#include "sluice/socket.h"
#include "sluice/socket.hpp"

namespace sluice {
namespace {

constexpr std::uint32_t kLoopbackMtu = 65535;

struct Interface {
  unsigned index = 0;
  std::string name;
  std::uint32_t mtu = 0;
  bool ethernet = false;
  bool up = true;
  wire::MacAddress mac{};
  std::vector<wire::Prefix> addresses;
};

std::vector<Interface> interfaces_of(const ip::Ip& ip) {
  std::vector<Interface> all;
  all.push_back({ip::kLoopback, "lo", kLoopbackMtu, false, true, {}, {{wire::Ipv4Address{INADDR_LOOPBACK}, 8}}});
  ip.visit_interfaces(
      [](void* to, const ip::InterfaceEntry& e) {
        static_cast<std::vector<Interface>*>(to)->push_back({e.id,
                                                             interface_name(e.id),
                                                             e.mtu,
                                                             e.medium == link::Medium::kEthernet,
                                                             e.state == link::LinkState::kUp,
                                                             e.mac,
                                                             {e.addresses.begin(), e.addresses.end()}});
      },
      &all);
  return all;
}

void store_ipv4(sockaddr& to, std::uint32_t address) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(address);
  memcpy(&to, &in, sizeof in);
}

std::uint32_t mask_of(const wire::Prefix& p) {
  return p.length == 0 ? 0 : 0xffffffffu << (32 - p.length);
}

// One address each, as many as there is room for; without room, how much is wanted.
int list_addresses(const std::vector<Interface>& all, void* argument) {
  ifconf list{};
  memcpy(&list, argument, sizeof list);
  std::vector<ifreq> rows;
  for (const Interface& i : all) {
    for (const wire::Prefix& p : i.addresses) {
      ifreq row{};
      snprintf(row.ifr_name, sizeof row.ifr_name, "%s", i.name.c_str());
      store_ipv4(row.ifr_addr, p.address.v4().value);
      rows.push_back(row);
    }
  }
  std::size_t count = rows.size();
  if (list.ifc_buf != nullptr) {
    count = std::min(count, static_cast<std::size_t>(std::max(list.ifc_len, 0)) / sizeof(ifreq));
    std::copy_n(rows.begin(), count, list.ifc_req);
  }
  list.ifc_len = static_cast<int>(count * sizeof(ifreq));
  memcpy(argument, &list, sizeof list);
  return 0;
}

short flags_of(const Interface& i) {
  if (i.name == "lo") return IFF_UP | IFF_RUNNING | IFF_LOOPBACK;
  const int state = i.up ? IFF_UP | IFF_RUNNING : 0;
  return static_cast<short>(state | IFF_MULTICAST | (i.ethernet ? IFF_BROADCAST : IFF_POINTOPOINT));
}

// Fills in what is asked for. False: it has none.
bool answer_about(const Interface& i, unsigned long request, ifreq& row) {
  const wire::Prefix* first = i.addresses.empty() ? nullptr : &i.addresses.front();
  switch (request) {
    case SIOCGIFADDR:
      return first != nullptr && (store_ipv4(row.ifr_addr, first->address.v4().value), true);
    case SIOCGIFNETMASK:
      return first != nullptr && (store_ipv4(row.ifr_netmask, mask_of(*first)), true);
    case SIOCGIFBRDADDR:
      return first != nullptr && (store_ipv4(row.ifr_broadaddr, first->address.v4().value | ~mask_of(*first)), true);
    case SIOCGIFFLAGS:
      return row.ifr_flags = flags_of(i), true;
    case SIOCGIFMTU:
      return row.ifr_mtu = static_cast<int>(i.mtu), true;
    case SIOCGIFMETRIC:
      return row.ifr_metric = 0, true;
    case SIOCGIFINDEX:
      return row.ifr_ifindex = static_cast<int>(i.index), true;
    case SIOCGIFHWADDR:
      row.ifr_hwaddr = {};
      row.ifr_hwaddr.sa_family = i.name == "lo" ? ARPHRD_LOOPBACK : i.ethernet ? ARPHRD_ETHER : ARPHRD_NONE;
      memcpy(row.ifr_hwaddr.sa_data, i.mac.octets.data(), i.mac.octets.size());
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string interface_name(ip::InterfaceId id) {
  return "sl" + std::to_string(id);
}

bool is_interface_request(unsigned long request) {
  constexpr unsigned long kRequests[] = {SIOCGIFCONF, SIOCGIFNAME,   SIOCGIFADDR,  SIOCGIFNETMASK, SIOCGIFBRDADDR,
                                         SIOCGIFMTU,  SIOCGIFMETRIC, SIOCGIFFLAGS, SIOCGIFINDEX,   SIOCGIFHWADDR};
  return std::ranges::find(kRequests, request) != std::end(kRequests);
}

int answer_interface_request(const ip::Ip& ip, unsigned long request, void* argument) {
  if (argument == nullptr) return set_errno(Errno::kFault);
  const std::vector<Interface> all = interfaces_of(ip);
  if (request == SIOCGIFCONF) return list_addresses(all, argument);
  ifreq row{};
  memcpy(&row, argument, sizeof row);
  row.ifr_name[sizeof row.ifr_name - 1] = '\0';
  const bool by_index = request == SIOCGIFNAME;
  const auto at = std::ranges::find_if(all, [&](const Interface& i) {
    return by_index ? static_cast<int>(i.index) == row.ifr_ifindex : i.name == row.ifr_name;
  });
  if (at == all.end()) return errno = ENODEV, -1;
  if (by_index) {
    snprintf(row.ifr_name, sizeof row.ifr_name, "%s", at->name.c_str());
  } else if (!answer_about(*at, request, row)) {
    return set_errno(Errno::kAddressNotAvailable);
  }
  memcpy(argument, &row, sizeof row);
  return 0;
}

namespace {

int ask_current(unsigned long request, ifreq& row) {
  Runtime::Impl* impl = current_runtime();
  if (impl == nullptr) return set_errno(Errno::kNetworkDown);
  const Runtime::Impl::Guard guard(*impl);
  return answer_interface_request(impl->stack->ip(), request, &row);
}

}  // namespace
}  // namespace sluice

unsigned sl_if_nametoindex(const char* name) {
  ifreq row{};
  snprintf(row.ifr_name, sizeof row.ifr_name, "%s", name);
  return sluice::ask_current(SIOCGIFINDEX, row) == 0 ? static_cast<unsigned>(row.ifr_ifindex) : 0;
}

char* sl_if_indextoname(unsigned index, char* name) {
  ifreq row{};
  row.ifr_ifindex = static_cast<int>(index);
  if (sluice::ask_current(SIOCGIFNAME, row) != 0) return errno = ENXIO, nullptr;
  return strncpy(name, row.ifr_name, IF_NAMESIZE);
}
