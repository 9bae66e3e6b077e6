#include "stack/wire/printer.h"

#include <array>
#include <cstdarg>
#include <cstdio>

#include "stack/wire/address.h"
#include "stack/wire/arp.h"
#include "stack/wire/ethernet.h"
#include "stack/wire/icmp.h"
#include "stack/wire/ipv4.h"
#include "stack/wire/tcp.h"
#include "stack/wire/udp.h"

namespace sluice::wire {
namespace {

constexpr std::uint8_t kIcmp = 1;
constexpr std::uint8_t kTcp = 6;
constexpr std::uint8_t kUdp = 17;

[[gnu::format(printf, 1, 2)]] std::string format(const char* pattern, ...) {
  std::array<char, 512> text{};
  va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(text.data(), text.size(), pattern, arguments);
  va_end(arguments);
  return text.data();
}

std::string text(const auto& value) { return std::string(to_text(value).view()); }

std::string flags_text(tcp::Flags flags) {
  std::string out;
  constexpr std::array<const char*, 8> kNames = {"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"};
  for (const std::size_t i : {1u, 0u, 2u, 3u, 4u, 5u, 6u, 7u}) {
    if ((flags.bits() >> i & 1) == 0) continue;
    if (!out.empty()) out += ' ';
    out += kNames[i];
  }
  return out.empty() ? "none" : out;
}

std::string options_text(const tcp::Options& o) {
  std::string out;
  if (o.has_mss) out += format(" mss %u", o.mss);
  if (o.sack_permitted) out += " sackOK";
  if (o.has_timestamps) out += format(" TS val %u ecr %u", o.timestamps.value, o.timestamps.echo);
  if (o.has_window_scale) out += format(" wscale %u", o.window_scale);
  if (o.fast_open.present()) out += o.fast_open.size == 0 ? " fast open request" : " fast open cookie";
  for (std::size_t i = 0; i < o.sack_count; ++i) out += format(" sack %u-%u", o.sack[i].left, o.sack[i].right);
  if (o.malformed) out += " malformed";
  return out;
}

const char* icmp_name(std::uint8_t type) {
  switch (type) {
    case icmp::kEchoReply: return "echo reply";
    case icmp::kUnreachable: return "destination unreachable";
    case icmp::kSourceQuench: return "source quench";
    case icmp::kRedirect: return "redirect";
    case icmp::kEchoRequest: return "echo request";
    case icmp::kTimeExceeded: return "time exceeded";
    case icmp::kParameterProblem: return "parameter problem";
    default: return "message";
  }
}

std::string arp_line(const arp::Packet& p) {
  if (p.operation == arp::Operation::kReply) return "ARP " + text(p.sender_ip) + " is at " + text(p.sender_mac);
  if (p.sender_ip == p.target_ip) return "ARP announcement of " + text(p.sender_ip);
  return "ARP who has " + text(p.target_ip) + "? tell " + text(p.sender_ip);
}

std::string icmp_line(const icmp::Message& m) {
  const bool echo = m.type == icmp::kEchoRequest || m.type == icmp::kEchoReply;
  if (echo) return format("ICMP %s id %u seq %u length %zu", icmp_name(m.type), m.identifier(), m.sequence(), m.body.size() + 8);
  return format("ICMP %s type %u code %u", icmp_name(m.type), m.type, m.code);
}

std::string tcp_words(const tcp::Segment& s) {
  std::string out = flags_text(s.header.flags) + format(" seq %u", s.header.seq);
  if (s.header.flags.ack()) out += format(" ack %u", s.header.ack);
  out += format(" win %u", s.header.window);
  out += options_text(tcp::parse_options(s.options));
  return out + format(" length %zu", s.payload.size());
}

// The parts of a packet, as far as they can be parsed; `trouble` says what could not.
struct Parts {
  Result<ethernet::Frame, Drop> frame = fail(Drop::kEthRunt);
  Result<arp::Packet, Drop> arp = fail(Drop::kArpMalformed);
  Result<ipv4::Packet, Drop> ip = fail(Drop::kIpTruncated);
  Result<icmp::Message, Drop> icmp = fail(Drop::kIcmpMalformed);
  Result<udp::Datagram, Drop> udp = fail(Drop::kUdpMalformed);
  Result<tcp::Segment, Drop> tcp = fail(Drop::kTcpMalformed);
  std::string trouble;
};

void dissect_transport(Parts& p) {
  const ipv4::Packet& ip = *p.ip;
  if (ip.header.fragment_offset != 0) return;
  const auto policy = ip.header.more_fragments ? ChecksumPolicy::kTrust : ChecksumPolicy::kVerify;
  const auto note = [&](const auto& parsed) {
    if (!parsed) p.trouble = name_of(parsed.error());
  };
  if (ip.header.protocol == kIcmp) note(p.icmp = icmp::parse(ip.payload, policy));
  if (ip.header.protocol == kTcp) note(p.tcp = tcp::parse(ip.payload, ip.header.source, ip.header.destination, policy));
  if (ip.header.protocol == kUdp) {
    note(p.udp = udp::parse(ip.payload, ip.header.source, ip.header.destination, policy, udp::ZeroChecksum::kAllowed));
  }
}

Parts dissect(Bytes frame, Layer first) {
  Parts p;
  Bytes packet = frame;
  if (first == Layer::kEthernet) {
    p.frame = ethernet::parse(frame);
    if (!p.frame) return p.trouble = name_of(p.frame.error()), p;
    packet = p.frame->payload;
    if (p.frame->header.type == ethernet::kArp) {
      p.arp = arp::parse(packet);
      if (!p.arp) p.trouble = name_of(p.arp.error());
      return p;
    }
    if (p.frame->header.type != ethernet::kIpv4) return p;
  }
  p.ip = ipv4::parse(packet);
  if (!p.ip) return p.trouble = name_of(p.ip.error()), p;
  dissect_transport(p);
  return p;
}

std::string between(const Parts& p, std::uint16_t from, std::uint16_t to) {
  return text(Endpoint{p.ip->header.source, from}) + " > " + text(Endpoint{p.ip->header.destination, to});
}

}  // namespace

std::string print_line(Bytes frame, Layer first) {
  const Parts p = dissect(frame, first);
  const std::string bad = p.trouble.empty() ? "" : " [" + p.trouble + "]";
  if (p.arp) return arp_line(*p.arp) + bad;
  if (p.tcp) return "TCP " + between(p, p.tcp->header.src_port, p.tcp->header.dst_port) + ": " + tcp_words(*p.tcp) + bad;
  if (p.udp) {
    return "UDP " + between(p, p.udp->header.src_port, p.udp->header.dst_port) + format(": length %zu", p.udp->payload.size()) + bad;
  }
  if (p.icmp) return "IP " + text(p.ip->header.source) + " > " + text(p.ip->header.destination) + ": " + icmp_line(*p.icmp) + bad;
  if (p.ip) {
    const ipv4::Header& h = p.ip->header;
    return "IP " + text(h.source) + " > " + text(h.destination) + format(": protocol %u length %zu", h.protocol, p.ip->payload.size()) +
           (h.is_fragment() ? format(" fragment at %u%s", h.fragment_offset, h.more_fragments ? "+" : "") : "") + bad;
  }
  if (p.frame) {
    return "Ethernet " + text(p.frame->header.source) + " > " + text(p.frame->header.destination) +
           format(": type 0x%04x length %zu", p.frame->header.type, p.frame->payload.size()) + bad;
  }
  return format("%zu bytes", frame.size()) + bad;
}

std::string print_layers(Bytes frame, Layer first) {
  const Parts p = dissect(frame, first);
  std::string out = format("frame, %zu bytes\n", frame.size());
  std::string indent = "  ";
  const auto layer = [&](const std::string& line) {
    out += indent + line + '\n';
    indent += "  ";
  };
  if (p.frame) {
    const ethernet::Header& h = p.frame->header;
    layer("Ethernet " + text(h.source) + " > " + text(h.destination) + format(", type 0x%04x", h.type) +
          (h.tagged ? format(", VLAN %u priority %u", h.tag.vid, h.tag.priority) : ""));
  }
  if (p.arp) {
    layer(p.arp->operation == arp::Operation::kRequest ? "ARP request" : "ARP reply");
    out += indent + "sender " + text(p.arp->sender_mac) + " " + text(p.arp->sender_ip) + '\n';
    out += indent + "target " + text(p.arp->target_mac) + " " + text(p.arp->target_ip) + '\n';
  }
  if (p.ip) {
    const ipv4::Header& h = p.ip->header;
    layer("IPv4 " + text(h.source) + " > " + text(h.destination) +
          format(", ttl %u, protocol %u, length %u, id %u%s%s, tos 0x%02x", h.ttl, h.protocol, h.total_length, h.identification,
                 h.dont_fragment ? ", DF" : "", h.more_fragments ? ", MF" : "", h.tos));
    if (h.fragment_offset != 0) out += indent + format("fragment at %u\n", h.fragment_offset);
  }
  if (p.icmp) layer(icmp_line(*p.icmp));
  if (p.udp) {
    layer(format("UDP %u > %u, length %u", p.udp->header.src_port, p.udp->header.dst_port, p.udp->header.length));
    layer(format("data, %zu bytes", p.udp->payload.size()));
  }
  if (p.tcp) {
    layer(format("TCP %u > %u, ", p.tcp->header.src_port, p.tcp->header.dst_port) + tcp_words(*p.tcp));
    if (!p.tcp->payload.empty()) layer(format("data, %zu bytes", p.tcp->payload.size()));
  }
  if (!p.trouble.empty()) out += indent + "not parsed further: " + p.trouble + '\n';
  return out;
}

Summary summarize(Bytes frame, Layer first) {
  const Parts p = dissect(frame, first);
  Summary s;
  s.what = print_line(frame, first);
  if (p.arp) {
    s.source = text(p.arp->sender_ip);
    s.destination = text(p.arp->target_ip);
    s.what = arp_line(*p.arp);
  }
  if (!p.ip) return s;
  s.source = text(p.ip->header.source);
  s.destination = text(p.ip->header.destination);
  if (p.icmp) s.what = icmp_line(*p.icmp);
  if (p.udp) {
    s.source_port = p.udp->header.src_port;
    s.destination_port = p.udp->header.dst_port;
    s.payload = p.udp->payload.size();
    s.what = format("UDP %zu bytes", s.payload);
  }
  if (p.tcp) {
    s.source_port = p.tcp->header.src_port;
    s.destination_port = p.tcp->header.dst_port;
    s.payload = p.tcp->payload.size();
    s.plain_data = !p.tcp->header.flags.any(tcp::Flags::kSyn | tcp::Flags::kFin | tcp::Flags::kRst);
    s.what = flags_text(p.tcp->header.flags);
    if (s.payload > 0) s.what += format(", %zu bytes", s.payload);
  }
  return s;
}

}  // namespace sluice::wire
