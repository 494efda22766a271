// Requests that wait for their entry to be applied: by request id, with one deadline each. No coroutine, no timer per request:
// deadlines are handed out in ascending order, so a queue of them is enough. Owner: core loop.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/status.h"

namespace server {

// What applying an entry gave: an error, or the response message without its header and the revision the header shows.
struct Outcome {
  base::Status status;
  int64_t revision = 0;
  std::string fields;
};

class Waiter {
 public:
  virtual ~Waiter() = default;
  // Called exactly once: with the outcome, or with the reason why there will be none to see.
  virtual void done(Outcome outcome) = 0;
  // Nobody will hear the outcome; asked of those that may wait for long.
  virtual bool abandoned() const { return false; }
};

class Waiters {
 public:
  // REQUIRES: an id not in use; `deadline` not before that of the last add.
  void add(uint64_t id, std::unique_ptr<Waiter> waiter, base::Instant deadline);
  // Null if nobody waits for `id` (another member proposed it, or the wait ended).
  std::unique_ptr<Waiter> take(uint64_t id) { return take(id, nullptr); }
  std::unique_ptr<Waiter> take(uint64_t id, base::Instant* deadline);
  // Ends the waits whose deadline is not after `now`; `reason` tells each why, from when it began.
  template <class Reason>
  void expire(base::Instant now, Reason reason);
  void fail_all(const base::Status& status);
  // Ends the waits whose waiters are abandoned(). O(size).
  void drop_abandoned(const base::Status& status);
  size_t size() const { return waiting_.size(); }
  bool contains(uint64_t id) const { return waiting_.contains(id); }

 private:
  void drop_finished();

  struct Deadline {
    base::Instant at;
    uint64_t id;
  };
  struct Waiting {
    std::unique_ptr<Waiter> waiter;
    base::Instant deadline;
  };
  absl::flat_hash_map<uint64_t, Waiting> waiting_;
  std::deque<Deadline> deadlines_;
};

template <class Reason>
void Waiters::expire(base::Instant now, Reason reason) {
  while (!deadlines_.empty() && deadlines_.front().at <= now) {
    const Deadline due = deadlines_.front();
    deadlines_.pop_front();
    if (std::unique_ptr<Waiter> waiter = take(due.id)) waiter->done({reason(due.at), 0, {}});
  }
}

}  // namespace server
