#include "tests/fuzz/targets.h"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "stack/wire/arp.h"
#include "stack/wire/ethernet.h"
#include "stack/wire/icmp.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/printer.h"
#include "stack/wire/tcp.h"
#include "stack/wire/udp.h"
#include "tests/tcp/harness.h"

namespace sluice::test {
namespace {

void promise(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

const wire::Address kAny = wire::Ipv4Address::of(192, 0, 2, 1);

void round_trip_tcp(Bytes input) {
  const auto first = wire::tcp::parse(input, kAny, kAny, wire::ChecksumPolicy::kTrust);
  if (!first) return;
  const wire::tcp::Options options = wire::tcp::parse_options(first->options);
  const std::size_t size = wire::tcp::kHeaderSize + wire::tcp::options_size(options);
  if (size > wire::tcp::kMaxHeaderSize) return;  // more SACK blocks than we would send beside other options
  std::vector<std::uint8_t> again(size);
  wire::tcp::emit(again, first->header, options);
  const auto second = wire::tcp::parse(again, kAny, kAny, wire::ChecksumPolicy::kTrust);
  promise(second.has_value(), "an emitted TCP header parses");
  const wire::tcp::Options same = wire::tcp::parse_options(second->options);
  promise(second->header.seq == first->header.seq && second->header.flags == first->header.flags, "TCP header");
  promise(same.has_mss == options.has_mss && same.mss == options.mss && same.timestamps == options.timestamps &&
              same.sack_count == options.sack_count && same.window_scale == options.window_scale && !same.malformed,
          "TCP options");
}

void round_trip_ipv4(Bytes input) {
  const auto first = wire::ipv4::parse(input, wire::ChecksumPolicy::kTrust);
  if (!first) return;
  promise(first->payload.size() + first->options.size() + 20 == first->header.total_length,
          "IPv4 payload ends where it says");
  (void)wire::ipv4::check_options(first->options);
  std::vector<std::uint8_t> again(first->header.total_length);
  wire::ipv4::Header header = first->header;
  wire::ipv4::emit(again, header);
  const auto second = wire::ipv4::parse(again);
  promise(second.has_value() && second->header.destination == header.destination && second->header.ttl == header.ttl &&
              second->header.fragment_offset == header.fragment_offset,
          "an emitted IPv4 header parses to the same");
}

}  // namespace

void fuzz_parsers(Bytes input) {
  (void)wire::print_layers(input, wire::Layer::kEthernet);
  (void)wire::print_line(input, wire::Layer::kIp);
  (void)wire::summarize(input, wire::Layer::kIp);
  round_trip_tcp(input);
  round_trip_ipv4(input);
  if (const auto arp = wire::arp::parse(input); arp) {
    std::vector<std::uint8_t> again(wire::arp::kSize);
    wire::arp::emit(again, *arp);
    promise(std::equal(again.begin(), again.end(), input.begin()), "ARP is emitted as it was");
  }
  if (const auto icmp = wire::icmp::parse(input, wire::ChecksumPolicy::kTrust); icmp)
    (void)wire::icmp::parse_quote(icmp->body);
  (void)wire::udp::parse(input, kAny, kAny, wire::ChecksumPolicy::kVerify, wire::udp::ZeroChecksum::kRefused);
}

void fuzz_addresses(Bytes input) {
  const std::string text(input.begin(), input.end());
  if (const auto address = wire::parse_address(text); address) {
    const auto again = wire::parse_address(to_text(*address).view());
    promise(again.has_value() && *again == *address, "a printed address reads back");
  }
  if (const auto prefix = wire::parse_prefix(text); prefix) {
    promise(prefix->contains(prefix->address), "a prefix contains its address");
  }
  (void)wire::parse_mac(text);
  (void)wire::parse_endpoint(text);
}

// Packets one after another, each preceded by its length in one byte (times 8).
void fuzz_frames(Bytes input) {
  Script script;
  script.listen();
  while (input.size() > 1) {
    const std::size_t size = std::min<std::size_t>(input[0] * 8u, input.size() - 1);
    script.device().to_stack.push_back({input.begin() + 1, input.begin() + 1 + static_cast<std::ptrdiff_t>(size)});
    input = input.subspan(1 + size);
    script.after(1_ms);
  }
  script.after(100_s);
}

// Each action is a byte: what, and bytes it takes its arguments from. Segments have numbers near the live ones.
void fuzz_connection(Bytes input) {
  Script script;
  script.establish({.flags = "S", .seq = 0, .ack = 0, .mss = 1460});
  script.stop_listening();  // a later SYN makes no second connection
  bool open = true;
  const auto next = [&input]() -> std::uint8_t {
    if (input.empty()) return 0;
    const std::uint8_t b = input[0];
    input = input.subspan(1);
    return b;
  };
  while (!input.empty()) {
    const std::uint8_t what = next();
    if (what < 160) {
      Segment s;
      s.flags.clear();
      const std::uint8_t flags = next();
      for (std::size_t i = 0; i < 8; ++i) {
        if ((flags >> i & 1) != 0) s.flags += "FSRPAUEC"[i];
      }
      const tcp::Info info = script.info();
      s.seq = info.rcv_nxt - 1000 + static_cast<std::uint32_t>(next()) - 128 * (what & 1u);
      s.ack = static_cast<std::uint32_t>(next()) - 64;
      s.win = static_cast<std::uint32_t>(next()) * 257;
      s.urgent = next();
      s.payload.assign(next(), 'p');
      script.rx(s);
    } else if (what < 190) {
      script.after(Duration::millis(std::int64_t{next()} * next()));
    } else if (open && what < 220) {
      (void)script.write(std::string(std::size_t{next()} * 16, 'w'));
    } else if (open && what < 240) {
      (void)script.read(next());
    } else if (open && what < 245) {
      (void)script.stack().sockets().shutdown(script.handle(), socket::Shutdown::kWrite);
    } else if (open && what == 255) {
      script.close();
      open = false;
    }
    while (script.next_tx()) {  // checksums and sizes of what is sent are checked on the way
    }
  }
  if (open) script.close();
  script.after(2000_s);
  promise(script.state() == "CLOSED", "a closed connection ends");
}

}  // namespace sluice::test
