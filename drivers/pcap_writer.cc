#include "drivers/pcap_writer.h"

#include <array>
#include <cerrno>
#include <cstring>

namespace sluice::drivers {

namespace {
constexpr std::uint32_t kMagicNanoseconds = 0xa1b23c4d;
constexpr std::uint32_t kSnapLength = 262144;
constexpr std::uint32_t kLinkEthernet = 1;
constexpr std::uint32_t kLinkRaw = 101;
constexpr std::uint32_t kFcsPresent = 0x24000000;  // the flag, and a length of 2 words of 16 bits
}  // namespace

Result<std::unique_ptr<PcapWriter>, Failure> PcapWriter::create(const std::string& path, link::Medium medium,
                                                                link::Fcs fcs) {
  std::FILE* file = std::fopen(path.c_str(), "wbe");
  if (file == nullptr) return fail(system_failure(path, errno));
  std::uint32_t type = medium == link::Medium::kEthernet ? kLinkEthernet : kLinkRaw;
  if (fcs == link::Fcs::kPresent) type |= kFcsPresent;
  const std::array<std::uint32_t, 6> header = {kMagicNanoseconds, 2 | 4 << 16, 0, 0, kSnapLength, type};
  std::fwrite(header.data(), sizeof header, 1, file);
  return std::unique_ptr<PcapWriter>(new PcapWriter(file));
}

PcapWriter::~PcapWriter() {
  std::fclose(file_);
}
void PcapWriter::flush() {
  std::fflush(file_);
}

void PcapWriter::write_record(Instant at, std::size_t stored, std::size_t wire_length) {
  const auto ns = static_cast<std::uint64_t>(at.to_nanos() > 0 ? at.to_nanos() : 0);
  const std::array<std::uint32_t, 4> record = {
      static_cast<std::uint32_t>(ns / 1'000'000'000), static_cast<std::uint32_t>(ns % 1'000'000'000),
      static_cast<std::uint32_t>(stored), static_cast<std::uint32_t>(wire_length)};
  std::fwrite(record.data(), sizeof record, 1, file_);
}

void PcapWriter::write(const CaptureRecord& record) {
  write_record(record.at, record.frame.size(), record.wire_length);
  std::fwrite(record.frame.data(), 1, record.frame.size(), file_);
}

void PcapWriter::write(Instant at, const buf::TxFrame& frame) {
  const std::size_t size = frame.size();
  write_record(at, size, size);
  std::fwrite(frame.header.data(), 1, frame.header.size(), file_);
  for (Bytes piece : frame.payload) std::fwrite(piece.data(), 1, piece.size(), file_);
}

}  // namespace sluice::drivers
