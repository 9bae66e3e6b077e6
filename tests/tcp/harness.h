// The TCP script harness: one real stack in virtual time, and a peer that is played by hand.
//
//   Script h;
//   h.listen();
//   h.rx({.flags = "S", .seq = 0, .mss = 1460});
//   h.expect_tx({.flags = "SA", .seq = 0, .ack = 1});
//   h.rx({.seq = 1, .ack = 1});
//   h.accept();
//   h.rx({.flags = "PA", .seq = 1, .ack = 1, .payload = "abc"});
//   h.expect_tx({.ack = 4});
//
// Sequence numbers are relative: the peer's SYN is its 0, our SYN is our 0, so the first data byte is 1 in both
// directions. Segments are built and read by code of the harness's own, not by stack/wire, so that an error there
// does not hide itself. Frames are bare IPv4 packets in heap blocks of exact size.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "stack/link/netdev.h"
#include "stack/stack.h"
#include "stack/tcp/cc/registry.h"

namespace sluice::test {

inline constexpr std::uint32_t kOurAddress = 0xc0000201;   // 192.0.2.1
inline constexpr std::uint32_t kPeerAddress = 0xc0000202;  // 192.0.2.2

// A segment sent by the peer, or one of ours as read by it. Numbers are relative (see above).
struct Segment {
  std::string flags = "A";  // of F S R P A U E C; '.' is ignored
  std::uint32_t seq = 0;
  std::uint32_t ack = 0;
  std::uint32_t win = 65535;  // the field as it stands in the header
  std::string payload = {};
  std::uint16_t urgent = 0;
  std::optional<std::uint16_t> mss = {};
  std::optional<std::uint8_t> scale = {};
  bool sack_ok = false;
  struct Timestamps {
    std::uint32_t value = 0;
    std::uint32_t echo = 0;
    bool operator==(const Timestamps&) const = default;
  };
  std::optional<Timestamps> ts = {};
  struct Block {
    std::uint32_t left = 0;
    std::uint32_t right = 0;
    bool operator==(const Block&) const = default;
  };
  std::vector<Block> sack = {};  // the peer's name our numbers, ours name the peer's
  struct FastOpen {
    std::vector<std::uint8_t> cookie = {};  // empty: asks for one
    bool experimental = false;
    bool operator==(const FastOpen&) const = default;
  };
  std::optional<FastOpen> fast_open = {};
  // RFC 2385: the key the peer signs with; of ours the script's, or "?" when it was not that.
  std::optional<std::string> md5 = {};
  std::vector<std::uint8_t> raw_options = {};  // put as they are, after those above
  std::vector<std::uint8_t> ip_options = {};   // of the IP header, a multiple of four bytes
  std::uint8_t ttl = 64;
  std::uint8_t ecn = 0;                                         // codepoint of the IP header
  std::uint8_t dscp = 0;                                        // of ours only
  bool dont_fragment = true;                                    // of ours only
  std::uint8_t reserved = 0;                                    // the four reserved header bits
  std::optional<std::uint8_t> ace = {};                         // AE, CWR and ECE as one number; always there in ours
  std::optional<std::vector<std::uint32_t>> accurate_ecn = {};  // the counts of that option, kind 172; ours only
  bool bad_checksum = false;
  std::uint16_t src_port = 0;  // 0: the script's
  std::uint16_t dst_port = 0;
  std::uint32_t source = 0;  // IPv4 addresses; 0: the script's
  std::uint32_t destination = 0;
};

// What one of our segments must look like; what is not given is not looked at.
struct Want {
  std::optional<std::string> flags = {};
  std::optional<std::uint32_t> seq = {};
  std::optional<std::uint32_t> ack = {};
  std::optional<std::uint32_t> win = {};
  std::optional<std::string> payload = {};
  std::optional<std::size_t> size = {};  // of the payload
  std::optional<std::uint16_t> mss = {};
  std::optional<bool> has_mss = {};
  std::optional<bool> has_scale = {};
  std::optional<bool> has_ts = {};
  std::optional<Segment::Timestamps> ts = {};
  std::optional<std::uint32_t> ts_echo = {};
  std::optional<std::uint16_t> urgent = {};
  std::optional<std::uint8_t> ace = {};
  std::optional<std::uint8_t> ecn = {};
  std::optional<std::vector<std::uint32_t>> accurate_ecn = {};
  std::optional<bool> sack_ok = {};
  std::optional<std::vector<Segment::Block>> sack = {};
  std::optional<std::string> md5 = {};  // "none": it is not signed
  std::optional<bool> has_fast_open = {};
  std::optional<Segment::FastOpen> fast_open = {};
};

std::string describe(const Segment& segment);

// The device under the stack: keeps what is sent, hands over what is given. MTU and medium kIp.
class ScriptDevice : public link::NetDevice {
 public:
  explicit ScriptDevice(std::uint32_t mtu);
  [[nodiscard]] const link::Capabilities& capabilities() const override { return capabilities_; }
  std::size_t rx(Instant now, buf::Pool& pool, std::span<buf::RxFrame> out) override;
  std::size_t tx(Instant now, std::span<const buf::TxFrame> frames) override;

  std::deque<std::vector<std::uint8_t>> to_stack;
  struct Sent {
    Instant at;
    std::vector<std::uint8_t> packet;
  };
  std::deque<Sent> from_stack;

 private:
  link::Capabilities capabilities_;
};

struct ScriptOptions {
  std::uint32_t mtu = 1500;
  tcp::TcpConfig tcp = {.congestion = tcp::cc::index_of("newreno")};  // whose windows are easy to reckon with
  std::uint32_t peer_iss = 1000;                                      // absolute
  std::uint16_t local_port = 80;
  std::uint16_t peer_port = 40000;
  std::uint64_t seed = 1;
  std::string md5_key = {};  // that our segments are held against (RFC 2385)
};

class Script {
 public:
  explicit Script(ScriptOptions options = {});

  // --- the application's side ------------------------------------------------------------------------------------
  void listen(int backlog = 16);
  void stop_listening();
  // Takes the connection off the accept queue; fails the test when there is none.
  void accept();
  // Active open to the peer, from this address and port if given (bound for reuse). The SYN is left to be expected.
  void connect(const ip::Endpoint& local = {wire::Ipv4Address{}, 0});
  // A socket of its own; and what begins a connection with MSG_FASTOPEN: how many bytes went with the SYN, or why none.
  void open_socket();
  Result<std::size_t> send_first(std::string_view data);
  Status begin_connect();                        // connect() of that socket
  Errno write(std::string_view data);            // kOk, or why nothing or not all was taken
  std::string read(std::size_t most = 1 << 20);  // what is there, "" when nothing
  Errno read_error();                            // kOk at the end of the stream, kAgain when open and empty
  bool at_eof();
  void shutdown_write();
  void close();
  Errno take_error();
  socket::Ready ready();
  void set(socket::Option option, std::int64_t value);
  void set_listener(socket::Option option, std::int64_t value);
  bool acceptable();
  // State by name, "ESTABLISHED"; "CLOSED" when the connection is no longer known.
  std::string state();
  tcp::Info info();

  // --- the peer's side -------------------------------------------------------------------------------------------
  void rx(const Segment& segment);
  void rx_changed(const Segment& segment, std::size_t at);  // another bit at this byte of it, the checksum made to fit
  void rx_together(const std::vector<Segment>& segments);   // in one batch
  void rx_icmp(std::uint8_t type, std::uint8_t code, std::uint16_t mtu, const Segment& quoted);  // quoting one of ours
  // The next segment that left the stack must be this one. Returns it.
  Segment expect_tx(const Want& want, const char* file = __builtin_FILE(), int line = __builtin_LINE());
  void expect_nothing(const char* file = __builtin_FILE(), int line = __builtin_LINE());
  std::optional<Segment> next_tx();  // without an opinion
  void discard_tx();
  [[nodiscard]] Instant sent_at() const { return last_sent_; }  // of the segment last taken

  // --- time ------------------------------------------------------------------------------------------------------
  // Runs the stack to this time after the start of the script, firing timers on the way.
  void at(Duration since_start);
  void after(Duration step);
  // Runs until the stack sends something or `longest` is over; the time passed, or nothing when it did not.
  std::optional<Duration> until_tx(Duration longest);
  [[nodiscard]] Duration elapsed() const { return now_ - start_; }

  // --- common beginnings -----------------------------------------------------------------------------------------
  // Passive open, through to an accepted connection; the SYN's options are the given ones.
  void establish(const Segment& syn = {.flags = "S", .seq = 0, .ack = 0, .mss = 1460});
  void establish_active(const Segment& syn_ack = {.flags = "SA", .seq = 0, .ack = 1, .mss = 1460});

  Stack& stack() { return *stack_; }
  const Counters& counters() { return stack_->counters(); }
  socket::Handle handle() const { return connection_; }
  socket::Handle listener() const { return listener_; }
  ip::InterfaceId interface() const { return interface_; }
  ScriptDevice& device() { return device_; }

 private:
  void run();  // polls until nothing is left to do at this time
  [[nodiscard]] std::vector<std::uint8_t> build(const Segment& segment) const;
  std::optional<Segment> take();

  ScriptOptions options_;
  ScriptDevice device_;
  std::unique_ptr<Stack> stack_;
  Instant start_;
  Instant now_;
  Instant last_sent_;
  ip::InterfaceId interface_ = ip::kNoInterface;
  socket::Handle listener_ = -1;
  socket::Handle connection_ = -1;
  std::optional<std::uint32_t> our_iss_;  // absolute, learnt from our SYN
  std::uint16_t our_port_ = 0;            // learnt from our SYN when we open actively
  std::uint32_t our_address_;             // likewise
};

}  // namespace sluice::test
