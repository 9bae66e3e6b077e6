// What all subcommands share: common options, opening the runtime, printing, statistics.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sluice/runtime.hpp"
#include "sluice/socket.hpp"

namespace sluice::apps {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitUnavailable = 77;  // the environment lacks something; the message names the remedy

struct Common {
  Options runtime;
  bool json = false;
  bool statistics = false;  // print counters at the end
};

// Opens the runtime or says why not; null then, and the exit code is kExitUnavailable.
std::unique_ptr<Runtime> open_runtime(const Common& common, Options::Threads threads);

// An IPv4 address in text; a message on stderr and false when it is none (there is no name resolution).
bool parse_host(const std::string& text, wire::Address& out);

// Counters and drops that are not zero, as a table or JSON, to stderr so that data on stdout stays clean.
void print_statistics(Runtime& runtime, bool json);

// SIGINT and SIGTERM end `loop`; SIGUSR1 prints the statistics.
void handle_signals(EventLoop& loop, Runtime& runtime, const Common& common);
// For blocking commands: true once SIGINT or SIGTERM has come.
void catch_interrupt();
bool interrupted();

// Keeps the stack going after the last close until what was sent is acknowledged, 5 s at most: when the process ends, its
// connections end with it.
void linger_until_sent(Runtime& runtime);

std::string describe(Errno error);

}  // namespace sluice::apps
