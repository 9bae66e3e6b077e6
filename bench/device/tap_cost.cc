// What a frame costs on a tap, without any protocol: nanoseconds for each way of writing and reading one. Written
// frames are for another station, so the kernel looks at them and lets them go; frames to be read are put into the
// tap's queue by a packet socket before the clock starts. To be run in a network namespace of its own (tap_cost.sh).
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "bench/tap/kernel.h"
#include "drivers/interface.h"
#include "drivers/uring.h"
#include "drivers/virtio_header.h"
#include "stack/wire/checksum.h"

namespace {

using bench::check;
using bench::die;
using sluice::drivers::Uring;

constexpr const char* kInterface = "cost0";
constexpr unsigned kBatch = 32;
constexpr unsigned kSamples = 20;  // of each case in a round
constexpr unsigned kMtuFrame = 1514;
constexpr unsigned kSegment = 65226;  // 45 segments of 1448 bytes and their headers
constexpr std::size_t kEthernetIpTcp = 14 + 20 + 32;
constexpr unsigned kMss = 1448;

enum class Io : std::uint8_t { kCalls, kUring, kUringPolled };
enum class Way : std::uint8_t { kWrite, kRead };

struct Case {
  const char* name;
  Way way;
  unsigned size;  // of the frame, bytes; above 1514 a TCP segment that is cut by nobody
  Io io = Io::kCalls;
  int tap_flags = 0;  // beside IFF_TAP | IFF_NO_PI
  unsigned queues = 1;
};

constexpr Case kCases[] = {
    {"write 60 B", Way::kWrite, 60},
    {"write 60 B, virtio header", Way::kWrite, 60, Io::kCalls, IFF_VNET_HDR},
    {"write 60 B, io_uring", Way::kWrite, 60, Io::kUring},
    {"write 60 B, io_uring SQPOLL", Way::kWrite, 60, Io::kUringPolled},
    {"write 60 B, IFF_NAPI", Way::kWrite, 60, Io::kCalls, IFF_NAPI},
    {"write 60 B, two queues", Way::kWrite, 60, Io::kCalls, IFF_MULTI_QUEUE, 2},
    {"write 1514 B", Way::kWrite, 1514},
    {"write 1514 B, virtio header", Way::kWrite, 1514, Io::kCalls, IFF_VNET_HDR},
    {"write 1514 B, io_uring", Way::kWrite, 1514, Io::kUring},
    {"write 1514 B, io_uring SQPOLL", Way::kWrite, 1514, Io::kUringPolled},
    {"write 1514 B, IFF_NAPI", Way::kWrite, 1514, Io::kCalls, IFF_NAPI},
    {"write 1514 B, two queues", Way::kWrite, 1514, Io::kCalls, IFF_MULTI_QUEUE, 2},
    {"write 64 KiB", Way::kWrite, kSegment, Io::kCalls, IFF_VNET_HDR},
    {"write 64 KiB, io_uring", Way::kWrite, kSegment, Io::kUring, IFF_VNET_HDR},
    {"read 60 B", Way::kRead, 60},
    {"read 60 B, virtio header", Way::kRead, 60, Io::kCalls, IFF_VNET_HDR},
    {"read 60 B, io_uring", Way::kRead, 60, Io::kUring},
    {"read 60 B, io_uring SQPOLL", Way::kRead, 60, Io::kUringPolled},
    {"read 1514 B", Way::kRead, 1514},
    {"read 1514 B, io_uring", Way::kRead, 1514, Io::kUring},
    {"read 1514 B, io_uring SQPOLL", Way::kRead, 1514, Io::kUringPolled},
    {"read 64 KiB", Way::kRead, kSegment, Io::kCalls, IFF_VNET_HDR},
    {"read 64 KiB, io_uring", Way::kRead, kSegment, Io::kUring, IFF_VNET_HDR},
};

bool has_header(const Case& c) {
  return (c.tap_flags & IFF_VNET_HDR) != 0;
}

// The tap with as many queues as the case wants; -1 where the kernel has no such thing.
std::vector<int> open_tap(const Case& c) {
  std::vector<int> fds;
  for (unsigned i = 0; i < c.queues; ++i) {
    const int fd = check(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC), "/dev/net/tun");
    ifreq request{};
    strncpy(request.ifr_name, kInterface, IFNAMSIZ - 1);
    request.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | c.tap_flags);
    check(ioctl(fd, TUNSETIFF, &request), "TUNSETIFF");
    if (has_header(c)) check(ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4), "TUNSETOFFLOAD");
    fds.push_back(fd);
  }
  const auto up = sluice::drivers::configure_interface(kInterface, "10.78.0.1/24", 0);
  if (!up) {
    fprintf(stderr, "bench: %s\n", up.error().message.c_str());
    exit(1);
  }
  return fds;
}

// A TCP segment for a station that is not there, behind the virtio-net header where the case has one.
std::vector<std::uint8_t> frame_of(const Case& c) {
  const std::size_t before = has_header(c) ? sluice::drivers::kVirtioHeaderSize : 0;
  std::vector<std::uint8_t> bytes(before + c.size);
  std::uint8_t* f = bytes.data() + before;
  constexpr std::array<std::uint8_t, 14> kEthernet{2, 0, 0, 0, 0, 0x77, 2, 0, 0, 0, 0, 0x78, 8, 0};
  std::copy(kEthernet.begin(), kEthernet.end(), f);
  const auto total = static_cast<std::uint16_t>(c.size - 14);
  const std::array<std::uint8_t, 20> ip{0x45,
                                        0,
                                        static_cast<std::uint8_t>(total >> 8),
                                        static_cast<std::uint8_t>(total),
                                        0,
                                        0,
                                        0x40,
                                        0,
                                        64,
                                        6,
                                        0,
                                        0,
                                        10,
                                        78,
                                        0,
                                        2,
                                        10,
                                        78,
                                        0,
                                        3};
  std::copy(ip.begin(), ip.end(), f + 14);
  const std::uint16_t sum = sluice::wire::checksum({f + 14, 20});
  f[24] = static_cast<std::uint8_t>(sum >> 8);
  f[25] = static_cast<std::uint8_t>(sum);
  f[34 + 12] = 0x50;  // no options; a segment to be cut has a timestamp's room
  f[34 + 13] = 0x10;
  if (c.size <= kMtuFrame) return bytes;
  f[34 + 12] = 0x80;
  std::fill_n(f + 34 + 20, 12, std::uint8_t{1});
  const sluice::buf::Offload offload{.checksum = sluice::buf::ChecksumState::kPartial,
                                     .gso = sluice::buf::GsoType::kTcp4,
                                     .checksum_start = 34,
                                     .checksum_offset = 16,
                                     .gso_size = kMss,
                                     .header_length = kEthernetIpTcp};
  sluice::drivers::emit_virtio_header(bytes, offload);
  return bytes;
}

// A packet socket that puts frames into the tap's queue, as the kernel's own traffic would.
int open_feeder(const Case& c) {
  const int fd = check(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), "packet socket");
  if (has_header(c)) bench::set_int(fd, SOL_PACKET, PACKET_VNET_HDR, 1);
  bench::set_int(fd, SOL_PACKET, PACKET_QDISC_BYPASS, 1);
  bench::set_int(fd, SOL_SOCKET, SO_SNDBUFFORCE, 64 << 20);
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(if_nametoindex(kInterface));
  check(bind(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to), "bind");
  return fd;
}

class Mover {
 public:
  Mover(const Case& c, int fd) : case_(c), fd_(fd) {
    using Submission = Uring::Submission;
    if (c.io != Io::kCalls) {
      ring_ = Uring::open(kBatch, c.io == Io::kUringPolled ? Submission::kByKernel : Submission::kByCall);
      if (!ring_) die("io_uring");
    }
    const std::vector<std::uint8_t> frame = frame_of(c);
    for (unsigned i = 0; i < kBatch; ++i) {
      frames_[i] = frame;
      pieces_[i] = {frames_[i].data(), frame.size()};
    }
  }
  Mover(const Mover&) = delete;
  Mover& operator=(const Mover&) = delete;

  // Moves a batch; how many frames there were.
  unsigned batch() {
    using Transfer = Uring::Transfer;
    unsigned moved = 0;
    for (const iovec& piece : pieces_) {
      if (ring_) {
        ring_->add(case_.way == Way::kWrite ? Transfer::kWrite : Transfer::kRead, fd_, {&piece, 1});
      } else {
        const ssize_t n = case_.way == Way::kWrite ? writev(fd_, &piece, 1) : readv(fd_, &piece, 1);
        if (n > 0) ++moved;
      }
    }
    return ring_ ? ring_->run() : moved;
  }

 private:
  const Case& case_;
  int fd_;
  std::optional<Uring> ring_;
  std::array<std::vector<std::uint8_t>, kBatch> frames_;
  std::array<iovec, kBatch> pieces_{};
};

// Nanoseconds a frame for some batches; a sample is shorter than a time slice, so that the least of many is
// undisturbed.
double sample(Mover& mover, unsigned batches) {
  const double start = bench::now_seconds();
  for (unsigned i = 0; i < batches; ++i) {
    if (mover.batch() != kBatch) {
      fprintf(stderr, "bench: a batch was not complete\n");
      exit(1);
    }
  }
  return (bench::now_seconds() - start) * 1e9 / (batches * kBatch);
}

// All queues at once, one thread each; what counts is how many frames go in a time.
void measure_write(const Case& c, const std::vector<int>& fds, std::vector<double>& results) {
  const unsigned batches = c.size > kMtuFrame ? 10 : 40;
  std::vector<std::vector<double>> samples(fds.size());
  std::vector<std::thread> threads;
  std::atomic<std::size_t> ready{0};
  for (std::size_t i = 0; i < fds.size(); ++i) {
    threads.emplace_back([&, i] {
      Mover mover(c, fds[i]);
      ++ready;
      while (ready < fds.size()) std::this_thread::yield();
      for (unsigned n = 0; n < kSamples; ++n) samples[i].push_back(sample(mover, batches));
    });
  }
  for (std::thread& t : threads) t.join();
  for (unsigned n = 0; n < kSamples; ++n) {
    double per_ns = 0;
    for (const auto& of_queue : samples) per_ns += 1 / of_queue[n];
    results.push_back(1 / per_ns);
  }
}

void measure_read(const Case& c, int fd, std::vector<double>& results) {
  const int feeder = open_feeder(c);
  const std::vector<std::uint8_t> frame = frame_of(c);
  Mover mover(c, fd);
  std::vector<std::uint8_t> other(1 << 17);
  while (read(fd, other.data(), other.size()) > 0) {  // what the kernel says by itself when an interface comes up
  }
  const unsigned queued = c.size > kMtuFrame ? kBatch : 8 * kBatch;  // the tap's queue holds 500
  for (unsigned n = 0; n < kSamples; ++n) {
    for (unsigned i = 0; i < queued; ++i) check(static_cast<int>(write(feeder, frame.data(), frame.size())), "feed");
    results.push_back(sample(mover, queued / kBatch));
  }
  close(feeder);
}

void measure(const Case& c, std::vector<double>& results) {
  const std::vector<int> fds = open_tap(c);
  if (c.way == Way::kWrite) {
    measure_write(c, fds, results);
  } else {
    measure_read(c, fds.front(), results);
  }
  for (int fd : fds) close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? atoi(argv[1]) : 5;
  if (rounds < 1 || rounds > 100) {
    fprintf(stderr, "usage: tap-cost [ROUNDS]   1 to 100 (default 5); in a network namespace of its own\n");
    return 2;
  }
  std::vector<std::vector<double>> results(std::size(kCases));
  for (int round = 0; round < rounds; ++round) {  // in turn, so that a change in the machine's speed meets all
    for (std::size_t i = 0; i < std::size(kCases); ++i) measure(kCases[i], results[i]);
  }
  printf("%-32s %8s %8s   ns a frame\n", "", "median", "least");
  for (std::size_t i = 0; i < std::size(kCases); ++i) {
    std::vector<double>& r = results[i];
    std::sort(r.begin(), r.end());
    printf("%-32s %8.0f %8.0f\n", kCases[i].name, r[r.size() / 2], r.front());
  }
}
