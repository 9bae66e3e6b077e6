// Captures from elsewhere, in the folder that SLUICE_CAPTURES names. Every one goes through the stack: raw, and with
// the stack in the place of a host of the capture. TCP streams listed in streams.csv as "plain" are read by our
// sockets, both directions, and compared with their known digest.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "drivers/pcap_file.h"
#include "stack/stack.h"
#include "stack/wire/ethernet.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/tcp.h"
#include "tests/support/sha256.h"

namespace sluice::test {
namespace {

namespace fs = std::filesystem;

std::string folder() {
  const char* f = std::getenv("SLUICE_CAPTURES");
  return f != nullptr ? f : "";
}

using Row = std::map<std::string, std::string>;

// CSV without quoted commas in the columns used here.
std::vector<Row> read_table(const std::string& path) {
  std::ifstream in(path);
  std::vector<Row> rows;
  std::vector<std::string> names;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    std::vector<std::string> fields;
    std::stringstream s(line);
    for (std::string field; std::getline(s, field, ',');) fields.push_back(field);
    if (names.empty()) {
      names = fields;
      continue;
    }
    Row row;
    for (std::size_t i = 0; i < names.size() && i < fields.size(); ++i) row[names[i]] = fields[i];
    rows.push_back(row);
  }
  return rows;
}

std::vector<std::string> capture_files() {
  std::vector<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder())) {
    if (entry.is_regular_file() && entry.path().extension() != ".csv") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// The IPv4 packet of a frame, under any number of VLAN tags; empty when there is none.
Bytes ip_packet(Bytes frame, link::Medium medium) {
  if (medium == link::Medium::kIp) return frame;
  constexpr std::size_t kAddresses = 12;
  std::size_t at = kAddresses;
  while (at + 4 <= frame.size()) {
    const std::uint16_t type = load_be16(frame.data() + at);
    if (type == wire::ethernet::kIpv4) return frame.subspan(at + 2);
    if (type != wire::ethernet::kVlan && type != 0x88a8 && type != 0x9100) break;
    at += 4;
  }
  return {};
}

// The IPv4 destination that most frames of a capture go to.
wire::Ipv4Address busiest(const std::string& path) {
  auto reader = drivers::CaptureReader::open(path);
  std::map<std::uint32_t, int> count;
  if (!reader) return {};
  drivers::CaptureFrame frame;
  while ((*reader)->next(frame)) {
    const auto ip = wire::ipv4::parse(ip_packet(frame.bytes, (*reader)->medium()), wire::ChecksumPolicy::kTrust);
    if (ip) ++count[ip->header.destination.value];
  }
  std::uint32_t best = 0;
  for (const auto& [address, n] : count) {
    const wire::Ipv4Address a{address};
    const bool host = !a.is_multicast() && !a.is_class_e() && !a.is_this_network() && !a.is_loopback();
    if (host && n > count[best]) best = address;
  }
  return {best};
}

// Runs the whole capture into a stack that listens on some ports. False when nothing here can read it.
bool run_through(const std::string& path, wire::Ipv4Address address) {
  auto device = drivers::PcapFile::open(path, {});
  if (!device) return false;
  StackConfig config;
  config.seed = Rng::seed_from(1);
  Stack stack(config);
  Instant now = Instant::from_nanos(1'000'000'000);
  stack.set_time(now);
  ip::InterfaceConfig interface;
  interface.promiscuity = ip::InterfaceConfig::Promiscuity::kOn;
  const auto id = stack.ip().add_interface(**device, interface).value();
  (void)stack.ip().add_address(id, {address, 24});
  for (const int number : {21, 22, 25, 53, 80, 110, 143, 443, 445, 8080}) {
    const auto port = static_cast<std::uint16_t>(number);
    const auto tcp = stack.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
    (void)stack.sockets().bind(tcp, {wire::Ipv4Address{}, port});
    (void)stack.sockets().listen(tcp, 64);
    const auto udp = stack.sockets().open(ip::Family::kV4, socket::Type::kDatagram).value();
    (void)stack.sockets().bind(udp, {wire::Ipv4Address{}, port});
  }
  while (!(*device)->finished()) {
    stack.poll(now);
    now = now + 1_ms;
  }
  for (int i = 0; i < 100; ++i) stack.poll(now = now + 1_s);  // timers of what is left
  return true;
}

TEST(OutsideCaptures, AllGoThrough) {
  if (folder().empty()) GTEST_SKIP() << "skipped: SLUICE_CAPTURES names no folder of captures";
  int read = 0;
  int unreadable = 0;
  for (const std::string& path : capture_files()) {
    SCOPED_TRACE(path);
    const bool raw = run_through(path, wire::Ipv4Address::of(192, 0, 2, 77));
    const wire::Ipv4Address host = busiest(path);
    if (raw && !host.is_any()) (void)run_through(path, host);
    ++(raw ? read : unreadable);
  }
  printf("%d captures, raw and with the stack in a host's place; %d have link types that nothing here reads\n", read,
         unreadable);
  EXPECT_GT(read, unreadable);
}

// --- streams
// ---------------------------------------------------------------------------------------------------------------

// A device that hands over packets one by one and forgets what is sent.
class Feeder final : public link::NetDevice {
 public:
  Feeder() {
    capabilities_.medium = link::Medium::kIp;
    capabilities_.mtu = 65535;
  }
  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant, buf::Pool&, std::span<buf::RxFrame> out) override {
    if (next.empty()) return 0;
    out[0] = {buf::Buffer::copy_of(next),
              {.checksum = buf::ChecksumState::kVerified},
              static_cast<std::uint32_t>(next.size())};
    next.clear();
    return 1;
  }
  std::size_t tx(Instant, std::span<const buf::TxFrame> frames) override { return frames.size(); }
  std::vector<std::uint8_t> next;

 private:
  link::Capabilities capabilities_;
};

struct StreamEnds {
  wire::Endpoint us;
  wire::Endpoint peer;
};

// Our stack as one end of a recorded connection. ACK numbers of what arrives are set to what we have sent.
class Player {
 public:
  Player(const StreamEnds& ends, tcp::Switch timestamps) : ends_(ends) {
    StackConfig config;
    config.tcp.timestamps = timestamps;
    config.seed = Rng::seed_from(1);
    stack_ = std::make_unique<Stack>(config);
    stack_->set_time(now_);
    const auto id = stack_->ip().add_interface(feeder_, {}).value();
    EXPECT_TRUE(stack_->ip().add_address(id, {ends.us.address, 32}).has_value());
    EXPECT_TRUE(stack_->ip().add_route({{wire::Ipv4Address{}, 0}, {}, id, 0}).has_value());
    socket_ = stack_->sockets().open(ip::Family::kV4, socket::Type::kStream).value();
    EXPECT_TRUE(stack_->sockets().bind(socket_, ends.us).has_value());
  }
  void listen() { EXPECT_TRUE(stack_->sockets().listen(socket_, 1).has_value()); }
  void connect() { (void)stack_->sockets().connect(socket_, ends_.peer); }

  void feed(Bytes packet, std::size_t header_size) {
    feeder_.next.assign(packet.begin(), packet.end());
    std::uint8_t* tcp = feeder_.next.data() + header_size;
    // A capture taken on the sending host may have checksums that its network card was to fill in.
    std::uint8_t* ip = feeder_.next.data();
    ends_.peer.address.v4().store(ip + 12);
    store_be16(ip + 10, 0);
    store_be16(ip + 10, wire::checksum({ip, header_size}));
    if ((tcp[13] & 0x10) != 0) store_be32(tcp + 8, our_next());
    stack_->poll(now_ = now_ + 1_ms);
    if (connection_ < 0) connection_ = stack_->sockets().accept(socket_, nullptr).value_or(-1);
    read();
  }
  void use_own_socket() { connection_ = socket_; }
  [[nodiscard]] const std::vector<std::uint8_t>& bytes() const { return bytes_; }

 private:
  std::uint32_t our_next() {
    struct Found {
      std::uint32_t number = 0;
    } found;
    stack_->tcp().visit_connections(
        [](void* arg, const tcp::Endpoint&, const tcp::Endpoint&, const tcp::Info& info) {
          if (info.state != tcp::State::kListen) static_cast<Found*>(arg)->number = info.snd_nxt;
        },
        &found);
    return found.number;
  }
  void read() {
    if (connection_ < 0) return;
    std::vector<std::uint8_t> chunk(65536);
    const MutableBytes piece(chunk);
    for (;;) {
      const auto got = stack_->sockets().receive(connection_, std::span(&piece, 1));
      if (!got || got->size == 0) return;
      bytes_.insert(bytes_.end(), chunk.begin(), chunk.begin() + static_cast<std::ptrdiff_t>(got->size));
    }
  }

  StreamEnds ends_;
  Feeder feeder_;
  std::unique_ptr<Stack> stack_;
  Instant now_ = Instant::from_nanos(1'000'000'000);
  socket::Handle socket_ = -1;
  socket::Handle connection_ = -1;
  std::vector<std::uint8_t> bytes_;
};

// A host that talks to itself is played with another address at the far end: nobody receives his own address from
// outside.
StreamEnds played_ends(StreamEnds ends) {
  if (ends.us.address == ends.peer.address) ends.peer.address = wire::Ipv4Address::of(198, 18, 0, 1);
  return ends;
}

// Whether the recorded host at our end agreed to timestamps in its SYN.
tcp::Switch recorded_timestamps(const std::string& path, const StreamEnds& ends) {
  auto reader = drivers::CaptureReader::open(path);
  drivers::CaptureFrame frame;
  while (reader && (*reader)->next(frame)) {
    const auto ip = wire::ipv4::parse(ip_packet(frame.bytes, (*reader)->medium()), wire::ChecksumPolicy::kTrust);
    if (!ip || ip->header.protocol != 6 || ip->header.is_fragment()) continue;
    const auto tcp =
        wire::tcp::parse(ip->payload, ip->header.source, ip->header.destination, wire::ChecksumPolicy::kTrust);
    const bool ours = tcp && tcp->header.flags.syn() &&
                      ends.us == wire::Endpoint{ip->header.source, tcp->header.src_port} &&
                      ends.peer == wire::Endpoint{ip->header.destination, tcp->header.dst_port};
    if (ours) return wire::tcp::parse_options(tcp->options).has_timestamps ? tcp::Switch::kOn : tcp::Switch::kOff;
  }
  return tcp::Switch::kOn;
}

// What our socket reads when it plays the end that `from` talks to, from the SYN with sequence number `isn` on.
std::vector<std::uint8_t> play(const std::string& path, const StreamEnds& ends, std::uint32_t isn, bool we_connect) {
  auto reader = drivers::CaptureReader::open(path);
  if (!reader) return {};
  Player player(played_ends(ends), recorded_timestamps(path, ends));
  we_connect ? (player.connect(), player.use_own_socket()) : player.listen();
  bool begun = false;
  drivers::CaptureFrame frame;
  while ((*reader)->next(frame)) {
    const Bytes packet = ip_packet(frame.bytes, (*reader)->medium());
    const auto ip = wire::ipv4::parse(packet, wire::ChecksumPolicy::kTrust);
    if (!ip || ip->header.protocol != 6 || ip->header.is_fragment()) continue;
    const auto tcp =
        wire::tcp::parse(ip->payload, ip->header.source, ip->header.destination, wire::ChecksumPolicy::kTrust);
    if (!tcp) continue;
    const wire::Endpoint from{ip->header.source, tcp->header.src_port};
    const wire::Endpoint to{ip->header.destination, tcp->header.dst_port};
    if (!(from == ends.peer) || !(to == ends.us)) continue;
    if (tcp->header.flags.syn()) begun = tcp->header.seq == isn;
    if (!begun) continue;
    player.feed(packet.first(ip->header.total_length), wire::ipv4::kHeaderSize + ip->options.size());
  }
  return player.bytes();
}

TEST(OutsideCaptures, PlainStreamsAreReadByteForByte) {
  if (folder().empty()) GTEST_SKIP() << "skipped: SLUICE_CAPTURES names no folder of captures";
  int compared = 0;
  int ipv6 = 0;
  for (const Row& row : read_table(folder() + "/streams.csv")) {
    if (row.at("replay_class") != "plain") continue;
    const std::string path = folder() + "/" + row.at("file");
    const auto client = wire::parse_address(row.at("client"));
    const auto server = wire::parse_address(row.at("server"));
    ASSERT_TRUE(client && server) << row.at("client");
    if (client->is_v6()) {
      ++ipv6;  // not there yet
      continue;
    }
    SCOPED_TRACE(row.at("file") + " port " + row.at("cport"));
    const auto number = [&](const char* column) { return static_cast<std::uint32_t>(std::stoul(row.at(column))); };
    const wire::Endpoint c{*client, static_cast<std::uint16_t>(number("cport"))};
    const wire::Endpoint s{*server, static_cast<std::uint16_t>(number("sport"))};
    const auto to_server = play(path, {s, c}, number("client_isn"), false);
    EXPECT_EQ(std::to_string(to_server.size()), row.at("c2s_bytes"));
    EXPECT_EQ(sha256_hex(to_server), row.at("c2s_sha256"));
    const auto to_client = play(path, {c, s}, number("server_isn"), true);
    EXPECT_EQ(std::to_string(to_client.size()), row.at("s2c_bytes"));
    EXPECT_EQ(sha256_hex(to_client), row.at("s2c_sha256"));
    ++compared;
  }
  printf("%d streams compared, both directions; %d are IPv6, which is not there yet\n", compared, ipv6);
  EXPECT_GT(compared, 0);
}

}  // namespace
}  // namespace sluice::test
