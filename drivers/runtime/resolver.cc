// See resolver.h.
#include "drivers/runtime/resolver.h"

#include <poll.h>
#include <strings.h>
#include <sys/random.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

#include "sluice/socket.h"
#include "sluice/socket.hpp"
#include "stack/base/byte_order.h"

namespace sluice {

namespace dns = wire::dns;

namespace {

constexpr std::size_t kMostServers = 3;  // as resolv.conf(5) has it
constexpr int kMostAliases = 8;          // in a row
constexpr int kMostStrangers = 16;       // answers to something else, before the question goes over TCP
constexpr std::size_t kMaxMessage = 65535;

using Message = std::vector<std::uint8_t>;

// A socket of this thread's runtime, closed at the end.
class Socket {
 public:
  Socket(int type, const ip::Endpoint& server, Duration patience) : fd_(sl_socket(AF_INET, type, 0)) {
    const std::int64_t us = patience.to_micros();
    const timeval limit{us / 1'000'000, us % 1'000'000};
    (void)sl_setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    (void)sl_setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    sockaddr_in to{};
    socklen_t length = sizeof to;
    store_endpoint(server, net::generic(to), &length);
    connected_ = sl_connect(fd_, net::generic(to), sizeof to) == 0;
  }
  ~Socket() { (void)sl_close(fd_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  explicit operator bool() const { return connected_; }
  [[nodiscard]] int fd() const { return fd_; }

 private:
  int fd_;
  bool connected_;
};

// One question to one server. The answers of a connected socket come from its address and port; the port is the
// stack's to choose, and so as hard to guess as can be (RFC5452-02).
class Exchange {
 public:
  Exchange(const dns::Name& name, dns::Type type, const ip::Endpoint& server, Duration patience)
      : name_(name), type_(type), server_(server), patience_(patience) {
    (void)::getrandom(&id_, sizeof id_, 0);  // (RFC5452-03)
    size_ = dns::emit_query(query_, id_, name, type);
  }

  // The answer, whole; empty when none came.
  Message run() {
    Message answer = over_udp();
    const auto header = dns::Reader(answer).header();
    return strangers_ > kMostStrangers || (header && header->truncated) ? over_tcp() : answer;  // (RFC1035-03)
  }

 private:
  Message over_udp() {
    const Instant end = monotonic_now() + patience_;
    const Socket socket(SOCK_DGRAM, server_, patience_);
    if (!socket || sl_send(socket.fd(), query_.data(), size_, 0) < 0) return {};
    while (monotonic_now() < end && strangers_ <= kMostStrangers) {
      Message answer(kMaxMessage);
      const ssize_t n = sl_recv(socket.fd(), answer.data(), answer.size(), 0);
      if (n < 0) return {};
      answer.resize(static_cast<std::size_t>(n));
      if (answers_us(answer)) return answer;
      ++strangers_;
    }
    return {};
  }

  // (RFC1035-04, RFC7766-01)
  Message over_tcp() {
    const Socket socket(SOCK_STREAM, server_, patience_);
    std::array<std::uint8_t, 2> length{};
    store_be16(length.data(), static_cast<std::uint16_t>(size_));
    const std::array<iovec, 2> pieces{iovec{length.data(), length.size()}, iovec{query_.data(), size_}};
    if (!socket || sl_writev(socket.fd(), pieces.data(), 2) < 0) return {};
    if (sl_recv(socket.fd(), length.data(), length.size(), MSG_WAITALL) != 2) return {};
    Message answer(load_be16(length.data()));
    const ssize_t n = sl_recv(socket.fd(), answer.data(), answer.size(), MSG_WAITALL);
    return n == static_cast<ssize_t>(answer.size()) && answers_us(answer) ? answer : Message();
  }

  // Identification, name, type and class are ours (RFC5452-01).
  [[nodiscard]] bool answers_us(Bytes message) const {
    dns::Reader reader(message);
    const auto header = reader.header();
    if (!header || !header->response || header->opcode != 0 || header->id != id_ || header->questions != 1)
      return false;
    const auto question = reader.question();
    return question && question->name == name_ && question->klass == dns::kClassIn &&
           question->type == static_cast<std::uint16_t>(type_);
  }

  dns::Name name_;
  dns::Type type_;
  ip::Endpoint server_;
  Duration patience_;
  std::uint16_t id_ = 0;
  std::array<std::uint8_t, dns::kMaxQuery> query_{};
  std::size_t size_ = 0;
  int strangers_ = 0;
};

std::string text_of_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
}

// The lines of a file without their comments, in words.
std::vector<std::vector<std::string>> words_of(const std::string& text) {
  std::vector<std::vector<std::string>> all;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find_first_of("#;")));
    std::vector<std::string> row;
    for (std::string word; words >> word;) row.push_back(word);
    if (!row.empty()) all.push_back(std::move(row));
  }
  return all;
}

void take_resolver_option(ResolverConfig& config, const std::string& option) {
  const auto number = [&](std::string_view name, int most) {
    return option.starts_with(name) ? std::clamp(std::atoi(option.c_str() + name.size()), 0, most) : -1;
  };
  if (const int n = number("timeout:", 30); n > 0) config.timeout = Duration::seconds(n);
  if (const int n = number("attempts:", 5); n > 0) config.attempts = n;
  if (const int n = number("ndots:", 15); n >= 0) config.ndots = n;
}

// Asks one server after the other, and then more patiently again (RFC1035-05).
Result<Message, LookUp> ask(const ResolverConfig& config, const dns::Name& name, dns::Type type) {
  Duration patience = config.timeout;
  for (int round = 0; round < config.attempts; ++round, patience = patience * 2) {
    for (const ip::Endpoint& server : config.servers) {
      Message answer = Exchange(name, type, server, patience).run();
      const auto header = dns::Reader(answer).header();
      if (!header) continue;
      if (header->rcode == dns::kNameError) return fail(LookUp::kNoSuchName);
      if (header->rcode == dns::kNoError) return answer;
    }
  }
  return fail(LookUp::kNoAnswer);
}

// What an answer says of the name, through its aliases. `target`: of a PTR.
struct Found {
  dns::Name name;
  std::vector<wire::Ipv4Address> addresses;
  std::optional<dns::Name> target;
};
Found read_answer(Bytes message, const dns::Name& name) {
  dns::Reader reader(message);
  const auto header = reader.header();
  if (!header || !reader.question()) return {};
  std::vector<dns::Record> records;
  for (int i = 0; i < header->answers; ++i) {
    const auto record = reader.record();
    if (!record) break;
    if (record->klass == dns::kClassIn) records.push_back(*record);
  }
  Found found{name, {}, {}};
  const auto is = [](const dns::Record& r, dns::Type t) { return r.type == static_cast<std::uint16_t>(t); };
  for (int i = 0; i < kMostAliases; ++i) {
    const auto alias = std::ranges::find_if(
        records, [&](const dns::Record& r) { return r.name == found.name && is(r, dns::Type::kCname); });
    if (alias == records.end()) break;
    found.name = *alias->target;
  }
  for (const dns::Record& r : records) {
    if (!(r.name == found.name)) continue;
    if (is(r, dns::Type::kA) && r.data.size() == 4) found.addresses.push_back({load_be32(r.data.data())});
    if (is(r, dns::Type::kPtr)) found.target = r.target;
  }
  return found;
}

// The names to be tried for what the user wrote.
std::vector<std::string> candidates(const ResolverConfig& config, const std::string& name) {
  if (name.ends_with('.')) return {name};
  std::vector<std::string> all;
  for (const std::string& domain : config.search) all.push_back(name + "." + domain);
  const bool as_it_is = std::ranges::count(name, '.') >= config.ndots;
  all.insert(as_it_is ? all.begin() : all.end(), name);
  return all;
}

std::string text_of(const dns::Name& name) {
  return std::string(name.text());
}

}  // namespace

ResolverConfig parse_resolver_config(const std::string& text) {
  ResolverConfig config;
  for (const auto& row : words_of(text)) {
    if (row[0] == "nameserver" && row.size() > 1 && config.servers.size() < kMostServers) {
      constexpr std::uint16_t kPort = 53;
      const auto address = wire::parse_ipv4(row[1]);
      if (address) config.servers.push_back({*address, kPort});
    }
    if (row[0] == "search" || row[0] == "domain") config.search.assign(row.begin() + 1, row.end());
    if (row[0] != "options") continue;
    for (const std::string& option : row) take_resolver_option(config, option);
  }
  return config;
}

std::vector<wire::Ipv4Address> find_in_hosts(const std::string& text, std::string_view name) {
  std::vector<wire::Ipv4Address> found;
  const std::string wanted(name.ends_with('.') ? name.substr(0, name.size() - 1) : name);
  for (const auto& row : words_of(text)) {
    const auto address = wire::parse_ipv4(row[0]);
    const bool named = std::any_of(row.begin() + 1, row.end(), [&](const std::string& other) {
      return ::strcasecmp(other.c_str(), wanted.c_str()) == 0;
    });
    if (address && named) found.push_back(*address);
  }
  return found;
}

std::optional<std::string> find_in_hosts(const std::string& text, wire::Ipv4Address address) {
  for (const auto& row : words_of(text)) {
    const auto listed = wire::parse_ipv4(row[0]);
    if (row.size() > 1 && listed && *listed == address) return row[1];
  }
  return {};
}

Result<FoundHost, LookUp> look_up_name(const Options& options, const std::string& name) {
  if (auto found = find_in_hosts(text_of_file(options.hosts), name); !found.empty()) return FoundHost{name, found};
  const ResolverConfig config = parse_resolver_config(text_of_file(options.resolver));
  LookUp why = LookUp::kNoSuchName;
  for (const std::string& candidate : candidates(config, name)) {
    const auto wanted = dns::Name::from(candidate);
    if (!wanted) continue;
    const auto answer = ask(config, *wanted, dns::Type::kA);
    if (!answer) {
      if (answer.error() == LookUp::kNoAnswer) why = answer.error();
      continue;
    }
    Found found = read_answer(*answer, *wanted);
    if (!found.addresses.empty()) return FoundHost{text_of(found.name), std::move(found.addresses)};
  }
  return fail(why);
}

Result<std::string, LookUp> look_up_address(const Options& options, wire::Ipv4Address address) {
  if (auto name = find_in_hosts(text_of_file(options.hosts), address)) return *name;
  std::string reversed;
  for (int shift = 0; shift < 32; shift += 8) reversed += std::to_string(address.value >> shift & 0xff) + ".";
  const auto wanted = dns::Name::from(reversed + "in-addr.arpa");
  const auto answer = ask(parse_resolver_config(text_of_file(options.resolver)), *wanted, dns::Type::kPtr);
  if (!answer) return fail(answer.error());
  const Found found = read_answer(*answer, *wanted);
  if (!found.target) return fail(LookUp::kNoSuchName);
  return text_of(*found.target);
}

}  // namespace sluice
