// sluice httpd: HTTP/1.1 (RFC 9110, 9112) on an event loop: GET and HEAD, keep-alive, pipelining. Requests are parsed
// by Boost.Beast; a body is sent as the send queue takes it. Idle and stuck connections end after a while.
#include <stdio.h>
#include <time.h>

#include <array>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "apps/commands.h"
#include "apps/site.h"

namespace sluice::apps {

namespace {

namespace http = boost::beast::http;

constexpr std::size_t kReadChunk = 16 << 10;
constexpr std::size_t kFileChunk = 64 << 10;
constexpr std::uint32_t kMaxRequestHeader = 16 << 10;
constexpr std::size_t kMaxConnections = 10'000;
constexpr Duration kPatience = 60_s;        // with a request that does not come, or a response that is not taken
constexpr Duration kClosingPatience = 5_s;  // until the peer closes too
constexpr Duration kSweepInterval = 1_s;

// RFC 9110 §5.6.7. Made once a second.
const std::string& date_field(Instant now) {
  static std::string text;
  static Instant made = Instant::past();
  if (now - made < 1_s && !text.empty()) return text;
  made = now;
  const time_t seconds = ::time(nullptr);
  tm parts{};
  gmtime_r(&seconds, &parts);
  char buffer[64];
  text.assign(buffer, strftime(buffer, sizeof buffer, "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &parts));
  return text;
}

class Server;

class Connection {
 public:
  Connection(Server& server, int fd);
  void on_ready();
  [[nodiscard]] int fd() const { return socket_.fd(); }
  [[nodiscard]] Instant deadline() const { return deadline_; }

 private:
  using Parser = http::request_parser<http::empty_body>;
  enum class Phase : std::uint8_t {
    kReading,  // a request
    kSending,  // the response
    kClosing,  // our side is closed; what still comes is thrown away, so that no reset overtakes the response
    kOver,
  };

  void expect_request();
  void read();
  bool parse();
  void respond(const http::request<http::empty_body>& request);
  void refuse(int status, const char* reason, const std::string& text);
  void start(Response response, const char* connection_field);
  void write();
  void discard();

  Server& server_;
  net::Socket socket_;
  Phase phase_ = Phase::kReading;
  Instant deadline_;
  bool keep_ = true;        // after this response
  bool peer_done_ = false;  // no more requests will come
  std::string input_;
  std::optional<Parser> parser_;
  std::string header_;
  std::size_t header_sent_ = 0;
  std::unique_ptr<Body> body_;  // null: none, as with HEAD
  std::uint64_t body_sent_ = 0;
};

class Server {
 public:
  Server(EventLoop& loop, Runtime& runtime, const HttpdOptions& options)
      : loop_(loop),
        runtime_(runtime),
        site_(runtime.counters(), options.root),
        listener_(listen_stream(options.port)) {
    if (!listening()) return;
    loop_.watch(listener_.fd(), POLLIN, [this](short) { accept_all(); });
    loop_.after(kSweepInterval, [this] { sweep(); });
  }
  [[nodiscard]] bool listening() const { return static_cast<bool>(listener_); }
  [[nodiscard]] EventLoop& loop() { return loop_; }
  [[nodiscard]] Instant now() const { return runtime_.now(); }
  [[nodiscard]] const Site& site() const { return site_; }
  [[nodiscard]] std::span<char> scratch() { return scratch_; }
  void drop(int fd) {
    loop_.unwatch(fd);
    connections_.erase(fd);
  }

 private:
  void accept_all() {
    for (;;) {
      const int fd = sl_accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK);
      if (fd < 0) return;
      if (connections_.size() >= kMaxConnections) {
        (void)sl_close(fd);
        continue;
      }
      auto connection = std::make_shared<Connection>(*this, fd);
      connections_[fd] = connection;
      loop_.watch(fd, POLLIN, [connection](short) { connection->on_ready(); });
    }
  }
  void sweep() {
    const Instant now = runtime_.now();
    for (auto at = connections_.begin(); at != connections_.end();) {
      const auto connection = (at++)->second;
      if (connection->deadline() < now) drop(connection->fd());
    }
    loop_.after(kSweepInterval, [this] { sweep(); });
  }

  EventLoop& loop_;
  Runtime& runtime_;
  Site site_;
  net::Socket listener_;
  std::map<int, std::shared_ptr<Connection>> connections_;
  std::array<char, kFileChunk> scratch_;
};

Connection::Connection(Server& server, int fd) : server_(server), socket_(fd) {
  expect_request();
}

void Connection::expect_request() {
  phase_ = Phase::kReading;
  deadline_ = server_.now() + kPatience;
  parser_.emplace();
  parser_->header_limit(kMaxRequestHeader);
}

void Connection::on_ready() {
  if (phase_ == Phase::kClosing) {
    discard();
  } else if (phase_ == Phase::kSending) {
    write();
  } else {
    read();
  }
  while (phase_ == Phase::kReading && parse()) write();  // as many as have come: pipelining
  if (phase_ == Phase::kReading && peer_done_) phase_ = Phase::kOver;
  if (phase_ == Phase::kOver) return server_.drop(fd());
  server_.loop().set_events(fd(), phase_ == Phase::kSending ? POLLOUT : POLLIN);
}

void Connection::read() {
  std::array<char, kReadChunk> chunk;
  const ssize_t n = sl_recv(fd(), chunk.data(), chunk.size(), 0);
  if (n < 0 && errno != EAGAIN) phase_ = Phase::kOver;
  if (n == 0) peer_done_ = true;
  if (n > 0) input_.append(chunk.data(), static_cast<std::size_t>(n));
}

// True when there is a response to send.
bool Connection::parse() {
  if (input_.empty()) return false;
  boost::system::error_code error;
  const std::size_t used = parser_->put(boost::asio::const_buffer(input_.data(), input_.size()), error);
  input_.erase(0, used);
  if (error == http::error::need_more) return false;
  if (error == http::error::header_limit) {
    refuse(431, "Request Header Fields Too Large", "the header is too large\n");
  } else if (error && error != http::error::unexpected_body) {
    refuse(400, "Bad Request", "bad request: " + error.message() + "\n");
  } else if (parser_->is_header_done()) {
    respond(parser_->get());
  } else {
    return false;
  }
  return true;
}

void Connection::respond(const http::request<http::empty_body>& request) {
  const bool head = request.method() == http::verb::head;
  if (!head && request.method() != http::verb::get) return refuse(405, "Method Not Allowed", "only GET and HEAD\n");
  // RFC 9112 §3.2: a request of HTTP/1.1 without Host is not answered otherwise.
  if (request.version() >= 11 && request.count(http::field::host) != 1)
    return refuse(400, "Bad Request", "one Host, please\n");
  if (!parser_->is_done()) return refuse(400, "Bad Request", "a body, with a method that has none\n");
  keep_ = request.keep_alive();
  const std::string_view target(request.target().data(), request.target().size());
  start(server_.site().answer(target), !keep_                   ? "Connection: close\r\n"
                                       : request.version() < 11 ? "Connection: keep-alive\r\n"
                                                                : "");
  if (head) body_.reset();
}

void Connection::refuse(int status, const char* reason, const std::string& text) {
  keep_ = false;
  start(text_response(status, reason, text),
        status == 405 ? "Allow: GET, HEAD\r\nConnection: close\r\n" : "Connection: close\r\n");
}

void Connection::start(Response response, const char* connection_field) {
  header_ = "HTTP/1.1 " + std::to_string(response.status) + " " + response.reason + "\r\nServer: sluice\r\n" +
            date_field(server_.now()) + "Content-Type: " + response.type +
            "\r\nContent-Length: " + std::to_string(response.body->size()) + "\r\n" +
            (response.location.empty() ? "" : "Location: " + response.location + "\r\n") + connection_field + "\r\n";
  header_sent_ = 0;
  body_ = std::move(response.body);
  body_sent_ = 0;
  phase_ = Phase::kSending;
  deadline_ = server_.now() + kPatience;
}

// Until all is in the send queue, or that is full.
void Connection::write() {
  const std::uint64_t size = body_ != nullptr ? body_->size() : 0;
  while (header_sent_ < header_.size() || body_sent_ < size) {
    const std::string_view head = std::string_view(header_).substr(header_sent_);
    const std::string_view part = body_sent_ < size ? body_->at(body_sent_, server_.scratch()) : std::string_view();
    if (part.empty() && body_sent_ < size)
      return void(phase_ = Phase::kOver);  // the file shrank: only a break-off tells
    iovec pieces[2] = {{const_cast<char*>(head.data()), head.size()}, {const_cast<char*>(part.data()), part.size()}};
    const ssize_t n = sl_writev(fd(), pieces, 2);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) return void(phase_ = Phase::kOver);
    const std::size_t of_head = std::min(head.size(), static_cast<std::size_t>(n));
    header_sent_ += of_head;
    body_sent_ += static_cast<std::size_t>(n) - of_head;
    deadline_ = server_.now() + kPatience;
  }
  body_.reset();
  if (keep_) return expect_request();
  (void)sl_shutdown(fd(), SHUT_WR);
  phase_ = peer_done_ ? Phase::kOver : Phase::kClosing;
  deadline_ = server_.now() + kClosingPatience;
}

void Connection::discard() {
  std::array<char, kReadChunk> chunk;
  const ssize_t n = sl_recv(fd(), chunk.data(), chunk.size(), 0);
  if (n == 0 || (n < 0 && errno != EAGAIN)) phase_ = Phase::kOver;
}

}  // namespace

int run_httpd(const Common& common, const HttpdOptions& options) {
  if (!options.root.empty() && !std::filesystem::is_directory(options.root)) {
    fprintf(stderr, "httpd: '%s' is not a directory\n", options.root.c_str());
    return kExitUsage;
  }
  const auto session = LoopSession::open(common);
  if (!session) return session.error();
  Server server((*session)->loop(), (*session)->runtime(), options);
  if (!server.listening()) {
    fprintf(stderr, "httpd: port %u: %s\n", options.port, describe(static_cast<Errno>(errno)).c_str());
    return kExitFailed;
  }
  const char* what = options.root.empty() ? "the built-in pages" : options.root.c_str();
  fprintf(stderr, "httpd: serving %s on port %u\n", what, options.port);
  return (*session)->run();
}

}  // namespace sluice::apps
