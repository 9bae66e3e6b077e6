// Both ends do the same at the same time: what the plain window test would drop still acknowledges something
// (RFC9293-SEG-14). RFC 9293 Appendix A.2.
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

// Both windows are closed, and each end has something to say.
void close_both_windows(Script& h) {
  h.establish();
  h.write(std::string(1460, 'x'));
  h.expect_tx({.size = 1460});
  h.rx({.seq = 1, .ack = 1461, .win = 0, .payload = std::string(4096, 'y')});
  h.write("ours");
  h.discard_tx();
  ASSERT_EQ(h.info().rcv_wnd, 0u);
  ASSERT_EQ(h.info().snd_wnd, 0u);
}

ScriptOptions small_buffer() {
  ScriptOptions o;
  o.tcp.receive_buffer = 4096;
  o.tcp.receive_tuning = tcp::Switch::kOff;
  o.mtu = 9000;
  return o;
}

// The peer has probed our window: its next number is one beyond what we take, and its window opens.
TEST(Crossing, PeerHasProbed) {
  Script h(small_buffer());
  close_both_windows(h);
  h.rx({.seq = 4097, .ack = 1461, .win = 0, .payload = "p"});  // no room for it
  h.expect_tx({.flags = "A", .ack = 4097, .win = 0});
  h.rx({.seq = 4098, .ack = 1461, .win = 1000});
  EXPECT_EQ(h.info().snd_wnd, 1000u);
  h.discard_tx();
  h.rx({.seq = 4099, .ack = 1461, .win = 2000});  // further on is nothing that it can have sent
  EXPECT_EQ(h.info().snd_wnd, 1000u);
  h.rx({.flags = "R", .seq = 4098, .ack = 0});  // and a reset stands where it is expected, or is none
  EXPECT_EQ(h.state(), "ESTABLISHED");
}

// We have probed the peer's window. What we say then lies where it listens: at the number it has not taken.
TEST(Crossing, WeHaveProbed) {
  Script h(small_buffer());
  close_both_windows(h);
  ASSERT_TRUE(h.until_tx(5_s).has_value());
  h.expect_tx({.seq = 1461, .payload = "o"});
  EXPECT_EQ(h.read().size(), 4096u);
  h.expect_tx({.flags = "A", .seq = 1461, .ack = 4097, .win = 4096});
  h.rx({.seq = 4096, .ack = 1461, .win = 0});  // a probe of the peer's
  h.expect_tx({.flags = "A", .seq = 1461});
  h.rx({.seq = 4097, .ack = 1461, .win = 1000, .payload = "theirs"});
  h.expect_tx({.seq = 1461, .payload = "ours"});
  EXPECT_EQ(h.read(), "theirs");
}

// So does a reset.
TEST(Crossing, ResetAfterAProbe) {
  Script h(small_buffer());
  close_both_windows(h);
  ASSERT_TRUE(h.until_tx(5_s).has_value());
  h.discard_tx();
  h.close();  // with unread data
  h.expect_tx({.flags = "RA", .seq = 1461});
}

// The peer's FIN comes again; what is new is that it acknowledges ours.
TEST(Crossing, FinAgainAcknowledgesOurs) {
  Script h;
  h.establish();
  h.shutdown_write();
  h.expect_tx({.flags = "FA", .seq = 1});
  h.rx({.flags = "FA", .seq = 1, .ack = 1});
  h.expect_tx({.flags = "A", .seq = 2, .ack = 2});
  EXPECT_EQ(h.state(), "CLOSING");
  h.rx({.flags = "FA", .seq = 1, .ack = 1});
  h.expect_tx({.flags = "A", .seq = 2, .ack = 2});
  EXPECT_EQ(h.state(), "CLOSING");
  h.rx({.flags = "FA", .seq = 1, .ack = 2});
  h.expect_tx({.flags = "A", .seq = 2, .ack = 2});
  EXPECT_EQ(h.state(), "TIME-WAIT");
}

// The SYN-ACK of an open from both ends repeats the SYN below the window.
TEST(Crossing, SynAckOfASimultaneousOpen) {
  Script h;
  h.connect();
  h.expect_tx({.flags = "S"});
  h.rx({.flags = "S", .seq = 0, .ack = 0, .mss = 1460});
  h.expect_tx({.flags = "SA"});
  h.rx({.flags = "SA", .seq = 0, .ack = 1, .mss = 1460});
  EXPECT_EQ(h.state(), "ESTABLISHED");
}

// A socket that connects to its own address and port hears itself.
TEST(Crossing, ConnectionToItself) {
  Script h;
  auto& sockets = h.stack().sockets();
  const socket::Handle s = sockets.open(ip::Family::kV4, socket::Type::kStream).value();
  const wire::Endpoint self{wire::Ipv4Address{kOurAddress}, 5000};
  ASSERT_TRUE(sockets.bind(s, self).has_value());
  ASSERT_EQ(sockets.connect(s, self).error(), Errno::kInProgress);
  h.after(1_ms);
  const std::string text = "to myself";
  const Bytes out(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  ASSERT_TRUE(sockets.send(s, std::span(&out, 1), nullptr).has_value());
  h.after(1_ms);
  std::string got(20, '\0');
  const MutableBytes in(reinterpret_cast<std::uint8_t*>(got.data()), got.size());
  const auto received = sockets.receive(s, std::span(&in, 1));
  ASSERT_TRUE(received.has_value());
  EXPECT_EQ(got.substr(0, received->size), text);
  ASSERT_TRUE(sockets.shutdown(s, socket::Shutdown::kWrite).has_value());
  h.after(1_ms);
  EXPECT_EQ(sockets.receive(s, std::span(&in, 1))->size, 0u);
}

}  // namespace
}  // namespace sluice::test
