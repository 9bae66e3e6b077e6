// A descriptor of the kernel's, closed with its owner.
#pragma once

#include <unistd.h>

#include <utility>

namespace sluice::apps::run {

class KernelFd {
 public:
  KernelFd() = default;
  explicit KernelFd(int fd) : fd_(fd) {}
  ~KernelFd() { reset(); }
  KernelFd(KernelFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  KernelFd& operator=(KernelFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  [[nodiscard]] int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  void reset() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }

 private:
  int fd_ = -1;
};

}  // namespace sluice::apps::run
