// How far what the user has queued has come, for who asks (SO_TIMESTAMPING): a mark for each call.
#include "stack/tcp/connection.h"

namespace sluice::tcp {

void Connection::report_progress() {
  if (user_ == nullptr || send_queue_.empty()) return;
  if (marks_ == nullptr) marks_ = std::make_unique<std::deque<Mark>>();
  marks_->push_back({data_end()});
  tell_progress();
}

void Connection::tell_progress() {
  const Seq begin = data_base_ - static_cast<std::uint32_t>(bytes_acked_);  // of the stream
  const auto tell = [&](ConnectionUser::Progress what, const Mark& mark) {
    if (user_ != nullptr) user_->on_tcp_progress(what, mark.end - begin - 1, context_.now);
  };
  for (Mark& mark : *marks_) {
    if (mark.end > snd_max_) break;
    if (!mark.sent) tell(ConnectionUser::Progress::kSent, mark);
    mark.sent = true;
  }
  while (!marks_->empty() && marks_->front().end <= snd_una_) {
    tell(ConnectionUser::Progress::kAcknowledged, marks_->front());
    marks_->pop_front();
  }
  if (marks_->empty()) marks_ = nullptr;
}

}  // namespace sluice::tcp
