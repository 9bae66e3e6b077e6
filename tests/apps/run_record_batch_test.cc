// Datagrams between a pair and the stack, several at once: boundaries stay, empty ones too, and the end is told from
// them.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "apps/run/kernel_fd.h"
#include "apps/run/record_batch.h"

namespace sluice::apps::run {
namespace {

class RunRecordBatch : public testing::Test {
 protected:
  RunRecordBatch() {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    ours_ = KernelFd(ends[0]);
    program_ = KernelFd(ends[1]);
  }
  void write(const std::string& record) {
    ASSERT_EQ(::send(program_.get(), record.data(), record.size(), 0), static_cast<ssize_t>(record.size()));
  }
  std::vector<std::string> take() {
    batch_.take(ours_.get());
    std::vector<std::string> records;
    for (std::size_t i = 0; i < batch_.size(); ++i) records.emplace_back(batch_[i].begin(), batch_[i].end());
    return records;
  }
  void put(const std::string& record, int descriptor = -1) {
    const MutableBytes room = batch_.room();
    std::copy(record.begin(), record.end(), room.begin());
    batch_.put(room.first(record.size()), descriptor);
  }
  std::string read() {
    std::string record(70'000, '?');
    const ssize_t n = ::recv(program_.get(), record.data(), record.size(), 0);
    return n < 0 ? "nothing" : record.substr(0, static_cast<std::size_t>(n));
  }

  KernelFd ours_, program_;
  RecordBatch batch_;
};

using Records = std::vector<std::string>;

TEST_F(RunRecordBatch, TakesThemAsTheyWereWritten) {
  const std::string large(60'000, 'x');
  for (const std::string& record : {std::string("one"), std::string(), large, std::string("four")}) write(record);
  EXPECT_EQ(take(), (Records{"one", "", large, "four"}));
  EXPECT_FALSE(batch_.ended());
  EXPECT_EQ(take(), Records());
  EXPECT_FALSE(batch_.ended());
}

TEST_F(RunRecordBatch, TakesAtMostABatch) {
  for (std::size_t i = 0; i < RecordBatch::kMost + 1; ++i) write(std::to_string(i));
  EXPECT_EQ(take().size(), RecordBatch::kMost);
  EXPECT_TRUE(batch_.full());
  EXPECT_EQ(take(), Records{std::to_string(RecordBatch::kMost)});
}

struct EndRow {
  const char* name;
  Records written;
  Records want;
  bool ended;
};

// The kernel goes on with empty records when there is no more.
TEST_F(RunRecordBatch, TellsTheEndFromEmptyDatagrams) {
  const EndRow rows[] = {
      {"nothing but the end", {}, {}, true},
      {"something before it", {"a", "b"}, {"a", "b"}, true},
      {"an empty one in between", {"a", "", "b"}, {"a", "", "b"}, true},
      {"as many as a batch holds", Records(RecordBatch::kMost, "x"), Records(RecordBatch::kMost, "x"), false}};
  for (const EndRow& row : rows) {
    SCOPED_TRACE(row.name);
    int ends[2] = {-1, -1};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, ends), 0);
    ours_ = KernelFd(ends[0]);
    program_ = KernelFd(ends[1]);
    for (const std::string& record : row.written) write(record);
    program_.reset();
    EXPECT_EQ(take(), row.want);
    EXPECT_EQ(batch_.ended(), row.ended);
    if (!row.ended) {
      EXPECT_EQ(take(), Records());
    }
    EXPECT_TRUE(batch_.ended());
  }
}

// A batch full of empty datagrams is none of the end while the program can still write.
TEST_F(RunRecordBatch, ABatchOfEmptyOnes) {
  for (std::size_t i = 0; i < RecordBatch::kMost; ++i) write("");
  EXPECT_EQ(take(), Records(RecordBatch::kMost));
  EXPECT_FALSE(batch_.ended());
}

TEST_F(RunRecordBatch, GivesThemAsTheyWerePut) {
  batch_.clear();
  const std::string large(65'000, 'y');
  for (const std::string& record : {std::string("one"), std::string(), large}) put(record);
  EXPECT_EQ(batch_.give(ours_.get()), 3u);
  EXPECT_EQ(read(), "one");
  EXPECT_EQ(read(), "");
  EXPECT_EQ(read(), large);
  EXPECT_EQ(read(), "nothing");
}

TEST_F(RunRecordBatch, GivesAsManyAsThereIsRoomFor) {
  const std::string large(60'000, 'z');
  std::size_t given = 0;
  do {
    batch_.clear();
    while (!batch_.full()) put(large);
    given += batch_.give(ours_.get());
  } while (given % RecordBatch::kMost == 0 && given < 10'000);
  EXPECT_LT(given, 10'000u);
  std::size_t got = 0;
  while (read() == large) ++got;
  EXPECT_EQ(got, given);
}

// To nowhere: nobody waits for it.
TEST_F(RunRecordBatch, AClosedEndTakesAll) {
  program_.reset();
  batch_.clear();
  put("a");
  put("b");
  EXPECT_EQ(batch_.give(ours_.get()), 2u);
}

TEST_F(RunRecordBatch, ADescriptorGoesWithItsRecord) {
  const KernelFd file(::memfd_create("tag", MFD_CLOEXEC));
  ASSERT_EQ(::lseek(file.get(), 77, SEEK_SET), 77);
  batch_.clear();
  put("without");
  put("with", file.get());
  ASSERT_EQ(batch_.give(ours_.get()), 2u);
  for (const bool expected : {false, true}) {
    char byte[16];
    iovec piece{byte, sizeof byte};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ASSERT_GT(::recvmsg(program_.get(), &message, MSG_CMSG_CLOEXEC), 0);
    const cmsghdr* header = CMSG_FIRSTHDR(&message);
    ASSERT_EQ(header != nullptr, expected);
    if (header == nullptr) continue;
    int got = -1;
    memcpy(&got, CMSG_DATA(header), sizeof got);
    EXPECT_EQ(::lseek(KernelFd(got).get(), 0, SEEK_CUR), 77);
  }
}

}  // namespace
}  // namespace sluice::apps::run
