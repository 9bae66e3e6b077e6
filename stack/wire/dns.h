// DNS messages: RFC 1035 §4. Questions go out, answers of class IN come in.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "stack/base/types.h"

namespace sluice::wire::dns {

inline constexpr std::size_t kHeaderSize = 12;
inline constexpr std::size_t kMaxLabel = 63;
inline constexpr std::size_t kMaxName = 255;        // bytes on the wire (RFC1035-01)
inline constexpr std::size_t kMaxUdpMessage = 512;  // (RFC1035-03)
inline constexpr std::size_t kMaxQuery = kHeaderSize + kMaxName + 4;
inline constexpr std::uint16_t kClassIn = 1;

enum class Type : std::uint16_t { kA = 1, kCname = 5, kPtr = 12 };

enum Rcode : std::uint8_t { kNoError = 0, kServerFailure = 2, kNameError = 3 };

// A domain name: its labels with dots between, without one at the end; empty is the root. A label that holds a dot
// itself cannot be written so, and is not accepted.
class Name {
 public:
  // Nothing: an empty or too long label, or the whole is too long. A dot at the end is dropped.
  static std::optional<Name> from(std::string_view text);

  [[nodiscard]] std::string_view text() const { return {text_.data(), size_}; }
  bool operator==(const Name& other) const;  // without regard to case, as RFC 1035 §2.3.3 says

 private:
  friend class Reader;
  bool add_label(Bytes label);

  std::array<char, kMaxName> text_{};
  std::uint8_t size_ = 0;
};

// The question for one name, recursion desired. Returns its size; `out` has room for kMaxQuery bytes.
std::size_t emit_query(MutableBytes out, std::uint16_t id, const Name& name, Type type);

struct Header {
  std::uint16_t id = 0;
  bool response = false;
  bool truncated = false;
  std::uint8_t opcode = 0;
  std::uint8_t rcode = 0;
  std::uint16_t questions = 0;
  std::uint16_t answers = 0;
};

struct Question {
  Name name;
  std::uint16_t type = 0;
  std::uint16_t klass = 0;
};

struct Record {
  Name name;
  std::uint16_t type = 0;
  std::uint16_t klass = 0;
  std::uint32_t ttl = 0;       // s
  Bytes data;                  // RDATA
  std::optional<Name> target;  // what a CNAME or PTR points at
};

// Reads a message from its beginning: the header, the questions, the answers. Nothing: the message is malformed.
class Reader {
 public:
  explicit Reader(Bytes message) : message_(message) {}

  std::optional<Header> header();
  std::optional<Question> question();
  std::optional<Record> record();

 private:
  std::optional<std::uint16_t> number();
  std::optional<Name> name();

  Bytes message_;
  std::size_t at_ = 0;
};

}  // namespace sluice::wire::dns
