// Capture files with comments: the bytes of the format, what libpcap reads from them, and at which frame each of the
// stack's decisions stands.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "drivers/capture.h"
#include "drivers/event_text.h"
#include "drivers/memory_link.h"
#include "drivers/pcap_file.h"
#include "drivers/pcapng_writer.h"

namespace sluice::test {
namespace {

namespace fs = std::filesystem;

using Octets = std::vector<std::uint8_t>;

struct TempFile {
  TempFile() : path(fs::temp_directory_path() / ("sluice" + std::to_string(::getpid()) + ".pcapng")) {}
  ~TempFile() { fs::remove(path); }
  fs::path path;
};

// A block as it stands in the file, its body without type and lengths.
struct Block {
  std::uint32_t type = 0;
  Octets body;
};

std::uint32_t u32_at(const Octets& bytes, std::size_t at) {
  std::uint32_t value = 0;
  if (at + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

std::vector<Block> blocks_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  const Octets all{std::istreambuf_iterator<char>(file), {}};
  std::vector<Block> blocks;
  for (std::size_t at = 0; at < all.size();) {
    const std::size_t length = u32_at(all, at + 4);
    if (length < 12 || length % 4 != 0 || at + length > all.size() || u32_at(all, at + length - 4) != length) {
      ADD_FAILURE() << "a broken block at " << at;
      break;
    }
    const auto begin = all.begin() + static_cast<std::ptrdiff_t>(at);
    blocks.push_back({u32_at(all, at), {begin + 8, begin + static_cast<std::ptrdiff_t>(length) - 4}});
    at += length;
  }
  return blocks;
}

struct Packet {
  std::uint64_t at = 0;
  Octets frame;
  std::uint32_t wire_length = 0;
  std::uint32_t flags = 0;
  std::vector<std::string> comments;
};

Packet packet_of(const Block& block) {
  const Octets& b = block.body;
  Packet packet{std::uint64_t{u32_at(b, 4)} << 32 | u32_at(b, 8), {}, u32_at(b, 16), 0, {}};
  const std::size_t size = u32_at(b, 12);
  packet.frame.assign(b.begin() + 20, b.begin() + 20 + static_cast<std::ptrdiff_t>(size));
  for (std::size_t at = 20 + (size + 3) / 4 * 4; at + 4 <= b.size();) {
    const std::size_t code = b[at] | b[at + 1] << 8;
    const std::size_t length = b[at + 2] | b[at + 3] << 8;
    if (code == 0) break;
    if (code == 1) packet.comments.emplace_back(reinterpret_cast<const char*>(b.data()) + at + 4, length);
    if (code == 2) packet.flags = u32_at(b, at + 4);
    at += 4 + (length + 3) / 4 * 4;
  }
  return packet;
}

std::vector<Packet> packets_of(const fs::path& path) {
  std::vector<Packet> packets;
  for (const Block& b : blocks_of(path)) {
    if (b.type == 6) packets.push_back(packet_of(b));
  }
  return packets;
}

TEST(Pcapng, TheBytesOfEachBlock) {
  const TempFile file;
  {
    auto writer = drivers::PcapngWriter::create(file.path, link::Medium::kEthernet, link::Fcs::kPresent);
    ASSERT_TRUE(writer.has_value());
    const Octets frame = {1, 2, 3, 4, 5};
    const std::vector<std::string> comments = {"why"};
    (*writer)->write({Instant::from_nanos(0x1'0000'0002), frame, 9, drivers::Direction::kOut, comments});
  }
  const std::vector<Block> blocks = blocks_of(file.path);
  ASSERT_EQ(blocks.size(), 3u);
  EXPECT_EQ(blocks[0].type, 0x0a0d0d0au);
  EXPECT_EQ(blocks[0].body,
            (Octets{0x4d, 0x3c, 0x2b, 0x1a, 1,   0,   0,   0,   0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                    4,    0,    6,    0,    's', 'l', 'u', 'i', 'c',  'e',  0,    0,    0,    0,    0,    0}));
  EXPECT_EQ(blocks[1].type, 1u);
  EXPECT_EQ(blocks[1].body,
            (Octets{1, 0, 0, 0, 0, 0, 4, 0, 9, 0, 1, 0, 9, 0, 0, 0, 13, 0, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(blocks[2].type, 6u);
  EXPECT_EQ(blocks[2].body, (Octets{0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 5, 0, 0, 0, 9,   0,   0,   0, 1, 2, 3, 4,
                                    5, 0, 0, 0, 2, 0, 4, 0, 2, 0, 0, 0, 1, 0, 3, 0, 'w', 'h', 'y', 0, 0, 0, 0, 0}));
}

TEST(Pcapng, LibpcapReadsIt) {
  const TempFile file;
  const Octets frame(61, 7);
  {
    auto writer = drivers::create_capture(file.path, link::Medium::kIp, link::Fcs::kNone);
    ASSERT_TRUE(writer.has_value());
    const std::vector<std::string> comments = {"one", "and another"};
    (*writer)->write({Instant::from_nanos(1'700'000'000'123'456'789), frame, 61, drivers::Direction::kIn, comments});
  }
  auto reader = drivers::CaptureReader::open(file.path);
  ASSERT_TRUE(reader.has_value()) << reader.error().message;
  EXPECT_EQ((*reader)->medium(), link::Medium::kIp);
  drivers::CaptureFrame read;
  ASSERT_TRUE((*reader)->next(read));
  EXPECT_EQ(read.at.to_nanos(), 1'700'000'000'123'456'789);
  EXPECT_EQ(Octets(read.bytes.begin(), read.bytes.end()), frame);
  EXPECT_FALSE((*reader)->next(read));
}

TEST(Pcapng, TheNameChoosesTheFormat) {
  const TempFile file;
  const fs::path plain = file.path.string() + ".pcap";
  { const auto writer = drivers::create_capture(plain, link::Medium::kIp, link::Fcs::kNone); }
  std::ifstream in(plain, std::ios::binary);
  Octets magic(4);
  in.read(reinterpret_cast<char*>(magic.data()), 4);
  fs::remove(plain);
  EXPECT_EQ(u32_at(magic, 0), 0xa1b23c4du);
}

// One end of a link in memory, captured; the test plays the stack.
class CommentedCapture : public testing::Test {
 protected:
  CommentedCapture() {
    auto writer = drivers::create_capture(file_.path, link::Medium::kEthernet, link::Fcs::kNone);
    near_.emplace(link_.add_port(), std::move(*writer), Duration());
    sink_ = near_->events(nullptr);
  }
  void send(std::uint8_t mark) {
    const Octets bytes(60, mark);
    const buf::TxFrame frame{bytes, {}, {}};
    EXPECT_EQ(near_->tx({}, {&frame, 1}), 1u);
  }
  void arrive(std::uint8_t mark) {
    const Octets bytes(60, mark);
    const buf::TxFrame frame{bytes, {}, {}};
    EXPECT_EQ(far_.tx({}, {&frame, 1}), 1u);
  }
  void take_in() { count_ = near_->rx({}, pool_, batch_); }
  void retransmit() {
    sink_->on_event({.kind = EventKind::kTcpRetransmit, .flow = 1, .a = 100, .b = 10, .detail = "timeout"});
  }
  // Marks of the frames in the file, each with its comments.
  std::vector<std::pair<int, std::vector<std::string>>> written() {
    near_.reset();
    std::vector<std::pair<int, std::vector<std::string>>> out;
    for (const Packet& p : packets_of(file_.path)) out.emplace_back(p.frame[0], p.comments);
    return out;
  }
  using Written = std::vector<std::pair<int, std::vector<std::string>>>;

  const TempFile file_;
  buf::Pool pool_;
  drivers::MemoryLink link_;
  drivers::MemoryLink::Port& far_ = link_.add_port();
  std::optional<drivers::Capture> near_;
  EventSink* sink_ = nullptr;
  std::vector<buf::RxFrame> batch_{8};
  std::size_t count_ = 0;
  const std::string retransmission_ = "conn 1: retransmit 10 bytes from 100: timeout";
};

TEST_F(CommentedCapture, ADecisionStandsAtTheNextFrameSent) {
  send(1);
  retransmit();
  send(2);
  send(3);
  EXPECT_EQ(written(), (Written{{1, {}}, {2, {retransmission_}}, {3, {}}}));
}

TEST_F(CommentedCapture, ADropStandsAtTheFrameDropped) {
  for (std::uint8_t mark = 1; mark <= 3; ++mark) arrive(mark);
  take_in();
  ASSERT_EQ(count_, 3u);
  sink_->on_event(
      {.kind = EventKind::kDrop, .reason = Drop::kIpChecksum, .bytes = batch_[1].buffer.bytes().subspan(14)});
  sink_->on_event({.kind = EventKind::kDrop,
                   .reason = Drop::kTcpPaws,
                   .flow = 4,
                   .arriving = batch_[2].buffer.bytes().data() + 14});
  send(9);
  EXPECT_EQ(written(), (Written{{1, {}},
                                {2, {"dropped: ip.bad_checksum, header checksum does not match"}},
                                {3, {"conn 4: dropped: tcp.paws, timestamp older than the last one accepted"}},
                                {9, {}}}));
}

// An ACK that ends a recovery, or a RST, is often answered with nothing.
TEST_F(CommentedCapture, WithoutAFrameSentADecisionStandsAtTheLastOneReceived) {
  arrive(1);
  arrive(2);
  take_in();
  retransmit();
  take_in();
  send(3);
  EXPECT_EQ(written(), (Written{{1, {}}, {2, {retransmission_}}, {3, {}}}));
}

TEST_F(CommentedCapture, WhatIsHeldIsWrittenSoon) {
  EXPECT_EQ(near_->next_deadline(), Instant::never());
  arrive(1);
  take_in();
  EXPECT_EQ(packets_of(file_.path).size(), 0u);
  EXPECT_EQ(near_->next_deadline(), Instant::past());
  take_in();
  EXPECT_EQ(packets_of(file_.path).size(), 1u);
  EXPECT_EQ(near_->next_deadline(), Instant::never());
}

TEST_F(CommentedCapture, AWindowIsToldWhenItHasChanged) {
  for (const std::int64_t window : {10, 10, 20}) {
    sink_->on_event({.kind = EventKind::kTcpCwnd, .flow = 1, .a = window, .b = UINT32_MAX});
  }
  sink_->on_event({.kind = EventKind::kTcpCwnd, .flow = 2, .a = 10, .b = 5});
  send(1);
  EXPECT_EQ(
      written(),
      (Written{{1, {"conn 1: cwnd 10, no ssthresh", "conn 1: cwnd 20, no ssthresh", "conn 2: cwnd 10, ssthresh 5"}}}));
}

TEST_F(CommentedCapture, TooManyDecisionsAreNotKept) {
  for (int i = 0; i < 1000; ++i) retransmit();
  send(1);
  EXPECT_EQ(written(), (Written{{1, std::vector<std::string>(64, retransmission_)}}));
}

TEST(CaptureWithoutComments, LeavesTheEventsToOthers) {
  struct Other final : EventSink {
    void on_event(const Event&) override {}
  } other;
  const fs::path path = fs::temp_directory_path() / ("sluice" + std::to_string(::getpid()) + ".pcap");
  drivers::MemoryLink link;
  drivers::Capture capture(link.add_port(),
                           std::move(*drivers::create_capture(path, link::Medium::kIp, link::Fcs::kNone)), {});
  EXPECT_EQ(capture.events(&other), &other);
  EXPECT_EQ(capture.events(nullptr), nullptr);
  fs::remove(path);
}

TEST(EventText, OfEachKind) {
  const std::pair<Event, const char*> rows[] = {
      {{.kind = EventKind::kNeighborState, .detail = "stale"}, "neighbour entry: stale"},
      {{.kind = EventKind::kAddressConflict}, "another station claims our address"},
      {{.kind = EventKind::kTcpState, .flow = 7, .detail = "ESTABLISHED"}, "conn 7: state ESTABLISHED"},
      {{.kind = EventKind::kTcpRtt, .flow = 7, .a = 1}, ""},
      {{.kind = EventKind::kTcpTimeout, .flow = 7, .b = 2, .detail = "retransmission"},
       "conn 7: timeout: retransmission, backoff 2"},
      {{.kind = EventKind::kTcpRecoveryEnter, .flow = 7, .a = 9}, "conn 7: recovery begins, up to 9"},
      {{.kind = EventKind::kTcpRecoveryExit, .flow = 7, .a = 9}, "conn 7: recovery ends at 9"},
      {{.kind = EventKind::kTcpLoss, .flow = 7, .a = 1448, .b = 2896, .detail = "RACK"},
       "conn 7: 1448 bytes lost: RACK, 2896 in flight"},
      {{.kind = EventKind::kTcpUndo, .flow = 7, .detail = "D-SACK"}, "conn 7: undo of the last reduction: D-SACK"},
      {{.kind = EventKind::kTcpProbe, .flow = 7, .detail = "keep-alive"}, "conn 7: probe: keep-alive"},
      {{.kind = EventKind::kTcpSynCookie, .detail = "accepted"}, "SYN cookie: accepted"},
      {{.kind = EventKind::kTcpFastOpen, .flow = 7, .a = 10, .detail = "data taken"},
       "conn 7: fast open: data taken, 10 bytes in the SYN"},
      {{.kind = EventKind::kTcpReset, .flow = 7, .detail = "by the peer"}, "conn 7: reset: by the peer"},
  };
  for (const auto& [event, text] : rows) EXPECT_EQ(drivers::text_of(event), text);
}

}  // namespace
}  // namespace sluice::test
