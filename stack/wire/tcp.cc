#include "stack/wire/tcp.h"

#include <algorithm>
#include <cassert>

#include "stack/base/byte_order.h"

namespace sluice::wire::tcp {
namespace {

constexpr std::uint8_t kProtocol = 6;

constexpr std::uint8_t kEndOfList = 0;
constexpr std::uint8_t kNoOperation = 1;
constexpr std::uint8_t kMss = 2;
constexpr std::uint8_t kWindowScale = 3;
constexpr std::uint8_t kSackPermitted = 4;
constexpr std::uint8_t kSack = 5;
constexpr std::uint8_t kTimestamps = 8;
constexpr std::uint8_t kMd5 = 19;
constexpr std::uint8_t kFastOpen = 34;
constexpr std::uint8_t kAccurateEcn0 = 172;  // (RFC9768-13)
constexpr std::uint8_t kAccurateEcn1 = 174;
constexpr std::uint8_t kExperiment = 254;  // RFC 6994: a number of 16 bits says which
constexpr std::uint16_t kFastOpenExperiment = 0xf989;

constexpr std::size_t kSackBlockSize = 8;

void read_sack(Bytes value, Options& options) {
  if (options.sack_count > 0 || value.size() % kSackBlockSize != 0) return;
  for (std::size_t i = 0; i < value.size() / kSackBlockSize && i < Options::kMaxSackBlocks; ++i) {
    const std::uint8_t* p = value.data() + i * kSackBlockSize;
    options.sack[i] = {load_be32(p), load_be32(p + 4)};
    ++options.sack_count;
  }
}

// (RFC7413-02)
void read_fast_open(FastOpenOption::Kind kind, Bytes cookie, FastOpenOption& option) {
  const bool fits = cookie.size() >= FastOpenOption::kLeastCookie && cookie.size() <= FastOpenOption::kMostCookie;
  if (option.present() || cookie.size() % 2 != 0 || (!fits && !cookie.empty())) return;
  option.kind = kind;
  option.size = static_cast<std::uint8_t>(cookie.size());
  std::copy(cookie.begin(), cookie.end(), option.cookie.begin());
}

// Up to three numbers of 24 bits (RFC9768-13).
void read_accurate_ecn(std::uint8_t kind, Bytes value, AccurateEcnOption& o) {
  if (o.present || value.size() % 3 != 0 || value.size() > 9) return;
  o.present = true;
  const bool reverse = kind == kAccurateEcn1;
  const std::array<std::uint32_t*, 3> order = {reverse ? &o.capable1 : &o.capable0, &o.congestion,
                                               reverse ? &o.capable0 : &o.capable1};
  constexpr std::array<std::uint8_t, 3> kBits = {AccurateEcnOption::kCapable0, AccurateEcnOption::kCongestion,
                                                 AccurateEcnOption::kCapable1};
  for (std::size_t i = 0; i < value.size() / 3; ++i) {
    const std::uint8_t* p = value.data() + 3 * i;
    *order[i] = static_cast<std::uint32_t>(p[0] << 16 | p[1] << 8 | p[2]);
    o.has |= kBits[reverse ? 2 - i : i];
  }
}

// The first ones up to the last that is there.
std::size_t counts_of(const AccurateEcnOption& o) {
  if ((o.has & AccurateEcnOption::kCapable1) != 0) return 3;
  return (o.has & AccurateEcnOption::kCongestion) != 0 ? 2 : (o.has & AccurateEcnOption::kCapable0) != 0 ? 1 : 0;
}

// A known option whose length is not its own is skipped like an unknown one.
void read_option(std::uint8_t kind, Bytes value, Options& options) {
  if (kind == kMss && value.size() == 2 && !options.has_mss) {
    options.has_mss = true;
    options.mss = load_be16(value.data());
  } else if (kind == kWindowScale && value.size() == 1 && !options.has_window_scale) {
    options.has_window_scale = true;
    options.window_scale = value[0];
  } else if (kind == kSackPermitted && value.empty()) {
    options.sack_permitted = true;
  } else if (kind == kTimestamps && value.size() == 8 && !options.has_timestamps) {
    options.has_timestamps = true;
    options.timestamps = {load_be32(value.data()), load_be32(value.data() + 4)};
  } else if (kind == kSack) {
    read_sack(value, options);
  } else if (kind == kAccurateEcn0 || kind == kAccurateEcn1) {
    read_accurate_ecn(kind, value, options.accurate_ecn);
  } else if (kind == kFastOpen) {
    read_fast_open(FastOpenOption::Kind::kStandard, value, options.fast_open);
  } else if (kind == kExperiment && value.size() >= 2 && load_be16(value.data()) == kFastOpenExperiment) {
    read_fast_open(FastOpenOption::Kind::kExperimental, value.subspan(2), options.fast_open);
  }
}

// The commonest option list by far: NOP, NOP, timestamps.
bool read_aligned_timestamps(Bytes b, Options& options) {
  constexpr std::uint32_t kHead = kNoOperation << 24 | kNoOperation << 16 | kTimestamps << 8 | 10;
  if (b.size() != 12 || load_be32(b.data()) != kHead) return false;
  options.has_timestamps = true;
  options.timestamps = {load_be32(b.data() + 4), load_be32(b.data() + 8)};
  return true;
}

class OptionWriter {
 public:
  explicit OptionWriter(std::uint8_t* at) : at_(at) {}
  void octets(std::initializer_list<std::uint8_t> list) {
    for (const std::uint8_t o : list) *at_++ = o;
  }
  void u16(std::uint16_t v) {
    store_be16(at_, v);
    at_ += 2;
  }
  void u32(std::uint32_t v) {
    store_be32(at_, v);
    at_ += 4;
  }

 private:
  std::uint8_t* at_;
};

void write_timestamps(OptionWriter& w, const Timestamps& t) {
  w.octets({kTimestamps, 10});
  w.u32(t.value);
  w.u32(t.echo);
}

// Kind, length and, of the experiment, its number.
std::size_t fast_open_head(const FastOpenOption& f) {
  return f.kind == FastOpenOption::Kind::kExperimental ? 4 : 2;
}

void write_fast_open(OptionWriter& w, const FastOpenOption& f) {
  const std::size_t size = fast_open_head(f) + f.size;
  w.octets({f.kind == FastOpenOption::Kind::kExperimental ? kExperiment : kFastOpen, static_cast<std::uint8_t>(size)});
  if (f.kind == FastOpenOption::Kind::kExperimental) w.u16(kFastOpenExperiment);
  for (std::size_t i = 0; i < f.size; ++i) w.octets({f.cookie[i]});
  if (size % 4 != 0) w.octets({kNoOperation, kNoOperation});
}

void write_accurate_ecn(OptionWriter& w, const AccurateEcnOption& o) {
  const std::array<std::uint32_t, 3> counts = {o.capable0, o.congestion, o.capable1};
  const std::size_t n = counts_of(o);
  w.octets({kAccurateEcn0, static_cast<std::uint8_t>(2 + 3 * n)});
  for (std::size_t i = 0; i < n; ++i) {
    w.octets({static_cast<std::uint8_t>(counts[i] >> 16), static_cast<std::uint8_t>(counts[i] >> 8),
              static_cast<std::uint8_t>(counts[i])});
  }
  for (std::size_t size = 2 + 3 * n; size % 4 != 0; ++size) w.octets({kNoOperation});
}

void write_sack(OptionWriter& w, const Options& o) {
  w.octets({kNoOperation, kNoOperation, kSack, static_cast<std::uint8_t>(2 + o.sack_count * kSackBlockSize)});
  for (std::size_t i = 0; i < o.sack_count; ++i) {
    w.u32(o.sack[i].left);
    w.u32(o.sack[i].right);
  }
}

void write_options(std::uint8_t* at, const Options& o) {
  OptionWriter w(at);
  if (o.md5_at != 0) {
    w.octets({kNoOperation, kNoOperation, kMd5, 2 + Options::kMd5Size});
    for (std::size_t i = 0; i < Options::kMd5Size; ++i) w.octets({0});
  }
  if (o.has_mss) {
    w.octets({kMss, 4});
    w.u16(o.mss);
  }
  // Of these two either pads the other to a word; alone it needs padding (RFC7323-38).
  if (o.sack_permitted != o.has_timestamps) w.octets({kNoOperation, kNoOperation});
  if (o.sack_permitted) w.octets({kSackPermitted, 2});
  if (o.has_timestamps) write_timestamps(w, o.timestamps);
  if (o.has_window_scale) w.octets({kNoOperation, kWindowScale, 3, o.window_scale});
  if (o.fast_open.present()) write_fast_open(w, o.fast_open);
  if (o.sack_count > 0) write_sack(w, o);
  if (o.accurate_ecn.present) write_accurate_ecn(w, o.accurate_ecn);
}

}  // namespace

Result<Segment, Drop> parse(Bytes l4, const Address& source, const Address& destination, ChecksumPolicy policy) {
  if (l4.size() < kHeaderSize) return fail(Drop::kTcpMalformed);
  const std::size_t header_size = static_cast<std::size_t>(l4[12] >> 4) * 4;
  if (header_size < kHeaderSize || header_size > l4.size()) return fail(Drop::kTcpMalformed);
  if (policy == ChecksumPolicy::kVerify &&
      Checksum::pseudo_header(source, destination, kProtocol, l4.size()).add(l4).finish() != 0) {
    return fail(Drop::kTcpChecksum);
  }
  Segment segment;
  segment.header = {.src_port = load_be16(l4.data()),
                    .dst_port = load_be16(l4.data() + 2),
                    .seq = load_be32(l4.data() + 4),
                    .ack = load_be32(l4.data() + 8),
                    .flags = Flags(l4[13]),
                    .ae = (l4[12] & 1) != 0,
                    .window = load_be16(l4.data() + 14),
                    .urgent = load_be16(l4.data() + 18)};
  segment.options = l4.subspan(kHeaderSize, header_size - kHeaderSize);
  segment.payload = l4.subspan(header_size);
  return segment;
}

Options parse_options(Bytes b) {
  Options options;
  if (b.empty() || read_aligned_timestamps(b, options)) return options;
  std::size_t i = 0;
  while (i < b.size() && b[i] != kEndOfList) {
    if (b[i] == kNoOperation) {
      ++i;
      continue;
    }
    if (i + 1 >= b.size() || b[i + 1] < 2 || i + b[i + 1] > b.size()) {
      options.malformed = true;
      break;
    }
    if (b[i] == kMd5 && b[i + 1] == 2 + Options::kMd5Size && options.md5_at == 0) {
      options.md5_at = static_cast<std::uint8_t>(i + 2);
    }
    read_option(b[i], b.subspan(i + 2, b[i + 1] - 2u), options);
    i += b[i + 1];
  }
  return options;
}

std::size_t options_size(const Options& o) {
  std::size_t n = 0;
  if (o.md5_at != 0) n += Options::kMd5At + Options::kMd5Size;
  if (o.has_mss) n += 4;
  if (o.has_timestamps) n += 12;
  if (o.sack_permitted && !o.has_timestamps) n += 4;
  if (o.has_window_scale) n += 4;
  if (o.sack_count > 0) n += 4 + o.sack_count * kSackBlockSize;
  if (o.fast_open.present()) n += (fast_open_head(o.fast_open) + o.fast_open.size + 3) / 4 * 4;
  if (o.accurate_ecn.present) n += (2 + 3 * counts_of(o.accurate_ecn) + 3) / 4 * 4;
  return n;
}

void emit(MutableBytes out, const Header& h, const Options& options, std::uint16_t checksum) {
  const std::size_t size = kHeaderSize + options_size(options);
  assert(out.size() >= size && size <= kMaxHeaderSize);
  store_be16(out.data(), h.src_port);
  store_be16(out.data() + 2, h.dst_port);
  store_be32(out.data() + 4, h.seq);
  store_be32(out.data() + 8, h.ack);
  out[12] = static_cast<std::uint8_t>(size / 4 << 4 | (h.ae ? 1 : 0));
  out[13] = h.flags.bits();
  store_be16(out.data() + 14, h.window);
  store_be16(out.data() + 16, checksum);
  store_be16(out.data() + 18, h.urgent);
  write_options(out.data() + kHeaderSize, options);
}

void store_checksum(MutableBytes header, std::uint16_t checksum) {
  store_be16(header.data() + kChecksumOffset, checksum);
}

void store_md5(MutableBytes header, std::span<const std::uint8_t, Options::kMd5Size> digest) {
  std::copy(digest.begin(), digest.end(), header.begin() + kHeaderSize + Options::kMd5At);
}

}  // namespace sluice::wire::tcp
