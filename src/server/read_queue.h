// Linearizable reads (Raft 6.4): all that wait at one moment share one ReadIndex round. While a round is under way the next
// one collects. A read runs when the state machine has caught up with the index of its round. Owner: core loop.
// Source: feature map R3.22; etcd linearizableReadLoop.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/status.h"
#include "server/request_id.h"

namespace server {

// Told ok: answer from the state machine as it is now; else: give this error.
class Reader {
 public:
  virtual ~Reader() = default;
  virtual void read(const base::Status& status) = 0;
};

class ReadQueue {
 public:
  static constexpr base::Duration kRetryAfter = std::chrono::milliseconds(500);

  explicit ReadQueue(RequestIds& ids) : ids_(ids) {}

  void add(std::unique_ptr<Reader> reader, base::Instant deadline);
  size_t size() const { return next_.size() + current_.size() + confirmed_.size(); }

  // The context of the ReadIndex request to send now, if one is due: a new round, or the same readers asked for again.
  // Empty: nothing to send.
  std::string take_request(base::Instant now);
  // The leader can answer now what it may have dropped before: the round under way is asked for again with the next
  // take_request().
  void ask_again();
  // An answer of Raft to any attempt of the round under way; those of earlier rounds are ignored. Whoever led then: a quorum
  // took it for the leader after the readers had come, so what it had committed is all they must see.
  void confirm(std::string_view context, base::Index index);
  void fail_all(const base::Status& status);
  // Runs the confirmed readers whose index is applied.
  void run(base::Index applied);
  // Ends the waits that are over.
  void expire(base::Instant now, const base::Status& status);
  // Answers that came too late or never, so far, and rounds that came to nothing.
  uint64_t slow() const { return slow_; }
  uint64_t failed() const { return failed_; }

 private:
  struct Waiting {
    std::unique_ptr<Reader> reader;
    base::Instant deadline;
  };
  static void fail(std::vector<Waiting> all, const base::Status& status);
  // How many were over.
  static size_t expire(std::vector<Waiting>& some, base::Instant now, const base::Status& status);

  RequestIds& ids_;
  std::vector<Waiting> next_;       // for the next round
  std::vector<Waiting> current_;    // asked for, not confirmed
  std::vector<Waiting> confirmed_;  // waiting for `confirmed_index_`
  base::Index confirmed_index_;
  uint64_t first_id_ = 0, current_id_ = 0;  // of the attempts of the round under way, or of the last one
  uint64_t slow_ = 0, failed_ = 0;
  base::Instant asked_at_{};
  bool ask_now_ = false;
};

}  // namespace server
