// Drivers on files and in memory.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <set>

#include <unistd.h>

#include "drivers/capture.h"
#include "drivers/device_spec.h"
#include "drivers/impair.h"
#include "drivers/memory_link.h"
#include "drivers/pcap_file.h"
#include "drivers/pcap_writer.h"
#include "drivers/runtime/impl.h"

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

TEST(Impairment, RateAndQueue) {
  drivers::MemoryLink link(1500, 100'000);
  link.add_port();
  drivers::Impair near(link.add_port(), drivers::parse_impairment("rate=8mbit,queue=10k").value(), 1);
  const Instant start = Instant::from_nanos(0);
  for (int i = 0; i < 20; ++i) send(near, std::vector<std::uint8_t>(1000), start);
  EXPECT_EQ(near.counts().queue_full, 10u);       // 10 KiB hold ten frames
  EXPECT_EQ(near.next_deadline(), start + 1_ms);  // 1000 bytes at 8 Mbit/s
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

TEST(DeviceSpec, MistakesAreNamed) {
  for (const char* bad : {"", "tap", "eth0", "pcap:/none", "tap:a-name-that-is-too-long"}) {
    const auto opened = drivers::open_device(bad);
    ASSERT_FALSE(opened.has_value()) << bad;
    EXPECT_GT(opened.error().message.size(), 10u);
  }
}

}  // namespace
}  // namespace sluice::test
