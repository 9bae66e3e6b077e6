#include "drivers/pcap_live.h"

#include <pcap/pcap.h>

#include <array>

#include "drivers/interface.h"

namespace sluice::drivers {

namespace {
constexpr int kRingBytes = 8 << 20;  // some thousand frames of the usual MTU

struct Batch {
  pcap* handle;
  buf::Pool& pool;
  std::span<buf::RxFrame> out;
  std::size_t count = 0;
};

void take_frame(u_char* user, const pcap_pkthdr* header, const u_char* data) {
  Batch& batch = *reinterpret_cast<Batch*>(user);
  buf::Buffer buffer = batch.pool.copy_of({data, header->caplen});
  if (!buffer) return pcap_breakloop(batch.handle);
  batch.out[batch.count++] = {std::move(buffer), {}, header->len};
}

// A slot of the ring is as long as the longest frame that may come, so no longer frame is asked for than can be used.
pcap* activate(const std::string& interface, std::uint32_t mtu, std::string& why) {
  std::array<char, PCAP_ERRBUF_SIZE> error{};
  pcap* handle = pcap_create(interface.c_str(), error.data());
  if (handle == nullptr) return why = error.data(), nullptr;
  pcap_set_snaplen(handle, static_cast<int>(mtu + kEthernetRoom));
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
  const std::uint32_t mtu = mtu_of(interface);
  pcap* handle = activate(interface, mtu, why);
  if (handle == nullptr) {
    return fail(Failure{"interface " + interface + ": " + why + "; `ip link` lists interfaces, and root is needed",
                        Failure::Cause::kEnvironment});
  }
  if (pcap_datalink(handle) != DLT_EN10MB) {
    pcap_close(handle);
    return fail(Failure{"interface " + interface + " is not Ethernet"});
  }
  (void)pcap_setdirection(handle, PCAP_D_IN);
  return std::unique_ptr<PcapLive>(new PcapLive(handle, mtu));
}

PcapLive::~PcapLive() {
  pcap_close(handle_);
}

int PcapLive::poll_handle() const {
  return pcap_get_selectable_fd(handle_);
}

std::size_t PcapLive::rx(Instant, buf::Pool& pool, std::span<buf::RxFrame> out) {
  Batch batch{handle_, pool, out};
  if (!out.empty()) {
    (void)pcap_dispatch(handle_, static_cast<int>(out.size()), take_frame, reinterpret_cast<u_char*>(&batch));
  }
  return batch.count;
}

std::size_t PcapLive::tx(Instant, std::span<const buf::TxFrame> frames) {
  std::size_t n = 0;
  for (const buf::TxFrame& frame : frames) {
    whole_.resize(frame.size());
    frame.copy_to(whole_);
    if (pcap_inject(handle_, whole_.data(), whole_.size()) < 0) break;
    ++n;
  }
  return n;
}

}  // namespace sluice::drivers
