#include "drivers/pcap_live.h"

#include <pcap/pcap.h>

#include <array>
#include <vector>

namespace sluice::drivers {

namespace {
constexpr int kSnapLength = 65535 + 18;
constexpr int kRingBytes = 4 << 20;

pcap* activate(const std::string& interface, std::string& why) {
  std::array<char, PCAP_ERRBUF_SIZE> error{};
  pcap* handle = pcap_create(interface.c_str(), error.data());
  if (handle == nullptr) return why = error.data(), nullptr;
  pcap_set_snaplen(handle, kSnapLength);
  pcap_set_promisc(handle, 1);
  pcap_set_immediate_mode(handle, 1);  // buffering would add its timeout to every round trip
  pcap_set_buffer_size(handle, kRingBytes);
  if (pcap_activate(handle) < 0 || pcap_setnonblock(handle, 1, error.data()) < 0) {
    why = pcap_geterr(handle);
    pcap_close(handle);
    return nullptr;
  }
  return handle;
}
}  // namespace

Result<std::unique_ptr<PcapLive>, Failure> PcapLive::open(const std::string& interface) {
  std::string why;
  pcap* handle = activate(interface, why);
  if (handle == nullptr) {
    return fail(Failure{"interface " + interface + ": " + why + "; `ip link` lists interfaces, and root is needed",
                        Failure::Cause::kEnvironment});
  }
  if (pcap_datalink(handle) != DLT_EN10MB) {
    pcap_close(handle);
    return fail(Failure{"interface " + interface + " is not Ethernet"});
  }
  (void)pcap_setdirection(handle, PCAP_D_IN);
  return std::unique_ptr<PcapLive>(new PcapLive(handle));
}

PcapLive::~PcapLive() {
  pcap_close(handle_);
}

int PcapLive::poll_handle() const {
  return pcap_get_selectable_fd(handle_);
}

std::size_t PcapLive::rx(Instant, buf::Pool& pool, std::span<buf::RxFrame> out) {
  std::size_t n = 0;
  while (n < out.size()) {
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    if (pcap_next_ex(handle_, &header, &data) != 1) break;
    buf::Buffer buffer = pool.copy_of({data, header->caplen});
    if (!buffer) break;
    out[n++] = {std::move(buffer), {}, header->len};
  }
  return n;
}

std::size_t PcapLive::tx(Instant, std::span<const buf::TxFrame> frames) {
  std::vector<std::uint8_t> bytes;
  std::size_t n = 0;
  for (const buf::TxFrame& frame : frames) {
    bytes.resize(frame.size());
    frame.copy_to(bytes);
    if (pcap_sendpacket(handle_, bytes.data(), static_cast<int>(bytes.size())) != 0) break;
    ++n;
  }
  return n;
}

}  // namespace sluice::drivers
