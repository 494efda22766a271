#include "server/read_queue.h"

#include <algorithm>
#include <iterator>

#include "base/bytes.h"
#include "base/log.h"

namespace server {

void ReadQueue::add(std::unique_ptr<Reader> reader, base::Instant deadline) { next_.push_back({std::move(reader), deadline}); }

std::string ReadQueue::take_request(base::Instant now) {
  const bool again = !current_.empty();
  if (!again) {
    if (next_.empty()) return {};
    current_.swap(next_);
  } else if (ask_now_) {
    base::log::info("first commit in current term: resending ReadIndex request");
  } else if (now - asked_at_ < kRetryAfter) {
    return {};
  } else {
    base::log::warn("waiting for ReadIndex response took too long, retrying",
                    {{"sent-request-id", current_id_}, base::log::Field::duration("retry-timeout", kRetryAfter.count())});
  }
  current_id_ = ids_.next();
  if (!again) first_id_ = current_id_;
  asked_at_ = now;
  ask_now_ = false;
  std::string context;
  base::append_be64(context, current_id_);
  return context;
}

void ReadQueue::ask_again() { ask_now_ = !current_.empty(); }

void ReadQueue::confirm(std::string_view context, base::Index index) {
  if (context.size() != 8) return;
  const uint64_t id = base::load_be64(context.data());
  if (current_.empty() || id < first_id_ || id > current_id_) {
    if (id >= first_id_ && id <= current_id_) return;  // an attempt whose round another one has confirmed
    base::log::warn(
        "ignored out-of-date read index response; local node read indexes queueing up and waiting to be in sync with leader",
        {{"received-request-id", id}});
    ++slow_;
    return;
  }
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

void ReadQueue::fail_all(const base::Status& status) {
  if (!current_.empty()) ++failed_;
  fail(std::exchange(current_, {}), status);
  fail(std::exchange(confirmed_, {}), status);
  fail(std::exchange(next_, {}), status);
}

size_t ReadQueue::expire(std::vector<Waiting>& some, base::Instant now, const base::Status& status) {
  std::vector<Waiting> over;
  const auto first = std::stable_partition(some.begin(), some.end(), [&](const Waiting& w) { return w.deadline > now; });
  std::move(first, some.end(), std::back_inserter(over));
  some.erase(first, some.end());
  const size_t count = over.size();
  fail(std::move(over), status);
  return count;
}

void ReadQueue::expire(base::Instant now, const base::Status& status) {
  if (expire(current_, now, status) > 0) {
    base::log::warn("timed out waiting for read index response (local node might have slow network)");
    ++slow_;
  }
  expire(confirmed_, now, status);
  expire(next_, now, status);
}

}  // namespace server
