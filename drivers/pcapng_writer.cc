#include "drivers/pcapng_writer.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace sluice::drivers {

namespace {

constexpr std::uint32_t kSectionHeader = 0x0a0d0d0a;
constexpr std::uint32_t kInterfaceDescription = 1;
constexpr std::uint32_t kEnhancedPacket = 6;
constexpr std::uint32_t kByteOrderMagic = 0x1a2b3c4d;

constexpr std::uint16_t kEndOfOptions = 0;
constexpr std::uint16_t kComment = 1;
constexpr std::uint16_t kUserApplication = 4;   // of the section
constexpr std::uint16_t kTimeResolution = 9;    // of the interface
constexpr std::uint16_t kFcsLength = 13;        // of the interface, bytes
constexpr std::uint16_t kFlags = 2;             // of a packet
constexpr std::size_t kLongestOption = 0xfff0;  // bytes of a comment; its length has 16 bits

constexpr std::uint32_t kSnapLength = 262144;
constexpr std::uint16_t kLinkEthernet = 1;
constexpr std::uint16_t kLinkRaw = 101;

Bytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
// Numbers are in the order of this machine, which the magic number of the section tells.
template <typename T>
Bytes bytes_of(const T& number) {
  return {reinterpret_cast<const std::uint8_t*>(&number), sizeof number};
}

}  // namespace

Result<std::unique_ptr<PcapngWriter>, Failure> PcapngWriter::create(const std::string& path, link::Medium medium,
                                                                    link::Fcs fcs) {
  std::FILE* file = std::fopen(path.c_str(), "wbe");
  if (file == nullptr) return fail(system_failure(path, errno));
  std::unique_ptr<PcapngWriter> writer(new PcapngWriter(file));
  writer->write_section();
  writer->write_interface(medium, fcs);
  return writer;
}

PcapngWriter::~PcapngWriter() {
  std::fclose(file_);
}
void PcapngWriter::flush() {
  std::fflush(file_);
}

// --- blocks: type, length, body in words of 4 bytes, the length again ------------------------------------------------

void PcapngWriter::begin(std::uint32_t type) {
  block_.clear();
  put_u32(type);
  put_u32(0);  // the length: see end()
}

void PcapngWriter::end() {
  put_u32(static_cast<std::uint32_t>(block_.size() + sizeof(std::uint32_t)));
  std::copy_n(block_.end() - sizeof(std::uint32_t), sizeof(std::uint32_t), block_.begin() + sizeof(std::uint32_t));
  std::fwrite(block_.data(), 1, block_.size(), file_);
}

void PcapngWriter::put(Bytes bytes) {
  block_.insert(block_.end(), bytes.begin(), bytes.end());
  block_.resize((block_.size() + 3) / 4 * 4);
}

void PcapngWriter::put_u32(std::uint32_t value) {
  put(bytes_of(value));
}

void PcapngWriter::put_option(std::uint16_t code, Bytes value) {
  const std::array<std::uint16_t, 2> head = {code, static_cast<std::uint16_t>(value.size())};
  put(bytes_of(head));
  put(value);
}

// --- the blocks there are --------------------------------------------------------------------------------------------

void PcapngWriter::write_section() {
  constexpr std::array<std::uint16_t, 2> kVersion = {1, 0};
  constexpr std::int64_t kLengthUnknown = -1;
  begin(kSectionHeader);
  put_u32(kByteOrderMagic);
  put(bytes_of(kVersion));
  put(bytes_of(kLengthUnknown));
  put_option(kUserApplication, bytes_of(std::string("sluice")));
  put_option(kEndOfOptions, {});
  end();
}

void PcapngWriter::write_interface(link::Medium medium, link::Fcs fcs) {
  const std::array<std::uint16_t, 2> type = {medium == link::Medium::kEthernet ? kLinkEthernet : kLinkRaw, 0};
  constexpr std::uint8_t kNanoseconds = 9;  // 10^-9
  constexpr std::uint8_t kFcsBytes = 4;
  begin(kInterfaceDescription);
  put(bytes_of(type));
  put_u32(kSnapLength);
  put_option(kTimeResolution, bytes_of(kNanoseconds));
  if (fcs == link::Fcs::kPresent) put_option(kFcsLength, bytes_of(kFcsBytes));
  put_option(kEndOfOptions, {});
  end();
}

void PcapngWriter::write(const CaptureRecord& record) {
  const auto ns = static_cast<std::uint64_t>(std::max<std::int64_t>(record.at.to_nanos(), 0));
  begin(kEnhancedPacket);
  put_u32(0);  // of the only interface
  put_u32(static_cast<std::uint32_t>(ns >> 32));
  put_u32(static_cast<std::uint32_t>(ns));
  put_u32(static_cast<std::uint32_t>(record.frame.size()));
  put_u32(record.wire_length);
  put(record.frame);
  const auto direction = static_cast<std::uint32_t>(record.direction);  // 0 unknown, 1 inbound, 2 outbound
  put_option(kFlags, bytes_of(direction));
  for (const std::string& comment : record.comments) {
    put_option(kComment, bytes_of(comment).first(std::min(comment.size(), kLongestOption)));
  }
  put_option(kEndOfOptions, {});
  end();
}

}  // namespace sluice::drivers
