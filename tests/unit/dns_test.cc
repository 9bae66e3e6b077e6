// DNS messages: RFC 1035 §4.
#include "stack/wire/dns.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sluice::wire::dns {
namespace {

Bytes bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// (RFC1035-01): labels up to 63 bytes, names up to 255.
TEST(Dns, NamesAsText) {
  const std::string longest(63, 'a');
  const std::string most = longest + "." + longest + "." + longest + "." + std::string(61, 'b');
  struct Row {
    std::string text;
    bool good;
  };
  const Row rows[] = {
      {"", true},      {".", true},        {"a", true},    {"www.example.com", true}, {"www.example.com.", true},
      {"a..b", false}, {".a", false},      {"a..", false}, {longest, true},           {longest + "a", false},
      {most, true},    {most + "b", false}};
  for (const Row& row : rows) EXPECT_EQ(Name::from(row.text).has_value(), row.good) << row.text;
  EXPECT_TRUE(*Name::from("WWW.Example.com") == *Name::from("www.eXample.com."));
  EXPECT_FALSE(*Name::from("www.example.com") == *Name::from("www.example.co"));
}

TEST(Dns, Query) {
  std::array<std::uint8_t, kMaxQuery> out{};
  const std::size_t size = emit_query(out, 0x1234, *Name::from("ab.c"), Type::kA);
  const std::string want(
      "\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x02"
      "ab\x01"
      "c\x00\x00\x01\x00\x01",
      22);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(out.data()), size), want);
  const std::string longest =
      std::string(63, 'a') + "." + std::string(63, 'a') + "." + std::string(63, 'a') + "." + std::string(61, 'a');
  EXPECT_EQ(emit_query(out, 1, *Name::from(longest), Type::kPtr), kMaxQuery);
}

// A header with one question for "a.b", and so many answers.
std::string message(const std::string& answers, int count) {
  std::string m("\x00\x07\x81\x80\x00\x01\x00", 7);
  m += static_cast<char>(count);
  return m +
         std::string(
             "\x00\x00\x00\x00\x01"
             "a\x01"
             "b\x00\x00\x01\x00\x01",
             13) +
         answers;
}

// (RFC1035-01, RFC1035-02)
TEST(Dns, AnswerWithCompression) {
  const std::string answers(
      "\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x3c\x00\x04\x01"
      "x\xc0\x0e"
      "\xc0\x21\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x01\x02\x03",
      32);
  const std::string m = message(answers, 2);
  Reader reader(bytes_of(m));
  const auto header = reader.header();
  ASSERT_TRUE(header);
  EXPECT_EQ(header->id, 7);
  EXPECT_TRUE(header->response);
  EXPECT_FALSE(header->truncated);
  EXPECT_EQ(header->rcode, kNoError);
  EXPECT_EQ(header->answers, 2);
  const auto question = reader.question();
  ASSERT_TRUE(question);
  EXPECT_EQ(question->name.text(), "a.b");
  const auto alias = reader.record();
  ASSERT_TRUE(alias);
  EXPECT_EQ(alias->name.text(), "a.b");
  ASSERT_TRUE(alias->target);
  EXPECT_EQ(alias->target->text(), "x.b");
  EXPECT_EQ(alias->ttl, 60u);
  const auto host = reader.record();
  ASSERT_TRUE(host);
  EXPECT_EQ(host->name.text(), "x.b");
  EXPECT_EQ(std::vector<std::uint8_t>(host->data.begin(), host->data.end()), (std::vector<std::uint8_t>{10, 1, 2, 3}));
  EXPECT_FALSE(reader.record());
}

// (RFC1035-02): pointers to themselves, forward and in circles; labels and data beyond the end.
TEST(Dns, MalformedNames) {
  const std::string rest("\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x00", 10);
  const std::string rows[] = {
      std::string("\xc0\x15", 2) + rest,  // at itself
      std::string("\xc0\x1b", 2) + rest,  // forward
      std::string("\x01"
                  "a\xc0\x15",
                  4) +
          rest,                                                     // in a circle
      std::string("\x40", 1) + std::string(64, 'a') + "\0" + rest,  // a kind of label that nobody uses
      std::string("\x05"
                  "abc",
                  4),
      std::string("\xc0", 1),
      std::string("\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x05\x0a\x01\x02\x03", 16),
      std::string("\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x1e\x00\x03\xc0\x0c\x00", 15),
  };
  for (const std::string& row : rows) {
    const std::string m = message(row, 1);
    Reader reader(bytes_of(m));
    ASSERT_TRUE(reader.header());
    ASSERT_TRUE(reader.question());
    EXPECT_FALSE(reader.record()) << &row - rows;
  }
}

// Whatever is cut off, nothing is read beyond the end.
TEST(Dns, CutAnywhere) {
  const std::string whole =
      message(std::string("\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x1e\x00\x04\x0a\x01\x02\x03", 16), 1);
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const std::vector<std::uint8_t> cut(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
    Reader reader(cut);
    EXPECT_FALSE(reader.header() && reader.question() && reader.record()) << size;
  }
}

}  // namespace
}  // namespace sluice::wire::dns
