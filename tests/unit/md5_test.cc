// MD5 (RFC 1321) and what TCP makes of it (RFC 2385), by known values.
#include "stack/base/md5.h"

#include <gtest/gtest.h>

#include <string>

#include "stack/tcp/md5_keys.h"
#include "stack/wire/tcp.h"
#include "tests/unit/ip_script.h"

namespace sluice::test {
namespace {

Bytes bytes_of(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
std::string hex(const Md5::Digest& digest) {
  std::string text;
  for (const std::uint8_t b : digest) {
    constexpr char kDigits[] = "0123456789abcdef";
    text += {kDigits[b >> 4], kDigits[b & 15]};
  }
  return text;
}

// RFC 1321 appendix A.5
TEST(Md5, KnownValues) {
  struct Row {
    const char* text;
    const char* digest;
  };
  for (const Row& row :
       {Row{"", "d41d8cd98f00b204e9800998ecf8427e"}, Row{"a", "0cc175b9c0f1b6a831c399e269772661"},
        Row{"abc", "900150983cd24fb0d6963f7d28e17f72"}, Row{"message digest", "f96b697d7cb7938d525a2f31aaf161d0"},
        Row{"abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"},
        Row{"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", "d174ab98d277d9f5a5611c2c9f419d9f"},
        Row{"12345678901234567890123456789012345678901234567890123456789012345678901234567890",
            "57edf4a22be3c955ac49da2e2107b67a"}}) {
    EXPECT_EQ(hex(Md5().add(bytes_of(row.text)).finish()), row.digest) << row.text;
  }
}

// In whatever pieces it comes.
TEST(Md5, InPieces) {
  const std::string text(300, 'x');
  for (std::size_t size = 0; size <= text.size(); ++size) {
    const Bytes all = bytes_of(text).first(size);
    const Md5::Digest whole = Md5().add(all).finish();
    for (const std::size_t step : {1u, 3u, 63u, 64u, 65u}) {
      Md5 md5;
      for (std::size_t at = 0; at < size; at += step) md5.add(all.subspan(at, std::min(step, size - at)));
      EXPECT_EQ(md5.finish(), whole) << size << " by " << step;
    }
  }
}

// What Linux has sent, with the key "secret": a SYN, and data.
TEST(Md5Keys, SignsAsLinuxDoes) {
  for (const char* packet :
       {"450000"
        "48946240004006a84b7f0000017f0000019fb815b38e16b38900000000d002ffd7fe3c000001011312f616e4e2"
        "4dc7a49da920f34028d804cd0204ffd7010104020103030a",
        "45000042946440004006a84f7f0000017f0000019fb815b38e16b38a3e61c6b7a0180040fe36000001011312d2"
        "0ab9ea498dcb74cf0f5c37761de78d7369676e6564"}) {
    const Octets bytes = from_hex(packet);
    const Bytes segment = Bytes(bytes).subspan(20);
    const Ipv4Address host = Ipv4Address::of(127, 0, 0, 1);
    const auto parsed = wire::tcp::parse(segment, host, host, wire::ChecksumPolicy::kTrust);
    ASSERT_TRUE(parsed.has_value());
    const wire::tcp::Options options = wire::tcp::parse_options(parsed->options);
    ASSERT_EQ(options.md5_at, 4);
    const Bytes payload = parsed->payload;
    const Octets secret{'s', 'e', 'c', 'r', 'e', 't'};
    const Md5::Digest digest =
        tcp::sign(host, host, segment.first(segment.size() - payload.size()), {&payload, 1}, {{host, 32}, secret});
    const Bytes shown = parsed->options.subspan(options.md5_at, Md5::kSize);
    EXPECT_TRUE(std::equal(digest.begin(), digest.end(), shown.begin()));
  }
}

// Kind 19 of 18 bytes; anything else is none.
TEST(Md5Keys, Option) {
  Octets option(20, 7);
  struct Row {
    std::uint8_t kind, length, at;
  };
  for (const Row& row : {Row{19, 18, 2}, Row{19, 17, 0}, Row{19, 20, 0}, Row{20, 18, 0}}) {
    option[0] = row.kind;
    option[1] = row.length;
    option[18] = option[19] = 1;
    EXPECT_EQ(wire::tcp::parse_options(option).md5_at, row.at);
  }
  Octets two(36, 7);
  two[0] = two[18] = 19;
  two[1] = two[19] = 18;
  EXPECT_EQ(wire::tcp::parse_options(two).md5_at, 2);  // the first one counts
}

tcp::Md5Key key(Ipv4Address address, std::uint8_t length, std::string_view secret) {
  return {{address, length}, {secret.begin(), secret.end()}};
}

// The longest prefix decides, in whatever order they were given.
TEST(Md5Keys, ByPrefix) {
  const Ipv4Address host = Ipv4Address::of(10, 1, 2, 3), network = Ipv4Address::of(10, 1, 0, 0);
  for (const bool host_first : {true, false}) {
    tcp::Md5Keys keys;
    EXPECT_TRUE(keys.set(host_first ? key(host, 32, "h") : key(network, 16, "n")).has_value());
    EXPECT_TRUE(keys.set(host_first ? key(network, 16, "n") : key(host, 32, "h")).has_value());
    EXPECT_EQ(keys.find(host)->secret, Octets{'h'});
    EXPECT_EQ(keys.find(Ipv4Address::of(10, 1, 9, 9))->secret, Octets{'n'});
    EXPECT_EQ(keys.find(Ipv4Address::of(10, 2, 2, 3)), nullptr);
    EXPECT_TRUE(keys.set(key(host, 32, "other")).has_value());
    EXPECT_EQ(keys.find(host)->secret.size(), 5u);
    EXPECT_TRUE(keys.set(key(host, 32, "")).has_value());
    EXPECT_EQ(keys.find(host)->secret, Octets{'n'});
    EXPECT_EQ(keys.set(key(host, 32, "")).error(), Errno::kNoSuchFile);
    EXPECT_FALSE(keys.empty());
    EXPECT_TRUE(keys.set(key(network, 16, "")).has_value());
    EXPECT_TRUE(keys.empty());
  }
}

TEST(Md5Keys, AreBounded) {
  tcp::Md5Keys keys;
  for (std::uint32_t i = 0; i < tcp::Md5Keys::kMost; ++i) {
    ASSERT_TRUE(keys.set(key(Ipv4Address{i}, 32, "k")).has_value());
  }
  EXPECT_EQ(keys.set(key(Ipv4Address{1u << 20}, 32, "k")).error(), Errno::kNoMemory);
  EXPECT_TRUE(keys.set(key(Ipv4Address{1}, 32, "other")).has_value());
}

}  // namespace
}  // namespace sluice::test
