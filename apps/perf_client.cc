// The client of `sluice perf`: connects, follows the states that the server names (apps/perf_messages.h), and ends the
// test after its time or its bytes.
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/random.h>

#include <string>

#include "apps/perf.h"
#include "apps/perf_control.h"
#include "apps/perf_measurement.h"

namespace sluice::apps::perf {

namespace {

constexpr Duration kPatience = 30_s;  // with a server that says nothing, and is not expected to send
constexpr Duration kGreetAgain = 500_ms;
constexpr std::uint64_t kUdpRate = 1'000'000;  // bit/s, when none is chosen
constexpr std::uint32_t kTcpBlock = 128 << 10;

Parameters parameters_of(const PerfOptions& o) {
  Parameters p;
  p.protocol = o.udp ? Protocol::kUdp : Protocol::kTcp;
  p.direction = o.both ? Direction::kBoth : o.reverse ? Direction::kDownload : Direction::kUpload;
  p.seconds = o.seconds;
  p.bytes = o.bytes;
  p.parallel = o.parallel;
  p.length = o.length != 0 ? o.length : kTcpBlock;
  p.rate = o.rate >= 0 ? static_cast<std::uint64_t>(o.rate) : o.udp ? kUdpRate : 0;
  return p;
}

std::string new_cookie() {
  std::uint64_t random[2] = {};
  (void)!getrandom(random, sizeof random, 0);
  return make_cookie(random[0], random[1]);
}

class Client {
 public:
  Client(LoopSession& session, const Common& common, const PerfOptions& options, const wire::Address& host)
      : session_(session),
        loop_(session.loop()),
        server_{host, options.port},
        options_(options),
        format_(common.json ? Format::kJson : Format::kText),
        parameters_(parameters_of(options)),
        cookie_(new_cookie()) {}

  int run() {
    connect([this](net::Socket socket) { greet(std::move(socket)); });
    (void)session_.run();
    if (!over_ && measurement_) interrupt();
    if (!control_) return exit_code_;
    connecting_ = net::Socket();
    measurement_.reset();
    control_.reset();
    session_.linger(1_s);
    return exit_code_;
  }

 private:
  using OnConnected = std::function<void(net::Socket)>;

  // --- ends
  void finish(int code) {
    over_ = true;
    exit_code_ = code;
    loop_.cancel(patience_);
    loop_.stop();
  }
  void give_up(const std::string& why) {
    if (over_) return;
    const std::string what = options_.host + " port " + std::to_string(options_.port) + ": " + why;
    if (measurement_) {
      measurement_->stop();
      measurement_->report.error(what);
    } else {
      Report(Side::kClient, format_, parameters_).error(what);
    }
    finish(kExitFailed);
  }
  // By a signal: what has been measured so far is shown.
  void interrupt() {
    measurement_->stop();
    measurement_->report.end(measurement_->streams.results(), {});
    control_->send(State::kClientTerminate);
  }
  void wait_patiently() {
    loop_.cancel(patience_);
    patience_ = loop_.after(kPatience, [this] { give_up("the server does not answer"); });
  }

  // --- connections
  void connect(OnConnected on_connected) {
    wait_patiently();
    net::Socket socket(sl_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    const sockaddr_in to = net::to_sockaddr(server_);
    if (sl_connect(socket.fd(), net::generic(to), sizeof to) < 0 && errno != EINPROGRESS) {
      return give_up(describe(static_cast<Errno>(errno)));
    }
    connecting_ = std::move(socket);
    loop_.watch(connecting_.fd(), POLLOUT, [this, then = std::move(on_connected)](short) {
      int error = 0;
      socklen_t length = sizeof error;
      (void)sl_getsockopt(connecting_.fd(), SOL_SOCKET, SO_ERROR, &error, &length);
      loop_.unwatch(connecting_.fd());
      if (error != 0) return give_up(describe(static_cast<Errno>(error)));
      then(std::move(connecting_));
    });
  }

  void greet(net::Socket socket) {
    if (options_.udp && options_.length == 0) {  // what a packet carries without fragmentation
      int segment = 0;
      socklen_t length = sizeof segment;
      (void)sl_getsockopt(socket.fd(), IPPROTO_TCP, TCP_MAXSEG, &segment, &length);
      parameters_.length = std::max<std::uint32_t>(static_cast<std::uint32_t>(segment), 88);
    }
    measurement_.emplace(session_.runtime(), loop_, Side::kClient, format_, parameters_, options_.interval,
                         [this](const std::string& why) { give_up(why); });
    measurement_->report.peer(server_, cookie_);
    control_.emplace(loop_, std::move(socket), [this](const std::string& why) { give_up(why); });
    control_->send(cookie_);
    follow();
  }

  [[nodiscard]] std::size_t streams_wanted() const {
    return parameters_.parallel * (parameters_.direction == Direction::kBoth ? 2 : 1);
  }
  [[nodiscard]] bool all_streams() const { return measurement_->streams.size() == streams_wanted(); }
  // With both directions, the streams of the upload come first.
  [[nodiscard]] Role next_role() const {
    if (parameters_.direction == Direction::kDownload) return Role::kReceiver;
    return measurement_->streams.size() < parameters_.parallel ? Role::kSender : Role::kReceiver;
  }

  void open_streams() {
    if (all_streams()) return run_if_ready();
    if (options_.udp) return open_datagram_stream();
    connect([this](net::Socket socket) {
      (void)sl_send(socket.fd(), cookie_.data(), cookie_.size(), MSG_NOSIGNAL);
      measurement_->streams.add(std::move(socket), next_role());
      open_streams();
    });
  }

  void open_datagram_stream() {
    wait_patiently();
    net::Socket socket(sl_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    const sockaddr_in to = net::to_sockaddr(server_);
    if (sl_connect(socket.fd(), net::generic(to), sizeof to) < 0) return give_up(describe(static_cast<Errno>(errno)));
    connecting_ = std::move(socket);
    loop_.watch(connecting_.fd(), POLLIN, [this](short) { take_answer(); });
    send_greeting();
  }
  void send_greeting() {
    const Greeting bytes = greeting();
    (void)sl_send(connecting_.fd(), bytes.data(), bytes.size(), 0);
    greeting_ = loop_.after(kGreetAgain, [this] { send_greeting(); });
  }
  void take_answer() {
    std::array<std::uint8_t, 64> bytes;
    const ssize_t n = sl_recv(connecting_.fd(), bytes.data(), bytes.size(), 0);
    if (n < 0 && errno != EAGAIN) {
      loop_.cancel(greeting_);
      return give_up(describe(static_cast<Errno>(errno)));
    }
    if (n < 0 || !is_answer_to_greeting({bytes.data(), static_cast<std::size_t>(n)})) return;
    loop_.cancel(greeting_);
    loop_.unwatch(connecting_.fd());
    measurement_->streams.add(std::move(connecting_), next_role());
    open_streams();
  }

  // --- states
  void follow() {
    wait_patiently();
    control_->expect(1, [this](std::string_view byte) { enter(static_cast<State>(byte[0])); });
  }

  void enter(State state) {
    switch (state) {
      case State::kParameterExchange:
        control_->send_message(to_json(parameters_));
        return follow();
      case State::kCreateStreams:
        if (!connecting_ && !may_run_) open_streams();
        return follow();
      case State::kTestStart:
        return follow();
      case State::kTestRunning:
        follow();
        return run_test();
      case State::kExchangeResults:
        return exchange_results();
      case State::kDisplayResults:
        return show_results();
      case State::kAccessDenied:
        return give_up("the server is busy with another test; try again later");
      case State::kServerTerminate:
        return give_up("the server has ended the test");
      case State::kServerError:
        return control_->expect(8, [this](std::string_view numbers) {
          const auto reason = static_cast<unsigned char>(numbers[3]);
          give_up("the server refuses the test: error " + std::to_string(reason) + " of iperf3");
        });
      default:
        give_up("unknown state " + std::to_string(static_cast<int>(state)) + "; is this an iperf3 server?");
    }
  }

  // The server's word to begin may overtake its answer to a greeting, which is a datagram.
  void run_test() {
    if (may_run_ || !(options_.udp || all_streams())) return give_up("the test starts out of turn");
    may_run_ = true;
    run_if_ready();
  }
  void run_if_ready() {
    if (!may_run_ || !all_streams()) return;
    loop_.cancel(patience_);
    if (parameters_.bytes != 0) {
      measurement_->streams.limit(parameters_.bytes, [this] { end_test(); });
    } else {
      (void)loop_.after(from_seconds(parameters_.seconds), [this] { end_test(); });
    }
    measurement_->start();
  }
  void end_test() {
    if (over_) return;
    measurement_->stop();
    control_->send(State::kTestEnd);
    ended_ = true;
    wait_patiently();
  }

  void exchange_results() {
    if (!ended_) return give_up("the server ends the test, which is the client's part");
    control_->send_message(to_json(measurement_->streams.results()));
    control_->expect_message([this](std::string_view json) {
      theirs_ = parse_results(json);
      theirs_ ? follow() : give_up("the server's results make no sense");
    });
  }
  void show_results() {
    if (!theirs_) return give_up("the server has sent no results");
    measurement_->report.end(measurement_->streams.results(), theirs_);
    if (format_ == Format::kText) printf("\nperf: done.\n");
    control_->send(State::kDone);
    finish(kExitOk);
  }

  LoopSession& session_;
  EventLoop& loop_;
  wire::Endpoint server_;
  const PerfOptions& options_;
  Format format_;
  Parameters parameters_;
  std::string cookie_;
  std::optional<Measurement> measurement_;
  std::optional<Control> control_;
  net::Socket connecting_;  // the next stream
  std::optional<Results> theirs_;
  bool may_run_ = false, ended_ = false, over_ = false;
  int exit_code_ = kExitFailed;
  EventLoop::TimerId patience_ = 0;
  EventLoop::TimerId greeting_ = 0;
};

}  // namespace

int measure(const Common& common, const PerfOptions& options, const wire::Address& host) {
  const auto session = LoopSession::open(common);
  if (!session) return session.error();
  return Client(**session, common, options, host).run();
}

}  // namespace sluice::apps::perf

namespace sluice::apps {

int run_perf(const Common& common, const PerfOptions& options) {
  if (options.host.empty()) return perf::serve(common, options);
  if (options.udp && options.length > perf::kMaxDatagram) {
    fprintf(stderr, "perf: -l %u: a datagram has at most %u bytes\n", options.length, perf::kMaxDatagram);
    return kExitUsage;
  }
  wire::Address host;
  if (!parse_host(options.host, host)) return kExitUsage;
  return perf::measure(common, options, host);
}

}  // namespace sluice::apps
