// How far what the user has queued has come, for who asks (SO_TIMESTAMPING): a mark for each call.
#include "stack/tcp/connection.h"

namespace sluice::tcp {

void Connection::report_progress() {
  if (user_ == nullptr || send_queue_.empty()) return;
  send_marks().reports.push_back({data_end()});
  tell_progress();
}

void Connection::tell_progress() {
  const Seq begin = data_base_ - static_cast<std::uint32_t>(bytes_acked_);  // of the stream
  const auto tell = [&](ConnectionUser::Progress what, const Mark& mark) {
    if (user_ != nullptr) user_->on_tcp_progress(what, mark.end - begin - 1, context_.now);
  };
  std::deque<Mark>& marks = send_marks_->reports;
  for (Mark& mark : marks) {
    if (mark.end > snd_max_) break;
    if (!mark.sent) tell(ConnectionUser::Progress::kSent, mark);
    mark.sent = true;
  }
  while (!marks.empty() && marks.front().end <= snd_una_) {
    tell(ConnectionUser::Progress::kAcknowledged, marks.front());
    marks.pop_front();
  }
}

}  // namespace sluice::tcp
