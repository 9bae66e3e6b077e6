// The options of a stream socket, as socket(7), ip(7) and tcp(7) have them; see stream.h.
#include <algorithm>
#include <utility>

#include "stack/socket/stream.h"
#include "stack/tcp/cc/registry.h"

namespace sluice::socket {
namespace {

Switch to_switch(std::int64_t v) {
  return v != 0 ? Switch::kOn : Switch::kOff;
}
std::int64_t from_switch(Switch s) {
  return s == Switch::kOn ? 1 : 0;
}

constexpr std::int64_t kMinBuffer = 2304;  // as Linux: SO_RCVBUF has this floor, SO_SNDBUF twice it
constexpr std::int64_t kMaxBuffer = 64 << 20;

constexpr std::int64_t kMaxLinger2 = 120;     // s, as Linux
constexpr std::int64_t kMaxFastOpens = 4096;  // as Linux's somaxconn

// Between a time and how often a SYN or SYN-ACK is sent again in it: after 1, 2, 4 ... s.
Duration period_of(int retries) {
  constexpr Duration kLongest = 120_s;
  Duration wait = 1_s;
  Duration sum = wait;
  for (int i = 1; i < retries; ++i) {
    wait = std::min(wait * 2, kLongest);
    sum += wait;
  }
  return sum;
}
std::uint8_t retries_of(Duration time) {
  if (time <= Duration()) return 0;
  int retries = 1;
  while (retries < UINT8_MAX && period_of(retries) < time) ++retries;
  return static_cast<std::uint8_t>(retries);
}

}  // namespace

Status Stream::set_option(Option option, std::int64_t value) {
  if (option == Option::kReceiveLowWater) {
    const auto most = static_cast<std::int64_t>(tcp::receive_range(options(), config()).most / 2);  // as on Linux
    own().receive_low_water = static_cast<std::uint32_t>(value < 0 ? most : std::clamp<std::int64_t>(value, 1, most));
    return changed(), Status();
  }
  tcp::ConnectionOptions wanted = options();
  if (const Status taken = take_option(wanted, option, value); !taken) return taken;
  const Status done = apply(wanted);
  // Setting TCP_NODELAY also sends what is held back, corked or not, as on Linux.
  if (connection_ != nullptr && done && option == Option::kTcpNoDelay && value != 0) connection_->push();
  return done;
}

Status Stream::apply(const tcp::ConnectionOptions& wanted) {
  if (connection_ != nullptr) return connection_->set_options(wanted);
  static_cast<tcp::ConnectionOptions&>(*own_->options) = wanted;
  if (listener() != nullptr) listener()->set_options(wanted);
  return {};
}

// Sets of keys are shared by all that were accepted with them: a change makes another one.
Status Stream::set_md5_key(const tcp::Md5Key& key) {
  tcp::ConnectionOptions wanted = options();
  auto keys = std::make_shared<tcp::Md5Keys>();
  if (wanted.md5_keys != nullptr) *keys = *wanted.md5_keys;
  if (const Status done = keys->set(key); !done) return done;
  wanted.md5_keys.reset();
  if (!keys->empty()) wanted.md5_keys = std::move(keys);
  return apply(wanted);
}

Status Stream::take_option(tcp::ConnectionOptions& options, Option option, std::int64_t v) {
  const auto in_range = [v](std::int64_t low, std::int64_t high) { return v >= low && v <= high; };
  const Status bad = fail(Errno::kInvalid);
  switch (option) {
    case Option::kReuseAddress:
      return own().sharing.address = to_switch(v), Status();
    case Option::kReusePort:
      return own().sharing.port = to_switch(v), Status();
    case Option::kBroadcast:
      return {};  // without effect here, as on Linux
    case Option::kKeepAlive:
      return options.keep_alive = to_switch(v), Status();
    case Option::kUrgentInline:
      return options.urgent_inline = to_switch(v), Status();
    case Option::kLinger:
      options.linger = v >= 0 ? Switch::kOn : Switch::kOff;
      return options.linger_time = static_cast<std::uint16_t>(std::clamp<std::int64_t>(v, 0, UINT16_MAX)), Status();
    case Option::kZeroCopy:
      return in_range(0, 1) ? (options.zero_copy = to_switch(v), Status()) : bad;
    case Option::kSendBuffer:
      return options.send_buffer = static_cast<std::uint32_t>(std::clamp(v, 2 * kMinBuffer, kMaxBuffer)), Status();
    case Option::kReceiveBuffer:
      return options.receive_buffer = static_cast<std::uint32_t>(std::clamp(v, kMinBuffer, kMaxBuffer)), Status();
    case Option::kIpTtl:
      return in_range(-1, 255) && v != 0
                 ? (options.ttl = static_cast<std::uint8_t>(std::max<std::int64_t>(v, 0)), Status())
                 : bad;
    case Option::kIpTos:
      return in_range(0, 255) ? (options.tos = static_cast<std::uint8_t>(v), Status()) : bad;
    case Option::kIpMtuDiscover:
      return is_path_mtu_use(v) ? (options.path_mtu = static_cast<ip::PathMtuUse>(v), Status()) : bad;
    default:
      return take_tcp_option(options, option, v);
  }
}

Status Stream::take_tcp_option(tcp::ConnectionOptions& options, Option option, std::int64_t v) {
  const auto in_range = [v](std::int64_t low, std::int64_t high) { return v >= low && v <= high; };
  const Status bad = fail(Errno::kInvalid);
  switch (option) {
    case Option::kTcpNoDelay:
      return options.no_delay = to_switch(v), Status();
    case Option::kTcpCork:
      return options.cork = to_switch(v), Status();
    case Option::kTcpQuickAck:
      if (connection_ != nullptr) connection_->set_quick_ack(to_switch(v));
      return {};
    case Option::kTcpMaxSegment:
      return v == 0 || in_range(88, 32767) ? (options.max_segment = static_cast<std::uint32_t>(v), Status()) : bad;
    case Option::kTcpKeepIdle:
      return in_range(1, 32767) ? (options.keep_idle = static_cast<std::uint16_t>(v), Status()) : bad;
    case Option::kTcpKeepInterval:
      return in_range(1, 32767) ? (options.keep_interval = static_cast<std::uint16_t>(v), Status()) : bad;
    case Option::kTcpKeepCount:
      return in_range(1, 127) ? (options.keep_count = static_cast<std::uint8_t>(v), Status()) : bad;
    case Option::kTcpUserTimeout:
      return in_range(0, INT32_MAX) ? (options.user_timeout = static_cast<std::uint32_t>(v), Status()) : bad;
    case Option::kTcpSynCount:
      return in_range(1, 127) ? (options.syn_count = static_cast<std::uint8_t>(v), Status()) : bad;
    case Option::kTcpLinger2:
      return options.fin_wait2_time = static_cast<std::int16_t>(std::clamp<std::int64_t>(v, -1, kMaxLinger2)), Status();
    case Option::kTcpDeferAccept:
      return options.defer_accept = retries_of(Duration::seconds(v)), Status();
    case Option::kTcpNotsentLowWater:
      return options.notsent_low = static_cast<std::uint32_t>(v), Status();
    case Option::kTcpWindowClamp:
      if (v <= 0 && connection_ != nullptr) return bad;
      options.window_clamp = v <= 0 ? tcp::ConnectionOptions::kUnlimited
                                    : static_cast<std::uint32_t>(std::max<std::int64_t>(v, kMinBuffer / 2));
      return {};
    case Option::kMaxPacingRate:
      return in_range(INT32_MIN, UINT32_MAX) && v != 0
                 ? (options.max_pacing_rate = static_cast<std::uint32_t>(v), Status())
                 : bad;
    case Option::kTcpCongestion:
      if (!in_range(1, tcp::cc::count())) return fail(Errno::kNoProtocolOption);
      return options.congestion = static_cast<std::uint8_t>(v), Status();
    default:
      return take_fast_open_option(options, option, v);
  }
}

// Only before there is a connection (RFC7413-09: nobody gets it who has not asked).
Status Stream::take_fast_open_option(tcp::ConnectionOptions& options, Option option, std::int64_t v) {
  const bool is_switch = v == 0 || v == 1;
  switch (option) {
    case Option::kTcpFastOpen:
      if (v < 0 || connection_ != nullptr) return fail(Errno::kInvalid);
      own_->options->fast_open_limit = static_cast<std::uint32_t>(std::min<std::int64_t>(v, kMaxFastOpens));
      if (listener() != nullptr) listener()->set_fast_open_limit(own_->options->fast_open_limit);
      return {};
    case Option::kTcpFastOpenConnect:
      if (!is_switch) return fail(Errno::kInvalid);
      if (config().fast_open_client == Switch::kOff) return fail(Errno::kNotSupported);
      if (connection_ != nullptr || listener() != nullptr) return fail(Errno::kInvalid);
      return options.fast_open_connect = to_switch(v), Status();
    case Option::kTcpFastOpenNoCookie:
      if (!is_switch || connection_ != nullptr) return fail(Errno::kInvalid);
      return options.fast_open_no_cookie = to_switch(v), Status();
    default:
      return fail(Errno::kNoProtocolOption);
  }
}

Status Stream::set_fast_open_keys(const tcp::FastOpenKeys& keys) {
  if (connection_ != nullptr) return fail(Errno::kInvalid);
  own_->options->fast_open_keys = keys;
  if (listener() != nullptr) listener()->set_fast_open_keys(keys);
  return {};
}

Result<tcp::FastOpenKeys> Stream::fast_open_keys() const {
  const bool has_own = connection_ == nullptr && own_->options->fast_open_keys.count > 0;
  return has_own ? own_->options->fast_open_keys : config().fast_open_keys;
}

Result<std::int64_t> Stream::get_option(Option option) {
  const tcp::ConnectionOptions& o = options();
  switch (option) {
    case Option::kReuseAddress:
      return from_switch(own_ != nullptr ? own_->sharing.address : Switch::kOff);
    case Option::kReusePort:
      return from_switch(own_ != nullptr ? own_->sharing.port : Switch::kOff);
    case Option::kBroadcast:
      return std::int64_t{0};
    case Option::kKeepAlive:
      return from_switch(o.keep_alive);
    case Option::kUrgentInline:
      return from_switch(o.urgent_inline);
    case Option::kAtMark:
      return std::int64_t{connection_ != nullptr && connection_->bytes_to_mark() == 0};
    case Option::kLinger:
      return o.linger == Switch::kOn ? std::int64_t{o.linger_time} : std::int64_t{-1};
    case Option::kZeroCopy:
      return from_switch(o.zero_copy);
    case Option::kSendBuffer:
      return static_cast<std::int64_t>(connection_ != nullptr ? connection_->info().send_buffer
                                                              : tcp::send_range(o, config()).first);
    case Option::kReceiveBuffer:
      return static_cast<std::int64_t>(connection_ != nullptr ? connection_->info().receive_buffer
                                                              : tcp::receive_range(o, config()).first);
    case Option::kReceiveLowWater:
      return own_ != nullptr ? std::int64_t{own_->receive_low_water} : std::int64_t{1};
    case Option::kError:
      return static_cast<std::int64_t>(take_pending_error());
    case Option::kAcceptConnection:
      return std::int64_t{listener() != nullptr};
    case Option::kIpTtl:
      return o.ttl != 0 ? std::int64_t{o.ttl} : std::int64_t{64};
    case Option::kIpTos:
      return std::int64_t{o.tos};
    case Option::kIpMtuDiscover:
      return static_cast<std::int64_t>(o.path_mtu);
    default:
      return get_tcp_option(option);
  }
}

Result<std::int64_t> Stream::get_tcp_option(Option option) const {
  const tcp::ConnectionOptions& o = options();
  switch (option) {
    case Option::kTcpNoDelay:
      return from_switch(o.no_delay);
    case Option::kTcpCork:
      return from_switch(o.cork);
    case Option::kTcpQuickAck:
      return std::int64_t{connection_ == nullptr || connection_->info().quick_ack};
    case Option::kTcpMaxSegment:
      return connection_ != nullptr ? std::int64_t{connection_->info().send_mss}
                                    : std::int64_t{o.max_segment != 0 ? o.max_segment : 536};
    case Option::kTcpKeepIdle:
      return std::int64_t{o.keep_idle};
    case Option::kTcpKeepInterval:
      return std::int64_t{o.keep_interval};
    case Option::kTcpKeepCount:
      return std::int64_t{o.keep_count};
    case Option::kTcpUserTimeout:
      return std::int64_t{o.user_timeout};
    case Option::kTcpSynCount:
      return std::int64_t{o.syn_count != 0 ? o.syn_count : retries_of(config().r2_syn)};
    case Option::kTcpLinger2:
      if (o.fin_wait2_time != 0) return std::int64_t{o.fin_wait2_time};
      return config().fin_wait2_time.to_millis() / 1000;
    case Option::kTcpDeferAccept:
      return o.defer_accept != 0 ? period_of(o.defer_accept).to_millis() / 1000 : 0;
    case Option::kTcpNotsentLowWater:
      return std::int64_t{o.notsent_low};
    case Option::kTcpWindowClamp:
      return static_cast<std::int64_t>(std::min<std::size_t>(o.window_clamp, tcp::receive_range(o, config()).most));
    case Option::kMaxPacingRate:
      return std::int64_t{o.max_pacing_rate};
    case Option::kTcpFastOpen:
      if (listener() != nullptr) return std::int64_t{listener()->fast_open_limit()};
      return std::int64_t{connection_ == nullptr ? own_->options->fast_open_limit : 0};
    case Option::kTcpFastOpenConnect:
      return from_switch(o.fast_open_connect);
    case Option::kTcpFastOpenNoCookie:
      return from_switch(o.fast_open_no_cookie);
    case Option::kTcpCongestion:
      return std::int64_t{o.congestion != 0 ? o.congestion : config().congestion};
    default:
      return fail(Errno::kNoProtocolOption);
  }
}

}  // namespace sluice::socket
