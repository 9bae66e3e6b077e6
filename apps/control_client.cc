#include "apps/control_client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>

namespace sluice::apps {

namespace {

constexpr timeval kPatience{10, 0};
constexpr std::size_t kLongestAnswer = std::size_t{256} << 20;  // bytes

struct Descriptor {
  int fd = -1;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

std::string reason() {
  return errno == EAGAIN ? "no answer" : strerror(errno);
}

bool connect_to(int fd, const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return errno = ENAMETOOLONG, false;
  memcpy(address.sun_path, path.data(), path.size());
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience);
  return ::connect(fd, static_cast<const sockaddr*>(static_cast<void*>(&address)), sizeof address) == 0;
}

}  // namespace

Result<Json, std::string> ask_control(const std::string& path, const std::string& request) {
  const Descriptor s{::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  if (!connect_to(s.fd, path)) {
    return fail("no running stack at '" + path + "': " + reason() + "; start one with --control " + path);
  }
  const std::string line = request + "\n";
  if (::send(s.fd, line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) return fail(reason());
  std::string answer;
  std::array<char, 65536> chunk;
  while (!answer.ends_with('\n') && answer.size() < kLongestAnswer) {
    const ssize_t n = ::recv(s.fd, chunk.data(), chunk.size(), 0);
    if (n < 0) return fail(reason());
    if (n == 0) break;
    answer.append(chunk.data(), static_cast<std::size_t>(n));
  }
  Json json = Json::parse(answer, nullptr, false);
  if (!json.is_object()) return fail(std::string("the answer is cut short or no JSON"));
  if (json.contains("error")) return fail(json["error"].get<std::string>());
  return json;
}

}  // namespace sluice::apps
