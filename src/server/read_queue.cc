#include "server/read_queue.h"

#include <algorithm>
#include <iterator>

#include "base/bytes.h"

namespace server {

void ReadQueue::add(std::unique_ptr<Reader> reader, base::Instant deadline) { next_.push_back({std::move(reader), deadline}); }

std::string ReadQueue::take_request(base::Instant now) {
  if (current_.empty()) {
    if (next_.empty()) return {};
    current_.swap(next_);
  } else if (now - asked_at_ < kRetryAfter) {
    return {};
  }
  current_id_ = ids_.next();
  asked_at_ = now;
  std::string context;
  base::append_be64(context, current_id_);
  return context;
}

void ReadQueue::confirm(std::string_view context, base::Index index) {
  if (current_.empty() || context.size() != 8 || base::load_be64(context.data()) != current_id_) return;
  confirmed_index_ = std::max(confirmed_index_, index);
  std::move(current_.begin(), current_.end(), std::back_inserter(confirmed_));
  current_.clear();
}

void ReadQueue::run(base::Index applied) {
  if (confirmed_.empty() || applied < confirmed_index_) return;
  std::vector<Waiting> ready;
  ready.swap(confirmed_);
  for (Waiting& waiting : ready) waiting.reader->read(base::Status());
  if (confirmed_.empty()) {  // Keep the memory for the next round.
    ready.clear();
    confirmed_.swap(ready);
  }
}

void ReadQueue::fail(std::vector<Waiting> all, const base::Status& status) {
  for (Waiting& waiting : all) waiting.reader->read(status);
}

void ReadQueue::fail_round(const base::Status& status) { fail(std::exchange(current_, {}), status); }

void ReadQueue::fail_all(const base::Status& status) {
  fail_round(status);
  fail(std::exchange(confirmed_, {}), status);
  fail(std::exchange(next_, {}), status);
}

void ReadQueue::expire(std::vector<Waiting>& some, base::Instant now, const base::Status& status) {
  std::vector<Waiting> over;
  const auto first = std::stable_partition(some.begin(), some.end(), [&](const Waiting& w) { return w.deadline > now; });
  std::move(first, some.end(), std::back_inserter(over));
  some.erase(first, some.end());
  fail(std::move(over), status);
}

void ReadQueue::expire(base::Instant now, const base::Status& status) {
  expire(current_, now, status);
  expire(confirmed_, now, status);
  expire(next_, now, status);
}

}  // namespace server
