// One throughput test at one end: its streams, and the report of each interval.
#pragma once

#include "apps/perf_report.h"
#include "apps/perf_streams.h"

namespace sluice::apps::perf {

inline Duration from_seconds(double s) {
  return Duration::nanos(static_cast<std::int64_t>(s * 1e9));
}

class Measurement {
 public:
  Measurement(Runtime& runtime, EventLoop& loop, Side side, Format format, const Parameters& parameters,
              double interval, std::function<void(const std::string&)> on_failure)
      : streams(runtime, loop, parameters, std::move(on_failure)),
        report(side, format, parameters),
        runtime_(runtime),
        loop_(loop),
        omit_(parameters.omit),
        interval_(interval) {}
  ~Measurement() { loop_.cancel(timer_); }
  Measurement(const Measurement&) = delete;
  Measurement& operator=(const Measurement&) = delete;

  // Intervals begin after what is omitted.
  void start() {
    report.begin(streams.ends());
    streams.start();
    started_ = runtime_.now() + from_seconds(omit_);
    report_later();
  }
  // A last interval that is short and empty is no news.
  void stop() {
    if (started_ == Instant::never()) return;
    streams.stop();
    loop_.cancel(timer_);
    const double since = (runtime_.now() - started_).to_seconds() - static_cast<double>(intervals_) * interval_;
    if (intervals_ == 0 || since > interval_ / 10) report.interval(streams.sample());
    started_ = Instant::never();
  }

  Streams streams;
  Report report;

 private:
  void report_later() {
    const Instant next = started_ + from_seconds(static_cast<double>(intervals_ + 1) * interval_);
    timer_ = loop_.after(next - runtime_.now(), [this] {
      report.interval(streams.sample());
      ++intervals_;
      report_later();
    });
  }

  Runtime& runtime_;
  EventLoop& loop_;
  double omit_;      // s
  double interval_;  // s
  Instant started_ = Instant::never();
  std::uint64_t intervals_ = 0;
  EventLoop::TimerId timer_ = 0;
};

}  // namespace sluice::apps::perf
