// Names: the hosts file, DNS over the stack, and the calls on top of them. The other runtime plays the name server.
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

#include <fstream>
#include <set>

#include "drivers/runtime/resolver.h"
#include "stack/base/byte_order.h"
#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

constexpr std::uint16_t kDomain = 53;

// What the server says to one question: bytes after the header's id, question and all.
struct Answer {
  std::uint8_t flags = 0x80;  // the second byte of flags: recursion available, and the response code
  bool truncated = false;
  int id_offset = 0;  // wrong when it is not 0
  bool other_question = false;
  std::vector<std::string> records = {};
};

std::string record(const std::string& owner, int type, const std::string& data) {
  std::string r = owner + std::string("\0", 1) + static_cast<char>(type) + std::string("\0\1\0\0\0\x1e", 6);
  return r + std::string("\0", 1) + static_cast<char>(data.size()) + data;
}
std::string a_record(const std::string& owner, const std::string& address) {
  return record(owner, 1, address);
}
const std::string kQuestion("\xc0\x0c", 2);  // the name that was asked for

std::string build(const std::string& query, const Answer& answer) {
  std::string m = query;
  m[1] = static_cast<char>(m[1] + answer.id_offset);
  m[2] = static_cast<char>(answer.truncated ? 0x83 : 0x81);
  m[3] = static_cast<char>(answer.flags);
  m[7] = static_cast<char>(answer.records.size());
  if (answer.other_question) m[13] = m[13] == 'x' ? 'y' : 'x';
  for (const std::string& r : answer.records) m += r;
  return m;
}

class Names : public TwoRuntimes {
 protected:
  Names() {
    char folder[] = "/tmp/sluice-names-XXXXXX";
    folder_ = ::mkdtemp(folder);
    write("hosts", "127.0.0.1 localhost\n10.0.0.77 printer printer.example # no other\n");
    write("resolv.conf",
          std::string("nameserver ") + kServerHost + "\nsearch example\noptions timeout:30 attempts:2\n");
    client_->impl().options.hosts = folder_ + "/hosts";
    client_->impl().options.resolver = folder_ + "/resolv.conf";
  }
  ~Names() override {
    sl_use(nullptr);
    for (const char* name : {"/hosts", "/resolv.conf"}) ::unlink((folder_ + name).c_str());
    ::rmdir(folder_.c_str());
  }
  void write(const std::string& name, const std::string& text) { std::ofstream(folder_ + "/" + name) << text; }

  // Answers so many questions over UDP; what was asked, as text.
  std::vector<std::string> serve(int udp, const std::vector<std::vector<Answer>>& script) {
    std::vector<std::string> asked;
    for (const auto& answers : script) {
      char room[600];
      sockaddr_in from{};
      socklen_t length = sizeof from;
      const ssize_t n = sl_recvfrom(udp, room, sizeof room, 0, reinterpret_cast<sockaddr*>(&from), &length);
      if (n < 0) break;
      const std::string query(room, static_cast<std::size_t>(n));
      ports_.insert(from.sin_port);
      ids_.insert(query.substr(0, 2));
      wire::dns::Reader reader({reinterpret_cast<const std::uint8_t*>(room), static_cast<std::size_t>(n)});
      if (reader.header()) asked.emplace_back(reader.question()->name.text());
      for (const Answer& answer : answers) {
        const std::string m = build(query, answer);
        (void)sl_sendto(udp, m.data(), m.size(), 0, generic(from), sizeof from);
      }
    }
    return asked;
  }
  int server_socket(int type) {
    const int fd = socket_of(*server_, type);
    const sockaddr_in local = address(kServerHost, kDomain);
    EXPECT_EQ(sl_bind(fd, generic(local), sizeof local), 0);
    if (type == SOCK_STREAM) {
      EXPECT_EQ(sl_listen(fd, 4), 0);
    }
    return fd;
  }

  // The addresses of a name with one space behind each, or the error.
  std::string look_up(const char* name, int flags = 0) {
    sl_use(client_->c_handle());
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = flags;
    addrinfo* found = nullptr;
    const int bad = sl_getaddrinfo(name, "80", &hints, &found);
    if (bad != 0)
      return std::string("error ") + (bad == EAI_NONAME ? "NONAME" : bad == EAI_AGAIN ? "AGAIN" : ::gai_strerror(bad));
    std::string text;
    for (const addrinfo* a = found; a != nullptr; a = a->ai_next) {
      sockaddr_in in{};
      memcpy(&in, a->ai_addr, sizeof in);
      EXPECT_EQ(ntohs(in.sin_port), 80);
      char host[INET_ADDRSTRLEN];
      text += ::inet_ntop(AF_INET, &in.sin_addr, host, sizeof host);
      text += ' ';
    }
    if (found->ai_canonname != nullptr) text += found->ai_canonname;
    sl_freeaddrinfo(found);
    return text;
  }

  std::string folder_;
  std::set<in_port_t> ports_;  // that questions came from
  std::set<std::string> ids_;  // that they had
};

TEST_F(Names, NumbersAndHosts) {
  EXPECT_EQ(look_up("10.1.2.3"), "10.1.2.3 ");
  EXPECT_EQ(look_up(nullptr), "127.0.0.1 ");
  EXPECT_EQ(look_up(nullptr, AI_PASSIVE), "0.0.0.0 ");
  EXPECT_EQ(look_up("localhost"), "127.0.0.1 ");
  EXPECT_EQ(look_up("Printer.Example."), "10.0.0.77 ");
  EXPECT_EQ(look_up("printer", AI_NUMERICHOST), "error NONAME");
  sl_use(client_->c_handle());
  const sockaddr_in known = address("10.0.0.77", 80);
  char host[64], service[64];
  ASSERT_EQ(sl_getnameinfo(generic(known), sizeof known, host, sizeof host, service, sizeof service, NI_NUMERICSERV),
            0);
  EXPECT_STREQ(host, "printer");
  EXPECT_STREQ(service, "80");
  ASSERT_EQ(sl_getnameinfo(generic(known), sizeof known, host, sizeof host, nullptr, 0, NI_NUMERICHOST), 0);
  EXPECT_STREQ(host, "10.0.0.77");
}

// (RFC5452-01): what does not answer our question is not looked at.
TEST_F(Names, TheAnswerToOurQuestion) {
  const int udp = server_socket(SOCK_DGRAM);
  const std::string wrong = a_record(kQuestion, "\x01\x01\x01\x01"), right = a_record(kQuestion, "\x0a\x01\x02\x03");
  Background server([&] {
    const auto asked = serve(udp, {{{.id_offset = 1, .records = {wrong}},
                                    {.other_question = true, .records = {wrong}},
                                    {.records = {right, right}}}});
    return asked == std::vector<std::string>{"www.test"} ? 0 : 1;
  });
  EXPECT_EQ(look_up("www.test"), "10.1.2.3 10.1.2.3 ");
  EXPECT_EQ(server.get(), (Outcome{0}));
}

TEST_F(Names, AliasesAreFollowed) {
  const int udp = server_socket(SOCK_DGRAM);
  const std::string target("\x04real\x04test\0", 11);
  Background server([&] {
    return serve(udp, {{{.records = {a_record(target, "\x0a\x01\x02\x04"), record(kQuestion, 5, target),
                                     a_record(std::string("\x05other\0", 7), "\x01\x01\x01\x01")}}}})
        .size();
  });
  EXPECT_EQ(look_up("www.test", AI_CANONNAME), "10.1.2.4 real.test");
  EXPECT_EQ(server.get(), (Outcome{1}));
}

// (RFC1035-03, RFC1035-04, RFC7766-01): a truncated answer is asked for again over TCP.
TEST_F(Names, TruncatedGoesOverTcp) {
  const int udp = server_socket(SOCK_DGRAM), tcp = server_socket(SOCK_STREAM);
  Background server([&] {
    (void)serve(udp, {{{.truncated = true}}});
    const int fd = sl_accept(tcp, nullptr, nullptr);
    char room[600];
    if (sl_recv(fd, room, 2, MSG_WAITALL) != 2) return 1;
    const std::size_t size = load_be16(reinterpret_cast<std::uint8_t*>(room));
    if (sl_recv(fd, room, size, MSG_WAITALL) != static_cast<ssize_t>(size)) return 2;
    Answer many;
    for (int i = 1; i <= 40; ++i)
      many.records.push_back(a_record(kQuestion, std::string("\x0a\x00\x01", 3) + static_cast<char>(i)));
    const std::string m = build(std::string(room, size), many);
    std::string framed{static_cast<char>(m.size() >> 8), static_cast<char>(m.size() & 0xff)};
    framed += m;
    const bool sent = sl_send(fd, framed.data(), framed.size(), 0) == static_cast<ssize_t>(framed.size());
    return sent && sl_close(fd) == 0 ? 0 : 3;
  });
  const std::string found = look_up("many.test");
  EXPECT_EQ(std::count(found.begin(), found.end(), ' '), 40);
  EXPECT_EQ(server.get(), (Outcome{0}));
}

// (RFC5452-02, RFC5452-03): each question has a port and an identification of its own.
TEST_F(Names, SearchAndFailures) {
  const int udp = server_socket(SOCK_DGRAM);
  std::vector<std::string> asked;
  Background server([&] {
    asked = serve(udp, {{{.flags = 0x83}},
                        {{.flags = 0x83}},
                        {{.records = {a_record(kQuestion, "\x0a\x01\x02\x05")}}},
                        {{.flags = 0x82}},
                        {{.flags = 0x82}}});
    return 0;
  });
  EXPECT_EQ(look_up("nowhere.test."), "error NONAME");
  EXPECT_EQ(look_up("a.test"), "10.1.2.5 ");  // as it is: no such name; then in the domain to be searched
  EXPECT_EQ(look_up("broken.test."), "error AGAIN");
  server.get();
  EXPECT_GT(ports_.size(), 1u);
  EXPECT_GT(ids_.size(), 1u);
  EXPECT_EQ(asked,
            (std::vector<std::string>{"nowhere.test", "a.test", "a.test.example", "broken.test", "broken.test"}));
}

// (RFC1035-05): nobody answers; it is asked again, and then no more.
TEST_F(Names, Silence) {
  const int udp = server_socket(SOCK_DGRAM);
  write("resolv.conf", std::string("nameserver ") + kServerHost + "\noptions timeout:1 attempts:1\n");
  EXPECT_EQ(look_up("silent.test."), "error AGAIN");
  char room[600];
  EXPECT_GT(sl_recv(udp, room, sizeof room, MSG_DONTWAIT), 0);
}

TEST_F(Names, OldCalls) {
  sl_use(client_->c_handle());
  const hostent* host = sl_gethostbyname("printer");
  ASSERT_NE(host, nullptr);
  EXPECT_EQ(host->h_addrtype, AF_INET);
  EXPECT_EQ(std::string(host->h_addr_list[0], 4), std::string("\x0a\x00\x00\x4d", 4));
  EXPECT_EQ(host->h_addr_list[1], nullptr);
  EXPECT_EQ(sl_gethostbyname("no such name"), nullptr);
  char ours[256], theirs[256];
  ASSERT_EQ(sl_gethostname(ours, sizeof ours), 0);
  ASSERT_EQ(::gethostname(theirs, sizeof theirs), 0);
  EXPECT_STREQ(ours, theirs);
}

TEST(ResolverConfig, AsTheManualSays) {
  const ResolverConfig c = parse_resolver_config(
      "; a comment\ndomain old.example\nsearch one.example two.example # rest\nnameserver 10.0.0.1\nnameserver ::1\n"
      "nameserver 10.0.0.2\nnameserver 10.0.0.3\nnameserver 10.0.0.4\noptions ndots:2 timeout:9999 attempts:3 "
      "rotate\n");
  ASSERT_EQ(c.servers.size(), 3u);
  EXPECT_EQ(c.servers[2].address.v4().value, 0x0a000003u);
  EXPECT_EQ(c.servers[0].port, 53);
  EXPECT_EQ(c.search, (std::vector<std::string>{"one.example", "two.example"}));
  EXPECT_EQ(c.ndots, 2);
  EXPECT_EQ(c.timeout, 30_s);
  EXPECT_EQ(c.attempts, 3);
}

}  // namespace
}  // namespace sluice::runtime_test
