// The server of `sluice perf`: one test at a time, led through its states (apps/perf_messages.h).
#include <stdio.h>
#include <string.h>

#include <map>
#include <optional>
#include <string>

#include "apps/perf.h"
#include "apps/perf_control.h"
#include "apps/perf_measurement.h"
#include "stack/base/byte_order.h"

namespace sluice::apps::perf {

namespace {

constexpr std::size_t kMaxGuests = 64;
constexpr Duration kGuestTime = 10_s;    // to send a cookie
constexpr Duration kSetupTime = 30_s;    // without a step forward, before and after the streams run
constexpr Duration kSilentTime = 120_s;  // without a byte while they run
constexpr Duration kLook = 1_s;

// UDP with other sockets of this program on the same port: one a peer.
net::Socket bind_shared(const wire::Endpoint& local) {
  net::Socket socket(sl_socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0));
  const int on = 1;
  const sockaddr_in a = net::to_sockaddr(local);
  (void)sl_setsockopt(socket.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (sl_bind(socket.fd(), net::generic(a), sizeof a) < 0) return {};
  return socket;
}

void answer_greeting(int fd) {
  const Greeting answer = answer_to_greeting();
  (void)sl_send(fd, answer.data(), answer.size(), 0);
}

class Server {
 public:
  Server(LoopSession& session, const Common& common, const PerfOptions& options)
      : runtime_(session.runtime()),
        loop_(session.loop()),
        options_(options),
        format_(common.json ? Format::kJson : Format::kText),
        listener_(listen_stream(options.port)),
        datagrams_(bind_shared({wire::Ipv4Address::any(), options.port})) {
    if (!ready()) return;
    loop_.watch(listener_.fd(), POLLIN, [this](short) { accept(); });
    loop_.watch(datagrams_.fd(), POLLIN, [this](short) { take_greeting(); });
    announce();
  }
  [[nodiscard]] bool ready() const { return listener_ && datagrams_; }

 private:
  enum class Phase : std::uint8_t { kParameters, kStreams, kRunning, kResults, kShown };
  struct Test {
    std::unique_ptr<Control> control;
    std::string cookie;
    Parameters parameters;
    std::optional<Measurement> measurement;
    Phase phase = Phase::kParameters;
    std::uint64_t bytes = 0;  // at the last look
    Instant progress;         // when something last happened
    Instant latest_end = Instant::never();
  };

  void announce() const {
    if (format_ == Format::kJson) return;
    constexpr const char* kLine = "-----------------------------------------------------------";
    printf("%s\nServer listening on %u\n%s\n", kLine, options_.port, kLine);
    fflush(stdout);
  }

  // --- connections: each says who it is by a cookie
  void accept() {
    net::Socket socket(sl_accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK));
    if (!socket || guests_.size() >= kMaxGuests) return;
    const int fd = socket.fd();
    auto guest =
        std::make_unique<Control>(loop_, std::move(socket), [this, fd](const std::string&) { guests_.erase(fd); });
    const std::uint64_t number = ++guest_number_;
    guest->expect(kCookieSize, [this, fd](std::string_view cookie) { take_cookie(fd, std::string(cookie)); });
    guests_[fd] = {number, std::move(guest)};
    (void)loop_.after(kGuestTime, [this, fd, number] {
      const auto at = guests_.find(fd);
      if (at != guests_.end() && at->second.number == number) guests_.erase(at);
    });
  }

  void take_cookie(int fd, const std::string& cookie) {
    std::unique_ptr<Control> guest = std::move(guests_[fd].control);
    guests_.erase(fd);
    if (!test_) return begin(guest->take_socket(), cookie);
    const bool expected = test_->phase == Phase::kStreams && test_->parameters.protocol == Protocol::kTcp;
    if (expected && cookie == test_->cookie) return add(guest->take_socket());
    guest->send(State::kAccessDenied);
  }

  void take_greeting() {
    std::array<std::uint8_t, 64> bytes;
    sockaddr_in from{};
    socklen_t length = sizeof from;
    const ssize_t n = sl_recvfrom(datagrams_.fd(), bytes.data(), bytes.size(), 0, net::generic(from), &length);
    if (n < 0 || !is_greeting({bytes.data(), static_cast<std::size_t>(n)})) return;
    if (!test_ || test_->phase != Phase::kStreams || test_->parameters.protocol != Protocol::kUdp) return;
    if (net::to_endpoint(from).address != test_->control->peer().address) return;
    net::Socket socket = bind_shared({local_of(test_->control->fd()).address, options_.port});
    if (!socket || sl_connect(socket.fd(), net::generic(from), sizeof from) < 0) return;
    const int fd = socket.fd();
    answer_greeting(fd);
    loop_.watch(fd, POLLIN, [fd](short) {  // until the streams start: greeted again, our answer was lost
      std::array<std::uint8_t, 64> again;
      if (sl_recv(fd, again.data(), again.size(), 0) == kGreetingSize) answer_greeting(fd);
    });
    add(std::move(socket));
  }

  // --- a test
  void begin(net::Socket socket, const std::string& cookie) {
    test_ = std::make_unique<Test>();
    test_->cookie = cookie;
    test_->control =
        std::make_unique<Control>(loop_, std::move(socket), [this](const std::string& why) { client_left(why); });
    test_->control->send(State::kParameterExchange);
    test_->control->expect_message([this](std::string_view json) { take_parameters(json); });
    step(Phase::kParameters);
    look_later();
  }

  void step(Phase phase) {
    test_->phase = phase;
    test_->progress = runtime_.now();
  }

  void take_parameters(std::string_view json) {
    const auto parameters = parse_parameters(json);
    if (!parameters) return refuse(parameters.error());
    test_->parameters = *parameters;
    test_->measurement.emplace(runtime_, loop_, Side::kServer, format_, *parameters, options_.interval,
                               [this](const std::string& why) { stream_failed(why); });
    test_->measurement->report.peer(test_->control->peer(), test_->cookie);
    step(Phase::kStreams);
    test_->control->send(State::kCreateStreams);
    follow();
  }

  void refuse(const Refusal& refusal) {
    std::array<std::uint8_t, 8> numbers{};
    store_be32(numbers.data(), static_cast<std::uint32_t>(refusal.reason));
    test_->control->send(State::kServerError);
    test_->control->send(std::string(numbers.begin(), numbers.end()));
    give_up("parameters refused: " + refusal.what);
  }

  // With both directions, the streams of the upload come first.
  void add(net::Socket socket) {
    const Parameters& p = test_->parameters;
    Streams& streams = test_->measurement->streams;
    const bool upload =
        p.direction == Direction::kUpload || (p.direction == Direction::kBoth && streams.size() < p.parallel);
    streams.add(std::move(socket), upload ? Role::kReceiver : Role::kSender);
    step(Phase::kStreams);
    if (streams.size() == p.parallel * (p.direction == Direction::kBoth ? 2 : 1)) run_test();
  }

  void run_test() {
    step(Phase::kRunning);
    const Parameters& p = test_->parameters;
    if (p.bytes == 0 && p.blocks == 0)
      test_->latest_end = runtime_.now() + from_seconds(p.omit + p.seconds) + kSetupTime;
    test_->control->send(State::kTestStart);
    test_->control->send(State::kTestRunning);
    test_->measurement->start();
  }

  void follow() {
    test_->control->expect(1, [this](std::string_view byte) { enter(static_cast<State>(byte[0])); });
  }

  void enter(State state) {
    switch (state) {
      case State::kTestEnd:
        return test_->phase == Phase::kRunning ? exchange_results() : give_up("the client ends what has not begun");
      case State::kDone:
        return end_test();
      case State::kClientTerminate:
        return give_up("the client has ended the test");
      default:
        give_up("unknown state " + std::to_string(static_cast<int>(state)));
    }
  }

  void exchange_results() {
    step(Phase::kResults);
    test_->measurement->stop();
    test_->measurement->streams.close_senders();
    test_->control->send(State::kExchangeResults);
    test_->control->expect_message([this](std::string_view json) {
      const auto theirs = parse_results(json);
      if (!theirs) return give_up("the client's results make no sense");
      const Results ours = test_->measurement->streams.results();
      test_->control->send_message(to_json(ours));
      test_->control->send(State::kDisplayResults);
      test_->measurement->report.end(ours, theirs);
      step(Phase::kShown);
      follow();
    });
  }

  // --- ends
  void client_left(const std::string& why) { test_->phase == Phase::kShown ? end_test() : give_up(why); }
  void stream_failed(const std::string& why) {
    test_->control->send(State::kServerTerminate);
    give_up(why);
  }
  void give_up(const std::string& why) {
    if (over_) return;
    if (test_->measurement) {
      test_->measurement->stop();
      test_->measurement->report.error(why);
    } else {
      fprintf(stderr, "perf: %s\n", why.c_str());
    }
    end_test();
  }
  // The test may be on the call stack: it goes at the next opportunity.
  void end_test() {
    loop_.cancel(look_);
    if (over_) return;
    over_ = true;
    (void)loop_.after({}, [this] {
      test_.reset();
      over_ = false;
      options_.once ? loop_.stop() : announce();
    });
  }

  void look_later() {
    look_ = loop_.after(kLook, [this] { look(); });
  }
  // A client that has vanished must not keep others out.
  void look() {
    look_later();
    Test& test = *test_;
    const std::uint64_t bytes = test.measurement ? test.measurement->streams.bytes() : 0;
    if (std::exchange(test.bytes, bytes) != bytes) test.progress = runtime_.now();
    const Duration patience = test.phase == Phase::kRunning ? kSilentTime : kSetupTime;
    if (runtime_.now() - test.progress > patience || runtime_.now() > test.latest_end)
      give_up("the client has vanished");
  }

  struct Guest {
    std::uint64_t number = 0;
    std::unique_ptr<Control> control;
  };

  Runtime& runtime_;
  EventLoop& loop_;
  const PerfOptions& options_;
  Format format_;
  net::Socket listener_;
  net::Socket datagrams_;
  std::map<int, Guest> guests_;  // have not sent their cookie yet
  std::uint64_t guest_number_ = 0;
  std::unique_ptr<Test> test_;
  bool over_ = false;  // test_ goes
  EventLoop::TimerId look_ = 0;
};

}  // namespace

int serve(const Common& common, const PerfOptions& options) {
  const auto session = LoopSession::open(common);
  if (!session) return session.error();
  int code = kExitFailed;
  {
    Server server(**session, common, options);
    if (!server.ready()) {
      fprintf(stderr, "perf: port %u: %s\n", options.port, strerror(errno));
      return code;
    }
    code = (*session)->run();
  }
  (*session)->linger(1_s);
  return code;
}

}  // namespace sluice::apps::perf
