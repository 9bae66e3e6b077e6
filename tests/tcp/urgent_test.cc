// Urgent data: RFC 9293 §3.8.5, RFC 6093; what a socket makes of it.
#include <array>

#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

using socket::Option;
using socket::Ready;

bool send_urgent(Script& h, std::string_view data) {
  const std::array pieces{Bytes(reinterpret_cast<const std::uint8_t*>(data.data()), data.size())};
  const auto sent = h.stack().sockets().send(h.handle(), pieces, nullptr, {.urgent = true});
  return sent && *sent == data.size();
}

// The urgent byte, or why there is none.
std::string take_urgent(Script& h) {
  std::array<std::uint8_t, 1> byte{};
  const std::array<MutableBytes, 1> pieces{byte};
  const auto got = h.stack().sockets().receive(h.handle(), pieces, {.urgent = true});
  if (!got) return got.error() == Errno::kAgain ? "not yet" : "none";
  return std::string(1, static_cast<char>(byte[0]));
}

bool is_urgent(Script& h) {
  return any(h.ready() & Ready::kUrgent);
}

// (RFC9293-MUST-30, RFC9293-MUST-62): the pointer goes behind the last byte, and with every segment before it.
TEST(Urgent, Sent) {
  Script h;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .mss = 100});
  EXPECT_TRUE(send_urgent(h, std::string(250, 'u')));
  h.expect_tx({.flags = "UA", .seq = 1, .size = 100, .urgent = 250});
  h.expect_tx({.flags = "UA", .seq = 101, .size = 100, .urgent = 150});
  h.expect_tx({.flags = "PUA", .seq = 201, .size = 50, .urgent = 50});
  EXPECT_EQ(h.write("calm"), Errno::kOk);
  h.rx({.seq = 1, .ack = 251});
  h.expect_tx({.flags = "PA", .seq = 251, .payload = "calm", .urgent = 0});
}

// Nothing holds it back: not Nagle, not a cork.
TEST(Urgent, GoesAtOnce) {
  Script h;
  h.establish();
  EXPECT_EQ(h.write("a"), Errno::kOk);
  h.expect_tx({.payload = "a"});
  EXPECT_EQ(h.write("b"), Errno::kOk);
  h.expect_nothing();
  EXPECT_TRUE(send_urgent(h, "c"));
  h.expect_tx({.flags = "PUA", .payload = "bc", .urgent = 2});
}

// (RFC9293-MUST-31): as long as you like; where the field cannot say how far, it points as far as it can.
TEST(Urgent, LongerThanTheField) {
  Script h;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .win = 65535, .mss = 1000, .scale = std::uint8_t{4}});
  EXPECT_TRUE(send_urgent(h, std::string(100'000, 'u')));
  h.expect_tx({.flags = "UA", .seq = 1, .size = 1000, .urgent = 65535});
}

// The peer hears of it also while its window is closed.
TEST(Urgent, ToldByWindowProbes) {
  Script h;
  h.establish({.flags = "S", .seq = 0, .ack = 0, .win = 0, .mss = 1460});
  h.rx({.seq = 1, .ack = 1, .win = 0});
  EXPECT_TRUE(send_urgent(h, "ab"));
  ASSERT_TRUE(h.until_tx(10_s));
  h.expect_tx({.flags = "UA", .seq = 1, .size = 1, .urgent = 2});
}

// (RFC6093-03): in line when that is asked for, whatever the pointer says (S38).
TEST(Urgent, InLine) {
  for (const int pointer : {0, 1, 2, 3, 4, 1000, 65535}) {
    Script h;
    h.establish();
    h.set(Option::kUrgentInline, 1);
    h.rx({.flags = "UA", .seq = 1, .ack = 1, .payload = "abc", .urgent = static_cast<std::uint16_t>(pointer)});
    std::string got = h.read();
    got += h.read();
    EXPECT_EQ(got, "abc") << pointer;
  }
}

// (RFC9293-MUST-32, RFC9293-MUST-33): told when it appears; what is before it is read first, and the mark can be asked
// for.
TEST(Urgent, LeftOut) {
  Script h;
  h.establish();
  h.rx({.flags = "UA", .seq = 1, .ack = 1, .payload = "abUcd", .urgent = 3});
  EXPECT_TRUE(is_urgent(h));
  const auto at_mark = [&h] { return h.stack().sockets().get_option(h.handle(), Option::kAtMark).value_or(-1); };
  EXPECT_EQ(at_mark(), 0);
  EXPECT_EQ(h.read(), "ab");
  EXPECT_EQ(at_mark(), 1);
  EXPECT_EQ(take_urgent(h), "U");
  EXPECT_EQ(take_urgent(h), "none");
  EXPECT_FALSE(is_urgent(h));
  EXPECT_EQ(h.read(), "cd");
  EXPECT_EQ(at_mark(), 0);
}

// (RFC9293-URG-01): urgent mode begins with a pointer ahead of what has come, and ends when the byte is read.
TEST(Urgent, ComesLaterThanItsPointer) {
  Script h;
  h.establish();
  h.rx({.flags = "UA", .seq = 1, .ack = 1, .payload = "ab", .urgent = 4});
  EXPECT_FALSE(is_urgent(h));
  EXPECT_EQ(take_urgent(h), "not yet");
  EXPECT_EQ(h.read(), "ab");
  h.rx({.seq = 3, .ack = 1, .payload = "cUe"});
  EXPECT_TRUE(is_urgent(h));
  EXPECT_EQ(h.read(), "c");
  EXPECT_EQ(h.read(), "e");
  EXPECT_EQ(take_urgent(h), "none");
}

// (RFC9293-URG-02): a pointer that goes back, or at what has been read, changes nothing; one that goes on moves the
// mark.
TEST(Urgent, PointerMoves) {
  Script h;
  h.establish();
  h.rx({.flags = "UA", .seq = 1, .ack = 1, .payload = "abcdef", .urgent = 4});
  h.rx({.flags = "UA", .seq = 7, .ack = 1, .payload = "g", .urgent = 0});
  h.rx({.flags = "UA", .seq = 1, .ack = 1, .payload = "a", .urgent = 1});
  EXPECT_EQ(h.read(), "abc");
  h.rx({.flags = "UA", .seq = 8, .ack = 1, .payload = "hij", .urgent = 2});
  EXPECT_EQ(take_urgent(h), "i");
  EXPECT_EQ(h.read(), "defgh");
  EXPECT_EQ(h.read(), "j");
  h.rx({.flags = "UA", .seq = 11, .ack = 1, .payload = "k", .urgent = 65535});
  EXPECT_EQ(h.read(), "k");
}

// A segment that was received in part counts from its own beginning.
TEST(Urgent, Overlapping) {
  Script h;
  h.establish();
  h.rx({.seq = 1, .ack = 1, .payload = "abc"});
  h.rx({.flags = "UA", .seq = 1, .ack = 1, .payload = "abcdUf", .urgent = 5});
  EXPECT_EQ(take_urgent(h), "U");
}

// (RFC9293-HDR-04): the field without the flag means nothing.
TEST(Urgent, FieldWithoutFlag) {
  Script h;
  h.establish();
  h.rx({.seq = 1, .ack = 1, .payload = "abc", .urgent = 2});
  EXPECT_EQ(take_urgent(h), "none");
  EXPECT_EQ(h.read(), "abc");
}

// The mark is found at the end of a stream, too.
TEST(Urgent, LastByte) {
  Script h;
  h.establish();
  h.rx({.flags = "FUA", .seq = 1, .ack = 1, .payload = "abU", .urgent = 3});
  EXPECT_TRUE(is_urgent(h));
  EXPECT_EQ(h.read(), "ab");
  EXPECT_EQ(take_urgent(h), "U");
  EXPECT_TRUE(h.at_eof());
}

// (RFC9293-MUST-66): into a closed window nothing comes, but the pointer does.
TEST(Urgent, ClosedWindow) {
  ScriptOptions o;
  o.tcp.receive_buffer = 4096;
  Script h(o);
  h.establish();
  for (const std::uint32_t at : {1u, 1025u, 2049u, 3073u}) {
    h.rx({.seq = at, .ack = 1, .payload = std::string(1024, 'x')});
  }
  EXPECT_EQ(h.info().rcv_wnd, 0u);
  h.rx({.flags = "UA", .seq = 4097, .ack = 1, .payload = "U", .urgent = 1});
  EXPECT_EQ(take_urgent(h), "not yet");
}

}  // namespace
}  // namespace sluice::test
