// A very small shell: enough for lists of simple commands.
#include "drivers/packetdrill/commands.h"

#include <algorithm>
#include <array>
#include <cstdlib>

namespace sluice::packetdrill {
namespace {

// Puts the characters of a line together to words and commands.
class Splitter {
 public:
  std::vector<Command> run(std::string_view line);

 private:
  void end_word() {
    if (in_word_) current_.words.push_back(word_);
    word_.clear();
    in_word_ = false;
  }
  void end_command() {
    end_word();
    if (!current_.words.empty()) done_.push_back(current_);
    current_ = {};
  }
  void add(char c) {
    word_ += c;
    in_word_ = true;
  }

  std::vector<Command> done_;
  Command current_;
  std::string word_;
  bool in_word_ = false;
};

std::vector<Command> Splitter::run(std::string_view line) {
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    const char next = i + 1 < line.size() ? line[i + 1] : '\0';
    if (quote == 0 && c == '#' && !in_word_) {
      i = std::min(line.find('\n', i), line.size()) - 1;
      continue;
    }
    if (quote == 0 && c == '\\' && next == '\n') {
      end_word();
      current_.text += ' ';
      ++i;
      continue;
    }
    if (quote == 0 && (c == '\n' || c == ';' || (c == '&' && next == '&'))) {
      end_command();
      if (c == '&') ++i;
      continue;
    }
    current_.text += c;
    if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
      in_word_ = true;
    } else if (c == quote) {
      quote = 0;
    } else if (quote == 0 && (c == ' ' || c == '\t')) {
      end_word();
    } else {
      add(c);
    }
  }
  end_command();
  return std::move(done_);
}

std::string_view basename_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// "net.ipv4.tcp_sack", "net/ipv4/tcp_sack" and "/proc/sys/net/ipv4/tcp_sack" are one.
std::string sysctl_name(std::string_view word) {
  constexpr std::string_view kFolder = "/proc/sys/";
  if (word.starts_with(kFolder)) word.remove_prefix(kFolder.size());
  std::string name(word);
  std::replace(name.begin(), name.end(), '/', '.');
  return name;
}

// Names that the stack does not know are let pass: most do not matter to what a script tests.
void set_sysctls(Session& session, const Command& command) {
  for (const std::string& word : command.words) {
    const std::size_t equal = word.find('=');
    if (equal == std::string::npos || word.starts_with("-")) continue;
    const std::string name = sysctl_name(std::string_view(word).substr(0, equal));
    (void)session.apply_sysctl(name, std::string_view(word).substr(equal + 1));
    if (name == "net.ipv4.tcp_fastopen_cookies") session.forget_fast_open();  // of old kernels: their number
  }
}

// "echo VALUE > /proc/sys/..."
bool echo_to_kernel(Session& session, const Command& command) {
  const std::string& file = command.words.back();
  const std::string path = file.starts_with(">") ? file.substr(1) : file;
  if (!path.starts_with("/proc/") && !path.starts_with("/sys/")) return false;
  if (command.words.size() > 1) (void)session.apply_sysctl(sysctl_name(path), command.words[1]);
  return true;
}

// "tc qdisc add|replace dev D root fq": the discipline that paces; any other does not.
void set_discipline(Session& session, const Command& command) {
  const auto has = [&](std::string_view word) {
    return std::find(command.words.begin(), command.words.end(), word) != command.words.end();
  };
  if (!has("add") && !has("replace")) return;
  (void)session.apply_sysctl("net.ipv4.tcp_pacing", has("fq") ? "1" : "0");
}

// "ip route add|change|replace DESTINATION ... mtu [lock] N": of a route's metrics the MTU counts.
void set_route(Session& session, const Command& command) {
  const auto& words = command.words;
  if (words.size() < 4 || words[1] != "route") return;
  if (words[2] != "add" && words[2] != "change" && words[2] != "replace") return;
  auto mtu = std::find(words.begin() + 4, words.end(), "mtu");
  if (mtu == words.end() || ++mtu == words.end()) return;
  if (*mtu == "lock" && ++mtu == words.end()) return;
  const bool has_length = words[3].find('/') != std::string::npos;
  const auto destination = wire::parse_prefix(has_length ? words[3] : words[3] + "/32");
  const unsigned long bytes = std::strtoul(mtu->c_str(), nullptr, 10);
  if (!destination || bytes < 68 || bytes > 65535) return;
  session.set_route(*destination, static_cast<std::uint32_t>(bytes));
}

}  // namespace

std::vector<Command> split_commands(std::string_view line) {
  return Splitter().run(line);
}

bool run_command(Session& session, const Command& command) {
  // What these would change is not there: no offload, no filters, no counters of the kernel.
  constexpr std::array<std::string_view, 3> kWithoutEffect = {"nstat", "ethtool", "iptables"};
  const std::string_view program = basename_of(command.words.front());
  if (program == "sysctl" || program == "set_sysctls.py") return set_sysctls(session, command), true;
  if (program == "tc") return set_discipline(session, command), true;
  if (program == "defaults.sh") return session.reset_sysctls(), session.forget_fast_open(), true;
  if (program == "ip" && command.words.size() > 1 && command.words[1] == "tcp_metrics") {
    return session.forget_fast_open(), true;
  }
  if (program == "ip") return set_route(session, command), true;
  if (program.starts_with("sysctl_restore")) return true;
  if (program == "echo") return echo_to_kernel(session, command);
  return std::find(kWithoutEffect.begin(), kWithoutEffect.end(), program) != kWithoutEffect.end();
}

}  // namespace sluice::packetdrill
