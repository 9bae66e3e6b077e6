// Drivers on files and in memory.
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include <unistd.h>

#include "drivers/capture.h"
#include "drivers/device_spec.h"
#include "drivers/impair.h"
#include "drivers/interface.h"
#include "drivers/memory_link.h"
#include "drivers/packet_socket.h"
#include "drivers/pcap_file.h"
#include "drivers/pcap_writer.h"
#include "drivers/quantity.h"
#include "drivers/runtime/impl.h"
#include "drivers/runtime/spinner.h"
#include "drivers/virtio_header.h"
#include "stack/link/link.h"
#include "stack/wire/crc32.h"
#include "stack/wire/ethernet.h"
#include "stack/wire/ipv4.h"

namespace sluice::test {
namespace {

namespace fs = std::filesystem;

struct TempFile {
  explicit TempFile(const char* name)
      : path(fs::temp_directory_path() / (std::string(name) + std::to_string(::getpid()))) {}
  ~TempFile() { fs::remove(path); }
  fs::path path;
};

void send(link::NetDevice& device, const std::vector<std::uint8_t>& bytes, Instant at = {}) {
  const buf::TxFrame frame{bytes, {}, {}};
  EXPECT_EQ(device.tx(at, {&frame, 1}), 1u);
}
std::vector<std::vector<std::uint8_t>> receive(link::NetDevice& device, Instant at = {}) {
  buf::Pool pool;
  std::vector<buf::RxFrame> batch(256);
  const std::size_t n = device.rx(at, pool, batch);
  std::vector<std::vector<std::uint8_t>> out;
  for (std::size_t i = 0; i < n; ++i) out.emplace_back(batch[i].buffer.bytes().begin(), batch[i].buffer.bytes().end());
  return out;
}

TEST(MemoryLink, ReachesEveryOtherPort) {
  drivers::MemoryLink link;
  auto& a = link.add_port();
  auto& b = link.add_port();
  auto& c = link.add_port();
  send(a, {1, 2, 3});
  EXPECT_TRUE(receive(a).empty());
  EXPECT_EQ(receive(b), (std::vector<std::vector<std::uint8_t>>{{1, 2, 3}}));
  EXPECT_EQ(receive(c).size(), 1u);
}

TEST(Impairment, SpecIsParsedOrNamed) {
  const auto i =
      drivers::parse_impairment("loss=1%,delay=10ms,jitter=2ms,reorder=5%:20ms,rate=100mbit,queue=256k,burst=1%:20%");
  ASSERT_TRUE(i.has_value());
  EXPECT_DOUBLE_EQ(i->loss, 0.01);
  EXPECT_EQ(i->delay, 10_ms);
  EXPECT_EQ(i->reorder_delay, 20_ms);
  EXPECT_EQ(i->rate, 100'000'000u);
  for (const char* bad : {"los=1%", "loss", "loss=200%", "delay=10", "rate=x", "loss=-1%"}) {
    const auto parsed = drivers::parse_impairment(bad);
    ASSERT_FALSE(parsed.has_value()) << bad;
    EXPECT_NE(parsed.error().message.find(bad), std::string::npos);
  }
}

TEST(Quantity, NumberAndUnitAndNothingElse) {
  using namespace drivers;
  EXPECT_EQ(parse_duration("20us"), 20_us);
  EXPECT_EQ(parse_duration("1.5s"), 1500_ms);
  EXPECT_EQ(parse_bit_rate("100mbit"), 100'000'000u);
  EXPECT_EQ(parse_bit_rate("9600"), 9600u);
  EXPECT_EQ(parse_byte_count("256k"), 262'144u);
  EXPECT_EQ(parse_probability("1%"), 0.01);
  EXPECT_EQ(parse_probability("1"), 1.0);
  for (const char* bad : {"", "s", "5", "-1s", "5 s", " 5s", "5sx", "inf", "infs", "nans", "1e30s"})
    EXPECT_FALSE(parse_duration(bad)) << bad;
  for (const char* bad : {"-1", "1mb", "1e30gbit", "nan", "inf"}) EXPECT_FALSE(parse_bit_rate(bad)) << bad;
  for (const char* bad : {"101%", "1.1", "-1%", "nan", "nan%", "x"}) EXPECT_FALSE(parse_probability(bad)) << bad;
}

TEST(Impairment, LosesDelaysAndRepeats) {
  drivers::MemoryLink link(1500, 100'000);
  auto& far = link.add_port();
  drivers::Impair near(link.add_port(), drivers::parse_impairment("loss=10%,delay=5ms,duplicate=5%").value(), 1);
  const Instant start = Instant::from_nanos(0);
  for (int i = 0; i < 10'000; ++i) send(near, {static_cast<std::uint8_t>(i)}, start);
  EXPECT_TRUE(receive(far, start).empty());
  EXPECT_EQ(near.next_deadline(), start + 5_ms);
  (void)receive(near, start + 5_ms);  // lets what is due pass
  std::size_t arrived = 0;
  for (std::size_t n = 1; n > 0;) arrived += n = receive(far, start + 5_ms).size();
  EXPECT_NEAR(static_cast<double>(near.counts().lost), 1000, 150);
  EXPECT_NEAR(static_cast<double>(near.counts().duplicated), 450, 100);
  EXPECT_EQ(arrived, 10'000 - near.counts().lost + near.counts().duplicated);
}

// A tenth of the ECN-capable packets, with their checksums and FCS; what is none stays as it is.
TEST(Impairment, Marks) {
  drivers::MemoryLink link(1500, 100'000);
  auto& far = link.add_port();
  drivers::Impair near(link.add_port(), drivers::parse_impairment("mark=10%").value(), 1);
  const auto frame_with = [](wire::ipv4::Ecn ecn) {
    std::vector<std::uint8_t> frame(14 + 20 + 4);
    wire::ethernet::emit(frame, {.destination = {}, .source = {}, .type = wire::ethernet::kIpv4});
    wire::ipv4::emit(MutableBytes(frame).subspan(14), {.tos = static_cast<std::uint8_t>(ecn),
                                                       .total_length = 20,
                                                       .ttl = 64,
                                                       .protocol = 6,
                                                       .source = {},
                                                       .destination = {}});
    wire::ethernet::emit_fcs(MutableBytes(frame).last(4), wire::crc32(Bytes(frame).first(34)));
    return frame;
  };
  const auto plain = frame_with(wire::ipv4::Ecn::kNotCapable);
  const auto capable = frame_with(wire::ipv4::Ecn::kCapable0);
  const auto marked = frame_with(wire::ipv4::Ecn::kCongestion);
  for (int i = 0; i < 1000; ++i) {
    send(near, plain);
    ASSERT_EQ(receive(far).at(0), plain);
    send(near, capable);
    const auto arrived = receive(far).at(0);
    ASSERT_TRUE(arrived == capable || arrived == marked);
  }
  EXPECT_NEAR(static_cast<double>(near.counts().marked), 100, 40);
  for (const std::ptrdiff_t size : {0, 13, 14, 33}) {  // too short to tell
    for (int i = 0; i < 100; ++i) send(near, std::vector<std::uint8_t>(capable.begin(), capable.begin() + size));
  }
}

// What the kernel says before a frame of 1000 bytes, field by field in the order of the header; the metadata it stands
// for, or that it cannot be.
TEST(VirtioHeader, IsCheckedBeforeItIsBelieved) {
  using buf::ChecksumState;
  using buf::GsoType;
  struct Row {
    const char* name;
    std::uint8_t flags, kind;
    std::uint16_t header_length, gso_size, start, offset;
    bool valid;
    ChecksumState checksum;
    GsoType gso;
  };
  constexpr auto kAbsent = ChecksumState::kAbsent;
  constexpr auto kPartial = ChecksumState::kPartial;
  const Row rows[] = {
      {"nothing said", 0, 0, 0, 0, 0, 0, true, kAbsent, GsoType::kNone},
      {"checksum verified", 2, 0, 0, 0, 0, 0, true, ChecksumState::kVerified, GsoType::kNone},
      {"partial checksum", 1, 0, 0, 0, 34, 16, true, kPartial, GsoType::kNone},
      {"partial counts more than verified", 3, 0, 0, 0, 34, 16, true, kPartial, GsoType::kNone},
      {"field at the very end", 1, 0, 0, 0, 982, 16, true, kPartial, GsoType::kNone},
      {"field a byte beyond the frame", 1, 0, 0, 0, 983, 16, false, kAbsent, GsoType::kNone},
      {"offsets that overflow 16 bits together", 1, 0, 0, 0, 0xffff, 0xffff, false, kAbsent, GsoType::kNone},
      {"TCP over IPv4", 1, 1, 66, 448, 34, 16, true, kPartial, GsoType::kTcp4},
      {"TCP over IPv4 with ECN", 1, 0x81, 66, 448, 34, 16, true, kPartial, GsoType::kTcp4},
      {"TCP over IPv6", 1, 4, 86, 448, 54, 16, true, kPartial, GsoType::kTcp6},
      {"UDP datagrams", 1, 5, 42, 448, 34, 6, true, kPartial, GsoType::kUdp},
      {"UDP as IP fragments, never asked for", 1, 3, 42, 448, 34, 6, false, kAbsent, GsoType::kNone},
      {"an unknown kind", 1, 2, 66, 448, 34, 16, false, kAbsent, GsoType::kNone},
      {"segments of no size", 1, 1, 66, 0, 34, 16, false, kAbsent, GsoType::kNone},
      {"segments without a partial checksum", 0, 1, 66, 448, 34, 16, false, kAbsent, GsoType::kNone},
      {"a header longer than the frame does not matter", 1, 1, 2000, 448, 34, 16, true, kPartial, GsoType::kTcp4},
  };
  for (const Row& row : rows) {
    std::array<std::uint8_t, drivers::kVirtioHeaderSize> bytes{row.flags, row.kind};
    const std::uint16_t fields[] = {row.header_length, row.gso_size, row.start, row.offset};
    std::memcpy(bytes.data() + 2, fields, sizeof fields);
    const auto parsed = drivers::parse_virtio_header(bytes, 1000);
    EXPECT_EQ(parsed.valid, row.valid) << row.name;
    EXPECT_EQ(parsed.offload.checksum, row.checksum) << row.name;
    EXPECT_EQ(parsed.offload.gso, row.gso) << row.name;
    EXPECT_EQ(parsed.offload.gso_size, row.gso == GsoType::kNone ? 0 : row.gso_size) << row.name;
    EXPECT_TRUE(link::offload_valid(parsed.offload, 1000)) << row.name;
  }
}

TEST(VirtioHeader, SaysWhatTheStackLeftToDo) {
  using Header = std::array<std::uint8_t, drivers::kVirtioHeaderSize>;
  const auto emitted = [](const buf::Offload& o) {
    Header h;
    h.fill(0xee);
    drivers::emit_virtio_header(h, o);
    return h;
  };
  const auto native = [](std::uint16_t v, std::size_t i) {
    std::array<std::uint8_t, 2> bytes{};
    std::memcpy(bytes.data(), &v, 2);
    return bytes[i];
  };
  EXPECT_EQ(emitted({}), Header{});
  const buf::Offload checksum{.checksum = buf::ChecksumState::kPartial, .checksum_start = 34, .checksum_offset = 6};
  EXPECT_EQ(emitted(checksum), (Header{1, 0, 0, 0, 0, 0, native(34, 0), native(34, 1), native(6, 0), native(6, 1)}));
  buf::Offload segments{.checksum = buf::ChecksumState::kPartial, .gso = buf::GsoType::kTcp4, .checksum_start = 34};
  segments.checksum_offset = 16;
  segments.gso_size = 1448;
  segments.header_length = 66;
  EXPECT_EQ(emitted(segments), (Header{1, 1, native(66, 0), native(66, 1), native(1448, 0), native(1448, 1),
                                       native(34, 0), native(34, 1), native(16, 0), native(16, 1)}));
}

// An offload device behind an impairment: segments and checksums are to be finished before they can be harmed.
TEST(Impairment, HidesTheOffloadOfTheDevice) {
  struct Offloading final : link::NetDevice {
    link::Capabilities c{.tx_checksum = true, .tso4 = true, .tso6 = true, .uso = true, .max_gso_bytes = 65535};
    [[nodiscard]] const link::Capabilities& capabilities() const override { return c; }
    std::size_t rx(Instant, buf::Pool&, std::span<buf::RxFrame>) override { return 0; }
    std::size_t tx(Instant, std::span<const buf::TxFrame> frames) override { return frames.size(); }
  } device;
  const drivers::Impair impaired(device, {}, 1);
  const link::Capabilities& c = impaired.capabilities();
  EXPECT_FALSE(c.tx_checksum || c.tso4 || c.tso6 || c.uso);
  EXPECT_EQ(c.max_gso_bytes, 0u);
  EXPECT_EQ(c.mtu, 1500u);
}

TEST(Spinner, LooksAgainWhileThatPays) {
  Spinner spinner(50_us);
  Instant now = Instant::from_nanos(1'000'000);
  EXPECT_FALSE(spinner.again(now)) << "nothing has happened yet";
  for (int i = 0; i < 100; ++i) {  // each time something comes soon
    spinner.on_work(now);
    EXPECT_TRUE(spinner.again(now + 10_us));
    now = now + 20_us;
  }
  spinner.on_work(now);
  EXPECT_TRUE(spinner.again(now + 49_us));
  EXPECT_FALSE(spinner.again(now + 50_us)) << "bounded";
  EXPECT_FALSE(spinner.again(now + 51_us)) << "asleep until something happens";
}

TEST(Spinner, StopsWhereItDoesNotPayAndTriesAgain) {
  Spinner spinner(50_us);
  Instant now = Instant::from_nanos(1'000'000);
  int looked = 0;
  const auto episode = [&] {  // nothing within the time, then something
    spinner.on_work(now);
    const bool again = spinner.again(now + 1_us);
    EXPECT_FALSE(spinner.again(now + 60_us));
    now = now + 200_us;
    looked += again ? 1 : 0;
  };
  for (int i = 0; i < 10'000; ++i) episode();
  EXPECT_GT(looked, 3);
  EXPECT_LT(looked, 100) << "rarely";
  looked = 0;
  for (int i = 0; i < 2000 && looked == 0; ++i) episode();
  EXPECT_GT(looked, 0) << "but again";
}

TEST(Spinner, CanBeSwitchedOff) {
  Spinner spinner((Duration()));
  spinner.on_work(Instant::from_nanos(1000));
  EXPECT_FALSE(spinner.again(Instant::from_nanos(1000)));
}

TEST(Impairment, RateAndQueue) {
  drivers::MemoryLink link(1500, 100'000);
  link.add_port();
  drivers::Impair near(link.add_port(), drivers::parse_impairment("rate=8mbit,queue=10k").value(), 1);
  const Instant start = Instant::from_nanos(0);
  for (int i = 0; i < 20; ++i) send(near, std::vector<std::uint8_t>(1000), start);
  EXPECT_EQ(near.counts().queue_full, 10u);       // 10 KiB hold ten frames
  EXPECT_EQ(near.next_deadline(), start + 1_ms);  // 1000 bytes at 8 Mbit/s
}

// The sum over the bytes from 2 on is 0x0102 + 0x0304 beside the field, which holds the pseudo-header's 0x1000.
TEST(Capture, CompletesAChecksumThatWasLeftToTheDevice) {
  TempFile file("sluice-partial");
  const std::vector<std::uint8_t> bytes = {9, 9, 1, 2, 0x10, 0, 3, 4};
  {
    drivers::MemoryLink link;
    link.add_port();
    auto writer = drivers::PcapWriter::create(file.path, link::Medium::kIp, link::Fcs::kNone);
    drivers::Capture near(link.add_port(), std::move(*writer), Duration());
    const Bytes tail = Bytes(bytes).subspan(6);
    buf::TxFrame frame{Bytes(bytes).first(6), {&tail, 1}, {.checksum = buf::ChecksumState::kPartial}};
    frame.offload.checksum_start = 2;
    frame.offload.checksum_offset = 2;
    ASSERT_EQ(near.tx({}, {&frame, 1}), 1u);
  }
  auto reader = drivers::CaptureReader::open(file.path);
  drivers::CaptureFrame frame;
  ASSERT_TRUE((*reader)->next(frame));
  const std::uint16_t want = static_cast<std::uint16_t>(~(0x0102 + 0x0304 + 0x1000));
  const std::vector<std::uint8_t> completed = {9, 9, 1, 2, want >> 8, want & 0xff, 3, 4};
  EXPECT_TRUE(std::equal(completed.begin(), completed.end(), frame.bytes.begin(), frame.bytes.end()));
}

TEST(Capture, WrittenAndReadBack) {
  TempFile file("sluice-capture");
  const std::vector<std::uint8_t> one(60, 1);
  const std::vector<std::uint8_t> two(1514, 2);
  {
    drivers::MemoryLink link;
    auto& far = link.add_port();
    auto writer = drivers::PcapWriter::create(file.path, link::Medium::kEthernet, link::Fcs::kPresent);
    ASSERT_TRUE(writer.has_value());
    drivers::Capture near(link.add_port(), std::move(*writer), 5_s);
    send(near, one, Instant::from_nanos(1));
    send(far, two);
    (void)receive(near, Instant::from_nanos(2));
  }
  auto reader = drivers::CaptureReader::open(file.path);
  ASSERT_TRUE(reader.has_value());
  drivers::CaptureFrame frame;
  ASSERT_TRUE((*reader)->next(frame));
  EXPECT_EQ(frame.at.to_nanos(), 5'000'000'001);
  EXPECT_TRUE(std::equal(one.begin(), one.end(), frame.bytes.begin(), frame.bytes.end()));
  ASSERT_TRUE((*reader)->next(frame));
  EXPECT_EQ(frame.bytes.size(), 1514u);
  EXPECT_FALSE((*reader)->next(frame));
}

struct RecordRow {
  std::uint32_t stored, wire;
  std::uint32_t really;  // bytes that follow the record header
};

// S01: records whose lengths lie. Nothing is read that is not there; a frame that was cut says so.
TEST(Capture, InconsistentLengths) {
  for (const RecordRow& row :
       {RecordRow{0, 0, 0}, RecordRow{1, 1, 1}, RecordRow{13, 60, 13}, RecordRow{60, 13, 60}, RecordRow{60, 1514, 60},
        RecordRow{262145, 262145, 60}, RecordRow{60, 60, 10}, RecordRow{0xffffffff, 60, 60}}) {
    TempFile file("sluice-lengths");
    {
      std::ofstream out(file.path, std::ios::binary);
      const std::uint32_t head[] = {0xa1b2c3d4, 2 | 4 << 16, 0, 0, 262144, 1, 0, 0, row.stored, row.wire};
      out.write(reinterpret_cast<const char*>(head), sizeof head);
      out << std::string(row.really, 'x');
    }
    auto device = drivers::PcapFile::open(file.path, {});
    ASSERT_TRUE(device.has_value());
    buf::Pool pool;
    std::vector<buf::RxFrame> batch(4);
    const std::size_t n = (*device)->rx({}, pool, batch);
    if (n == 0) continue;
    EXPECT_LE(batch[0].buffer.size(), row.really);
    EXPECT_GE(batch[0].wire_length, batch[0].buffer.size());
  }
}

// (RFC6528-03): the seed of all secrets is the system's: never the same, and of all values of an octet.
TEST(Entropy, SeedsDiffer) {
  constexpr int kSeeds = 64;
  std::set<Rng::Seed> seeds;
  std::set<std::uint8_t> octets;
  for (int i = 0; i < kSeeds; ++i) {
    const Rng::Seed seed = system_seed();
    seeds.insert(seed);
    octets.insert(seed.begin(), seed.end());
  }
  EXPECT_EQ(seeds.size(), std::size_t{kSeeds});
  EXPECT_GT(octets.size(), 240u);
}

// A frame of any length is read behind a header of the device; the room in front stays, and a short one, or one for
// which the pool has no other block, is whole as well.
TEST(FrameBuffer, ReadAndTaken) {
  constexpr std::size_t kHeader = 10;
  for (const bool full : {false, true}) {
    buf::Pool pool({.max_bytes = full ? buf::Pool::kLarge : std::size_t{1} << 20});
    for (const std::size_t size : {1u, 60u, 252u, 253u, 1514u, 2044u, 2045u, 9000u, 65600u}) {
      drivers::FrameBuffer buffer(4);
      ASSERT_TRUE(buffer.prepare(pool));
      const MutableBytes room = buffer.room();
      ASSERT_GE(room.size(), kHeader + size);
      std::fill_n(room.begin(), kHeader, std::uint8_t{0xee});
      std::vector<std::uint8_t> bytes(size);
      for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::uint8_t>(i * 7 + i / 256);
      std::memcpy(room.data() + kHeader, bytes.data(), size);
      const buf::Buffer frame = buffer.take(pool, kHeader, size);
      EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), frame.bytes().begin(), frame.bytes().end())) << size;
      const bool alone = size > 2044 || full;
      EXPECT_EQ(frame.headroom(), alone ? 4 + kHeader : 4u) << size;
      const std::size_t block = alone ? buf::Pool::kLarge : size > 252 ? buf::Pool::kSmall : buf::Pool::kTiny;
      EXPECT_EQ(frame.capacity(), block) << size;
    }
  }
}

TEST(PacketSocket, TagComesBack) {
  buf::Pool pool;
  buf::RxFrame frame{pool.allocate(2048), {}, 60};
  frame.buffer.set_view(4, 60);
  for (std::uint8_t i = 0; i < 60; ++i) frame.buffer.storage()[4 + i] = i;
  frame.offload.checksum = buf::ChecksumState::kPartial;
  frame.offload.checksum_start = 34;
  drivers::restore_tag(frame, 0x8100, 0x2005);
  ASSERT_EQ(frame.buffer.size(), 64u);
  EXPECT_EQ(frame.wire_length, 64u);
  EXPECT_EQ(frame.offload.checksum_start, 38);
  const Bytes b = frame.buffer.bytes();
  for (std::size_t i = 0; i < 12; ++i) EXPECT_EQ(b[i], i);
  EXPECT_EQ(std::vector<std::uint8_t>(b.begin() + 12, b.begin() + 16), (std::vector<std::uint8_t>{0x81, 0, 0x20, 5}));
  for (std::size_t i = 16; i < 64; ++i) EXPECT_EQ(b[i], i - 4);
}

TEST(DeviceSpec, MistakesAreNamed) {
  for (const char* bad : {"", "tap", "eth0", "pcap:/none", "tap:a-name-that-is-too-long", "tap:x,none",
                          "packet:", "packet:none0", "live:none0"}) {
    const auto opened = drivers::open_device(bad, drivers::HostOffload::kOn);
    ASSERT_FALSE(opened.has_value()) << bad;
    EXPECT_GT(opened.error().message.size(), 10u);
  }
}

}  // namespace
}  // namespace sluice::test
