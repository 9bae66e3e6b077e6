#include "tests/tcp/harness.h"

#include <algorithm>
#include <cstring>

#include "stack/base/md5.h"

namespace sluice::test {
namespace {

constexpr std::size_t kIpHeader = 20;
constexpr std::size_t kTcpHeader = 20;
constexpr std::string_view kFlagLetters = "FSRPAUEC";

void put16(std::vector<std::uint8_t>& out, std::uint32_t v) {
  out.push_back(static_cast<std::uint8_t>(v >> 8));
  out.push_back(static_cast<std::uint8_t>(v));
}
void put32(std::vector<std::uint8_t>& out, std::uint32_t v) {
  put16(out, v >> 16);
  put16(out, v & 0xffff);
}
std::uint32_t get16(const std::uint8_t* p) {
  return static_cast<std::uint32_t>(p[0]) << 8 | p[1];
}
std::uint32_t get32(const std::uint8_t* p) {
  return get16(p) << 16 | get16(p + 2);
}

void patch16(std::vector<std::uint8_t>& out, std::size_t at, std::uint32_t v) {
  out[at] = static_cast<std::uint8_t>(v >> 8);
  out[at + 1] = static_cast<std::uint8_t>(v);
}

// The plain definition (RFC 1071 §1), one word at a time.
std::uint32_t plain_sum(const std::uint8_t* p, std::size_t n, std::uint32_t sum) {
  for (std::size_t i = 0; i < n; ++i) sum += i % 2 == 0 ? static_cast<std::uint32_t>(p[i]) << 8 : p[i];
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}
std::uint32_t tcp_sum(const std::uint8_t* packet, std::size_t ip_header, std::size_t size) {
  const std::size_t l4 = size - ip_header;
  const std::uint32_t pseudo = plain_sum(packet + 12, 8, 6 + static_cast<std::uint32_t>(l4));
  return plain_sum(packet + ip_header, l4, pseudo);
}

// RFC 2385 §2.0, of an IPv4 packet.
Md5::Digest signature(const std::vector<std::uint8_t>& packet, std::size_t ip_header, std::string_view key) {
  const Bytes all(packet);
  const Bytes header = all.subspan(ip_header, kTcpHeader);
  std::vector<std::uint8_t> text(all.begin() + 12, all.begin() + 20);
  put16(text, 6);
  put16(text, static_cast<std::uint32_t>(packet.size() - ip_header));
  text.insert(text.end(), header.begin(), header.begin() + 16);
  put16(text, 0);
  text.insert(text.end(), header.begin() + 18, header.end());
  const Bytes payload = all.subspan(ip_header + static_cast<std::size_t>(header[12] >> 4) * 4);
  text.insert(text.end(), payload.begin(), payload.end());
  text.insert(text.end(), key.begin(), key.end());
  return Md5().add(text).finish();
}
constexpr std::size_t kSignature = 4;  // where ours and the peer's stand in the options

std::vector<std::uint8_t> build_options(const Segment& s, std::uint32_t our_iss) {
  std::vector<std::uint8_t> o;
  if (s.md5) o = {1, 1, 19, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  if (s.mss) o.insert(o.end(), {2, 4, static_cast<std::uint8_t>(*s.mss >> 8), static_cast<std::uint8_t>(*s.mss)});
  if (s.sack_ok) o.insert(o.end(), {4, 2, 1, 1});
  if (s.ts) {
    o.insert(o.end(), {1, 1, 8, 10});
    put32(o, s.ts->value);
    put32(o, s.ts->echo);
  }
  if (s.scale) o.insert(o.end(), {1, 3, 3, *s.scale});
  if (!s.sack.empty()) o.insert(o.end(), {1, 1, 5, static_cast<std::uint8_t>(2 + 8 * s.sack.size())});
  for (const Segment::Block& block : s.sack) {
    put32(o, our_iss + block.left);
    put32(o, our_iss + block.right);
  }
  if (s.fast_open) {
    const auto size = static_cast<std::uint8_t>(s.fast_open->cookie.size());
    if (s.fast_open->experimental) {
      o.insert(o.end(), {254, static_cast<std::uint8_t>(4 + size), 0xf9, 0x89});
    } else {
      o.insert(o.end(), {34, static_cast<std::uint8_t>(2 + size)});
    }
    o.insert(o.end(), s.fast_open->cookie.begin(), s.fast_open->cookie.end());
  }
  o.insert(o.end(), s.raw_options.begin(), s.raw_options.end());
  while (o.size() % 4 != 0) o.push_back(0);
  return o;
}

void read_option(std::uint8_t kind, const std::uint8_t* value, std::size_t size, Segment& s) {
  if (kind == 2) s.mss = static_cast<std::uint16_t>(get16(value));
  if (kind == 3) s.scale = value[0];
  if (kind == 4) s.sack_ok = true;
  for (std::size_t i = 0; kind == 5 && i + 8 <= size; i += 8)
    s.sack.push_back({get32(value + i), get32(value + i + 4)});
  if (kind == 34) s.fast_open = Segment::FastOpen{{value, value + size}, false};
  if (kind == 254 && size >= 2 && get16(value) == 0xf989)
    s.fast_open = Segment::FastOpen{{value + 2, value + size}, true};
  if (kind == 172) {
    s.accurate_ecn.emplace();
    for (std::size_t i = 0; i + 3 <= size; i += 3) s.accurate_ecn->push_back(get32(value + i - 1) & 0xffffff);
  }
  if (kind == 19) s.md5 = "";
  if (kind == 8) s.ts = Segment::Timestamps{get32(value), get32(value + 4)};
}

void read_options(const std::uint8_t* p, std::size_t n, Segment& s) {
  for (std::size_t i = 0; i < n;) {
    if (p[i] == 0) {  // end of the list: only zeros follow (RFC9293-MUST-69)
      EXPECT_TRUE(std::all_of(p + i, p + n, [](std::uint8_t b) { return b == 0; }));
      return;
    }
    if (p[i] == 1) {
      ++i;
      continue;
    }
    if (i + 1 >= n || p[i + 1] < 2 || i + p[i + 1] > n) {
      ADD_FAILURE() << "our segment has a malformed option of kind " << int{p[i]};
      return;
    }
    read_option(p[i], p + i + 2, p[i + 1] - 2u, s);
    i += p[i + 1];
  }
}

std::string flags_of(std::uint8_t bits) {
  std::string text;
  for (const char letter : std::string_view("SFRPAUEC")) {
    if ((bits >> kFlagLetters.find(letter) & 1) != 0) text += letter;
  }
  return text;
}
std::uint8_t bits_of(std::string_view flags) {
  std::uint8_t bits = 0;
  for (const char letter : flags) {
    const auto index = kFlagLetters.find(letter);
    if (index != std::string_view::npos) bits = static_cast<std::uint8_t>(bits | 1u << index);
  }
  return bits;
}

}  // namespace

std::string describe(const Segment& s) {
  std::string text = "[" + s.flags + " seq=" + std::to_string(s.seq) + " ack=" + std::to_string(s.ack) +
                     " win=" + std::to_string(s.win) + " len=" + std::to_string(s.payload.size());
  if (s.mss) text += " mss=" + std::to_string(*s.mss);
  if (s.scale) text += " wscale=" + std::to_string(*s.scale);
  if (s.md5) text += " md5=" + *s.md5;
  if (s.ts) text += " ts=" + std::to_string(s.ts->value) + "/" + std::to_string(s.ts->echo);
  for (const Segment::Block& b : s.sack) text += " sack=" + std::to_string(b.left) + ":" + std::to_string(b.right);
  return text + "]";
}

ScriptDevice::ScriptDevice(std::uint32_t mtu) {
  capabilities_.medium = link::Medium::kIp;
  capabilities_.mtu = mtu;
}

std::size_t ScriptDevice::rx(Instant, buf::Pool&, std::span<buf::RxFrame> out) {
  std::size_t n = 0;
  while (n < out.size() && !to_stack.empty()) {
    out[n].buffer = buf::Buffer::copy_of(to_stack.front());
    out[n].offload = {};
    out[n].wire_length = static_cast<std::uint32_t>(to_stack.front().size());
    to_stack.pop_front();
    ++n;
  }
  return n;
}

std::size_t ScriptDevice::tx(Instant now, std::span<const buf::TxFrame> frames) {
  for (const buf::TxFrame& frame : frames) {
    std::vector<std::uint8_t> bytes(frame.size());
    frame.copy_to(bytes);
    from_stack.push_back({now, std::move(bytes)});
  }
  return frames.size();
}

Script::Script(ScriptOptions options) : options_(std::move(options)), device_(options_.mtu) {
  start_ = now_ = Instant::from_nanos(1'000'000'000'000);
  StackConfig config;
  config.seed = Rng::seed_from(options_.seed);
  config.tcp = options_.tcp;
  stack_ = std::make_unique<Stack>(config);
  stack_->set_time(now_);
  interface_ = stack_->ip().add_interface(device_, {.address_check = ip::InterfaceConfig::AddressCheck::kNone}).value();
  EXPECT_TRUE(stack_->ip().add_address(interface_, {wire::Ipv4Address{kOurAddress}, 24}).has_value());
  our_port_ = options_.local_port;
  our_address_ = kOurAddress;
}

// --- the application's side ----------------------------------------------------------------------------------------

void Script::listen(int backlog) {
  auto& sockets = stack_->sockets();
  listener_ = sockets.open(ip::Family::kV4, socket::Type::kStream).value();
  ASSERT_TRUE(sockets.bind(listener_, {wire::Ipv4Address{}, options_.local_port}).has_value());
  ASSERT_TRUE(sockets.listen(listener_, backlog).has_value());
}

void Script::stop_listening() {
  EXPECT_TRUE(stack_->sockets().close(listener_).has_value());
  listener_ = -1;
}

void Script::accept() {
  const auto accepted = stack_->sockets().accept(listener_, nullptr);
  ASSERT_TRUE(accepted.has_value()) << "no connection waits to be accepted";
  connection_ = *accepted;
  run();
}

void Script::connect(const ip::Endpoint& local) {
  auto& sockets = stack_->sockets();
  connection_ = sockets.open(ip::Family::kV4, socket::Type::kStream).value();
  if (local.port != 0 || !local.address.is_any()) {
    set(socket::Option::kReuseAddress, 1);
    ASSERT_TRUE(sockets.bind(connection_, local).has_value());
  }
  const auto status = sockets.connect(connection_, {wire::Ipv4Address{kPeerAddress}, options_.peer_port});
  ASSERT_FALSE(status.has_value());
  ASSERT_EQ(status.error(), Errno::kInProgress);
  run();
}

void Script::open_socket() {
  connection_ = stack_->sockets().open(ip::Family::kV4, socket::Type::kStream).value();
}

Result<std::size_t> Script::send_first(std::string_view data) {
  const Bytes bytes(reinterpret_cast<const std::uint8_t*>(data.data()), data.size());
  const ip::Endpoint peer{wire::Ipv4Address{kPeerAddress}, options_.peer_port};
  const auto sent = stack_->sockets().send(connection_, std::span(&bytes, 1), &peer, {.fast_open = true});
  run();
  return sent;
}

Status Script::begin_connect() {
  const Status done = stack_->sockets().connect(connection_, {wire::Ipv4Address{kPeerAddress}, options_.peer_port});
  run();
  return done;
}

Errno Script::write(std::string_view data) {
  const Bytes bytes(reinterpret_cast<const std::uint8_t*>(data.data()), data.size());
  const auto sent = stack_->sockets().send(connection_, std::span(&bytes, 1), nullptr);
  run();
  if (!sent) return sent.error();
  return *sent == data.size() ? Errno::kOk : Errno::kAgain;
}

std::string Script::read(std::size_t most) {
  std::string out(most, '\0');
  const MutableBytes piece(reinterpret_cast<std::uint8_t*>(out.data()), out.size());
  const auto got = stack_->sockets().receive(connection_, std::span(&piece, 1));
  run();
  out.resize(got ? got->size : 0);
  return out;
}

Errno Script::read_error() {
  std::uint8_t byte = 0;
  const MutableBytes piece(&byte, 1);
  const auto got = stack_->sockets().receive(connection_, std::span(&piece, 1), {.peek = true});
  return got ? Errno::kOk : got.error();
}

bool Script::at_eof() {
  std::uint8_t byte = 0;
  const MutableBytes piece(&byte, 1);
  const auto got = stack_->sockets().receive(connection_, std::span(&piece, 1), {.peek = true});
  return got && got->size == 0;
}

void Script::shutdown_write() {
  EXPECT_TRUE(stack_->sockets().shutdown(connection_, socket::Shutdown::kWrite).has_value());
  run();
}

void Script::close() {
  EXPECT_TRUE(stack_->sockets().close(connection_).has_value());
  connection_ = -1;
  run();
}

Errno Script::take_error() {
  return static_cast<Errno>(stack_->sockets().get_option(connection_, socket::Option::kError).value_or(0));
}

socket::Ready Script::ready() {
  return stack_->sockets().ready(connection_);
}

void Script::set(socket::Option option, std::int64_t value) {
  EXPECT_TRUE(stack_->sockets().set_option(connection_, option, value).has_value());
  run();
}

void Script::set_listener(socket::Option option, std::int64_t value) {
  EXPECT_TRUE(stack_->sockets().set_option(listener_, option, value).has_value());
}

bool Script::acceptable() {
  return any(stack_->sockets().ready(listener_) & socket::Ready::kIn);
}

namespace {
struct Found {
  std::uint16_t peer_port = 0;
  std::optional<tcp::Info> info;
};
}  // namespace

tcp::Info Script::info() {
  Found found{options_.peer_port, {}};
  stack_->tcp().visit_connections(
      [](void* arg, const tcp::Endpoint&, const tcp::Endpoint& peer, const tcp::Info& info) {
        auto* f = static_cast<Found*>(arg);
        if (peer.port == f->peer_port) f->info = info;
      },
      &found);
  return found.info.value_or(tcp::Info{});
}

std::string Script::state() {
  return tcp::name_of(info().state);
}

// --- the peer's side -----------------------------------------------------------------------------------------------

std::vector<std::uint8_t> Script::build(const Segment& s) const {
  const auto options = build_options(s, our_iss_.value_or(0));
  const std::size_t header = kTcpHeader + options.size();
  std::vector<std::uint8_t> p;
  const std::size_t ip_header = kIpHeader + s.ip_options.size();
  p.push_back(static_cast<std::uint8_t>(0x40 | ip_header / 4));
  p.push_back(s.ecn);
  put16(p, static_cast<std::uint32_t>(ip_header + header + s.payload.size()));
  put32(p, 0x4000);  // identification 0, DF
  p.push_back(s.ttl);
  p.push_back(6);
  put16(p, 0);
  put32(p, s.source != 0 ? s.source : kPeerAddress);
  put32(p, s.destination != 0 ? s.destination : our_address_);
  p.insert(p.end(), s.ip_options.begin(), s.ip_options.end());
  patch16(p, 10, ~plain_sum(p.data(), ip_header, 0) & 0xffff);
  put16(p, s.src_port != 0 ? s.src_port : options_.peer_port);
  put16(p, s.dst_port != 0 ? s.dst_port : our_port_);
  put32(p, options_.peer_iss + s.seq);
  put32(p, s.flags.find('A') == std::string::npos && s.ack == 0 ? 0 : our_iss_.value_or(0) + s.ack);
  const std::uint32_t ace = s.ace.value_or(0);
  const std::uint32_t reserved = (s.reserved | ace >> 2) & 0xf;
  put16(p, static_cast<std::uint32_t>(header / 4) << 12 | reserved << 8 | bits_of(s.flags) | (ace & 3) << 6);
  put16(p, s.win);
  put16(p, 0);
  put16(p, s.urgent);
  p.insert(p.end(), options.begin(), options.end());
  p.insert(p.end(), s.payload.begin(), s.payload.end());
  if (s.md5) {
    const Md5::Digest digest = signature(p, ip_header, *s.md5);
    std::copy(digest.begin(), digest.end(),
              p.begin() + static_cast<std::ptrdiff_t>(ip_header + kTcpHeader + kSignature));
  }
  const std::uint32_t sum = ~tcp_sum(p.data(), ip_header, p.size()) & 0xffff;
  patch16(p, ip_header + 16, s.bad_checksum ? sum ^ 0x0100 : sum);
  return p;
}

void Script::rx(const Segment& segment) {
  device_.to_stack.push_back(build(segment));
  run();
}

void Script::rx_changed(const Segment& segment, std::size_t at) {
  std::vector<std::uint8_t> p = build(segment);
  p[kIpHeader + at] ^= 1;
  patch16(p, kIpHeader + 16, 0);
  patch16(p, kIpHeader + 16, ~tcp_sum(p.data(), kIpHeader, p.size()) & 0xffff);
  device_.to_stack.push_back(std::move(p));
  run();
}

void Script::rx_together(const std::vector<Segment>& segments) {
  for (const Segment& segment : segments) device_.to_stack.push_back(build(segment));
  run();
}

void Script::rx_icmp(std::uint8_t type, std::uint8_t code, std::uint16_t mtu, const Segment& quoted) {
  std::vector<std::uint8_t> p = {0x45, 0};
  constexpr std::size_t kQuotedTcp = 8;
  put16(p, kIpHeader + 8 + kIpHeader + kQuotedTcp);
  put32(p, 0x4000);
  p.insert(p.end(), {64, 1, 0, 0});
  put32(p, kPeerAddress);
  put32(p, kOurAddress);
  patch16(p, 10, ~plain_sum(p.data(), kIpHeader, 0) & 0xffff);
  p.insert(p.end(), {type, code, 0, 0, 0, 0});
  put16(p, mtu);
  const std::size_t quote = p.size();
  p.insert(p.end(), {0x45, 0});
  put16(p, kIpHeader + kTcpHeader);
  put32(p, 0x4000);
  p.insert(p.end(), {64, 6, 0, 0});
  put32(p, kOurAddress);
  put32(p, kPeerAddress);
  patch16(p, quote + 10, ~plain_sum(p.data() + quote, kIpHeader, 0) & 0xffff);
  put16(p, our_port_);
  put16(p, options_.peer_port);
  put32(p, our_iss_.value_or(0) + quoted.seq);
  patch16(p, kIpHeader + 2, ~plain_sum(p.data() + kIpHeader, p.size() - kIpHeader, 0) & 0xffff);
  device_.to_stack.push_back(std::move(p));
  run();
}

std::optional<Segment> Script::take() {
  if (device_.from_stack.empty()) return {};
  const auto [at, p] = std::move(device_.from_stack.front());
  device_.from_stack.pop_front();
  last_sent_ = at;
  EXPECT_GE(p.size(), kIpHeader + kTcpHeader);
  EXPECT_EQ(p[0], 0x45);
  EXPECT_EQ(p[9], 6) << "not a TCP segment";
  EXPECT_EQ(get16(&p[2]), p.size()) << "IP total length";
  EXPECT_EQ(plain_sum(p.data(), kIpHeader, 0), 0xffffu) << "IP header checksum";
  EXPECT_EQ(tcp_sum(p.data(), kIpHeader, p.size()), 0xffffu) << "TCP checksum";  // (RFC9293-MUST-2)
  EXPECT_LE(p.size(), options_.mtu);
  const std::uint8_t* t = p.data() + kIpHeader;
  const std::size_t header = static_cast<std::size_t>(t[12] >> 4) * 4;
  Segment s;
  s.flags = flags_of(t[13]);
  s.ace = static_cast<std::uint8_t>((t[12] & 1) << 2 | t[13] >> 6);
  s.src_port = static_cast<std::uint16_t>(get16(t));
  s.dst_port = static_cast<std::uint16_t>(get16(t + 2));
  const bool syn = (t[13] & 2) != 0;
  if (syn && s.dst_port == options_.peer_port) {
    our_iss_ = get32(t + 4);
    our_port_ = s.src_port;
    our_address_ = get32(&p[12]);
  }
  s.seq = get32(t + 4) - our_iss_.value_or(0);
  s.ack = (t[13] & 0x10) != 0 ? get32(t + 8) - options_.peer_iss : get32(t + 8);
  s.win = get16(t + 14);
  s.urgent = static_cast<std::uint16_t>(get16(t + 18));
  s.ttl = p[8];
  s.ecn = p[1] & 3;
  s.dscp = p[1] >> 2;
  s.dont_fragment = (p[6] & 0x40) != 0;
  s.source = get32(&p[12]);
  s.destination = get32(&p[16]);
  read_options(t + kTcpHeader, header - kTcpHeader, s);
  if (s.md5) {
    const Md5::Digest right = signature(p, kIpHeader, options_.md5_key);
    s.md5 = std::equal(right.begin(), right.end(), t + kTcpHeader + kSignature) ? options_.md5_key : "?";
  }
  for (Segment::Block& b : s.sack) b = {b.left - options_.peer_iss, b.right - options_.peer_iss};
  EXPECT_FALSE(!syn && (s.mss || s.scale || s.sack_ok || s.fast_open))
      << "an option that belongs in a SYN";  // (RFC9293-MUST-65)
  s.payload.assign(p.begin() + static_cast<std::ptrdiff_t>(kIpHeader + header), p.end());
  return s;
}

std::optional<Segment> Script::next_tx() {
  return take();
}

void Script::discard_tx() {
  while (take()) {
  }
}

Segment Script::expect_tx(const Want& want, const char* file, int line) {
  testing::ScopedTrace trace(file, line, "expect_tx");
  const auto got = take();
  if (!got) {
    ADD_FAILURE() << "the stack sent nothing";
    return {};
  }
  testing::ScopedTrace which(file, line, "sent: " + describe(*got));
  if (want.flags) {
    EXPECT_EQ(bits_of(got->flags), bits_of(*want.flags)) << "flags " << got->flags;
  }
  if (want.seq) {
    EXPECT_EQ(got->seq, *want.seq);
  }
  if (want.ack) {
    EXPECT_EQ(got->ack, *want.ack);
  }
  if (want.win) {
    EXPECT_EQ(got->win, *want.win);
  }
  if (want.payload) {
    EXPECT_EQ(got->payload, *want.payload);
  }
  if (want.size) {
    EXPECT_EQ(got->payload.size(), *want.size);
  }
  if (want.ace) {
    EXPECT_EQ(got->ace, want.ace) << "ACE field";
  }
  if (want.accurate_ecn) {
    EXPECT_EQ(got->accurate_ecn, want.accurate_ecn);
  }
  if (want.ecn) {
    EXPECT_EQ(got->ecn, *want.ecn) << "ECN codepoint";
  }
  if (want.mss) {
    EXPECT_EQ(got->mss, want.mss);
  }
  if (want.has_mss) {
    EXPECT_EQ(got->mss.has_value(), *want.has_mss);
  }
  if (want.has_scale) {
    EXPECT_EQ(got->scale.has_value(), *want.has_scale);
  }
  if (want.has_ts) {
    EXPECT_EQ(got->ts.has_value(), *want.has_ts);
  }
  if (want.ts) {
    EXPECT_EQ(got->ts, want.ts);
  }
  if (want.ts_echo) {
    EXPECT_EQ(got->ts.value_or(Segment::Timestamps{}).echo, *want.ts_echo);
  }
  if (want.urgent) {
    EXPECT_EQ(got->urgent, *want.urgent);
  }
  if (want.sack_ok) {
    EXPECT_EQ(got->sack_ok, *want.sack_ok);
  }
  if (want.sack) {
    EXPECT_EQ(got->sack, *want.sack);
  }
  if (want.md5) {
    EXPECT_EQ(got->md5.value_or("none"), *want.md5);
  }
  if (want.has_fast_open) {
    EXPECT_EQ(got->fast_open.has_value(), *want.has_fast_open);
  }
  if (want.fast_open) {
    EXPECT_EQ(got->fast_open, want.fast_open);
  }
  return *got;
}

void Script::expect_nothing(const char* file, int line) {
  testing::ScopedTrace trace(file, line, "expect_nothing");
  if (const auto got = take()) ADD_FAILURE() << "the stack sent " << describe(*got);
}

// --- time ----------------------------------------------------------------------------------------------------------

void Script::run() {
  constexpr int kRounds = 1000;  // far more than any script needs at one point in time
  for (int i = 0; i < kRounds; ++i) {
    const bool more = stack_->poll(now_);
    if (!more && device_.to_stack.empty() && stack_->next_deadline() > now_) return;
  }
  ADD_FAILURE() << "the stack does not come to rest";
}

void Script::at(Duration since_start) {
  const Instant target = start_ + since_start;
  for (;;) {
    const Instant next = stack_->next_deadline();
    if (next > target) break;
    now_ = std::max(now_, next);
    run();
  }
  now_ = target;
  run();
}

void Script::after(Duration step) {
  at(elapsed() + step);
}

std::optional<Duration> Script::until_tx(Duration longest) {
  const Instant from = now_;
  while (device_.from_stack.empty()) {
    const Instant next = stack_->next_deadline();
    if (next > from + longest) return {};
    now_ = std::max(now_, next);
    run();
  }
  return now_ - from;
}

// --- common beginnings ---------------------------------------------------------------------------------------------

void Script::establish(const Segment& syn) {
  listen();
  rx(syn);
  const Segment answer = expect_tx({.flags = "SA", .seq = 0, .ack = 1});
  Segment ack{.flags = "A", .seq = 1, .ack = 1, .win = syn.win};
  if (syn.ts && answer.ts) ack.ts = Segment::Timestamps{syn.ts->value, answer.ts->value};
  rx(ack);
  accept();
  discard_tx();
}

void Script::establish_active(const Segment& syn_ack) {
  connect();
  const Segment syn = expect_tx({.flags = "S", .seq = 0});
  Segment answer = syn_ack;
  if (answer.ts && syn.ts) answer.ts->echo = syn.ts->value;
  rx(answer);
  expect_tx({.flags = "A", .seq = 1, .ack = 1});
}

}  // namespace sluice::test
