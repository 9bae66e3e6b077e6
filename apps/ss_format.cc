#include "apps/ss_format.h"

#include <stdio.h>

#include <algorithm>

namespace sluice::apps {

namespace {

std::uint64_t number(const Json& j, const char* name) {
  return j.value(name, std::uint64_t{0});
}

// Milliseconds as ss has them: no more digits than there are.
std::string millis(std::uint64_t micros) {
  char text[32];
  snprintf(text, sizeof text, "%g", static_cast<double>(micros) / 1000);
  return text;
}

class Line {
 public:
  explicit Line(const Json& from) : from_(from) {}
  void word(const std::string& text) { text_ += (text_.empty() ? "" : " ") + text; }
  void field(const char* label, const std::string& value) { word(std::string(label) + ":" + value); }
  // Left out when it is zero or not known.
  void count(const char* label, const char* name, std::uint64_t unit = 1) {
    const std::uint64_t value = number(from_, name) / unit;
    if (value != 0) field(label, std::to_string(value));
  }
  void time(const char* label, const char* name) {
    if (const std::uint64_t us = number(from_, name); us != 0) field(label, millis(us));
  }
  void flag(const char* label, const char* name) {
    if (from_.value(name, false)) word(label);
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  const Json& from_;
  std::string text_;
};

std::string rate(double bytes_per_second) {
  char text[32];
  snprintf(text, sizeof text, "%.0fbps", bytes_per_second * 8);
  return text;
}

// What was sent and received, and how fast.
void add_traffic(Line& line, const Json& c, std::uint64_t mss) {
  line.count("bytes_sent", "bytes_sent");
  line.count("bytes_retrans", "bytes_retransmitted");
  line.count("bytes_acked", "bytes_acked");
  line.count("bytes_received", "bytes_received");
  line.count("segs_out", "segments_sent");
  line.count("segs_in", "segments_received");
  line.count("data_segs_out", "data_segments_sent");
  line.count("data_segs_in", "data_segments_received");
  if (c.contains("srtt_us") && c.contains("cwnd")) {
    const double seconds = static_cast<double>(number(c, "srtt_us")) / 1e6;
    line.word("send " + rate(static_cast<double>(number(c, "cwnd")) / seconds));
  }
  line.count("lastsnd", "last_sent_us_ago", 1000);
  line.count("lastrcv", "last_received_us_ago", 1000);
  line.count("lastack", "last_ack_us_ago", 1000);
  if (const auto pacing = number(c, "pacing_rate"); pacing != 0)
    line.word("pacing_rate " + rate(static_cast<double>(pacing)));
  if (const auto delivery = number(c, "delivery_rate"); delivery != 0)
    line.word("delivery_rate " + rate(static_cast<double>(delivery)));
  line.count("delivered", "delivered", mss);
}

void add_losses(Line& line, const Json& c, std::uint64_t mss) {
  if (const auto flight = number(c, "flight"); flight != 0)
    line.field("unacked", std::to_string((flight + mss - 1) / mss));
  if (number(c, "retransmits") != 0) {
    const std::uint64_t outstanding = (number(c, "retransmitted") + mss - 1) / mss;
    line.field("retrans", std::to_string(outstanding) + "/" + std::to_string(number(c, "retransmits")));
  }
  line.count("lost", "lost", mss);
  line.count("sacked", "sacked", mss);
  line.flag("reord_seen", "reordering_seen");
}

}  // namespace

std::string ss_state(const std::string& state) {
  if (state == "ESTABLISHED") return "ESTAB";
  if (state == "SYN-RECEIVED") return "SYN-RECV";
  if (state == "UNCONNECTED" || state == "CLOSED") return "UNCONN";
  return state;
}

std::string ss_details(const Json& c) {
  Line line(c);
  const std::uint64_t mss = std::max<std::uint64_t>(number(c, "send_mss"), 1);
  line.flag("ts", "timestamps");
  line.flag("sack", "sack");
  line.flag("ecn", "ecn");
  line.flag("ecnseen", "ecn_seen");
  line.flag("accecn", "accurate_ecn");
  if (const std::string name = c.value("congestion", ""); !name.empty()) line.word(name);
  if (c.contains("send_scale"))
    line.field("wscale", std::to_string(number(c, "send_scale")) + "," + std::to_string(number(c, "receive_scale")));
  line.time("rto", "rto_us");
  line.count("backoff", "backoff");
  if (c.contains("srtt_us")) line.field("rtt", millis(number(c, "srtt_us")) + "/" + millis(number(c, "rttvar_us")));
  line.count("mss", "send_mss");
  line.count("pmtu", "path_mtu");
  line.count("rcvmss", "receive_mss");
  line.count("advmss", "advertised_mss");
  line.count("cwnd", "cwnd", mss);
  line.count("ssthresh", "ssthresh", mss);
  add_traffic(line, c, mss);
  add_losses(line, c, mss);
  line.count("notsent", "unsent");
  line.time("rcv_rtt", "receive_rtt_us");
  line.count("rcv_space", "receive_buffer");
  line.count("snd_wnd", "send_window");
  line.time("minrtt", "min_rtt_us");
  return line.text();
}

}  // namespace sluice::apps
