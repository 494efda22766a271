#include "net/timer_queue.h"

#include "base/verify.h"

namespace net {

TimerQueue::TimerQueue(asio::io_context& loop, const base::Clock& clock) : clock_(clock), wait_(loop) {}

TimerQueue::~TimerQueue() { stop(); }

void TimerQueue::stop() {
  for (Timer* timer : heap_) timer->slot_ = Timer::kIdle;
  heap_.clear();
  wait_.cancel();
  scheduled_for_ = base::Instant::max();
}

void TimerQueue::place(Timer* timer, size_t slot) {
  heap_[slot] = timer;
  timer->slot_ = slot;
}

void TimerQueue::sift_up(size_t slot) {
  Timer* timer = heap_[slot];
  while (slot > 0) {
    const size_t parent = (slot - 1) / 2;
    if (heap_[parent]->when_ <= timer->when_) break;
    place(heap_[parent], slot);
    slot = parent;
  }
  place(timer, slot);
}

void TimerQueue::sift_down(size_t slot) {
  Timer* timer = heap_[slot];
  for (;;) {
    size_t child = 2 * slot + 1;
    if (child >= heap_.size()) break;
    if (child + 1 < heap_.size() && heap_[child + 1]->when_ < heap_[child]->when_) ++child;
    if (timer->when_ <= heap_[child]->when_) break;
    place(heap_[child], slot);
    slot = child;
  }
  place(timer, slot);
}

void TimerQueue::arm(Timer& timer, base::Instant when) {
  timer.when_ = when;
  if (!timer.armed()) {
    heap_.push_back(&timer);
    timer.slot_ = heap_.size() - 1;
  }
  sift_up(timer.slot_);
  sift_down(timer.slot_);
  if (heap_.front()->when_ < scheduled_for_) schedule();
}

void TimerQueue::disarm(Timer& timer) {
  if (!timer.armed()) return;
  const size_t slot = timer.slot_;
  VERIFY(heap_[slot] == &timer);
  timer.slot_ = Timer::kIdle;
  Timer* last = heap_.back();
  heap_.pop_back();
  if (last == &timer) return;
  place(last, slot);
  sift_up(slot);
  sift_down(last->slot_);
}

void TimerQueue::schedule() {
  scheduled_for_ = heap_.front()->when_;
  wait_.expires_at(scheduled_for_);
  wait_.async_wait([this](const asio::error_code& error) {
    if (error) return;  // Replaced by an earlier wait, or stopped.
    scheduled_for_ = base::Instant::max();
    run_due();
  });
}

void TimerQueue::run_due() {
  const base::Instant now = clock_.now();
  while (!heap_.empty() && heap_.front()->when_ <= now) {
    Timer* timer = heap_.front();
    disarm(*timer);
    timer->fire_(timer->owner_);
  }
  if (!heap_.empty() && heap_.front()->when_ < scheduled_for_) schedule();
}

}  // namespace net
