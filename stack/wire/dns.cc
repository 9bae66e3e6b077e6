#include "stack/wire/dns.h"

#include <algorithm>
#include <cstring>

#include "stack/base/byte_order.h"

namespace sluice::wire::dns {

namespace {
constexpr std::uint8_t kPointer = 0xc0;  // the two bits that make a length a compression pointer

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
}  // namespace

std::optional<Name> Name::from(std::string_view text) {
  if (text.ends_with('.')) text.remove_suffix(1);
  Name name;
  while (!text.empty()) {
    const std::string_view label = text.substr(0, text.find('.'));
    if (!name.add_label({reinterpret_cast<const std::uint8_t*>(label.data()), label.size()})) return {};
    const bool ends_with_dot = label.size() + 1 == text.size();  // an empty label would follow
    if (ends_with_dot) return {};
    text.remove_prefix(std::min(text.size(), label.size() + 1));
  }
  return name;
}

bool Name::add_label(Bytes label) {
  if (label.empty() || label.size() > kMaxLabel || std::find(label.begin(), label.end(), '.') != label.end()) {
    return false;
  }
  const std::size_t dot = size_ > 0 ? 1 : 0;
  if (size_ + dot + label.size() > kMaxName - 2) return false;  // with a length in front and the root behind
  if (dot != 0) text_[size_++] = '.';
  std::memcpy(text_.data() + size_, label.data(), label.size());
  size_ = static_cast<std::uint8_t>(size_ + label.size());
  return true;
}

bool Name::operator==(const Name& other) const {
  return std::ranges::equal(text(), other.text(), [](char a, char b) { return lower(a) == lower(b); });
}

std::size_t emit_query(MutableBytes out, std::uint16_t id, const Name& name, Type type) {
  constexpr std::uint16_t kRecursionDesired = 0x0100;
  std::fill_n(out.begin(), kHeaderSize, std::uint8_t{0});
  store_be16(out.data(), id);
  store_be16(out.data() + 2, kRecursionDesired);
  store_be16(out.data() + 4, 1);
  std::size_t at = kHeaderSize;
  for (std::string_view rest = name.text(); !rest.empty();) {
    const std::string_view label = rest.substr(0, rest.find('.'));
    out[at++] = static_cast<std::uint8_t>(label.size());
    std::memcpy(out.data() + at, label.data(), label.size());
    at += label.size();
    rest.remove_prefix(std::min(rest.size(), label.size() + 1));
  }
  out[at++] = 0;
  store_be16(out.data() + at, static_cast<std::uint16_t>(type));
  store_be16(out.data() + at + 2, kClassIn);
  return at + 4;
}

std::optional<std::uint16_t> Reader::number() {
  if (message_.size() - at_ < 2) return {};
  at_ += 2;
  return load_be16(message_.data() + at_ - 2);
}

std::optional<Header> Reader::header() {
  if (message_.size() < kHeaderSize) return {};
  at_ = kHeaderSize;
  const std::uint8_t* m = message_.data();
  Header h;
  h.id = load_be16(m);
  h.response = (m[2] & 0x80) != 0;
  h.opcode = m[2] >> 3 & 0xf;
  h.truncated = (m[2] & 0x02) != 0;
  h.rcode = m[3] & 0xf;
  h.questions = load_be16(m + 4);
  h.answers = load_be16(m + 6);
  return h;
}

// Follows pointers backwards only, so that no message makes it run for ever (RFC1035-02).
std::optional<Name> Reader::name() {
  Name name;
  std::size_t at = at_;
  std::size_t before = at_;  // where the next pointer may point at most
  bool jumped = false;
  for (;;) {
    if (at >= message_.size()) return {};
    const std::uint8_t length = message_[at];
    if ((length & kPointer) == kPointer) {
      if (at + 1 >= message_.size()) return {};
      const std::size_t to = load_be16(message_.data() + at) & 0x3fff;
      if (to >= before) return {};
      if (!jumped) at_ = at + 2;
      jumped = true;
      at = before = to;
      continue;
    }
    if (length > kMaxLabel || at + 1 + length > message_.size()) return {};
    if (length == 0) break;
    if (!name.add_label(message_.subspan(at + 1, length))) return {};
    at += 1u + length;
  }
  if (!jumped) at_ = at + 1;
  return name;
}

std::optional<Question> Reader::question() {
  const auto n = name();
  if (!n) return {};
  const auto type = number();
  const auto klass = number();
  if (!type || !klass) return {};
  return Question{*n, *type, *klass};
}

std::optional<Record> Reader::record() {
  const auto owner = question();  // a record begins as a question does
  if (!owner || message_.size() - at_ < 6) return {};
  Record r{owner->name, owner->type, owner->klass, load_be32(message_.data() + at_), {}, {}};
  const std::size_t size = load_be16(message_.data() + at_ + 4);
  at_ += 6;
  if (message_.size() - at_ < size) return {};
  r.data = message_.subspan(at_, size);
  const std::size_t end = at_ + size;
  if (r.type == static_cast<std::uint16_t>(Type::kCname) || r.type == static_cast<std::uint16_t>(Type::kPtr)) {
    r.target = name();
    if (!r.target || at_ != end) return {};
  }
  at_ = end;
  return r;
}

}  // namespace sluice::wire::dns
