#include "drivers/pcap_file.h"

#include <pcap/pcap.h>

#include <array>

#include "stack/wire/ethernet.h"
#include "stack/wire/ipv4.h"

namespace sluice::drivers {

namespace {
constexpr std::size_t kLoopbackHeader = 4;
constexpr std::size_t kCookedHeader = 16;
constexpr std::size_t kCookedHeaderV2 = 20;
constexpr std::uint32_t kLargestFrame = 65535 + 18;  // a capture may hold more than the usual MTU

// libpcap names the path in some of its messages only.
std::string with_path(const std::string& path, const std::string& message) {
  return message.starts_with(path + ": ") ? message : path + ": " + message;
}
}  // namespace

CaptureReader::CaptureReader(pcap* handle, link::Medium medium, int link_type)
    : handle_(handle), medium_(medium), link_type_(link_type) {}

CaptureReader::~CaptureReader() {
  pcap_close(handle_);
}

Result<std::unique_ptr<CaptureReader>, Failure> CaptureReader::open(const std::string& path) {
  std::array<char, PCAP_ERRBUF_SIZE> error{};
  pcap* handle = pcap_open_offline_with_tstamp_precision(path.c_str(), PCAP_TSTAMP_PRECISION_NANO, error.data());
  if (handle == nullptr) return fail(Failure{with_path(path, error.data())});
  const int type = pcap_datalink(handle);
  switch (type) {
    case DLT_EN10MB:
      return std::unique_ptr<CaptureReader>(new CaptureReader(handle, link::Medium::kEthernet, type));
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_IPV6:
    case DLT_NULL:
    case DLT_LOOP:
    case DLT_LINUX_SLL:
    case DLT_LINUX_SLL2:
      return std::unique_ptr<CaptureReader>(new CaptureReader(handle, link::Medium::kIp, type));
    default:
      break;
  }
  const char* name = pcap_datalink_val_to_name(type);
  pcap_close(handle);
  return fail(Failure{path + ": link type " + (name != nullptr ? name : std::to_string(type)) +
                      " is not Ethernet or IP; nothing here reads it"});
}

std::size_t CaptureReader::link_header(Bytes frame) const {
  std::size_t size = 0;
  if (link_type_ == DLT_NULL || link_type_ == DLT_LOOP) size = kLoopbackHeader;
  if (link_type_ == DLT_LINUX_SLL) size = kCookedHeader;
  if (link_type_ == DLT_LINUX_SLL2) size = kCookedHeaderV2;
  return std::min(size, frame.size());
}

bool CaptureReader::next(CaptureFrame& out) {
  pcap_pkthdr* header = nullptr;
  const u_char* data = nullptr;
  const int result = pcap_next_ex(handle_, &header, &data);
  if (result == PCAP_ERROR) damage_ = pcap_geterr(handle_);
  if (result != 1) return false;
  out.at = Instant::from_nanos(header->ts.tv_sec * 1'000'000'000 + header->ts.tv_usec);
  const Bytes frame(data, header->caplen);
  const std::size_t skip = link_header(frame);
  out.bytes = frame.subspan(skip);
  out.wire_length = std::max(header->len, header->caplen) - static_cast<std::uint32_t>(skip);
  return true;
}

Result<std::unique_ptr<PcapFile>, Failure> PcapFile::open(const std::string& path, const Settings& settings) {
  auto reader = CaptureReader::open(path);
  if (!reader) return fail(reader.error());
  std::unique_ptr<PcapWriter> writer;
  if (!settings.record.empty()) {
    auto made = PcapWriter::create(settings.record, (*reader)->medium(), link::Fcs::kNone);
    if (!made) return fail(made.error());
    writer = std::move(*made);
  }
  return std::unique_ptr<PcapFile>(new PcapFile(std::move(*reader), std::move(writer), settings));
}

PcapFile::PcapFile(std::unique_ptr<CaptureReader> reader, std::unique_ptr<PcapWriter> writer, const Settings& settings)
    : reader_(std::move(reader)), writer_(std::move(writer)), settings_(settings) {
  capabilities_.medium = reader_->medium();
  capabilities_.mtu = 65535;
  advance();
}

bool PcapFile::wanted(Bytes frame) const {
  if (settings_.only_to.is_any()) return true;
  Bytes packet = frame;
  if (capabilities_.medium == link::Medium::kEthernet) {
    const auto parsed = wire::ethernet::parse(frame);
    if (!parsed || parsed->header.type != wire::ethernet::kIpv4) return true;  // ARP and what is broken goes to all
    packet = parsed->payload;
  }
  const auto ip = wire::ipv4::parse(packet, wire::ChecksumPolicy::kTrust);
  return !ip || ip->header.destination == settings_.only_to.v4() || ip->header.destination.is_broadcast();
}

void PcapFile::advance() {
  do {
    has_next_ = reader_->next(next_);
  } while (has_next_ && !wanted(next_.bytes));
}

Instant PcapFile::next_deadline() const {
  if (!has_next_) return Instant::never();
  if (settings_.pace == Pace::kFastest || !started_) return Instant::past();
  return next_.at + offset_;
}

std::size_t PcapFile::rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) {
  if (has_next_ && !started_) {
    started_ = true;
    offset_ = now - next_.at;
  }
  std::size_t n = 0;
  while (n < out.size() && has_next_ && (settings_.pace == Pace::kFastest || next_.at + offset_ <= now)) {
    const Bytes bytes = next_.bytes.first(std::min<std::size_t>(next_.bytes.size(), kLargestFrame));
    buf::Buffer buffer = pool.copy_of(bytes);
    if (!buffer) break;
    out[n++] = {std::move(buffer), {}, next_.wire_length};
    advance();
  }
  return n;
}

std::size_t PcapFile::tx(Instant now, std::span<const buf::TxFrame> frames) {
  if (writer_ == nullptr) return frames.size();
  for (const buf::TxFrame& frame : frames) writer_->write(now - offset_, frame);
  writer_->flush();
  return frames.size();
}

}  // namespace sluice::drivers
