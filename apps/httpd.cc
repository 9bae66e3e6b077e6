// sluice httpd: HTTP/1.1 (RFC 9112) on an event loop: GET and HEAD, keep-alive, pipelining. Requests are parsed by
// Boost.Beast; files are mapped and sent as the send queue takes them.
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "apps/commands.h"

namespace sluice::apps {

namespace {

namespace http = boost::beast::http;
namespace fs = std::filesystem;

constexpr std::size_t kReadChunk = 16 << 10;
constexpr std::size_t kMaxRequest = 64 << 10;   // header bytes of a request
constexpr std::uint64_t kMaxGenerated = std::uint64_t{1} << 40;
constexpr std::size_t kPatternSize = 64 << 10;

// The bytes of a response body: a string, a mapped file, or a repeated pattern.
class Body {
 public:
  explicit Body(std::string text) : text_(std::move(text)), size_(text_.size()) {}
  static Body generated(std::uint64_t size) {
    Body b((std::string()));
    b.text_.resize(kPatternSize);
    for (std::size_t i = 0; i < kPatternSize; ++i) b.text_[i] = static_cast<char>('a' + i % 26);
    b.size_ = size;
    return b;
  }
  static std::unique_ptr<Body> of_file(const fs::path& path) {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    struct stat s = {};
    if (fd < 0) return nullptr;
    std::unique_ptr<Body> body;
    if (::fstat(fd, &s) == 0 && S_ISREG(s.st_mode)) {
      const auto size = static_cast<std::size_t>(s.st_size);
      void* map = size > 0 ? ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0) : nullptr;
      if (map != MAP_FAILED) {
        body = std::make_unique<Body>(std::string());
        body->map_ = static_cast<const char*>(map);
        body->size_ = size;
      }
    }
    ::close(fd);
    return body;
  }
  ~Body() {
    if (map_ != nullptr) ::munmap(const_cast<char*>(map_), size_);
  }
  Body(Body&& o) noexcept : text_(std::move(o.text_)), map_(std::exchange(o.map_, nullptr)), size_(o.size_) {}
  Body& operator=(Body&&) = delete;

  [[nodiscard]] std::uint64_t size() const { return size_; }
  // A part from `offset` on, as large as lies together.
  [[nodiscard]] std::string_view at(std::uint64_t offset) const {
    if (map_ != nullptr) return {map_ + offset, size_ - offset};
    const std::uint64_t start = text_.empty() ? 0 : offset % text_.size();
    return std::string_view(text_).substr(start, size_ - offset);
  }

 private:
  std::string text_;
  const char* map_ = nullptr;
  std::uint64_t size_;
};

const char* content_type(const fs::path& path) {
  static const std::map<std::string, const char*> kTypes = {
      {".html", "text/html"}, {".txt", "text/plain"}, {".css", "text/css"},   {".js", "text/javascript"},
      {".json", "application/json"}, {".png", "image/png"}, {".svg", "image/svg+xml"}, {".md", "text/plain"}};
  const auto at = kTypes.find(path.extension().string());
  return at != kTypes.end() ? at->second : "application/octet-stream";
}

struct Response {
  int status = 200;
  const char* reason = "OK";
  const char* type = "text/plain";
  std::unique_ptr<Body> body;
};

Response text_response(int status, const char* reason, std::string text) {
  return {status, reason, "text/plain", std::make_unique<Body>(std::move(text))};
}

// What a path stands for.
class Site {
 public:
  Site(Runtime& runtime, const std::string& root) : runtime_(runtime) {
    if (!root.empty()) root_ = fs::canonical(root);
  }

  Response answer(std::string path) const {
    path = path.substr(0, path.find('?'));
    if (path == "/stats") return stats();
    if (path.rfind("/bytes/", 0) == 0) return generated(path.substr(7));
    if (!root_.empty()) return file(path);
    if (path == "/") return {200, "OK", "text/html", std::make_unique<Body>(std::string(kWelcome))};
    return text_response(404, "Not Found", "not found\n");
  }

 private:
  static constexpr const char* kWelcome =
      "<!doctype html><title>sluice</title><h1>sluice</h1><p>This page came over a TCP/IP stack in user space.</p>"
      "<p><a href=/stats>/stats</a> counters &middot; <a href=/bytes/1000000>/bytes/N</a> N bytes</p>\n";

  Response stats() const {
    std::string text;
    const Counters& c = runtime_.counters();
    for (std::size_t i = 0; i < kCounterCount; ++i) {
      const auto counter = static_cast<Counter>(i);
      text += std::string(name_of(counter)) + " " + std::to_string(c.get(counter)) + "\n";
    }
    for (std::size_t i = 0; i < kDropCount; ++i) {
      const auto drop = static_cast<Drop>(i);
      if (c.get(drop) != 0) text += std::string("dropped ") + name_of(drop) + " " + std::to_string(c.get(drop)) + "\n";
    }
    return text_response(200, "OK", std::move(text));
  }
  static Response generated(const std::string& number) {
    char* end = nullptr;
    const unsigned long long size = strtoull(number.c_str(), &end, 10);
    if (number.empty() || *end != '\0' || size > kMaxGenerated) return text_response(400, "Bad Request", "no such size\n");
    return {200, "OK", "application/octet-stream", std::make_unique<Body>(Body::generated(size))};
  }
  // Never outside the root: the canonical path must begin with it.
  Response file(const std::string& path) const {
    std::error_code error;
    fs::path wanted = fs::weakly_canonical(root_ / fs::path(path).relative_path(), error);
    const auto [root_end, ignored] = std::mismatch(root_.begin(), root_.end(), wanted.begin(), wanted.end());
    if (error || root_end != root_.end()) return text_response(404, "Not Found", "not found\n");
    if (fs::is_directory(wanted, error)) wanted /= "index.html";
    auto body = Body::of_file(wanted);
    if (body == nullptr) return text_response(404, "Not Found", "not found\n");
    return {200, "OK", content_type(wanted), std::move(body)};
  }

  Runtime& runtime_;
  fs::path root_;
};

class Server;

class Connection {
 public:
  Connection(Server& server, int fd) : server_(server), socket_(fd) { new_parser(); }
  void on_ready();
  [[nodiscard]] int fd() const { return socket_.fd(); }

 private:
  void new_parser() {
    parser_ = std::make_unique<http::request_parser<http::empty_body>>();
    parser_->header_limit(kMaxRequest);
  }
  bool read_more();      // false when the connection is over
  void parse();          // makes a response of a complete request
  void start(Response response, bool head, bool keep);
  bool write_more();     // false when the connection is over

  Server& server_;
  net::Socket socket_;
  std::string input_;
  std::unique_ptr<http::request_parser<http::empty_body>> parser_;
  bool sending_ = false;
  bool keep_ = true;
  bool peer_done_ = false;
  std::string header_;
  std::size_t header_sent_ = 0;
  std::unique_ptr<Body> body_;
  std::uint64_t body_sent_ = 0;
};

class Server {
 public:
  Server(EventLoop& loop, Runtime& runtime, const HttpdOptions& options) : loop_(loop), site_(runtime, options.root) {
    listener_ = net::Socket(sl_socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
    const int on = 1;
    (void)sl_setsockopt(listener_.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const sockaddr_in a = net::to_sockaddr({wire::Ipv4Address::any(), options.port});
    listening_ = sl_bind(listener_.fd(), net::generic(a), sizeof a) == 0 && sl_listen(listener_.fd(), 1024) == 0;
    loop_.watch(listener_.fd(), POLLIN, [this](short) { accept_all(); });
  }
  [[nodiscard]] bool listening() const { return listening_; }
  EventLoop& loop() { return loop_; }
  [[nodiscard]] const Site& site() const { return site_; }
  void drop(int fd) {
    loop_.unwatch(fd);
    connections_.erase(fd);
  }

 private:
  void accept_all() {
    for (;;) {
      const int fd = sl_accept4(listener_.fd(), nullptr, nullptr, SOCK_NONBLOCK);
      if (fd < 0) return;
      auto connection = std::make_shared<Connection>(*this, fd);
      connections_[fd] = connection;
      loop_.watch(fd, POLLIN, [connection](short) { connection->on_ready(); });
    }
  }
  EventLoop& loop_;
  Site site_;
  net::Socket listener_;
  bool listening_ = false;
  std::map<int, std::shared_ptr<Connection>> connections_;
};

void Connection::on_ready() {
  if (!sending_ && !read_more()) return server_.drop(fd());
  for (;;) {
    if (!sending_) parse();
    if (!sending_) break;
    if (!write_more()) return server_.drop(fd());
    if (sending_) break;  // the send queue is full
  }
  if (peer_done_ && !sending_) return server_.drop(fd());
  server_.loop().set_events(fd(), sending_ ? POLLOUT : POLLIN);
}

bool Connection::read_more() {
  std::array<char, kReadChunk> chunk;
  const ssize_t n = sl_recv(fd(), chunk.data(), chunk.size(), 0);
  if (n < 0) return errno == EAGAIN;
  if (n == 0) peer_done_ = true;
  input_.append(chunk.data(), static_cast<std::size_t>(n));
  return n > 0 || !input_.empty();
}

void Connection::parse() {
  if (input_.empty()) return;
  boost::system::error_code error;
  const std::size_t used = parser_->put(boost::asio::const_buffer(input_.data(), input_.size()), error);
  input_.erase(0, used);
  if (error == http::error::need_more) return;
  if (error) return start(text_response(400, "Bad Request", "bad request\n"), false, false);
  if (!parser_->is_done()) return;
  const auto& request = parser_->get();
  const bool keep = request.keep_alive();
  const bool head = request.method() == http::verb::head;
  const std::string target(request.target());
  if (!head && request.method() != http::verb::get) {
    start(text_response(405, "Method Not Allowed", "only GET and HEAD\n"), false, false);
  } else {
    start(server_.site().answer(target), head, keep);
  }
  new_parser();
}

void Connection::start(Response response, bool head, bool keep) {
  keep_ = keep;
  header_ = "HTTP/1.1 " + std::to_string(response.status) + " " + response.reason + "\r\nServer: sluice\r\nContent-Type: " +
            response.type + "\r\nContent-Length: " + std::to_string(response.body->size()) +
            (keep ? "\r\n\r\n" : "\r\nConnection: close\r\n\r\n");
  header_sent_ = 0;
  body_ = head ? std::make_unique<Body>(std::string()) : std::move(response.body);
  body_sent_ = 0;
  sending_ = true;
}

bool Connection::write_more() {
  while (header_sent_ < header_.size() || body_sent_ < body_->size()) {
    const std::string_view head = std::string_view(header_).substr(header_sent_);
    const std::string_view part = body_sent_ < body_->size() ? body_->at(body_sent_) : std::string_view();
    iovec pieces[2] = {{const_cast<char*>(head.data()), head.size()}, {const_cast<char*>(part.data()), part.size()}};
    const ssize_t n = sl_writev(fd(), pieces, 2);
    if (n < 0) return errno == EAGAIN;
    const std::size_t of_head = std::min(head.size(), static_cast<std::size_t>(n));
    header_sent_ += of_head;
    body_sent_ += static_cast<std::size_t>(n) - of_head;
  }
  sending_ = false;
  body_.reset();
  return keep_;
}

}  // namespace

int run_httpd(const Common& common, const HttpdOptions& options) {
  if (!options.root.empty() && !fs::is_directory(options.root)) {
    fprintf(stderr, "httpd: '%s' is not a directory\n", options.root.c_str());
    return kExitUsage;
  }
  const auto runtime = open_runtime(common, Options::Threads::kEventLoop);
  if (runtime == nullptr) return kExitUnavailable;
  EventLoop loop(*runtime);
  handle_signals(loop, *runtime, common);
  Server server(loop, *runtime, options);
  if (!server.listening()) {
    fprintf(stderr, "httpd: port %u: %s\n", options.port, describe(static_cast<Errno>(errno)).c_str());
    return kExitFailed;
  }
  fprintf(stderr, "httpd: serving %s on port %u\n", options.root.empty() ? "the built-in pages" : options.root.c_str(), options.port);
  loop.run();
  return kExitOk;
}

}  // namespace sluice::apps
