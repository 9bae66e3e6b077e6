// stack/wire and stack/base against known values.
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include "stack/base/byte_order.h"
#include "stack/base/ring.h"
#include "stack/base/rng.h"
#include "stack/base/siphash.h"
#include "stack/base/timer_wheel.h"
#include "stack/tcp/isn.h"
#include "stack/wire/arp.h"
#include "stack/wire/checksum.h"
#include "stack/wire/crc32.h"
#include "stack/wire/ethernet.h"
#include "stack/wire/icmp.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/printer.h"
#include "stack/wire/tcp.h"
#include "stack/wire/udp.h"
#include "tests/unit/known_frames.h"

namespace sluice::test {
namespace {

using Octets = std::vector<std::uint8_t>;

Octets from_hex(std::string_view hex) {
  Octets out;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    out.push_back(static_cast<std::uint8_t>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16)));
  }
  out.shrink_to_fit();  // a heap block of exact size: the sanitizers see a read beyond it
  return out;
}

Octets known(std::string_view name) {
  for (const KnownFrame& f : kKnownFrames) {
    if (name == f.name) return from_hex(f.bytes);
  }
  ADD_FAILURE() << "no frame " << name;
  return {};
}

// --- checksums
// -----------------------------------------------------------------------------------------------------------

struct SumRow {
  const char* hex;
  std::uint16_t sum;
};

// RFC 1071 §3, and others (RFC9293-HDR-03: an odd byte is padded with zero).
TEST(Checksum, KnownValues) {
  const SumRow rows[] = {{"0001f203f4f5f6f7", 0xddf2},
                         {"", 0x0000},
                         {"00", 0x0000},
                         {"01", 0x0100},
                         {"ff", 0xff00},
                         {"ffff", 0xffff},
                         {"0000", 0x0000},
                         {"fffe0001", 0xffff},
                         {"ffffffff", 0xffff},
                         {"000102", 0x0201},
                         {"0102030405", 0x0906},
                         {"450000730000400040110000c0a80001c0a800c7", 0x479e}};
  for (const SumRow& row : rows) {
    wire::Checksum c;
    EXPECT_EQ(c.add(from_hex(row.hex)).sum(), row.sum) << row.hex;
    EXPECT_EQ(c.finish(), static_cast<std::uint16_t>(~row.sum)) << row.hex;
  }
}

// Every split of a block, odd ones too, gives the same sum, with and without copying.
TEST(Checksum, Splits) {
  Rng rng(Rng::seed_from(1));
  for (std::size_t size = 0; size < 200; ++size) {
    Octets data(size);
    rng.fill(data);
    std::uint32_t plain = 0;
    for (std::size_t i = 0; i < size; ++i) plain += i % 2 == 0 ? static_cast<std::uint32_t>(data[i]) << 8 : data[i];
    while (plain > 0xffff) plain = (plain & 0xffff) + (plain >> 16);
    for (std::size_t cut = 0; cut <= size; cut += 7) {
      Octets copy(size);
      wire::Checksum c;
      c.add(Bytes(data).first(cut)).add_copy(MutableBytes(copy).subspan(cut), Bytes(data).subspan(cut));
      EXPECT_EQ(c.sum(), plain) << size << " cut at " << cut;
      EXPECT_TRUE(std::equal(data.begin() + static_cast<std::ptrdiff_t>(cut), data.end(),
                             copy.begin() + static_cast<std::ptrdiff_t>(cut)));
    }
  }
}

// RFC 1624 §4: equation 3; TTL 64 to 63 of a header with checksum b861.
TEST(Checksum, Update) {
  EXPECT_EQ(wire::update_checksum(0xdd2f, 0x5555, 0x3285), 0x0000);
  EXPECT_EQ(wire::update_checksum(0xb861, 0x4011, 0x3f11), 0xb961);
}

// (IEEE802.3-03, IEEE802.3-05)
TEST(Crc32, KnownValues) {
  EXPECT_EQ(wire::crc32({}), 0u);
  const std::pair<std::string, std::uint32_t> rows[] = {
      {"a", 0xe8b7be43}, {"abc", 0x352441c2}, {"123456789", 0xcbf43926}};
  for (const auto& [text, crc] : rows) {
    EXPECT_EQ(wire::crc32(Bytes(reinterpret_cast<const std::uint8_t*>(text.data()), text.size())), crc);
  }
  EXPECT_EQ(wire::crc32(Octets(32, 0x00)), 0x190a55adu);
  EXPECT_EQ(wire::crc32(Octets(32, 0xff)), 0xff6cab0bu);
  EXPECT_EQ(wire::crc32(Octets(60, 0x00)), 0x04128908u);
}

// --- whole frames
// ----------------------------------------------------------------------------------------------------------

// (IEEE802.3-04): the FCS of each known frame; no single flipped bit passes.
TEST(KnownFrames, Fcs) {
  for (const KnownFrame& f : kKnownFrames) {
    Octets frame = from_hex(f.bytes);
    Octets fcs(4);
    wire::ethernet::emit_fcs(fcs, wire::crc32(frame));
    EXPECT_EQ(fcs, from_hex(f.fcs)) << f.name;
    frame.insert(frame.end(), fcs.begin(), fcs.end());
    EXPECT_TRUE(wire::ethernet::fcs_matches(frame)) << f.name;
    for (std::size_t bit = 0; bit < frame.size() * 8; ++bit) {
      frame[bit / 8] = static_cast<std::uint8_t>(frame[bit / 8] ^ 1u << bit % 8);
      ASSERT_FALSE(wire::ethernet::fcs_matches(frame)) << f.name << " bit " << bit;
      frame[bit / 8] = static_cast<std::uint8_t>(frame[bit / 8] ^ 1u << bit % 8);
    }
  }
}

struct PrintRow {
  const char* name;
  const char* line;
};

TEST(KnownFrames, Printed) {
  const PrintRow rows[] = {
      {"arp-request", "ARP who has 192.0.2.2? tell 192.0.2.1"},
      {"arp-reply", "ARP 192.0.2.2 is at 02:00:00:00:00:02"},
      {"arp-announce", "ARP announcement of 192.0.2.1"},
      {"icmp-echo-req", "IP 192.0.2.1 > 192.0.2.2: ICMP echo request id 4660 seq 1 length 40"},
      {"icmp-port-unreach", "IP 192.0.2.2 > 192.0.2.1: ICMP destination unreachable type 3 code 3"},
      {"udp-odd", "UDP 192.0.2.1:40000 > 192.0.2.2:9: length 7"},
      {"udp-zero-sum", "UDP 192.0.2.1:40000 > 192.0.2.2:9: length 2"},
      {"udp-no-cksum", "UDP 192.0.2.1:40000 > 192.0.2.2:9: length 4"},
      {"tcp-syn",
       "TCP 192.0.2.1:40000 > 192.0.2.2:80: SYN seq 1000 win 65535 mss 1460 sackOK TS val 1000 ecr 0 wscale 7 length "
       "0"},
      {"tcp-sack",
       "TCP 192.0.2.1:40000 > 192.0.2.2:80: ACK seq 1019 ack 9001 win 512 TS val 1003 ecr 5001 sack 9501-10001 sack "
       "11001-11501 length 0"},
      {"tcp-rst", "TCP 192.0.2.2:81 > 192.0.2.1:40001: RST ACK seq 0 ack 1001 win 0 length 0"},
      {"vlan-arp", "ARP who has 192.0.2.2? tell 192.0.2.1"},
      {"ip-frag-2", "IP 192.0.2.1 > 192.0.2.2: protocol 17 length 16 fragment at 16"},
  };
  for (const PrintRow& row : rows)
    EXPECT_EQ(wire::print_line(known(row.name), wire::Layer::kEthernet), row.line) << row.name;
}

// What parse() says, emit() writes again: IPv4 with TCP (options in the order in which we send them), UDP, ICMP, ARP.
TEST(KnownFrames, RoundTrip) {
  for (const char* name :
       {"tcp-syn", "tcp-synack", "tcp-ack", "tcp-data", "tcp-fin", "tcp-sack", "tcp-urg", "tcp-rst"}) {
    const Octets frame = known(name);
    const auto ethernet = wire::ethernet::parse(frame).value();
    const auto ip = wire::ipv4::parse(ethernet.payload).value();
    const auto tcp =
        wire::tcp::parse(ip.payload, ip.header.source, ip.header.destination, wire::ChecksumPolicy::kVerify).value();
    Octets again(frame.size());
    wire::ethernet::emit(again, ethernet.header);
    const MutableBytes packet = MutableBytes(again).subspan(14);
    wire::ipv4::emit(packet, ip.header);
    const MutableBytes l4 = packet.subspan(20, ip.payload.size());
    wire::tcp::emit(l4, tcp.header, wire::tcp::parse_options(tcp.options));
    std::copy(tcp.payload.begin(), tcp.payload.end(), l4.end() - static_cast<std::ptrdiff_t>(tcp.payload.size()));
    auto sum = wire::Checksum::pseudo_header(ip.header.source, ip.header.destination, 6, l4.size());
    wire::tcp::store_checksum(l4, sum.add(l4).finish());
    EXPECT_EQ(again, frame) << name;
  }
}

// Truncation at every length: a drop reason or a shorter packet, never a read beyond (the sanitizers watch).
TEST(KnownFrames, Truncated) {
  for (const KnownFrame& f : kKnownFrames) {
    const Octets whole = from_hex(f.bytes);
    for (std::size_t n = 0; n < whole.size(); ++n) {
      const Octets part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n));
      EXPECT_FALSE(wire::print_line(part, wire::Layer::kEthernet).empty());
    }
  }
}

// (RFC791-01, RFC1122-IP-05, RFC1122-IP-06): each single flipped bit of the header is noticed.
TEST(Ipv4, HeaderBitFlips) {
  const Octets frame = known("icmp-echo-req");
  for (std::size_t bit = 0; bit < 20 * 8; ++bit) {
    Octets packet(frame.begin() + 14, frame.end());
    packet[bit / 8] = static_cast<std::uint8_t>(packet[bit / 8] ^ 1u << bit % 8);
    EXPECT_FALSE(wire::ipv4::parse(packet).has_value()) << bit;
  }
}

// (RFC1122-IP-22, RFC1122-IP-23, RFC791-11)
TEST(Ipv4, Options) {
  using wire::ipv4::OptionCheck;
  const std::pair<const char*, OptionCheck> rows[] = {{"", OptionCheck::kFine},
                                                      {"01010100", OptionCheck::kFine},
                                                      {"94040000", OptionCheck::kFine},
                                                      {"8300", OptionCheck::kMalformed},
                                                      {"8301", OptionCheck::kMalformed},
                                                      {"0783", OptionCheck::kMalformed},
                                                      {"83", OptionCheck::kMalformed},
                                                      {"83070400000000", OptionCheck::kSourceRoute},
                                                      {"89070400000000", OptionCheck::kSourceRoute},
                                                      {"00838383", OptionCheck::kFine}};
  for (const auto& [hex, want] : rows) EXPECT_EQ(wire::ipv4::check_options(from_hex(hex)).check, want) << hex;
  for (int length = 0; length < 256; ++length) {  // no length makes the walk read beyond or hang
    Octets options(40, 7);
    options[1] = static_cast<std::uint8_t>(length);
    (void)wire::ipv4::check_options(options);
  }
}

// (RFC9293-HDR-01): the data offset; every value against every length.
TEST(Tcp, DataOffset) {
  const wire::Address a = wire::Ipv4Address::of(192, 0, 2, 1);
  for (std::size_t size = 0; size <= 80; ++size) {
    for (unsigned offset = 0; offset < 16; ++offset) {
      Octets segment(size);
      if (size > 12) segment[12] = static_cast<std::uint8_t>(offset << 4);
      const auto parsed = wire::tcp::parse(segment, a, a, wire::ChecksumPolicy::kTrust);
      EXPECT_EQ(parsed.has_value(), size >= 20 && offset >= 5 && offset * 4 <= size) << size << " " << offset;
    }
  }
}

// (RFC9293-MUST-4, -MUST-6, -MUST-7, -MUST-64, -MUST-68): any kind and length at any place ends, and reads nothing
// beyond.
TEST(Tcp, OptionSweep) {
  for (std::size_t at = 0; at < 40; ++at) {
    for (int kind = 0; kind < 256; ++kind) {
      for (const int length : {0, 1, 2, 3, 4, 10, 11, 40, 41, 255}) {
        Octets options(40, 1);
        options[at] = static_cast<std::uint8_t>(kind);
        if (at + 1 < 40) options[at + 1] = static_cast<std::uint8_t>(length);
        const auto parsed = wire::tcp::parse_options(options);
        const bool lies = kind > 1 && (at + 1 >= 40 || length < 2 || at + static_cast<std::size_t>(length) > 40);
        if (kind == 1) continue;  // then the length stands where a kind does
        EXPECT_EQ(parsed.malformed, lies) << at << " " << kind << " " << length;
      }
    }
  }
  const auto first = wire::tcp::parse_options(from_hex("020403e8020405b4"));
  EXPECT_EQ(first.mss, 1000);  // of two the first counts
}

// (RFC9768-13): both orders, each length that means something, and all others.
TEST(Tcp, AccurateEcnOption) {
  using Option = wire::tcp::AccurateEcnOption;
  const auto parsed = [](const char* hex) { return wire::tcp::parse_options(from_hex(hex)).accurate_ecn; };
  constexpr Option kEmpty{.present = true};
  constexpr Option kOne{.present = true, .has = Option::kCapable0, .capable0 = 0x010203};
  constexpr Option kAll{.present = true, .has = 7, .capable0 = 0x010203, .congestion = 0x040506, .capable1 = 0xffffff};
  EXPECT_EQ(parsed("ac020101"), kEmpty);
  EXPECT_EQ(parsed("ac05010203010101"), kOne);
  EXPECT_EQ(parsed("ac0b010203040506ffffff01"), kAll);
  EXPECT_EQ(parsed("ae0bffffff04050601020301"), kAll);
  const Option reverse = parsed("ae08ffffff040506");
  EXPECT_EQ(reverse.has, Option::kCongestion | Option::kCapable1);
  EXPECT_EQ(reverse.capable1, 0xffffffu);
  for (const int kind : {172, 174}) {
    for (int length = 2; length <= 40; ++length) {
      Octets bytes(40, 1);
      bytes[0] = static_cast<std::uint8_t>(kind);
      bytes[1] = static_cast<std::uint8_t>(length);
      const bool good = length == 2 || length == 5 || length == 8 || length == 11;
      EXPECT_EQ(wire::tcp::parse_options(bytes).accurate_ecn.present, good) << kind << " " << length;
    }
  }
  // What is written is read again, with the third bit of the count.
  for (const auto has : {std::uint8_t{1}, std::uint8_t{3}, std::uint8_t{7}}) {
    wire::tcp::Options options;
    options.accurate_ecn = kAll;
    options.accurate_ecn.has = has;
    if ((has & Option::kCongestion) == 0) options.accurate_ecn.congestion = 0;
    if ((has & Option::kCapable1) == 0) options.accurate_ecn.capable1 = 0;
    Octets segment(20 + wire::tcp::options_size(options));
    wire::tcp::Header header{.flags = wire::tcp::Flags::kAck};
    wire::tcp::set_ace(header, 6);
    wire::tcp::emit(segment, header, options);
    const wire::Address a = wire::Ipv4Address::of(192, 0, 2, 1);
    const auto back = wire::tcp::parse(segment, a, a, wire::ChecksumPolicy::kTrust);
    ASSERT_TRUE(back.has_value());
    EXPECT_EQ(wire::tcp::ace_of(back->header), 6);
    EXPECT_EQ(wire::tcp::parse_options(back->options).accurate_ecn, options.accurate_ecn);
  }
}

// (RFC768-01, RFC768-03, RFC1122-UDP-08)
TEST(Udp, LengthAndChecksum) {
  const wire::Address a = wire::Ipv4Address::of(192, 0, 2, 1);
  const wire::Address b = wire::Ipv4Address::of(192, 0, 2, 2);
  const auto parse = [&](const Octets& l4) {
    return wire::udp::parse(l4, a, b, wire::ChecksumPolicy::kVerify, wire::udp::ZeroChecksum::kAllowed);
  };
  const Octets frame = known("udp-odd");
  const Octets good(frame.begin() + 34, frame.begin() + 34 + 15);
  EXPECT_TRUE(parse(good).has_value());
  for (int length = 0; length < 300; ++length) {
    Octets l4 = good;
    l4[4] = static_cast<std::uint8_t>(length >> 8);
    l4[5] = static_cast<std::uint8_t>(length);
    EXPECT_EQ(parse(l4).has_value(), length == 15) << length;
  }
  const Octets zero = known("udp-zero-sum");
  EXPECT_EQ(zero[40], 0xff);
  EXPECT_TRUE(parse({zero.begin() + 34, zero.begin() + 34 + 10}).has_value());
  const Octets none = known("udp-no-cksum");
  EXPECT_TRUE(parse({none.begin() + 34, none.begin() + 34 + 12}).has_value());
}

// (RFC768-02): one flipped bit anywhere, addresses and ports included, is noticed. (RFC8200-23): over IPv6 a zero field
// is no checksum, and a computed zero is sent as all ones.
TEST(Udp, ChecksumCoversAll) {
  const wire::Address v4[] = {wire::Ipv4Address::of(192, 0, 2, 1), wire::Ipv4Address::of(192, 0, 2, 2)};
  const Octets frame = known("udp-odd");
  const Octets good(frame.begin() + 34, frame.begin() + 34 + 15);
  const auto verdict = [](const Octets& l4, const wire::Address& from, const wire::Address& to) {
    const bool old = from.is_v4();
    const auto zero = old ? wire::udp::ZeroChecksum::kAllowed : wire::udp::ZeroChecksum::kRefused;
    return wire::udp::parse(l4, from, to, wire::ChecksumPolicy::kVerify, zero).has_value();
  };
  EXPECT_TRUE(verdict(good, v4[0], v4[1]));
  EXPECT_FALSE(verdict(good, v4[0], wire::Ipv4Address::of(192, 0, 2, 3)));
  EXPECT_FALSE(verdict(good, wire::Ipv4Address::of(192, 0, 3, 1), v4[1]));
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Octets bad = good;
    bad[bit / 8] ^= static_cast<std::uint8_t>(1 << bit % 8);
    EXPECT_FALSE(verdict(bad, v4[0], v4[1])) << bit;
  }
  const wire::Address v6[] = {wire::parse_address("2001:db8::1").value(), wire::parse_address("2001:db8::2").value()};
  for (std::uint32_t word = 0; word < 0x10000; ++word) {  // one of these payloads sums up to zero
    Octets l4(10);
    store_be16(l4.data() + 8, static_cast<std::uint16_t>(word));
    wire::udp::emit(l4, {1000, 2000, 10}, 0);
    EXPECT_FALSE(verdict(l4, v6[0], v6[1]));
    auto sum = wire::Checksum::pseudo_header(v6[0], v6[1], 17, l4.size());
    const std::uint16_t field = wire::udp::checksum_field(sum.add(l4));
    EXPECT_NE(field, 0);
    wire::udp::emit(l4, {1000, 2000, 10}, field);
    EXPECT_TRUE(verdict(l4, v6[0], v6[1]));
  }
}

// (RFC826-01, RFC826-06): every malformed variant is refused (S09).
TEST(Arp, Malformed) {
  const Octets frame = known("arp-request");
  const Octets good(frame.begin() + 14, frame.begin() + 14 + 28);
  EXPECT_TRUE(wire::arp::parse(good).has_value());
  for (std::size_t n = 0; n < 28; ++n) {
    EXPECT_FALSE(wire::arp::parse(Octets(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n))).has_value());
  }
  for (const std::size_t field : {0u, 1u, 2u, 3u, 4u, 5u, 6u, 7u}) {
    Octets bad = good;
    bad[field] = 0x77;
    EXPECT_FALSE(wire::arp::parse(bad).has_value()) << field;
  }
}

// (IEEE802.3-06)
TEST(Ethernet, LengthOrType) {
  for (const int type : {0, 46, 1500, 1501, 1535, 1536, 0x0800, 0xffff}) {
    Octets frame(14 + 1500);
    frame[12] = static_cast<std::uint8_t>(type >> 8);
    frame[13] = static_cast<std::uint8_t>(type);
    EXPECT_EQ(wire::ethernet::parse(frame).has_value(), type <= 1500 || type >= 1536) << type;
  }
}

// --- addresses
// -------------------------------------------------------------------------------------------------------------

// RFC 5952 §4.
TEST(Address, TextForms) {
  const std::pair<const char*, const char*> rows[] = {
      {"2001:0db8::0001", "2001:db8::1"},
      {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1"},
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
      {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
      {"2001:DB8::0:1", "2001:db8::1"},
      {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
      {"0:0:0:0:0:0:0:0", "::"},
      {"192.0.2.1", "192.0.2.1"},
  };
  for (const auto& [text, want] : rows) {
    const auto parsed = wire::parse_address(text);
    ASSERT_TRUE(parsed.has_value()) << text;
    EXPECT_EQ(to_text(*parsed).view(), want);
  }
  for (const char* bad : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", ":::", "1::2::3",
                          "12345::", "1:2:3:4:5:6:7:8:9", "1:"}) {
    EXPECT_FALSE(wire::parse_address(bad).has_value()) << bad;
  }
}

// RFC 1112 §6.4, RFC 2464 §7 (RFC2464-01).
TEST(Address, MulticastMac) {
  const std::pair<const char*, const char*> rows[] = {{"224.0.0.1", "01:00:5e:00:00:01"},
                                                      {"224.129.2.3", "01:00:5e:01:02:03"},
                                                      {"239.255.255.250", "01:00:5e:7f:ff:fa"},
                                                      {"ff02::1:ff0e:8c6c", "33:33:ff:0e:8c:6c"}};
  for (const auto& [group, mac] : rows)
    EXPECT_EQ(to_text(wire::multicast_mac(*wire::parse_address(group))).view(), mac);
}

// --- base
// ------------------------------------------------------------------------------------------------------------------

TEST(SipHash, KnownValues) {
  SipKey key{};
  Octets message(63);
  for (std::size_t i = 0; i < 16; ++i) key[i] = static_cast<std::uint8_t>(i);
  for (std::size_t i = 0; i < 63; ++i) message[i] = static_cast<std::uint8_t>(i);
  EXPECT_EQ(siphash24(key, {}), 0x726fdb47dd0e0e31u);
  EXPECT_EQ(siphash24(key, Bytes(message).first(7)), 0xab0200f58b01d137u);
  EXPECT_EQ(siphash24(key, Bytes(message).first(8)), 0x93f5f5799a932462u);
  EXPECT_EQ(siphash24(key, message), 0x958a324ceb064572u);
}

// RFC 8439 §2.3.2 uses other inputs than our generator: the same seed repeats, another differs, `below` stays below.
TEST(Rng, RepeatsAndDiffers) {
  Rng a(Rng::seed_from(1));
  Rng b(Rng::seed_from(1));
  Rng c(Rng::seed_from(2));
  int same = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::uint32_t x = a.next_u32();
    EXPECT_EQ(x, b.next_u32());
    same += x == c.next_u32() ? 1 : 0;
    EXPECT_LT(a.below(7), 7u);
    EXPECT_EQ(b.below(7) < 7, true);
    EXPECT_LT(a.next_double(), 1.0);
    (void)b.next_double();
  }
  EXPECT_LT(same, 3);
}

// RFC 6528 §3 (RFC9293-MUST-8, RFC9293-MUST-9, RFC9293-SHLD-1): known values with a known key.
TEST(Isn, KnownValues) {
  SipKey key{};
  for (std::size_t i = 0; i < 16; ++i) key[i] = static_cast<std::uint8_t>(i);
  const tcp::IsnGenerator g(key);
  const auto end = [](const char* text) { return *wire::parse_endpoint(text); };
  struct Row {
    const char* local;
    const char* remote;
    std::uint32_t at_zero, after_a_second;
  };
  const Row rows[] = {{"192.0.2.1:40000", "192.0.2.2:80", 0xc53f9a57, 0xc5436ae7},
                      {"192.0.2.1:40001", "192.0.2.2:80", 0xc070dcae, 0xc074ad3e},
                      {"192.0.2.2:80", "192.0.2.1:40000", 0xebdb0874, 0xebded904},
                      {"[2001:db8::1]:40000", "[2001:db8::2]:80", 0x7750aadf, 0x77547b6f}};
  for (const Row& row : rows) {
    EXPECT_EQ(g.isn(end(row.local), end(row.remote), Instant()).value(), row.at_zero);
    EXPECT_EQ(g.isn(end(row.local), end(row.remote), Instant() + 1_s).value(), row.after_a_second);
  }
}

// Against a sorted list: exact deadlines, never early, all kinds of distances, cancels and re-arms.
TEST(TimerWheel, AgainstAModel) {
  struct Probe {
    Timer timer{[](void* self) { static_cast<Probe*>(self)->fired = true; }, this};
    Instant at;
    bool fired = false;
  };
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Rng rng(Rng::seed_from(seed));
    TimerWheel wheel;
    Instant now = Instant::from_nanos(static_cast<std::int64_t>(rng.next_u64() >> 14));
    std::vector<std::unique_ptr<Probe>> probes;
    for (int i = 0; i < 200; ++i) probes.push_back(std::make_unique<Probe>());
    for (int step = 0; step < 2000; ++step) {
      Probe& p = *probes[rng.below(200)];
      const std::uint32_t what = rng.below(4);
      if (what < 2) {
        p.at = now + Duration::nanos(static_cast<std::int64_t>(rng.next_u64() >> (14 + rng.below(49)))) - 5_ns;
        wheel.schedule(p.timer, p.at);
      } else if (what == 2) {
        p.timer.cancel();
      } else {
        now = now + Duration::nanos(static_cast<std::int64_t>(rng.next_u64() >> (20 + rng.below(43))));
        std::size_t due = 0;
        for (auto& x : probes) {
          x->fired = false;
          due += x->timer.armed() && x->at <= now ? 1 : 0;
        }
        ASSERT_EQ(wheel.advance(now), due);
        for (auto& x : probes) ASSERT_TRUE(!x->fired || x->at <= now);
      }
      Instant first = Instant::never();
      for (auto& x : probes) first = x->timer.armed() ? std::min(first, x->at) : first;
      ASSERT_EQ(wheel.next_deadline(), first);
    }
  }
}

// A bench for the timer wheel: probes whose callbacks check that they are the earliest and arm others.
struct WheelBench {
  struct Probe {
    WheelBench* bench;
    Timer timer{[](void* self) { static_cast<Probe*>(self)->fire(); }, this};
    Instant at = Instant::never();

    explicit Probe(WheelBench* b) : bench(b) {}
    void fire() {
      EXPECT_EQ(at, bench->first()) << "fired before an earlier one";
      EXPECT_LE(at, bench->now);
      at = Instant::never();
      if (bench->rearms-- > 0) bench->arm_any();
      EXPECT_EQ(bench->wheel.next_deadline(), bench->first());
    }
  };

  explicit WheelBench(std::uint64_t seed) : rng(Rng::seed_from(seed)) {
    for (int i = 0; i < 30; ++i) probes.push_back(std::make_unique<Probe>(this));
  }
  [[nodiscard]] Instant first() const {
    Instant earliest = Instant::never();
    for (const auto& p : probes) earliest = std::min(earliest, p->at);
    return earliest;
  }
  void arm_any() {  // from 100 us ago to 100 us ahead: within a slot and across slots
    Probe& p = *probes[rng.below(30)];
    p.at = now + Duration::nanos(static_cast<std::int64_t>(rng.below(200'000)) - 100'000);
    wheel.schedule(p.timer, p.at);
  }

  Rng rng;
  TimerWheel wheel;
  std::vector<std::unique_ptr<Probe>> probes;
  Instant now = Instant::from_nanos(1'000'000'000);
  int rearms = 0;
};

// Callbacks that arm timers, also in the past, and advances cut short by their limit: what fires is always the earliest
// that is due, and next_deadline() is exact in between.
TEST(TimerWheel, ArmingInCallbacksKeepsTheOrder) {
  for (std::uint64_t seed = 1; seed <= 20 && !HasFailure(); ++seed) {
    WheelBench b(seed);
    for (int step = 0; step < 500 && !HasFailure(); ++step) {
      b.rearms = 5;
      for (std::uint32_t n = b.rng.below(4); n > 0; --n) b.arm_any();
      b.now = b.now + Duration::nanos(static_cast<std::int64_t>(b.rng.below(100'000)));
      (void)b.wheel.advance(b.now, b.rng.below(2) == 0 ? 2 : SIZE_MAX);
      EXPECT_EQ(b.wheel.next_deadline(), b.first());
    }
  }
}

TEST(Ring, KeepsOrderWhileGrowing) {
  Ring<int> ring;
  int in = 0;
  int out = 0;
  for (int round = 0; round < 1000; ++round) {
    for (int i = 0; i < round % 7; ++i) ring.push(in++);
    for (int i = 0; i < round % 5 && !ring.empty(); ++i) EXPECT_EQ(ring.pop(), out++);
  }
  while (!ring.empty()) EXPECT_EQ(ring.pop(), out++);
  EXPECT_EQ(in, out);
}

// What a router does: the codepoint, the rest of tos as it was, and a checksum that is right (RFC 3168 §5, RFC 1624).
TEST(Ipv4, CongestionIsMarkedWhereItIsUnderstood) {
  namespace ipv4 = wire::ipv4;
  using ipv4::Ecn;
  for (const int dscp : {0, 0x2e, 0x3f}) {
    for (const Ecn ecn : {Ecn::kNotCapable, Ecn::kCapable1, Ecn::kCapable0, Ecn::kCongestion}) {
      std::array<std::uint8_t, 20> packet{};
      const auto tos = static_cast<std::uint8_t>(dscp << 2 | static_cast<int>(ecn));
      ipv4::Header header;
      header.tos = tos;
      header.total_length = 20;
      ipv4::emit(packet, header);
      EXPECT_EQ(ipv4::ecn_of(packet), ecn);
      EXPECT_EQ(ipv4::mark_congestion(packet), ecn != Ecn::kNotCapable);
      const auto parsed = ipv4::parse(packet);
      ASSERT_TRUE(parsed.has_value());
      EXPECT_EQ(parsed->header.tos, ecn == Ecn::kNotCapable ? tos : tos | 3);
    }
  }
}

}  // namespace
}  // namespace sluice::test
