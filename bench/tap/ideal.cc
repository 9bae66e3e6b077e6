// The limit of the device: the services of `sluice benchd` on a tap without a protocol stack behind them. It believes
// every frame, remembers one bulk stream each way, answers everything else from the frame alone, and retransmits only
// when nothing else helps. Frames are prepared; no checksum is computed that the kernel does not demand.
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bench/tap/kernel.h"

namespace {

using namespace bench;

using Byte = std::uint8_t;
constexpr std::size_t kVirtio = 10;    // bytes of the virtio-net header before a frame
constexpr std::size_t kEthernet = 14;  // offsets within a frame; IPv4 options do not occur
constexpr std::size_t kIp = kEthernet;
constexpr std::size_t kTcp = kIp + 20;
constexpr std::size_t kTcpData = kTcp + 20;
constexpr std::size_t kMss = 1460;
constexpr std::size_t kSuperSegment = 65535 / kMss * kMss - kMss;  // payload of the largest frame with offload
constexpr std::uint32_t kFirstSequence = 1'000'000;
constexpr int kBatch = 16;  // frames between two looks the other way, and segments an ACK
constexpr int kWindowShift = 7;
constexpr std::uint32_t kPlainWindow = 1 << 20;  // the tap's ring of 1000 frames holds it
constexpr std::uint32_t kOffloadWindow = 4 << 20;
constexpr std::size_t kKept = 96;  // frames sent last that are kept: what 6 MiB in flight are
constexpr double kRetransmitAfter = 0.2;  // s

enum Flags : Byte { kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16 };

std::uint16_t get16(const Byte* p) {
  return static_cast<std::uint16_t>(p[0] << 8 | p[1]);
}
std::uint32_t get32(const Byte* p) {
  return std::uint32_t{get16(p)} << 16 | get16(p + 2);
}
void put16(Byte* p, std::size_t v) {
  p[0] = static_cast<Byte>(v >> 8);
  p[1] = static_cast<Byte>(v);
}
void put32(Byte* p, std::uint32_t v) {
  put16(p, v >> 16);
  put16(p + 2, v & 0xffff);
}

// Internet checksum, not complemented, folded to 16 bits.
std::uint32_t fold(std::uint64_t sum) {
  while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint32_t>(sum);
}
std::uint32_t sum_of(std::span<const Byte> bytes) {
  std::uint64_t sum = 0;
  std::size_t i = 0;
  for (; i + 1 < bytes.size(); i += 2) sum += get16(&bytes[i]);
  if (i < bytes.size()) sum += std::uint64_t{bytes[i]} << 8;
  return fold(sum);
}

enum class Mode : std::uint8_t { kPlain, kOffload };
enum class Copy : std::uint8_t { kNone, kOne };  // between the frame and an application's buffer
// Of what was sent: nothing, or for as long as a sender must that may have to send it again.
enum class Keep : std::uint8_t { kNothing, kSent };
enum class Wait : std::uint8_t { kSpin, kPoll };

struct Settings {
  std::string device;
  std::string address;
  double seconds = 0;
  Mode mode = Mode::kPlain;
  Copy copy = Copy::kOne;
  Keep keep = Keep::kNothing;
  Wait wait = Wait::kSpin;
};

int open_tap(const Settings& s) {
  const int fd = check(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "/dev/net/tun");
  ifreq request{};
  s.device.copy(request.ifr_name, IFNAMSIZ - 1);
  request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | (s.mode == Mode::kOffload ? IFF_VNET_HDR : 0));
  check(ioctl(fd, TUNSETIFF, &request), "TUNSETIFF");
  if (s.mode == Mode::kOffload) check(ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4), "TUNSETOFFLOAD");
  return fd;
}

// The other end of a TCP segment, and what stands in it.
struct Segment {
  const Byte* frame;
  std::uint16_t from, to;  // ports
  std::uint32_t seq, ack;
  Byte flags;
  std::uint32_t window;  // not scaled
  std::span<const Byte> options, data;
  [[nodiscard]] std::uint32_t next() const {
    return seq + static_cast<std::uint32_t>(data.size()) + ((flags & kFin) != 0 ? 1u : 0u);
  }
};

// The bytes before TCP options and payload, ready to be sent to one peer; lengths and checksums are set when sent.
class Header {
 public:
  Header() = default;
  explicit Header(const Segment& to) {
    std::memcpy(bytes_.data(), to.frame + 6, 6);
    std::memcpy(bytes_.data() + 6, to.frame, 6);
    put16(&bytes_[12], 0x0800);
    bytes_[kIp] = 0x45;
    put16(&bytes_[kIp + 6], 0x4000);  // don't fragment
    bytes_[kIp + 8] = 64;
    bytes_[kIp + 9] = IPPROTO_TCP;
    std::memcpy(&bytes_[kIp + 12], to.frame + kIp + 16, 4);
    std::memcpy(&bytes_[kIp + 16], to.frame + kIp + 12, 4);
    put16(&bytes_[kTcp], to.to);
    put16(&bytes_[kTcp + 2], to.from);
    bytes_[kTcp + 12] = 0x50;
    pseudo_ = fold(std::uint64_t{sum_of({&bytes_[kIp + 12], 8})} + IPPROTO_TCP);
    ip_ = sum_of({&bytes_[kIp], 20});
  }

  // `after` bytes of options and payload follow, whose sum is `sum`.
  void write(Byte* frame, Byte flags, std::uint32_t seq, std::uint32_t ack, std::size_t window, std::size_t after,
             Byte header_words, Mode mode, std::uint32_t sum) const {
    std::memcpy(frame, bytes_.data(), bytes_.size());
    put16(frame + kIp + 2, 40 + after);
    put16(frame + kIp + 10, ~fold(ip_ + 40 + after) & 0xffff);
    put32(frame + kTcp + 4, seq);
    put32(frame + kTcp + 8, ack);
    frame[kTcp + 12] = static_cast<Byte>(header_words << 4);
    frame[kTcp + 13] = flags;
    put16(frame + kTcp + 14, window);
    const std::uint32_t partial = fold(pseudo_ + 20 + after);
    if (mode == Mode::kOffload) return put16(frame + kTcp + 16, partial);
    put16(frame + kTcp + 16, ~fold(std::uint64_t{partial} + sum_of({frame + kTcp, 20}) + sum) & 0xffff);
  }

 private:
  std::array<Byte, kTcpData> bytes_{};
  std::uint32_t pseudo_ = 0, ip_ = 0;  // sums without the lengths
};

class PerfectPeer {
 public:
  explicit PerfectPeer(const Settings& settings)
      : settings_(settings),
        fd_(open_tap(settings)),
        before_(settings.mode == Mode::kOffload ? kVirtio : 0),
        most_(settings.mode == Mode::kOffload ? kSuperSegment : kMss),
        window_(settings.mode == Mode::kOffload ? kOffloadWindow : kPlainWindow) {
    const sockaddr_in a = address_of(settings.address.c_str(), 0);
    std::memcpy(address_.data(), &a.sin_addr, 4);
    bulk_.resize(settings.keep == Keep::kSent ? kKept : 1);
    for (auto& frame : bulk_) frame.fill('x');
    full_sum_ = sum_of({bulk_[0].data() + kVirtio + kTcpData, kMss});
  }

  void run() {
    const double end = now_seconds() + settings_.seconds;
    for (;;) {
      int frames = 0;
      while (frames < kBatch && receive()) ++frames;
      acknowledge();
      const bool sent = pump();
      if (frames > 0 || sent) continue;
      now_ = now_seconds();
      if (now_ > end) return;
      if (settings_.wait == Wait::kSpin) continue;
      pollfd p{fd_, POLLIN, 0};
      (void)poll(&p, 1, 100);
    }
  }

 private:
  struct Sink {  // the bulk stream in
    Header header;
    std::uint32_t expected = 0, sent_ack = 0;
    int segments = 0;
    bool open = false;
  };
  struct Source {  // the bulk stream out
    Header header;
    std::uint32_t acked = 0, next = 0, ack = 0, window = 0;
    int shift = 0, duplicates = 0;
    double progress = 0;
    bool open = false;
  };

  bool receive() {
    const ssize_t n = read(fd_, in_.data(), in_.size());
    if (n <= 0) return false;
    const auto size = static_cast<std::size_t>(n) - before_;
    Byte* frame = in_.data() + before_;
    if (get16(frame + 12) == 0x0806) return answer_arp(frame, size), true;
    if (get16(frame + 12) != 0x0800) return true;
    if (frame[kIp + 9] == IPPROTO_TCP) take_segment(frame);
    if (frame[kIp + 9] == IPPROTO_UDP && get16(frame + kTcp + 2) == kUdpEcho) echo_datagram(frame, size);
    if (frame[kIp + 9] == IPPROTO_ICMP && frame[kTcp] == 8) echo_ping(frame, size);
    return true;
  }

  // `size` bytes of a frame that has room for the virtio header before it; that header is as it is.
  void send_frame(Byte* frame, std::size_t size) { (void)!write(fd_, frame - before_, size + before_); }

  static void swap(Byte* a, Byte* b, std::size_t n) { std::swap_ranges(a, a + n, b); }

  void answer_arp(Byte* frame, std::size_t size) {
    constexpr std::array<Byte, 6> kMac = {2, 0, 0, 0, 0, 2};
    if (get16(frame + 20) != 1 || std::memcmp(frame + 38, address_.data(), 4) != 0) return;
    put16(frame + 20, 2);
    swap(frame + 22, frame + 32, 10);
    std::memcpy(frame + 22, kMac.data(), 6);
    std::memcpy(frame, frame + 6, 6);
    std::memcpy(frame + 6, kMac.data(), 6);
    send_frame(frame, size);
  }

  // Swapped addresses and ports leave every checksum, partial or complete, as it was.
  void turn_around(Byte* frame) {
    swap(frame, frame + 6, 6);
    swap(frame + kIp + 12, frame + kIp + 16, 4);
  }
  void echo_datagram(Byte* frame, std::size_t size) {
    turn_around(frame);
    swap(frame + kTcp, frame + kTcp + 2, 2);
    send_frame(frame, size);
  }
  void echo_ping(Byte* frame, std::size_t size) {
    turn_around(frame);
    frame[kTcp] = 0;
    put16(frame + kTcp + 2, fold(get16(frame + kTcp + 2) + 0x0800u));
    send_frame(frame, size);
  }

  void take_segment(const Byte* frame) {
    const Byte* tcp = frame + kTcp;
    const std::size_t header = std::size_t{tcp[12]} / 16 * 4;
    const std::size_t size = get16(frame + kIp + 2) - 20 - header;
    const Segment s{frame,   get16(tcp),      get16(tcp + 2),          get32(tcp + 4),      get32(tcp + 8),
                    tcp[13], get16(tcp + 14), {tcp + 20, header - 20}, {tcp + header, size}};
    if ((s.flags & kRst) != 0) return reset(s);
    if ((s.flags & kSyn) != 0) return accept(s);
    switch (s.to) {
      case kDiscard:
        return sink(s);
      case kSource:
        return source_acked(s);
      case kEcho:
        return answer(s, s.data, (s.flags & kFin) != 0 ? kFin : Flags{});
      case kEchoAndClose:
        return answer(s, s.data, s.data.empty() ? Flags{} : kFin);
      case kHttp:
        return answer(s, s.data.empty() ? s.data : page(), (s.flags & kFin) != 0 ? kFin : Flags{});
      default:
        return;
    }
  }

  static std::span<const Byte> page() { return {reinterpret_cast<const Byte*>(kPage.data()), kPage.size()}; }

  void reset(const Segment& s) {
    if (s.to == kSource) source_.open = false;
    if (s.to == kDiscard) sink_.open = false;
  }

  void accept(const Segment& s) {
    const Header header(s);
    constexpr std::array<Byte, 8> kOptions = {2, 4, kMss >> 8, kMss & 0xff, 3, 3, kWindowShift, 0};
    send_small(header, kSyn | kAck, kFirstSequence, s.seq + 1, kOptions, kOptions.size());
    if (s.to == kDiscard) sink_ = {header, s.seq + 1, s.seq + 1, 0, true};
    if (s.to != kSource) return;
    source_ = {header, kFirstSequence + 1, kFirstSequence + 1, s.seq + 1, s.window, window_shift(s.options), 0, now_,
               false};
  }

  static int window_shift(std::span<const Byte> options) {
    for (std::size_t i = 0; i + 2 < options.size() && options[i] != 0;) {
      if (options[i] == 3) return options[i + 2];
      i += options[i] == 1 ? 1u : std::max<std::size_t>(options[i + 1], 1);
    }
    return 0;
  }

  // A reply that follows from the segment alone: what it acknowledges is where we are.
  void answer(const Segment& s, std::span<const Byte> data, Flags flags) {
    if (data.empty() && (s.flags & kFin) == 0) return;
    send_small(Header(s), static_cast<Byte>(kAck | flags | (data.empty() ? 0 : kPsh)), s.ack, s.next(), data, 0);
  }

  void send_small(const Header& header, Byte flags, std::uint32_t seq, std::uint32_t ack, std::span<const Byte> after,
                  std::size_t option_bytes) {
    Byte* frame = out_.data() + kVirtio;
    if (!after.empty()) std::memcpy(frame + kTcpData, after.data(), after.size());
    const std::uint32_t sum = settings_.mode == Mode::kPlain ? sum_of(after) : 0;
    const std::size_t window = (flags & kSyn) != 0 ? 65535 : window_ >> kWindowShift;
    header.write(frame, flags, seq, ack, window, after.size(), static_cast<Byte>(5 + option_bytes / 4), settings_.mode,
                 sum);
    describe(frame, 0);
    send_frame(frame, kTcpData + after.size());
  }

  // The virtio header before a frame: the checksum is ours to complete, and segments of `segment` bytes are to be made.
  void describe(Byte* frame, std::uint16_t segment) const {
    if (settings_.mode == Mode::kPlain) return;
    constexpr Byte kNeedsChecksum = 1;
    constexpr Byte kTcp4 = 1;
    const std::array<std::uint16_t, 4> lengths = {segment != 0 ? std::uint16_t{kTcpData} : std::uint16_t{0}, segment,
                                                  kTcp, 16};  // in host order
    frame[-10] = kNeedsChecksum;
    frame[-9] = segment != 0 ? kTcp4 : 0;
    std::memcpy(frame - 8, lengths.data(), sizeof lengths);
  }

  // --- bulk in ---

  void sink(const Segment& s) {
    if (!sink_.open || (s.data.empty() && (s.flags & kFin) == 0)) return;
    ++sink_.segments;
    if (s.seq != sink_.expected) return send_ack();
    sink_.expected = s.next();
    if (settings_.copy == Copy::kOne) copy_in(s.data);
    if ((s.flags & kFin) == 0) return;
    send_small(sink_.header, kFin | kAck, kFirstSequence + 1, sink_.expected, {}, 0);
    sink_.open = false;
  }
  void copy_in(std::span<const Byte> data) {
    if (used_ + data.size() > application_.size()) used_ = 0;
    std::memcpy(application_.data() + used_, data.data(), data.size());
    used_ += data.size();
  }
  void acknowledge() {
    if (sink_.open && sink_.expected != sink_.sent_ack) send_ack();
  }
  void send_ack() {
    send_small(sink_.header, kAck, kFirstSequence + 1, sink_.expected, {}, 0);
    sink_.sent_ack = sink_.expected;
    sink_.segments = 0;
  }

  // --- bulk out ---

  void source_acked(const Segment& s) {
    const std::uint32_t forward = s.ack - source_.acked;
    source_.window = s.window << source_.shift;
    source_.open = (s.flags & kFin) == 0;
    if (forward != 0 && forward < 1u << 31) {
      source_.acked = s.ack;
      if (static_cast<std::int32_t>(source_.next - s.ack) < 0) source_.next = s.ack;
      source_.duplicates = 0;
      source_.progress = 0;
    } else if (source_.next != source_.acked && ++source_.duplicates == 3) {
      source_.next = source_.acked;
    }
  }

  // Sends what the peer's window allows, at most a batch; false when nothing could be sent.
  bool pump() {
    if (!source_.open) return false;
    int frames = 0;
    for (; frames < kBatch; ++frames) {
      const std::uint32_t flight = source_.next - source_.acked;
      const std::size_t room = source_.window > flight ? source_.window - flight : 0;
      if (room < most_ && (flight != 0 || room == 0)) break;
      send_bulk(std::min(room, most_));
    }
    if (frames == 0) look_for_loss();
    return frames > 0;
  }
  void look_for_loss() {
    if (source_.next == source_.acked) return;
    if (source_.progress == 0) source_.progress = now_seconds();
    if (now_ - source_.progress < kRetransmitAfter) return;
    source_.next = source_.acked;
    source_.progress = 0;
  }
  void send_bulk(std::size_t size) {
    Byte* frame = bulk_[next_bulk_++ % bulk_.size()].data() + kVirtio;
    Byte* payload = frame + kTcpData;
    if (settings_.copy == Copy::kOne) copy_out(payload, size);
    std::uint32_t sum = 0;
    if (settings_.mode == Mode::kPlain) sum = size == kMss ? full_sum_ : sum_of({payload, size});
    source_.header.write(frame, kAck, source_.next, source_.ack, window_ >> kWindowShift, size, 5, settings_.mode, sum);
    describe(frame, size > kMss ? kMss : 0);
    send_frame(frame, kTcpData + size);
    source_.next += static_cast<std::uint32_t>(size);
  }
  void copy_out(Byte* to, std::size_t size) {
    if (used_ + size > application_.size()) used_ = 0;
    std::memcpy(to, application_.data() + used_, size);
    used_ += size;
  }

  Settings settings_;
  int fd_;
  std::size_t before_, most_;
  std::uint32_t window_;
  std::array<Byte, 4> address_{};
  double now_ = 0;
  Sink sink_;
  Source source_;
  std::uint32_t full_sum_ = 0;  // of kMss bytes of the bulk payload
  std::size_t used_ = 0;
  std::vector<Byte> application_ = std::vector<Byte>(kChunk, 'x');
  std::array<Byte, kVirtio + 65600> in_{};
  std::vector<std::array<Byte, kVirtio + 65600>> bulk_;
  std::size_t next_bulk_ = 0;
  std::array<Byte, kVirtio + 2048> out_{};
};

int usage() {
  fprintf(stderr, "usage: ideal TAP ADDRESS SECONDS [offload] [no-copy] [keep] [poll]\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return usage();
  Settings settings{argv[1], argv[2], atof(argv[3])};
  for (const std::string_view word : std::span(argv + 4, argv + argc)) {
    if (word == "offload") {
      settings.mode = Mode::kOffload;
    } else if (word == "no-copy") {
      settings.copy = Copy::kNone;
    } else if (word == "keep") {
      settings.keep = Keep::kSent;
    } else if (word == "poll") {
      settings.wait = Wait::kPoll;
    } else {
      return usage();
    }
  }
  if (settings.seconds <= 0) return usage();
  static PerfectPeer peer(settings);
  peer.run();
}
