// A capture of our own traffic as the network: a server that sees the recorded frames of its client again, with the
// same seed and at the recorded times, answers byte for byte as it did.
#include <gtest/gtest.h>

#include <unistd.h>

#include <filesystem>

#include "drivers/capture.h"
#include "drivers/memory_link.h"
#include "drivers/pcap_file.h"
#include "stack/stack.h"
#include "stack/wire/ethernet.h"

namespace sluice::test {
namespace {

using Octets = std::vector<std::uint8_t>;

constexpr wire::MacAddress kServerMac{{2, 0, 0, 0, 0, 1}};
constexpr wire::MacAddress kClientMac{{2, 0, 0, 0, 0, 2}};
const wire::Address kServer = wire::Ipv4Address::of(10, 0, 0, 1);
constexpr Instant kStart = Instant::from_nanos(1'000'000'000);

// Keeps what is sent; hands over what `arrive` was given.
class Desk final : public link::NetDevice {
 public:
  Desk() { capabilities_.fcs = link::Fcs::kPresent; }
  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant, buf::Pool& pool, std::span<buf::RxFrame> out) override {
    std::size_t n = 0;
    for (; n < out.size() && n < arriving.size(); ++n) {
      out[n] = {pool.copy_of(arriving[n]), {}, static_cast<std::uint32_t>(arriving[n].size())};
    }
    arriving.clear();
    return n;
  }
  std::size_t tx(Instant, std::span<const buf::TxFrame> frames) override {
    for (const buf::TxFrame& f : frames) {
      sent.emplace_back(f.size());
      f.copy_to(sent.back());
    }
    return frames.size();
  }
  std::vector<Octets> arriving;
  std::vector<Octets> sent;

 private:
  link::Capabilities capabilities_;
};

// An echo server and its stack.
class Server {
 public:
  explicit Server(link::NetDevice& device) {
    StackConfig config;
    config.seed = Rng::seed_from(7);
    stack = std::make_unique<Stack>(config);
    stack->set_time(kStart);
    const auto id =
        stack->ip()
            .add_interface(device, {.mac = kServerMac, .address_check = ip::InterfaceConfig::AddressCheck::kNone})
            .value();
    (void)stack->ip().add_address(id, {kServer, 24});
    listener = stack->sockets().open(ip::Family::kV4, socket::Type::kStream).value();
    (void)stack->sockets().bind(listener, {wire::Ipv4Address{}, 7});
    (void)stack->sockets().listen(listener, 4);
  }
  void run(Instant now) {
    stack->poll(now);
    if (connection < 0) connection = stack->sockets().accept(listener, nullptr).value_or(-1);
    if (connection < 0) return;
    Octets data(4096);
    const MutableBytes room(data);
    const auto got = stack->sockets().receive(connection, std::span(&room, 1));
    if (!got) return;
    const Bytes piece = Bytes(data).first(got->size);
    if (got->size > 0) (void)stack->sockets().send(connection, std::span(&piece, 1), nullptr);
    if (got->size == 0) (void)stack->sockets().shutdown(connection, socket::Shutdown::kWrite);
  }
  std::unique_ptr<Stack> stack;
  socket::Handle listener = -1;
  socket::Handle connection = -1;
};

// A client connects, sends, and closes; everything at the server's end is captured.
void record(const std::string& path) {
  drivers::MemoryLink link;
  drivers::Capture server_end(
      link.add_port(), std::move(*drivers::PcapWriter::create(path, link::Medium::kEthernet, link::Fcs::kPresent)), {});
  auto& client_end = link.add_port();
  Server server(server_end);
  StackConfig config;
  config.seed = Rng::seed_from(8);
  Stack client(config);
  client.set_time(kStart);
  const auto id =
      client.ip()
          .add_interface(client_end, {.mac = kClientMac, .address_check = ip::InterfaceConfig::AddressCheck::kNone})
          .value();
  (void)client.ip().add_address(id, {wire::Ipv4Address::of(10, 0, 0, 2), 24});
  const auto out = client.sockets().open(ip::Family::kV4, socket::Type::kStream).value();
  (void)client.sockets().connect(out, {kServer, 7});
  const Octets text(3000, 'r');
  for (int ms = 1; ms < 400; ++ms) {
    const Instant now = kStart + Duration::millis(ms);
    client.poll(now);
    if (ms == 50) {
      const Bytes piece(text);
      (void)client.sockets().send(out, std::span(&piece, 1), nullptr);
    }
    if (ms == 200) (void)client.sockets().shutdown(out, socket::Shutdown::kWrite);
    server.run(now);
  }
}

TEST(OwnTraffic, AnswersByteForByte) {
  const std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("sluice-own" + std::to_string(::getpid()));
  record(path);
  auto reader = drivers::CaptureReader::open(path);
  ASSERT_TRUE(reader.has_value());
  Desk desk;
  Server server(desk);
  std::vector<Octets> recorded;
  drivers::CaptureFrame frame;
  Instant now = kStart;
  while ((*reader)->next(frame)) {
    const Octets bytes(frame.bytes.begin(), frame.bytes.end());
    if (wire::MacAddress::load(bytes.data() + 6) == kServerMac) {
      recorded.push_back(bytes);
      continue;
    }
    for (; now < frame.at; now = now + 1_ms) server.run(now);  // frames of one time arrive together
    desk.arriving.push_back(bytes);
  }
  for (; now < kStart + 400_ms; now = now + 1_ms) server.run(now);
  std::filesystem::remove(path);
  ASSERT_GT(recorded.size(), 5u);
  EXPECT_EQ(desk.sent, recorded);
}

}  // namespace
}  // namespace sluice::test
