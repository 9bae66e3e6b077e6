#include "apps/site.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <map>

namespace sluice::apps {

namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kMaxGenerated = std::uint64_t{1} << 40;
constexpr std::size_t kPatternSize = 64 << 10;
constexpr const char* kHtml = "text/html; charset=utf-8";
constexpr const char* kWelcome =
    "<!doctype html><title>sluice</title><h1>sluice</h1><p>This page came over a TCP/IP stack in user space.</p>"
    "<p><a href=/stats>/stats</a> counters &middot; <a href=/bytes/1000000>/bytes/N</a> N bytes</p>\n";

Response not_found() {
  return text_response(404, "Not Found", "not found\n");
}
Response bad_request(const char* why) {
  return text_response(400, "Bad Request", why);
}

Response html(std::string text) {
  return {200, "OK", kHtml, std::make_unique<Body>(std::move(text)), {}};
}

// "/bytes/N": N bytes.
Response generated(std::string_view number) {
  std::uint64_t size = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), size);
  if (error != std::errc() || end != number.data() + number.size() || size > kMaxGenerated) {
    return bad_request("write it /bytes/N, N from 0 to 2^40\n");
  }
  return {200, "OK", "application/octet-stream", Body::generated(size), {}};
}

std::string html_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string percent_encode(std::string_view text) {
  constexpr std::string_view kPlain = "-._~/";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (plain || kPlain.find(c) != std::string_view::npos) {
      out += c;
      continue;
    }
    constexpr const char* kDigits = "0123456789ABCDEF";
    const auto byte = static_cast<unsigned char>(c);
    out += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
  }
  return out;
}

Response listing(const fs::path& folder, const std::string& title) {
  std::vector<std::string> names;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    std::error_code ignored;
    names.push_back(entry.path().filename().string() + (entry.is_directory(ignored) ? "/" : ""));
  }
  std::sort(names.begin(), names.end());
  std::string text =
      "<!doctype html><title>" + html_escape(title) + "</title><h1>" + html_escape(title) + "</h1><ul>\n";
  for (const std::string& name : names) {
    text += "<li><a href=\"./" + percent_encode(name) + "\">" + html_escape(name) + "</a>\n";
  }
  return html(text + "</ul>\n");
}

}  // namespace

Response text_response(int status, const char* reason, std::string text) {
  Response r;
  r.status = status;
  r.reason = reason;
  r.body = std::make_unique<Body>(std::move(text));
  return r;
}

std::optional<std::string> percent_decode(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    unsigned byte = 0;
    const std::string_view digits = text.substr(i + 1, 2);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), byte, 16);
    if (digits.size() != 2 || error != std::errc() || end != digits.data() + 2 || byte == 0) return {};
    out += static_cast<char>(byte);
    i += 2;
  }
  return out;
}

std::string content_type(const fs::path& path) {
  static const std::map<std::string_view, const char*> kTypes = {{".html", kHtml},
                                                                 {".htm", kHtml},
                                                                 {".txt", "text/plain; charset=utf-8"},
                                                                 {".md", "text/plain; charset=utf-8"},
                                                                 {".css", "text/css; charset=utf-8"},
                                                                 {".js", "text/javascript; charset=utf-8"},
                                                                 {".json", "application/json"},
                                                                 {".pdf", "application/pdf"},
                                                                 {".png", "image/png"},
                                                                 {".jpg", "image/jpeg"},
                                                                 {".jpeg", "image/jpeg"},
                                                                 {".gif", "image/gif"},
                                                                 {".svg", "image/svg+xml"},
                                                                 {".ico", "image/x-icon"},
                                                                 {".gz", "application/gzip"},
                                                                 {".pcap", "application/vnd.tcpdump.pcap"}};
  const std::string extension = path.extension().string();
  const auto at = kTypes.find(extension);
  return at != kTypes.end() ? at->second : "application/octet-stream";
}

// --- bodies
// --------------------------------------------------------------------------------------------------------------

Body::Body(std::string text) : text_(std::move(text)), size_(text_.size()) {}

Body::~Body() {
  if (file_ >= 0) ::close(file_);
}

std::unique_ptr<Body> Body::generated(std::uint64_t size) {
  std::string pattern(kPatternSize, ' ');
  for (std::size_t i = 0; i < kPatternSize; ++i) pattern[i] = static_cast<char>('a' + i % 26);
  auto body = std::make_unique<Body>(std::move(pattern));
  body->size_ = size;
  return body;
}

std::unique_ptr<Body> Body::of_file(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);  // a FIFO must not hold us up
  if (fd < 0) return nullptr;
  auto body = std::make_unique<Body>(std::string());
  body->file_ = fd;
  struct stat s = {};
  if (::fstat(fd, &s) < 0 || !S_ISREG(s.st_mode)) return nullptr;
  body->size_ = static_cast<std::uint64_t>(s.st_size);
  return body;
}

std::string_view Body::at(std::uint64_t offset, std::span<char> scratch) const {
  if (file_ < 0) {
    const std::string_view part = std::string_view(text_).substr(offset % text_.size());
    return part.substr(0, std::min<std::uint64_t>(part.size(), size_ - offset));
  }
  const std::uint64_t wanted = std::min<std::uint64_t>(scratch.size(), size_ - offset);
  const ssize_t n = ::pread(file_, scratch.data(), wanted, static_cast<off_t>(offset));
  return {scratch.data(), n > 0 ? static_cast<std::size_t>(n) : 0};
}

// --- the site
// --------------------------------------------------------------------------------------------------------------

Site::Site(const Counters& counters, const std::string& root) : counters_(counters) {
  if (!root.empty()) root_ = fs::canonical(root);
}

Response Site::answer(std::string_view target) const {
  const auto path = percent_decode(target.substr(0, target.find('?')));
  if (!path || !path->starts_with('/')) return bad_request("the path cannot be read\n");
  if (*path == "/stats") return stats();
  if (path->starts_with("/bytes/")) return generated(std::string_view(*path).substr(7));
  if (!root_.empty()) return file(*path);
  return *path == "/" ? html(kWelcome) : not_found();
}

Response Site::stats() const {
  std::string text;
  for (std::size_t i = 0; i < kCounterCount; ++i) {
    const auto counter = static_cast<Counter>(i);
    text += std::string(name_of(counter)) + " " + std::to_string(counters_.get(counter)) + "\n";
  }
  for (std::size_t i = 0; i < kDropCount; ++i) {
    const auto drop = static_cast<Drop>(i);
    if (counters_.get(drop) != 0)
      text += std::string("dropped ") + name_of(drop) + " " + std::to_string(counters_.get(drop)) + "\n";
  }
  return text_response(200, "OK", std::move(text));
}

// Never outside the root: after ".." and symbolic links are resolved, the path must begin with it.
Response Site::file(const std::string& path) const {
  std::error_code error;
  fs::path wanted = fs::weakly_canonical(root_ / fs::path(path).relative_path(), error);
  if (error || std::mismatch(root_.begin(), root_.end(), wanted.begin(), wanted.end()).first != root_.end()) {
    return not_found();
  }
  if (fs::is_directory(wanted, error)) {
    if (!path.ends_with('/')) {
      Response moved = text_response(301, "Moved Permanently", "it is a directory\n");
      moved.location = percent_encode("/" + fs::path(path).relative_path().string()) + "/";
      return moved;
    }
    if (!fs::exists(wanted / "index.html", error)) return listing(wanted, path);
    wanted /= "index.html";
  }
  auto body = Body::of_file(wanted);
  if (body == nullptr) return not_found();
  return {200, "OK", content_type(wanted), std::move(body), {}};
}

}  // namespace sluice::apps
