// The control socket: other processes of this user ask a running stack what it has (docs/CONTROL.md). One line is a
// request, one line of JSON its answer. A thread of its own serves it, which sleeps until somebody asks and holds the
// stack only to copy what was asked for. Private to drivers/runtime.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sluice/runtime.hpp"

namespace sluice {

class ControlServer {
 public:
  // Fails when the path is too long or in use. What a stack that has crashed left there is replaced.
  static Result<std::unique_ptr<ControlServer>, Failure> open(const std::string& path, Runtime::Impl& runtime);
  ~ControlServer();  // removes the path
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

 private:
  struct Client {
    int fd = -1;
    std::string input;        // what has come of the next request
    std::string output;       // what is left of the answer
    std::size_t written = 0;  // of it
    Instant deadline;         // of the next sign of life
    bool last = false;        // closed after this answer
  };

  ControlServer(std::string path, int listener, int stop, Runtime::Impl& runtime);
  void serve();
  void accept_client();
  bool progress(Client& client, short events);  // false: it is to be closed
  bool read_request(Client& client);
  bool answer_requests(Client& client);
  bool write_answer(Client& client);

  std::string path_;
  int listener_;
  int stop_;  // an eventfd
  ino_t inode_ = 0;
  Runtime::Impl& runtime_;
  std::vector<Client> clients_;
  std::atomic<bool> stopping_{false};
  std::thread thread_;
};

}  // namespace sluice
