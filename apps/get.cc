// sluice get: fetches a page by HTTP/1.1 and saves it. The response is parsed by Boost.Beast.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <array>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <memory>
#include <string>

#include "apps/commands.h"

namespace sluice::apps {

namespace {

namespace http = boost::beast::http;

struct Url {
  std::string host;
  std::uint16_t port = 80;
  std::string path = "/";
  std::string authority;  // host and port as written, for the Host field
};

bool parse_url(std::string text, Url& url) {
  if (text.rfind("http://", 0) == 0) text.erase(0, 7);
  if (text.find("://") != std::string::npos) return false;
  text.resize(std::min(text.size(), text.find('#')));
  for (const char c : text) {
    if (c <= ' ' || c == 0x7f) return false;  // nothing that could end the request line
  }
  const std::size_t slash = text.find('/');
  if (slash != std::string::npos) url.path = text.substr(slash);
  std::string host = text.substr(0, slash);
  url.authority = host;
  const std::size_t colon = host.find(':');
  if (colon != std::string::npos) {
    char* end = nullptr;
    const long port = strtol(host.c_str() + colon + 1, &end, 10);
    if (port < 1 || port > 65535 || *end != '\0') return false;
    url.port = static_cast<std::uint16_t>(port);
    host.resize(colon);
  }
  url.host = host;
  return !host.empty();
}

// The last part of the path names the file.
std::string name_for(const Url& url) {
  const std::string path = url.path.substr(0, url.path.find('?'));
  const std::string name = path.substr(path.rfind('/') + 1);
  return name.empty() ? "index.html" : name;
}

// A bar on a terminal, and the rate at the end.
class Progress {
 public:
  Progress(Runtime& runtime, bool quiet)
      : runtime_(runtime), quiet_(quiet), bar_(!quiet && isatty(STDERR_FILENO) != 0), start_(runtime.now()) {}
  void update(std::uint64_t done, std::uint64_t total) {
    if (!bar_ || runtime_.now() - last_ < 100_ms) return;
    last_ = runtime_.now();
    draw(done, total);
  }
  void finish(std::uint64_t done) const {
    if (quiet_) return;
    if (bar_) draw(done, done);
    fprintf(stderr, "%s%llu bytes in %.3f s, %.1f Mbit/s\n", bar_ ? "\n" : "", static_cast<unsigned long long>(done),
            elapsed(), rate(done));
  }

 private:
  [[nodiscard]] double elapsed() const { return std::max((runtime_.now() - start_).to_seconds(), 1e-9); }
  [[nodiscard]] double rate(std::uint64_t done) const { return static_cast<double>(done) * 8 / elapsed() / 1e6; }
  // Without a Content-Length the bar stays empty, and the bytes are counted.
  void draw(std::uint64_t done, std::uint64_t total) const {
    constexpr int kWidth = 40;
    const double part = total > 0 ? static_cast<double>(done) / static_cast<double>(total) : 0;
    const int filled = static_cast<int>(part * kWidth);
    fprintf(stderr, "\r[%.*s%*s] %3.0f%%  %.1f MiB  %.1f Mbit/s ", filled, "########################################",
            kWidth - filled, "", part * 100, static_cast<double>(done) / 1048576, rate(done));
  }

  Runtime& runtime_;
  bool quiet_;
  bool bar_;
  Instant start_;
  Instant last_ = Instant::past();
};

class Fetch {
 public:
  Fetch(net::TcpStream stream, std::FILE* out, Progress& progress)
      : stream_(std::move(stream)), out_(out), progress_(progress) {
    parser_.body_limit(UINT64_MAX);
  }

  // The status of the response; 0 when it broke off, with a message.
  int run(const Url& url) {
    const std::string request = "GET " + url.path + " HTTP/1.1\r\nHost: " + url.authority +
                                "\r\nUser-Agent: sluice\r\nAccept: */*\r\nConnection: close\r\n\r\n";
    const Bytes bytes(reinterpret_cast<const std::uint8_t*>(request.data()), request.size());
    if (const Status sent = stream_.write(bytes); !sent) return complain(describe(sent.error()));
    std::string input;
    std::array<std::uint8_t, 256 << 10> chunk;
    while (!parser_.is_done()) {
      const auto n = stream_.read(chunk);
      if (!n) return complain(describe(n.error()));
      if (*n == 0) {
        boost::system::error_code error;
        parser_.put_eof(error);
        if (error) return complain("the server closed the connection in the middle");
        break;
      }
      input.append(reinterpret_cast<const char*>(chunk.data()), *n);
      if (!consume(input)) return complain("the response cannot be read: " + error_);
    }
    return static_cast<int>(parser_.get().result_int());
  }
  [[nodiscard]] std::uint64_t received() const { return received_; }

 private:
  static int complain(const std::string& what) {
    fprintf(stderr, "get: %s\n", what.c_str());
    return 0;
  }
  // Takes off `input` what the parser can use.
  bool consume(std::string& input) {
    std::size_t at = 0;
    while (at < input.size() && !parser_.is_done()) {
      std::array<char, 64 << 10> body;
      parser_.get().body().data = body.data();
      parser_.get().body().size = body.size();
      boost::system::error_code error;
      const std::size_t used = parser_.put(boost::asio::const_buffer(input.data() + at, input.size() - at), error);
      const std::size_t got = body.size() - parser_.get().body().size;
      if (parser_.is_header_done() && got > 0 && fwrite(body.data(), 1, got, out_) != got) {
        error_ = strerror(errno);
        return false;
      }
      received_ += got;
      at += used;
      const bool more = error == http::error::need_more || error == http::error::need_buffer;
      if (error && !more) {
        error_ = error.message();
        return false;
      }
      if (used == 0 && error == http::error::need_more) break;
    }
    input.erase(0, at);
    progress_.update(received_, parser_.content_length().value_or(0));
    return true;
  }

  net::TcpStream stream_;
  std::FILE* out_;
  Progress& progress_;
  http::response_parser<http::buffer_body> parser_;
  std::uint64_t received_ = 0;
  std::string error_;
};

}  // namespace

int run_get(const Common& common, const GetOptions& options) {
  Url url;
  wire::Address host;
  if (!parse_url(options.url, url)) {
    fprintf(stderr, "get: '%s' is no URL; write it like http://10.0.0.2:8080/file\n", options.url.c_str());
    return kExitUsage;
  }
  if (!parse_host(url.host, host)) return kExitUsage;
  const auto session = BlockingSession::open(common);
  if (!session) return session.error();
  auto stream = net::TcpStream::connect({host, url.port});
  if (!stream) {
    fprintf(stderr, "get: connect to %s port %u: %s\n", url.host.c_str(), url.port, describe(stream.error()).c_str());
    return kExitFailed;
  }
  const std::string name = options.output.empty() ? name_for(url) : options.output;
  std::FILE* out = name == "-" ? stdout : fopen(name.c_str(), "wbe");
  if (out == nullptr) {
    fprintf(stderr, "get: %s: %s\n", name.c_str(), strerror(errno));
    return kExitFailed;
  }
  Progress progress((*session)->runtime(), options.quiet);
  Fetch fetch(std::move(*stream), out, progress);
  const int status = fetch.run(url);
  progress.finish(fetch.received());
  const bool written = (out == stdout ? fflush(out) : fclose(out)) == 0;
  if (!written) fprintf(stderr, "get: %s: %s\n", name.c_str(), strerror(errno));
  if (status != 0 && (status < 200 || status > 299)) fprintf(stderr, "get: the server answered %d\n", status);
  return status >= 200 && status <= 299 && written ? kExitOk : kExitFailed;
}

}  // namespace sluice::apps
