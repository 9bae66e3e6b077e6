#include "drivers/device_spec.h"

#include "drivers/packet_socket.h"
#include "drivers/pcap_file.h"
#include "drivers/pcap_live.h"
#include "drivers/tuntap.h"

namespace sluice::drivers {

namespace {
template <typename T>
Result<std::unique_ptr<link::NetDevice>, Failure> as_device(Result<std::unique_ptr<T>, Failure> opened) {
  if (!opened) return fail(opened.error());
  return std::unique_ptr<link::NetDevice>(std::move(*opened));
}

// "NAME[,uring]"
Result<std::unique_ptr<link::NetDevice>, Failure> open_tuntap(TunTap::Kind kind, const std::string& rest,
                                                              HostOffload offload) {
  const std::size_t comma = rest.find(',');
  const std::string option = comma == std::string::npos ? "" : rest.substr(comma + 1);
  if (comma != std::string::npos && option != "uring") {
    return fail(Failure{"'" + option + "' is no option of a tap or tun; there is: uring"});
  }
  return as_device(
      TunTap::open(kind, rest.substr(0, comma), offload, option.empty() ? WriteBatch::kNone : WriteBatch::kUring));
}
}  // namespace

Result<std::unique_ptr<link::NetDevice>, Failure> open_device(const std::string& spec, HostOffload offload) {
  const std::size_t colon = spec.find(':');
  const std::string kind = spec.substr(0, colon);
  const std::string rest = colon == std::string::npos ? "" : spec.substr(colon + 1);
  if (kind == "tap") return open_tuntap(TunTap::Kind::kTap, rest, offload);
  if (kind == "tun") return open_tuntap(TunTap::Kind::kTun, rest, offload);
  if (kind == "packet") return as_device(PacketSocket::open(rest, offload));
  if (kind == "live") return as_device(PcapLive::open(rest));
  if (kind == "pcap") {
    const std::size_t comma = rest.find(',');
    PcapFile::Settings settings;
    settings.pace = PcapFile::Pace::kRecorded;
    if (comma != std::string::npos) settings.record = rest.substr(comma + 1);
    return as_device(PcapFile::open(rest.substr(0, comma), settings));
  }
  return fail(Failure{
      "'" + spec +
      "' is no device; there are: tap:NAME[,uring] tun:NAME[,uring] packet:IFACE live:IFACE pcap:IN[,OUT] mem"});
}

}  // namespace sluice::drivers
