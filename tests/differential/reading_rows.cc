// Programs that wait in a call that reads, while bytes come in parts: SO_RCVLOWAT, MSG_WAITALL, MSG_PEEK.
#include <errno.h>

#include <array>
#include <chrono>
#include <thread>

#include "tests/differential/session.h"

namespace sluice::differential {
namespace {

using S = Session;
using Pieces = std::array<iovec, 2>;
using Read = std::function<ssize_t(const Calls&, int fd, Pieces&, int flags)>;

constexpr std::size_t kRoom = 8;

ssize_t by_recv(const Calls& c, int fd, Pieces& room, int flags) {
  return c.recvfrom(fd, room[0].iov_base, kRoom, flags, nullptr, nullptr);
}
ssize_t by_recvmsg(const Calls& c, int fd, Pieces& room, int flags) {
  msghdr message{};
  message.msg_iov = room.data();
  message.msg_iovlen = room.size();
  return c.recvmsg(fd, &message, flags);
}
ssize_t by_readv(const Calls& c, int fd, Pieces& room, int) {
  return c.readv(fd, room.data(), static_cast<int>(room.size()));
}

// The parts come one after the other; "end" is the end of the stream.
void read_meanwhile(S& s, S::Pair p, const Read& read, int flags, const std::vector<std::string>& parts) {
  std::array<char, kRoom + 1> room{};
  s.note("read", [&](const Calls& c) {
    Pieces pieces{iovec{room.data(), 3}, iovec{room.data() + 3, kRoom - 3}};
    ssize_t got = -1;
    int error = 0;
    std::thread reader([&] { got = read(c, p.server, pieces, flags), error = errno; });
    for (const std::string& part : parts) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      if (part == "end") {
        (void)c.shutdown(p.client, SHUT_WR);
      } else {
        (void)c.sendto(p.client, part.data(), part.size(), 0, nullptr, 0);
      }
    }
    reader.join();
    errno = error;
    return got;
  });
  s.say(std::string("read ") + room.data());
  s.receive(p.server, kRoom);  // what is left
}

}  // namespace

void add_reading_rows(std::vector<Row>& rows) {
  const struct {
    const char* name;
    Read read;
    bool has_flags;
  } kCalls[] = {{"recv", by_recv, true}, {"recvmsg", by_recvmsg, true}, {"readv", by_readv, false}};
  for (const auto& call : kCalls) {
    const auto add = [&](const std::string& name, int least, std::function<void(S&, S::Pair)> program) {
      rows.push_back({std::string("reading/") + call.name + ", " + name, [least, program = std::move(program)](S& s) {
                        const S::Pair p = s.connected();
                        s.set(p.server, SOL_SOCKET, SO_RCVLOWAT, least);
                        program(s, p);
                      }});
    };
    const Read& read = call.read;
    add("low water", 5, [read](S& s, S::Pair p) { read_meanwhile(s, p, read, 0, {"abc", "de"}); });
    add("the end below it", 5, [read](S& s, S::Pair p) { read_meanwhile(s, p, read, 0, {"abc", "end"}); });
    add("the time is over", 5, [read](S& s, S::Pair p) {
      const timeval t{0, 20'000};
      s.set_bytes(p.server, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
      s.send(p.client, "abc");
      read_meanwhile(s, p, read, 0, {});
      read_meanwhile(s, p, read, 0, {});
    });
    if (!call.has_flags) continue;
    add("peek", 5, [read](S& s, S::Pair p) { read_meanwhile(s, p, read, MSG_PEEK, {"abc", "de"}); });
    add("peek, and the time is over", 5, [read](S& s, S::Pair p) {
      const timeval t{0, 20'000};
      s.set_bytes(p.server, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t);
      s.send(p.client, "abc");
      read_meanwhile(s, p, read, MSG_PEEK, {});
    });
    add("shut below it", 5, [](S& s, S::Pair p) {
      s.send(p.client, "abc");
      s.poll(p.server);
      s.shutdown(p.server, SHUT_RD);
      s.poll(p.server);
    });
    add("may not wait", 5, [read](S& s, S::Pair p) {
      s.send(p.client, "abc");
      read_meanwhile(s, p, read, MSG_DONTWAIT, {});
    });
    // Linux wakes nobody below the low-water mark, also who waits for all.
    add("all", 1, [read](S& s, S::Pair p) { read_meanwhile(s, p, read, MSG_WAITALL, {"abc", "de", "fgh"}); });
    add("peek at all", 1, [read](S& s, S::Pair p) {
      read_meanwhile(s, p, read, MSG_WAITALL | MSG_PEEK, {"abc", "de", "fgh"});
    });
    add("all, and the end before", 1, [read](S& s, S::Pair p) {
      read_meanwhile(s, p, read, MSG_WAITALL, {"abc", "end"});
    });
  }
}

}  // namespace sluice::differential
