// What httpd serves: from the path of a request to a response. Files of a directory, or built-in pages.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "sluice/runtime.hpp"

namespace sluice::apps {

// The bytes of a response: a text, a file that is read as it is sent, or a pattern without end.
class Body {
 public:
  explicit Body(std::string text);
  static std::unique_ptr<Body> generated(std::uint64_t size);
  static std::unique_ptr<Body> of_file(const std::filesystem::path& path);  // null: no regular file that can be read
  ~Body();
  Body(const Body&) = delete;
  Body& operator=(const Body&) = delete;

  [[nodiscard]] std::uint64_t size() const { return size_; }
  // Some bytes from `offset` (< size()) on, in `scratch` where they have to be read. Empty: the file has shrunk.
  [[nodiscard]] std::string_view at(std::uint64_t offset, std::span<char> scratch) const;

 private:
  std::string text_;  // repeats up to size_
  int file_ = -1;
  std::uint64_t size_;
};

struct Response {
  int status = 200;
  const char* reason = "OK";
  std::string type = "text/plain; charset=utf-8";
  std::unique_ptr<Body> body;
  std::string location;  // of a redirection
};

Response text_response(int status, const char* reason, std::string text);

// "%41" to "A" (RFC 3986 §2.1). Nothing when an escape is broken or stands for a NUL.
std::optional<std::string> percent_decode(std::string_view text);
std::string content_type(const std::filesystem::path& path);

class Site {
 public:
  // root: the directory to serve; empty: the built-in pages only. counters: what /stats shows.
  Site(const Counters& counters, const std::string& root);

  // target: the request's, in origin form ("/a%20b?query").
  [[nodiscard]] Response answer(std::string_view target) const;

 private:
  [[nodiscard]] Response stats() const;
  [[nodiscard]] Response file(const std::string& path) const;

  const Counters& counters_;
  std::filesystem::path root_;
};

}  // namespace sluice::apps
