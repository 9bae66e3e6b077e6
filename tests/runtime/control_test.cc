// The control socket: what a running stack answers, with threads and in an event loop, and to those who ask for
// nonsense.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/runtime/two_runtimes.h"

namespace sluice::runtime_test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string socket_path() {
  return fs::temp_directory_path() / ("sluice-control" + std::to_string(::getpid()));
}

int connect_to(const std::string& path) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  path.copy(a.sun_path, sizeof a.sun_path - 1);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&a), sizeof a) == 0) return fd;
  ::close(fd);
  return -1;
}

void say(int fd, const std::string& text) {
  EXPECT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
}

// The next line, or what came before the end.
std::string line_from(int fd) {
  std::string line;
  for (char c = 0; c != '\n' && ::recv(fd, &c, 1, 0) == 1;) line += c;
  return line;
}

json answer_to(const std::string& request) {
  const int fd = connect_to(socket_path());
  say(fd, request + "\n");
  json answer = json::parse(line_from(fd), nullptr, false);
  ::close(fd);
  return answer;
}

class Control : public TwoRuntimes {
 protected:
  explicit Control(Options::Threads threads = Options::Threads::kThreads) { open_server(threads); }
  ~Control() override { server_.reset(); }

  void open_server(Options::Threads threads) {
    server_.reset();
    Options options;
    options.addresses = {"10.0.0.1/24"};
    options.gateway = "10.0.0.254";
    options.threads = threads;
    options.control = socket_path();
    auto opened = Runtime::open(options, link_.end(0));
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    server_ = std::move(*opened);
  }
};

TEST_F(Control, ShowsAConnectionAndItsListener) {
  const int listening = listener();
  const int client = connect_to_server();
  const int server = sl_accept4(listening, nullptr, nullptr, 0);
  ASSERT_EQ(sl_send(client, "hello", 5, 0), 5);
  (void)wait_for_events(server, POLLIN);
  const json tcp = answer_to("tcp").at("tcp");
  ASSERT_EQ(tcp.size(), 2u);
  const json& one = tcp[0].at("state") == "LISTEN" ? tcp[1] : tcp[0];
  const json& other = tcp[0].at("state") == "LISTEN" ? tcp[0] : tcp[1];
  EXPECT_EQ(one.at("state"), "ESTABLISHED");
  EXPECT_EQ(one.at("local"), "10.0.0.1:4000");
  EXPECT_EQ(one.at("recv_q"), 5);
  EXPECT_EQ(one.at("send_q"), 0);
  EXPECT_EQ(one.at("bytes_received"), 5);
  EXPECT_EQ(one.at("congestion"), "cubic");
  EXPECT_EQ(other.at("state"), "LISTEN");
  EXPECT_EQ(other.at("local"), "10.0.0.1:4000");
  EXPECT_EQ(other.at("recv_q"), 0);
  for (const int fd : {client, server, listening}) EXPECT_EQ(sl_close(fd), 0);
}

// Of a listener Recv-Q is what waits for accept(), Send-Q how much may.
TEST_F(Control, ShowsWhatWaitsForAccept) {
  const int listening = listener();
  EXPECT_EQ(sl_listen(listening, 7), 0);
  const int client = connect_to_server();
  (void)wait_for_events(listening, POLLIN);
  const json tcp = answer_to("tcp").at("tcp");
  json waiting;
  for (const json& c : tcp) {
    if (c.at("state") == "LISTEN") waiting = c;
  }
  EXPECT_EQ(waiting.at("recv_q"), 1);
  EXPECT_EQ(waiting.at("send_q"), 7);
  for (const int fd : {client, listening}) EXPECT_EQ(sl_close(fd), 0);
}

TEST_F(Control, ShowsPorts) {
  const int bound = socket_of(*server_, SOCK_DGRAM);
  const sockaddr_in here = address(kServerHost, 5353);
  ASSERT_EQ(sl_bind(bound, generic(here), sizeof here), 0);
  json udp = answer_to("udp").at("udp");
  ASSERT_EQ(udp.size(), 1u);
  EXPECT_EQ(udp[0].at("state"), "UNCONNECTED");
  EXPECT_EQ(udp[0].at("local"), "10.0.0.1:5353");
  const sockaddr_in there = address(kClientHost, 53);
  ASSERT_EQ(sl_connect(bound, generic(there), sizeof there), 0);
  udp = answer_to("udp").at("udp");
  EXPECT_EQ(udp[0].at("state"), "ESTABLISHED");
  EXPECT_EQ(udp[0].at("peer"), "10.0.0.2:53");
  EXPECT_EQ(sl_close(bound), 0);
}

TEST_F(Control, ShowsInterfacesRoutesNeighboursAndCounters) {
  const int listening = listener();
  const int client = connect_to_server();
  (void)wait_for_events(listening, POLLIN);
  const json interface = answer_to("interfaces").at("interfaces").at(0);
  EXPECT_EQ(interface.at("mtu"), 1500);
  EXPECT_EQ(interface.at("addresses"), json::array({"10.0.0.1/24"}));
  EXPECT_EQ(interface.at("mac").get<std::string>().size(), 17u);
  const json routes = answer_to("routes").at("routes");
  ASSERT_EQ(routes.size(), 2u);
  EXPECT_EQ(routes[0].at("destination"), "10.0.0.0/24");
  EXPECT_EQ(routes[1],
            (json{{"destination", "0.0.0.0/0"}, {"interface", 1}, {"dev", "sl1"}, {"gateway", "10.0.0.254"}}));
  const json neighbor = answer_to("neighbors").at("neighbors").at(0);
  EXPECT_EQ(neighbor.at("address"), "10.0.0.2");
  EXPECT_EQ(neighbor.at("mac").get<std::string>().size(), 17u);
  const json counters = answer_to("counters");
  EXPECT_EQ(counters.at("counters").size(), kCounterCount);
  EXPECT_EQ(counters.at("drops").size(), kDropCount);
  EXPECT_EQ(counters.at("counters").at("tcp.passive_opens"), 1);
  for (const int fd : {client, listening}) EXPECT_EQ(sl_close(fd), 0);
}

// A change is made before its answer comes; one that cannot be made changes nothing.
TEST_F(Control, ChangesAddresses) {
  EXPECT_EQ(answer_to("ip addr add 10.0.0.9/24 dev sl1"), (json{{"changed", true}}));
  const auto addresses = [] { return answer_to("interfaces").at("interfaces").at(0).at("addresses"); };
  EXPECT_EQ(addresses(), json::array({"10.0.0.1/24", "10.0.0.9/24"}));
  const int listening = socket_of(*server_, SOCK_STREAM);
  const int client = socket_of(*client_, SOCK_STREAM);
  const sockaddr_in there = address("10.0.0.9", kPort);
  EXPECT_EQ(sl_bind(listening, generic(there), sizeof there), 0);
  EXPECT_EQ(sl_listen(listening, 1), 0);
  EXPECT_EQ(sl_connect(client, generic(there), sizeof there), 0);
  EXPECT_EQ(answer_to("ip addr add 10.0.0.9/24"), (json{{"error", "10.0.0.9 is there already; `ip addr` shows all"}}));
  EXPECT_EQ(answer_to("ip a d 10.0.0.9"), (json{{"changed", true}}));
  EXPECT_EQ(addresses(), json::array({"10.0.0.1/24"}));
  for (const int fd : {client, listening}) EXPECT_EQ(sl_close(fd), 0);
}

TEST_F(Control, ManyRequestsOnOneConnectionInOnePiece) {
  const int fd = connect_to(socket_path());
  say(fd, "udp\nroutes\nud");
  EXPECT_TRUE(json::parse(line_from(fd)).contains("udp"));
  EXPECT_TRUE(json::parse(line_from(fd)).contains("routes"));
  say(fd, "p\n");
  EXPECT_TRUE(json::parse(line_from(fd)).contains("udp"));
  ::close(fd);
}

TEST_F(Control, NonsenseIsAnswered) {
  for (const std::string& request : {std::string("nonsense"), std::string(), std::string("\xff\0\"{", 4)}) {
    const json answer = answer_to(request);
    ASSERT_TRUE(answer.is_object()) << request;
    EXPECT_NE(answer.at("error").get<std::string>().find("there are: tcp udp"), std::string::npos);
  }
}

// Longer than any request: an answer, and the end.
TEST_F(Control, AnEndlessRequestEndsTheConnection) {
  const int fd = connect_to(socket_path());
  say(fd, std::string(300, 'x'));
  EXPECT_EQ(json::parse(line_from(fd)).at("error"), "the request is too long");
  EXPECT_EQ(line_from(fd), "");
  ::close(fd);
}

// A client that leaves, and one that never reads, keep nobody else from being served.
TEST_F(Control, OthersAreServedMeanwhile) {
  const int silent = connect_to(socket_path());
  const int deaf = connect_to(socket_path());
  for (int i = 0; i < 20; ++i) say(deaf, "counters\n");
  const int gone = connect_to(socket_path());
  say(gone, "counters\n");
  ::close(gone);
  EXPECT_TRUE(answer_to("udp").contains("udp"));
  ::close(silent);
  ::close(deaf);
}

TEST_F(Control, OnlyThisUserMayConnect) {
  struct stat s {};
  ASSERT_EQ(::stat(socket_path().c_str(), &s), 0);
  EXPECT_TRUE(S_ISSOCK(s.st_mode));
  EXPECT_EQ(s.st_mode & 0777, 0600u);
}

TEST_F(Control, ThePathOfARunningStackIsNotTaken) {
  Options options;
  options.addresses = {"10.0.0.3/24"};
  options.control = socket_path();
  drivers::MemoryLink link;
  const auto second = Runtime::open(options, link.add_port());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().message, "--control " + socket_path() + ": Address already in use");
  EXPECT_TRUE(answer_to("udp").contains("udp"));
}

TEST_F(Control, ThePathGoesWithTheStackAndAnAbandonedOneIsTaken) {
  server_.reset();
  EXPECT_FALSE(fs::exists(socket_path()));
  const int left = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  socket_path().copy(a.sun_path, sizeof a.sun_path - 1);
  ASSERT_EQ(::bind(left, reinterpret_cast<const sockaddr*>(&a), sizeof a), 0);
  ::close(left);
  open_server(Options::Threads::kThreads);
  EXPECT_TRUE(answer_to("udp").contains("udp"));
}

TEST_F(Control, AFileIsLeftAlone) {
  server_.reset();
  std::ofstream(socket_path()) << "precious";
  Options options;
  options.addresses = {"10.0.0.3/24"};
  options.control = socket_path();
  drivers::MemoryLink link;
  EXPECT_FALSE(Runtime::open(options, link.add_port()).has_value());
  EXPECT_EQ(fs::file_size(socket_path()), 8u);
  fs::remove(socket_path());
  options.control = std::string(200, 'x');
  EXPECT_FALSE(Runtime::open(options, link.add_port()).has_value());
}

class ControlOfALoop : public Control {
 protected:
  ControlOfALoop() : Control(Options::Threads::kEventLoop) {}
};

TEST_F(ControlOfALoop, AsksTheThreadThatRunsTheLoop) {
  EventLoop loop(*server_);
  json changed, answer;
  Background asking([&] {
    changed = answer_to("ip link set sl1 mtu 700");
    answer = answer_to("interfaces");
    loop.stop();
    return 0;
  });
  loop.run();
  EXPECT_EQ(asking.get(), Outcome{});
  EXPECT_EQ(changed, (json{{"changed", true}}));
  EXPECT_EQ(answer.at("interfaces").at(0).at("mtu"), 700);
}

TEST_F(ControlOfALoop, SaysWhenTheLoopDoesNotRun) {
  EXPECT_EQ(answer_to("udp").at("error"), "the program does not run its event loop at present");
}

}  // namespace
}  // namespace sluice::runtime_test
