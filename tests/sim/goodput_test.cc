// How fast one flow is, in virtual time, which is exactly repeatable: buffers that grow fill a long fast path, and the
// goodput over a grid of paths is what tests/sim/goodput.txt says, to the last digit.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iomanip>
#include <sstream>

#include "tests/support/world.h"

namespace sluice::test {
namespace {

constexpr std::uint16_t kPort = 5000;

// Data and ACKs pass each once: a router with its queue and its losses, and a long way.
struct Path {
  std::string router;  // parse_impairment()
  Duration rtt;
};

// A client that sends to a server as fast as the connection takes it.
class BulkFlow {
 public:
  BulkFlow(const Path& path, const tcp::TcpConfig& tcp, std::uint64_t bytes) : bytes_(bytes) {
    StackConfig config;
    config.tcp = tcp;
    server_ = &world_.add_host(drivers::parse_impairment(path.router).value(), config);
    drivers::Impairment way;
    way.delay = path.rtt / 2;
    client_ = &world_.add_host(way, config);
    listener_ = server_->sockets().open(ip::Family::kV4, socket::Type::kStream).value();
    EXPECT_TRUE(server_->sockets().bind(listener_, {wire::Ipv4Address{}, kPort}).has_value());
    EXPECT_TRUE(server_->sockets().listen(listener_, 1).has_value());
    out_ = client_->sockets().open(ip::Family::kV4, socket::Type::kStream).value();
    (void)client_->sockets().connect(out_, {server_->address, kPort});
    sender_ = std::make_unique<Pattern>(*client_, out_, 1);
    began_ = world_.now();
  }

  // Until all bytes have arrived, or `longest` is over; true in the first case.
  bool run(Duration longest) {
    return world_.run(longest, [&] {
      if (in_ < 0) in_ = server_->sockets().accept(listener_, nullptr).value_or(-1);
      if (in_ >= 0 && receiver_ == nullptr) receiver_ = std::make_unique<Pattern>(*server_, in_, 1);
      sender_->send_up_to(bytes_);
      if (receiver_ != nullptr) receiver_->receive();
      return received() == bytes_;
    });
  }

  // SO_SNDBUF and SO_RCVBUF, the latter on the listener: an accepted connection inherits it.
  void choose_buffers(std::int64_t bytes) {
    EXPECT_TRUE(client_->sockets().set_option(out_, socket::Option::kSendBuffer, bytes).has_value());
    EXPECT_TRUE(server_->sockets().set_option(listener_, socket::Option::kReceiveBuffer, bytes).has_value());
  }
  [[nodiscard]] std::int64_t receive_option() {
    return server_->sockets().get_option(in_, socket::Option::kReceiveBuffer).value();
  }

  [[nodiscard]] std::uint64_t received() const { return receiver_ != nullptr ? receiver_->received() : 0; }
  [[nodiscard]] bool wrong() const { return receiver_ != nullptr && receiver_->wrong(); }
  [[nodiscard]] Duration elapsed() const { return world_.now() - began_; }
  [[nodiscard]] tcp::Info sending() { return client_->sockets().tcp_info(out_).value(); }
  [[nodiscard]] tcp::Info receiving() { return server_->sockets().tcp_info(in_).value(); }

 private:
  World world_{1};
  std::uint64_t bytes_;
  Host* server_ = nullptr;
  Host* client_ = nullptr;
  socket::Handle listener_ = -1, out_ = -1, in_ = -1;
  std::unique_ptr<Pattern> sender_, receiver_;
  Instant began_;
};

tcp::TcpConfig untuned(std::size_t buffers) {
  tcp::TcpConfig c;
  c.receive_tuning = c.send_tuning = tcp::Switch::kOff;
  c.receive_buffer = c.send_buffer = buffers;
  return c;
}

// 1 Gbit/s over 100 ms with a queue of one bandwidth-delay product (12.5 MB): bit/s in the last two seconds.
double rate_over_long_fast_path(const tcp::TcpConfig& tcp, tcp::Info* sending = nullptr) {
  BulkFlow flow({"rate=1gbit,queue=12500k", 100_ms}, tcp, UINT64_MAX);
  (void)flow.run(2_s);
  const std::uint64_t before = flow.received();
  (void)flow.run(2_s);
  EXPECT_FALSE(flow.wrong());
  if (sending != nullptr) *sending = flow.sending();
  return static_cast<double>(flow.received() - before) * 8 / 2;
}

constexpr double kPayloadRate = 1e9 * 1448 / (1500 + 14 + 4);  // of full frames with timestamps, bit/s

// The default configuration.
TEST(Goodput, OneFlowFillsALongFastPath) {
  tcp::Info sending;
  EXPECT_GT(rate_over_long_fast_path({}, &sending), 0.9 * kPayloadRate);
  EXPECT_EQ(sending.retransmits, 0u);
}

// Each switch alone is what it takes.
TEST(Goodput, WithoutTuningItDoesNot) {
  tcp::TcpConfig no_receive;
  no_receive.receive_tuning = tcp::Switch::kOff;
  tcp::TcpConfig no_send;
  no_send.send_tuning = tcp::Switch::kOff;
  EXPECT_LT(rate_over_long_fast_path(no_receive), 0.1 * kPayloadRate);
  EXPECT_LT(rate_over_long_fast_path(no_send), 0.1 * kPayloadRate);
}

// A size the user has chosen stays, as on Linux, whatever comes; without one the application sees it grow.
TEST(Goodput, AChosenBufferStays) {
  for (const bool chosen : {false, true}) {
    BulkFlow flow({"rate=100mbit,queue=1m", 20_ms}, {}, 3'000'000);
    if (chosen) flow.choose_buffers(100'000);
    EXPECT_TRUE(flow.run(60_s));
    EXPECT_EQ(flow.sending().send_buffer == 100'000u, chosen);
    EXPECT_EQ(flow.receiving().receive_buffer == 100'000u, chosen);
    EXPECT_EQ(flow.receive_option(), static_cast<std::int64_t>(flow.receiving().receive_buffer));
    if (!chosen) {
      EXPECT_GT(flow.sending().send_buffer, tcp::TcpConfig().send_buffer);
      EXPECT_GT(flow.receiving().receive_buffer, tcp::TcpConfig().receive_buffer);
    }
  }
}

// What one flow of 4 MB does with a path, kbit/s, one row a path.
std::string goodput_table() {
  struct Buffers {
    const char* name;
    tcp::TcpConfig config;
  };
  const Buffers all[] = {{"64k", untuned(64 << 10)}, {"1m", untuned(1 << 20)}, {"tuned", {}}};
  std::ostringstream out;
  for (const char* loss : {"0%", "0.1%", "1%"}) {
    for (const int rtt : {10, 40, 100}) {
      for (const Buffers& buffers : all) {
        BulkFlow flow({std::string("rate=100mbit,queue=1m,loss=") + loss, Duration::millis(rtt)}, buffers.config,
                      4'000'000);
        EXPECT_TRUE(flow.run(600_s)) << loss << rtt << buffers.name;
        EXPECT_FALSE(flow.wrong());
        out << std::setw(4) << loss << std::setw(5) << rtt << " ms " << std::setw(6) << buffers.name << std::setw(8)
            << 4'000'000ll * 8 * 1'000'000 / flow.elapsed().to_nanos() << "\n";
      }
    }
  }
  return out.str();
}

// Virtual time repeats exactly: whatever changes a number here has changed how TCP behaves, and shall be meant.
TEST(Goodput, Table) {
  const std::string table = goodput_table();
  if (const char* file = std::getenv("SLUICE_WRITE_GOODPUT")) {
    ASSERT_TRUE(std::ofstream(file) << table);
    GTEST_SKIP() << "written to " << file;
  }
  std::ifstream file(SLUICE_GOODPUT_FILE);
  std::ostringstream golden;
  golden << file.rdbuf();
  EXPECT_EQ(table, golden.str());
}

}  // namespace
}  // namespace sluice::test
