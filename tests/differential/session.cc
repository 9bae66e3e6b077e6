#include "tests/differential/session.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <sys/ioctl.h>
#include <time.h>

#include <linux/errqueue.h>  // needs time.h

#include <algorithm>
#include <cstring>
#include <iterator>

namespace sluice::differential {
namespace {

sockaddr_in address(const char* host, std::uint16_t port) {
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(port);
  ::inet_pton(AF_INET, host, &a.sin_addr);
  return a;
}
const sockaddr* generic(const sockaddr_in& a) {
  return reinterpret_cast<const sockaddr*>(&a);
}

std::string readable_bytes(std::string_view data) {
  constexpr std::size_t kShown = 24;
  std::string text = " \"";
  for (const char c : data.substr(0, kShown)) text += c >= ' ' && c <= '~' ? c : '.';
  return text + (data.size() > kShown ? "...\"" : "\"");
}

}  // namespace

std::string errno_name(int error) {
  const char* name = ::strerrorname_np(error);
  return name != nullptr ? name : std::to_string(error);
}

std::string events_name(short events) {
  constexpr struct {
    short bit;
    const char* name;
  } kNames[] = {{POLLIN, "IN"},   {POLLPRI, "PRI"},   {POLLOUT, "OUT"},    {POLLERR, "ERR"},
                {POLLHUP, "HUP"}, {POLLNVAL, "NVAL"}, {POLLRDHUP, "RDHUP"}};
  std::string text;
  for (const auto& n : kNames) {
    if ((events & n.bit) != 0) text += (text.empty() ? "" : "|") + std::string(n.name);
  }
  return text.empty() ? "nothing" : text;
}

Session::~Session() {
  for (const int fd : open_) {
    const linger now{1, 0};  // no TIME-WAIT is left to the next program
    (void)calls_.setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)calls_.close(fd);
  }
  calls_.settle();
}

long Session::record(const char* call, long value, std::string_view more) {
  const int error = errno;
  if (silent_) return value;
  std::string line = std::string(call) + ": " + (value < 0 ? errno_name(error) : std::to_string(value));
  lines_.push_back(line += more);
  return value;
}

std::string Session::name_of(const sockaddr_storage& storage, socklen_t length) {
  sockaddr_in a{};
  std::memcpy(&a, &storage, sizeof a);
  if (length != sizeof a) return " length " + std::to_string(length);
  if (a.sin_family != AF_INET) return " family " + std::to_string(a.sin_family);
  char host[INET_ADDRSTRLEN] = "";
  ::inet_ntop(AF_INET, &a.sin_addr, host, sizeof host);
  const std::uint16_t port = ntohs(a.sin_port);
  if (port == 0) return std::string(" ") + host + ":0";
  const auto number = ports_.try_emplace(port, static_cast<int>(ports_.size()) + 1).first->second;
  return std::string(" ") + host + ":port" + std::to_string(number);
}

int Session::socket(int domain, int type, int protocol) {
  const int fd = calls_.socket(domain, type, protocol);
  if (fd >= 0) open_.push_back(fd);
  record("socket", std::min(fd, 0));
  return fd;
}

int Session::accept(int fd, int flags) {
  calls_.settle();
  sockaddr_storage peer{};
  socklen_t length = sizeof peer;
  const int before = calls_.fcntl(fd, F_GETFL, 0);
  (void)calls_.fcntl(fd, F_SETFL, before | O_NONBLOCK);  // a call that would wait has nothing to wait for
  const int accepted = calls_.accept4(fd, reinterpret_cast<sockaddr*>(&peer), &length, flags);
  const int error = errno;
  (void)calls_.fcntl(fd, F_SETFL, before);
  errno = error;
  if (accepted >= 0) open_.push_back(accepted);
  record("accept", std::min(accepted, 0), accepted >= 0 ? name_of(peer, length) : "");
  return accepted;
}

long Session::close(int fd) {
  std::erase(open_, fd);
  const long closed = record("close", calls_.close(fd));
  calls_.settle();
  return closed;
}

long Session::bind(int fd, std::uint16_t port, const char* host) {
  const sockaddr_in a = address(host, port);
  return record("bind", calls_.bind(fd, generic(a), sizeof a));
}
long Session::listen(int fd, int backlog) {
  return record("listen", calls_.listen(fd, backlog));
}
long Session::connect(int fd, std::uint16_t port, const char* host) {
  calls_.settle();
  const sockaddr_in a = address(host, port);
  const long done = record("connect", calls_.connect(fd, generic(a), sizeof a));
  calls_.settle();
  return done;
}
long Session::disconnect(int fd) {
  sockaddr_in none{};
  none.sin_family = AF_UNSPEC;
  const long done = record("disconnect", calls_.connect(fd, generic(none), sizeof none));
  calls_.settle();
  return done;
}
long Session::shutdown(int fd, int how) {
  calls_.settle();
  const char* name = how == SHUT_RD ? "shutdown RD" : how == SHUT_WR ? "shutdown WR" : "shutdown RDWR";
  const long done = record(name, calls_.shutdown(fd, how));
  calls_.settle();
  return done;
}

long Session::send(int fd, std::string_view data, int flags) {
  calls_.settle();
  const long sent = record("send", calls_.sendto(fd, data.data(), data.size(), flags, nullptr, 0));
  calls_.settle();
  return sent;
}
long Session::send_size(int fd, std::size_t size, int flags) {
  calls_.settle();
  const std::string data(size, 'x');
  const long sent = record("send", calls_.sendto(fd, data.data(), data.size(), flags, nullptr, 0));
  calls_.settle();
  return sent;
}
long Session::send_to(int fd, std::uint16_t port, std::string_view data, int flags, const char* host) {
  const sockaddr_in a = address(host, port);
  const long sent = record("sendto", calls_.sendto(fd, data.data(), data.size(), flags, generic(a), sizeof a));
  calls_.settle();
  return sent;
}
long Session::send_pieces(int fd, std::size_t count, std::size_t each, std::uint16_t port) {
  std::string data(count * each, 'p');
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>('a' + i % 26);
  std::vector<iovec> pieces(count);
  for (std::size_t i = 0; i < count; ++i) pieces[i] = {data.data() + i * each, each};
  sockaddr_in a = address(kLoopback, port);
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = count;
  if (port != 0) message.msg_name = &a, message.msg_namelen = sizeof a;
  const long sent = record("sendmsg", calls_.sendmsg(fd, &message, 0));
  calls_.settle();
  return sent;
}

long Session::receive(int fd, std::size_t room, int flags) {
  calls_.settle();
  std::string data(room, '\0');
  const long got = calls_.recvfrom(fd, data.data(), room, flags, nullptr, nullptr);
  const std::size_t shown = std::min(room, static_cast<std::size_t>(std::max(got, 0L)));
  record("recv", got, got >= 0 ? readable_bytes(std::string_view(data).substr(0, shown)) : "");
  calls_.settle();
  return got;
}
long Session::receive_from(int fd, std::size_t room, int flags) {
  calls_.settle();
  std::string data(room, '\0');
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  const long got = calls_.recvfrom(fd, data.data(), room, flags, reinterpret_cast<sockaddr*>(&from), &length);
  return record("recvfrom", got, got >= 0 ? name_of(from, length) : "");
}
long Session::receive_message(int fd, std::span<const std::size_t> sizes, int flags) {
  calls_.settle();
  std::vector<std::string> room;
  std::vector<iovec> pieces;
  for (const std::size_t size : sizes) room.emplace_back(size, '-');
  for (std::string& r : room) pieces.push_back({r.data(), r.size()});
  msghdr message{};
  message.msg_iov = pieces.data();
  message.msg_iovlen = pieces.size();
  const long got = calls_.recvmsg(fd, &message, flags);
  std::string more;
  if (got >= 0) {
    for (const std::string& r : room) more += readable_bytes(r);
    more += " flags " + std::to_string(message.msg_flags & ~MSG_CMSG_CLOEXEC);
  }
  return record("recvmsg", got, more);
}

// Times are told apart only by whether there is one.
std::string Session::item_of(int level, int type, std::string_view bytes) {
  std::string text = " [" + std::to_string(level) + ":" + std::to_string(type);
  if (level == SOL_SOCKET && (type == SCM_TIMESTAMP || type == SO_TIMESTAMPNS)) return text + " time]";
  if (level == IPPROTO_IP && type == IP_PKTINFO) {
    if (bytes.size() < sizeof(in_pktinfo)) return text + " cut to " + std::to_string(bytes.size()) + "]";
    in_pktinfo info{};
    std::memcpy(&info, bytes.data(), sizeof info);
    char to[INET_ADDRSTRLEN] = "", own[INET_ADDRSTRLEN] = "";
    ::inet_ntop(AF_INET, &info.ipi_addr, to, sizeof to);
    ::inet_ntop(AF_INET, &info.ipi_spec_dst, own, sizeof own);
    return text + (info.ipi_ifindex == calls_.loopback_index ? " lo " : " elsewhere ") + to + " " + own + "]";
  }
  for (const char c : bytes) text += " " + std::to_string(static_cast<unsigned char>(c));
  return text + "]";
}

long Session::receive_told(int fd, std::size_t room, int flags) {
  calls_.settle();
  char data[64] = "";
  iovec piece{data, sizeof data};
  alignas(cmsghdr) char control[512] = "";
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = room;
  const long got = calls_.recvmsg(fd, &message, flags);
  std::string more = " flags " + std::to_string(message.msg_flags) + " room " + std::to_string(message.msg_controllen);
  const std::string_view all(control, message.msg_controllen);
  for (std::size_t at = 0; got >= 0 && at + sizeof(cmsghdr) <= all.size();) {
    cmsghdr header{};
    std::memcpy(&header, all.data() + at, sizeof header);
    if (header.cmsg_len < sizeof header || header.cmsg_len > all.size() - at) break;
    more += item_of(header.cmsg_level, header.cmsg_type, all.substr(at + CMSG_LEN(0), header.cmsg_len - CMSG_LEN(0)));
    at += CMSG_ALIGN(header.cmsg_len);
  }
  return record("recvmsg", got, got >= 0 ? more : "");
}

long Session::receive_error(int fd, std::size_t room) {
  calls_.settle();
  std::string data(room, '\0');
  iovec piece{data.data(), room};
  alignas(cmsghdr) char control[512] = "";
  sockaddr_storage name{};
  msghdr message{};
  message.msg_name = &name;
  message.msg_namelen = sizeof name;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const long got = calls_.recvmsg(fd, &message, MSG_ERRQUEUE);
  if (got < 0) return record("recvmsg of an error", got);
  data.resize(static_cast<std::size_t>(got));
  std::string more = readable_bytes(data) + " flags " + std::to_string(message.msg_flags);
  more += " of what went to" + name_of(name, message.msg_namelen);
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    struct {
      sock_extended_err error;
      sockaddr_in offender;
    } told{};
    const std::string_view bytes(reinterpret_cast<const char*>(CMSG_DATA(c)), c->cmsg_len - CMSG_LEN(0));
    if (c->cmsg_type != IP_RECVERR || bytes.size() != sizeof told) {
      more += item_of(c->cmsg_level, c->cmsg_type, bytes);
      continue;
    }
    std::memcpy(&told, bytes.data(), sizeof told);
    char from[INET_ADDRSTRLEN] = "";
    ::inet_ntop(AF_INET, &told.offender.sin_addr, from, sizeof from);
    more += " [" + errno_name(static_cast<int>(told.error.ee_errno));
    for (const unsigned n : {unsigned{told.error.ee_origin}, unsigned{told.error.ee_type}, unsigned{told.error.ee_code},
                             told.error.ee_info, told.error.ee_data, unsigned{told.offender.sin_family}}) {
      more += " " + std::to_string(n);
    }
    more += std::string(" ") + from + "]";
  }
  return record("recvmsg of an error", got, more);
}

// What a stack may choose in a header is not told: the identification, whether it may be cut, and so its checksum.
long Session::receive_packet(int fd, std::size_t room, int flags) {
  calls_.settle();
  std::string data(room, '\0');
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  const long got = calls_.recvfrom(fd, data.data(), room, flags, reinterpret_cast<sockaddr*>(&from), &length);
  if (got < 0) return record("recv of a packet", got);
  data.resize(std::min(room, static_cast<std::size_t>(got)));
  iphdr header{};
  if (data.size() < sizeof header) return record("recv of a packet", got, " short");
  std::memcpy(&header, data.data(), sizeof header);
  std::string more = " from" + name_of(from, length);
  for (const unsigned n : {unsigned{header.version}, unsigned{header.ihl}, unsigned{header.tos},
                           unsigned{ntohs(header.tot_len)}, unsigned{header.ttl}, unsigned{header.protocol}}) {
    more += " " + std::to_string(n);
  }
  for (const std::uint32_t address : {header.saddr, header.daddr}) {
    char text[INET_ADDRSTRLEN] = "";
    ::inet_ntop(AF_INET, &address, text, sizeof text);
    more += std::string(" ") + text;
  }
  return record("recv of a packet", got, more + readable_bytes(std::string_view(data).substr(sizeof header)));
}

long Session::send_told(int fd, std::uint16_t port, const Item& item, const char* host) {
  char byte = 'x';
  iovec piece{&byte, 1};
  sockaddr_in to = address(host, port);
  alignas(cmsghdr) char control[128] = "";
  msghdr message{};
  message.msg_name = &to;
  message.msg_namelen = sizeof to;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(item.bytes.size());
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = item.level;
  header->cmsg_type = item.type;
  header->cmsg_len = CMSG_LEN(item.bytes.size());
  std::memcpy(CMSG_DATA(header), item.bytes.data(), item.bytes.size());
  const long sent = record("sendmsg", calls_.sendmsg(fd, &message, 0));
  calls_.settle();
  return sent;
}

void Session::local_name(int fd) {
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  const int got = calls_.getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length);
  record("getsockname", got, got == 0 ? name_of(name, length) : "");
}
void Session::peer_name(int fd) {
  calls_.settle();
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  const int got = calls_.getpeername(fd, reinterpret_cast<sockaddr*>(&name), &length);
  record("getpeername", got, got == 0 ? name_of(name, length) : "");
}
void Session::poll(int fd, short events) {
  calls_.settle();
  pollfd p{fd, events, 0};
  const long ready = calls_.poll(&p, 1, 0);
  record("poll", ready, " " + events_name(p.revents));
}
void Session::error(int fd) {
  calls_.settle();
  int error = -1;
  socklen_t length = sizeof error;
  const int got = calls_.getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
  record("SO_ERROR", got, " " + (error == 0 ? "none" : errno_name(error)));
}

long Session::set(int fd, int level, int name, int value) {
  return record(("setsockopt " + std::to_string(value)).c_str(),
                calls_.setsockopt(fd, level, name, &value, sizeof value));
}
long Session::get(int fd, int level, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  const int got = calls_.getsockopt(fd, level, name, &value, &length);
  record("getsockopt", got, got == 0 ? " length " + std::to_string(length) + " value " + std::to_string(value) : "");
  return value;
}
long Session::set_bytes(int fd, int level, int name, const void* value, socklen_t length) {
  return record(("setsockopt of " + std::to_string(length) + " bytes").c_str(),
                calls_.setsockopt(fd, level, name, value, length));
}
long Session::get_bytes(int fd, int level, int name, socklen_t room) {
  std::vector<unsigned char> value(room + 1, 0xee);
  socklen_t length = room;
  const int got = calls_.getsockopt(fd, level, name, value.data(), &length);
  std::string more;
  if (got == 0) {
    more = " length " + std::to_string(length) + " bytes";
    for (socklen_t i = 0; i < std::min(length, room); ++i) more += " " + std::to_string(value[i]);
  }
  return record(("getsockopt into " + std::to_string(room) + " bytes").c_str(), got, more);
}

void Session::descriptor_flags(int fd) {
  const int flags = calls_.fcntl(fd, F_GETFL, 0);
  record(
      "F_GETFL", std::min(flags, 0),
      std::string(" access ") + std::to_string(flags & O_ACCMODE) + ((flags & O_NONBLOCK) != 0 ? " O_NONBLOCK" : ""));
}
long Session::readable(int fd) {
  calls_.settle();
  int bytes = -1;
  const int done = calls_.ioctl(fd, FIONREAD, &bytes);
  record("FIONREAD", done, done == 0 ? " " + std::to_string(bytes) + " bytes" : "");
  return bytes;
}
long Session::control(int fd, unsigned long request, int value) {
  calls_.settle();
  const int done = calls_.ioctl(fd, request, &value);
  return record("ioctl", done, done == 0 ? " value " + std::to_string(value) : "");
}
long Session::note(const char* call, const std::function<long(const Calls&)>& f) {
  calls_.settle();
  errno = 0;
  const long done = record(call, f(calls_));
  calls_.settle();
  return done;
}

std::uint16_t Session::port_of(int fd) {
  sockaddr_in name{};
  socklen_t length = sizeof name;
  (void)calls_.getsockname(fd, reinterpret_cast<sockaddr*>(&name), &length);
  return ntohs(name.sin_port);
}
std::uint16_t Session::deaf_port(int type) {
  silent_ = true;
  const int fd = socket(AF_INET, type);
  bind(fd);
  const std::uint16_t port = port_of(fd);
  if (type == SOCK_DGRAM) close(fd);  // bound, a datagram socket would take what comes
  silent_ = false;
  return port;
}
int Session::listening() {
  silent_ = true;
  const int fd = stream();
  bind(fd);
  listen(fd);
  silent_ = false;
  return fd;
}
Session::Pair Session::connected() {
  Pair p{};
  p.listener = listening();
  silent_ = true;
  p.client = stream();
  connect(p.client, port_of(p.listener));
  p.server = accept(p.listener);
  silent_ = false;
  return p;
}
Session::Pair Session::datagram_pair() {
  silent_ = true;
  Pair p{-1, datagram(), datagram()};
  bind(p.client);
  bind(p.server);
  connect(p.client, port_of(p.server));
  connect(p.server, port_of(p.client));
  silent_ = false;
  return p;
}
void Session::reset(int fd) {
  silent_ = true;
  const linger now{1, 0};
  set_bytes(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close(fd);
  silent_ = false;
}

}  // namespace sluice::differential
