#include "apps/perf_streams.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include <algorithm>

#include "apps/app.h"
#include "apps/perf_control.h"

namespace sluice::apps::perf {

namespace {

constexpr int kCallsAtOnce = 16;   // of one stream, before another has its turn
constexpr int kDrainCalls = 4096;  // to take in what has arrived
constexpr std::size_t kRead = 256 << 10;
constexpr int kReceiveBuffer = 4 << 20;  // bytes of datagrams that may wait
constexpr Duration kPacingStep = 1_ms;

Usage processor_seconds() {
  rusage used{};
  (void)getrusage(RUSAGE_SELF, &used);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return {seconds(used.ru_utime) + seconds(used.ru_stime), seconds(used.ru_utime), seconds(used.ru_stime)};
}

CounterWidth width_of(const Parameters& p) {
  return p.wide_counters ? CounterWidth::k64 : CounterWidth::k32;
}

}  // namespace

Tally operator-(const Tally& a, const Tally& b) {
  // A datagram out of order takes back a loss, which may have been counted before b.
  return {a.bytes - b.bytes, a.retransmits - b.retransmits, a.packets - b.packets, a.lost - std::min(a.lost, b.lost),
          a.out_of_order - b.out_of_order};
}

Streams::Streams(Runtime& runtime, EventLoop& loop, const Parameters& parameters,
                 std::function<void(const std::string&)> on_failure)
    : runtime_(runtime),
      loop_(loop),
      parameters_(parameters),
      on_failure_(std::move(on_failure)),
      outgoing_(parameters.length, 'x'),
      incoming_(kRead) {}

Streams::~Streams() {
  loop_.cancel(timer_);
  loop_.cancel(omit_timer_);
  for (const auto& stream : streams_) loop_.unwatch(stream->socket.fd());
}

void Streams::add(net::Socket socket, Role role) {
  auto stream = std::make_unique<Stream>();
  stream->local = local_of(socket.fd());
  stream->peer = peer_of(socket.fd());
  stream->socket = std::move(socket);
  stream->role = role;
  stream->id = stream_id(streams_.size());
  const int fd = stream->socket.fd();
  const int on = 1;
  if (parameters_.protocol == Protocol::kUdp) {
    (void)sl_setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  } else if (parameters_.no_delay) {
    (void)sl_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  streams_.push_back(std::move(stream));
}

void Streams::limit(std::uint64_t bytes, std::function<void()> on_enough) {
  limit_ = bytes;
  on_enough_ = std::move(on_enough);
}

// --- begin and end
// ---------------------------------------------------------------------------------------------------------

void Streams::start() {
  running_ = true;
  started_ = runtime_.now();
  begin_counting();
  if (parameters_.omit > 0) {
    omit_timer_ =
        loop_.after(Duration::nanos(static_cast<std::int64_t>(parameters_.omit * 1e9)), [this] { begin_counting(); });
  }
  for (const auto& stream : streams_) watch(*stream);
  if (parameters_.rate != 0) pace();
}

void Streams::begin_counting() {
  look_at_connections();
  counting_since_ = sampled_ = runtime_.now();
  cpu_at_start_ = processor_seconds();
  for (const auto& stream : streams_) stream->omitted = stream->sampled = total(*stream);
}

void Streams::watch(Stream& stream) {
  const int fd = stream.socket.fd();
  if (stream.role == Role::kReceiver) {
    loop_.watch(fd, POLLIN, [this, &stream](short) { receive(stream); });
  } else if (parameters_.rate == 0) {
    loop_.watch(fd, POLLOUT, [this, &stream](short) { send(stream); });
  }
}

void Streams::stop() {
  if (!running_) return;
  for (const auto& stream : streams_) {
    if (stream->role == Role::kSender) loop_.unwatch(stream->socket.fd());
    for (int i = 0; stream->role == Role::kReceiver && i < kDrainCalls && receive_some(*stream);) ++i;
  }
  running_ = false;
  loop_.cancel(timer_);
  loop_.cancel(omit_timer_);
  stopped_ = runtime_.now();
  look_at_connections();
}

void Streams::fail(const std::string& why) {
  if (running_ && on_failure_) std::exchange(on_failure_, nullptr)(why);
}

// --- sending
// ---------------------------------------------------------------------------------------------------------------

bool Streams::may_send(const Stream& stream) const {
  if (!running_ || sent_ >= limit_) return false;
  if (parameters_.rate == 0) return true;
  const double due = (runtime_.now() - started_).to_seconds() * static_cast<double>(parameters_.rate) / 8;
  return static_cast<double>(stream.bytes) < due;
}

void Streams::send(Stream& stream) {
  const bool udp = parameters_.protocol == Protocol::kUdp;
  for (int i = 0; i < kCallsAtOnce && may_send(stream); ++i) {
    if (!(udp ? send_datagram(stream) : send_block(stream))) break;
  }
  if (running_ && sent_ >= limit_) await_delivery();
}

// What is still queued goes out before the end of the stream: iperf3 as a receiver reads until it sees that.
void Streams::close_senders() {
  for (const auto& stream : streams_) {
    if (stream->role == Role::kSender) stream->socket = {};
  }
}

// False when no more can be sent now.
bool Streams::send_block(Stream& stream) {
  const std::size_t size = std::min<std::uint64_t>(outgoing_.size(), limit_ - sent_);
  const ssize_t n = sl_send(stream.socket.fd(), outgoing_.data(), size, MSG_NOSIGNAL);
  if (n < 0) {
    if (errno == EAGAIN) return false;
    loop_.unwatch(stream.socket.fd());
    return fail(apps::describe(static_cast<Errno>(errno))), false;
  }
  stream.bytes += static_cast<std::uint64_t>(n);
  sent_ += static_cast<std::uint64_t>(n);
  return static_cast<std::size_t>(n) == size;
}

bool Streams::send_datagram(Stream& stream) {
  const std::int64_t us = runtime_.now().to_nanos() / 1000;
  const DatagramHeader header{static_cast<std::uint32_t>(us / 1'000'000), static_cast<std::uint32_t>(us % 1'000'000),
                              stream.packets + 1};
  store(header, width_of(parameters_), outgoing_.data());
  const ssize_t n = sl_send(stream.socket.fd(), outgoing_.data(), outgoing_.size(), 0);
  if (n < 0) {
    if (errno == EAGAIN || errno == ENOBUFS) return false;
    loop_.unwatch(stream.socket.fd());
    return fail(apps::describe(static_cast<Errno>(errno))), false;
  }
  ++stream.packets;
  stream.bytes += outgoing_.size();
  sent_ += outgoing_.size();
  return true;
}

// Sends what is due, and comes again.
void Streams::pace() {
  timer_ = loop_.after(kPacingStep, [this] { pace(); });
  for (const auto& stream : streams_) {
    if (stream->role == Role::kSender && running_) send(*stream);
  }
}

void Streams::await_delivery() {
  for (const auto& stream : streams_) {
    if (stream->role == Role::kSender) loop_.unwatch(stream->socket.fd());
  }
  loop_.cancel(timer_);
  look_at_connections();
  if (!all_delivered()) {
    timer_ = loop_.after(kPacingStep, [this] { await_delivery(); });
  } else if (on_enough_) {
    std::exchange(on_enough_, nullptr)();
  }
}

bool Streams::all_delivered() const {
  return std::all_of(streams_.begin(), streams_.end(), [](const auto& s) { return s->info.send_queued == 0; });
}

// --- receiving
// -------------------------------------------------------------------------------------------------------------

void Streams::receive(Stream& stream) {
  for (int i = 0; i < kCallsAtOnce && receive_some(stream);) ++i;
  if (running_ && received_ >= limit_ && on_enough_) std::exchange(on_enough_, nullptr)();
}

// False when there is no more now.
bool Streams::receive_some(Stream& stream) {
  const ssize_t n = sl_recv(stream.socket.fd(), incoming_.data(), incoming_.size(), MSG_DONTWAIT);
  const bool udp = parameters_.protocol == Protocol::kUdp;
  if (n < 0 && errno == EAGAIN) return false;
  if (n < 0 || (n == 0 && !udp)) {
    const std::string why = n == 0 ? "the peer has closed a stream" : apps::describe(static_cast<Errno>(errno));
    loop_.unwatch(stream.socket.fd());
    return fail(why), false;
  }
  const auto size = static_cast<std::size_t>(n);
  const Bytes bytes(incoming_.data(), size);
  if (udp && is_greeting(bytes)) {  // again: our answer was lost
    const Greeting answer = answer_to_greeting();
    (void)sl_send(stream.socket.fd(), answer.data(), answer.size(), 0);
    return true;
  }
  if (!running_) return true;
  if (udp) {
    const auto header = parse_datagram(bytes, width_of(parameters_));
    if (!header) return true;
    stream.datagrams.take(*header, (runtime_.now() - Instant()).to_seconds());
  }
  stream.bytes += size;
  received_ += size;
  return true;
}

// --- counting
// --------------------------------------------------------------------------------------------------------------

void Streams::look_at_connections() {
  if (parameters_.protocol == Protocol::kUdp) return;
  runtime_.with_stack([this](Stack& stack) {
    stack.tcp().visit_connections(
        [](void* arg, const tcp::Endpoint& local, const tcp::Endpoint& peer, const tcp::Info& info) {
          for (const auto& stream : static_cast<Streams*>(arg)->streams_) {
            if (stream->local == local && stream->peer == peer) stream->info = info;
          }
        },
        this);
  });
}

Tally Streams::total(const Stream& stream) const {
  const bool udp = parameters_.protocol == Protocol::kUdp;
  Tally t;
  t.bytes = stream.bytes;
  if (!udp) {
    t.retransmits = stream.info.retransmits;
  } else if (stream.role == Role::kSender) {
    t.packets = stream.packets;
  } else {
    t.packets = stream.datagrams.highest();
    t.lost = stream.datagrams.lost();
    t.out_of_order = stream.datagrams.out_of_order();
  }
  return t;
}

double Streams::since_start() const {
  return ((running_ ? runtime_.now() : stopped_) - counting_since_).to_seconds();
}

Sample Streams::describe(const Stream& stream) const {
  Sample s;
  s.id = stream.id;
  s.role = stream.role;
  s.end = since_start();
  s.congestion_window = stream.info.cwnd;
  s.round_trip = stream.info.srtt;
  s.jitter = stream.datagrams.jitter();
  return s;
}

std::vector<Sample> Streams::sample() {
  look_at_connections();
  std::vector<Sample> samples;
  for (const auto& stream : streams_) {
    samples.push_back(describe(*stream));
    samples.back().start = (sampled_ - counting_since_).to_seconds();
    samples.back().tally = total(*stream) - std::exchange(stream->sampled, total(*stream));
  }
  sampled_ = running_ ? runtime_.now() : stopped_;
  return samples;
}

std::vector<Sample> Streams::totals() {
  std::vector<Sample> samples;
  for (const auto& stream : streams_) {
    samples.push_back(describe(*stream));
    samples.back().tally = total(*stream) - stream->omitted;
  }
  return samples;
}

Results Streams::results() {
  Results r;
  const Usage cpu = processor_seconds();
  const double percent = 100 / std::max(since_start(), 1e-9);
  r.cpu = {(cpu.total - cpu_at_start_.total) * percent, (cpu.user - cpu_at_start_.user) * percent,
           (cpu.system - cpu_at_start_.system) * percent};
  for (const auto& stream : streams_) {
    const Tally t = total(*stream) - stream->omitted;
    StreamResult s{stream->id, t.bytes, {}, stream->datagrams.jitter(), t.packets, t.lost, 0, since_start()};
    if (parameters_.protocol == Protocol::kTcp) {
      r.congestion = stream->info.congestion;
      if (stream->role == Role::kSender) s.retransmits = t.retransmits;
    }
    r.streams.push_back(s);
  }
  return r;
}

std::vector<Streams::Ends> Streams::ends() const {
  std::vector<Ends> all;
  for (const auto& s : streams_) all.push_back({s->id, s->role, s->local, s->peer});
  return all;
}

}  // namespace sluice::apps::perf
