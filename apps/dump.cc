// sluice dump: the packets of a capture, one line each, layer by layer, or as a ladder between hosts.
#include <ctype.h>
#include <stdio.h>

#include <map>
#include <string>

#include "apps/commands.h"
#include "drivers/pcap_file.h"
#include "stack/wire/printer.h"

namespace sluice::apps {

namespace {

void print_hex(Bytes bytes) {
  for (std::size_t at = 0; at < bytes.size(); at += 16) {
    printf("    %04zx  ", at);
    std::string text;
    for (std::size_t i = at; i < at + 16; ++i) {
      if (i >= bytes.size()) {
        printf("   ");
        continue;
      }
      printf("%02x ", bytes[i]);
      text += isprint(bytes[i]) != 0 ? static_cast<char>(bytes[i]) : '.';
    }
    printf(" %s\n", text.c_str());
  }
}

// Two columns, an arrow a packet. Runs of segments that only carry data or acknowledgements are folded into one line.
class Ladder {
 public:
  void add(double at, const wire::Summary& s) {
    if (s.source.empty()) return;
    if (left_.empty()) left_ = s.source;
    if (s.plain_data) {
      if (!folding_) start_fold(at, s);
      Flow& flow = flows_[s.source + (s.source == left_ ? ">" : "<")];
      ++flow.segments;
      flow.bytes += s.payload;
      from_left_[s.source == left_ ? 1 : 0] += s.payload;
      return;
    }
    end_fold();
    arrow(at, s.source == left_, s.what, s);
  }
  void finish() { end_fold(); }

 private:
  struct Flow {
    std::size_t segments = 0;
    std::size_t bytes = 0;
  };

  void header(const wire::Summary& s) {
    if (printed_header_ || s.source == s.destination) return;  // an announcement names one host only
    printed_header_ = true;
    const std::string right = s.source == left_ ? s.destination : s.source;
    printf("%10s  %-15s %46s %s\n", "", left_.c_str(), "", right.c_str());
  }
  void arrow(double at, bool to_right, const std::string& what, const wire::Summary& s) {
    header(s);
    constexpr std::size_t kWidth = 56;
    std::string line = " " + what.substr(0, kWidth - 6) + " ";
    const std::size_t dashes = kWidth - line.size();
    line = std::string(dashes / 2, '-') + line + std::string(dashes - dashes / 2, '-');
    printf("%10.6f  |%s%s%s|\n", at, to_right ? "" : "<", line.c_str(), to_right ? ">" : "");
  }
  void start_fold(double at, const wire::Summary& s) {
    header(s);
    folding_ = true;
    fold_at_ = at;
    flows_.clear();
    from_left_[0] = from_left_[1] = 0;
  }
  void end_fold() {
    if (!folding_) return;
    folding_ = false;
    std::size_t segments = 0;
    for (const auto& [name, flow] : flows_) segments += flow.segments;
    char text[80];
    snprintf(text, sizeof text, "%zu segments: %zu bytes ->, %zu bytes <-", segments, from_left_[1], from_left_[0]);
    printf("%10.6f  :%*s%-*s:\n", fold_at_, 4, "", 53, text);
  }

  std::string left_;
  bool printed_header_ = false;
  bool folding_ = false;
  double fold_at_ = 0;
  std::size_t from_left_[2] = {0, 0};
  std::map<std::string, Flow> flows_;
};

}  // namespace

int run_dump(const Common&, const DumpOptions& options) {
  auto opened = drivers::CaptureReader::open(options.file);
  if (!opened) {
    fprintf(stderr, "dump: %s\n", opened.error().message.c_str());
    return kExitFailed;
  }
  drivers::CaptureReader& reader = **opened;
  const auto layer = reader.medium() == link::Medium::kEthernet ? wire::Layer::kEthernet : wire::Layer::kIp;
  Ladder ladder;
  drivers::CaptureFrame frame;
  Instant start;
  for (std::uint64_t n = 0; (options.count == 0 || n < options.count) && reader.next(frame); ++n) {
    if (n == 0) start = frame.at;
    const double at = (frame.at - start).to_seconds();
    if (options.ladder) {
      ladder.add(at, wire::summarize(frame.bytes, layer));
      continue;
    }
    const std::string text =
        options.verbose ? wire::print_layers(frame.bytes, layer) : wire::print_line(frame.bytes, layer) + '\n';
    printf("%5llu %10.6f  %s", static_cast<unsigned long long>(n + 1), at, text.c_str());
    if (options.hex) print_hex(frame.bytes);
  }
  if (options.ladder) ladder.finish();
  if (reader.damage().empty()) return kExitOk;
  fprintf(stderr, "dump: %s: the file is damaged here: %s\n", options.file.c_str(), reader.damage().c_str());
  return kExitFailed;
}

}  // namespace sluice::apps
