// Byte views and the error type of calls. Everything in stack/ speaks in these.
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

namespace sluice {

using Bytes = std::span<const std::uint8_t>;   // borrowed, read only
using MutableBytes = std::span<std::uint8_t>;  // borrowed, writable

// What a call of the user can fail with: the errno of the BSD call it serves.
enum class Errno : int {
  kOk = 0,
  kPerm = EPERM,
  kNoSuchFile = ENOENT,
  kIntr = EINTR,
  kIo = EIO,
  kBadFile = EBADF,
  kAgain = EAGAIN,
  kNoMemory = ENOMEM,
  kNoSuchAddress = ENXIO,
  kAccess = EACCES,
  kFault = EFAULT,
  kExist = EEXIST,
  kNoDevice = ENODEV,
  kInvalid = EINVAL,
  kTooManyFiles = EMFILE,
  kPipe = EPIPE,
  kNotSocket = ENOTSOCK,
  kDestinationRequired = EDESTADDRREQ,
  kMessageSize = EMSGSIZE,
  kProtocolType = EPROTOTYPE,
  kNoProtocolOption = ENOPROTOOPT,
  kProtocolNotSupported = EPROTONOSUPPORT,
  kSocketTypeNotSupported = ESOCKTNOSUPPORT,
  kNotSupported = EOPNOTSUPP,
  kFamilyNotSupported = EAFNOSUPPORT,
  kAddressInUse = EADDRINUSE,
  kAddressNotAvailable = EADDRNOTAVAIL,
  kNetworkDown = ENETDOWN,
  kNetworkUnreachable = ENETUNREACH,
  kConnectionAborted = ECONNABORTED,
  kConnectionReset = ECONNRESET,
  kNoBuffers = ENOBUFS,
  kIsConnected = EISCONN,
  kNotConnected = ENOTCONN,
  kTimedOut = ETIMEDOUT,
  kConnectionRefused = ECONNREFUSED,
  kHostDown = EHOSTDOWN,
  kHostUnreachable = EHOSTUNREACH,
  kAlready = EALREADY,
  kInProgress = EINPROGRESS,
  kProtocol = EPROTO,
};

}  // namespace sluice
