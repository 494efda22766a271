// Leases: who holds what until when. Told the time, never asks for it; told which keys hang on a lease, never looks at keys.
// Only the primary (the member that leads) lets leases expire, and never early: deadlines are in a heap and are only known
// here. Rows: bucket `lease`, key u64be id, value leasepb.Lease, in the batch of the entry that caused them. Owner: core loop.
// Source: wire-and-disk 5.6, 6.4; etcd server/lease. A lease costs about 150 bytes, a key on it 40 and its own length.
#pragma once

#include <absl/container/btree_set.h>
#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/status.h"

namespace storage {
class Backend;
class View;
}  // namespace storage

namespace lease {

using base::Duration;
using base::Instant;
using base::LeaseId;

inline constexpr int64_t kTtlSecondsMax = 9'000'000'000;
inline constexpr Duration kExpiredRetry = std::chrono::seconds(3);  // a revoke proposed and not seen applied is proposed again
inline constexpr size_t kRevokesPerSecond = 1000;                   // what promote() spreads a pile-up over

struct Options {
  int64_t ttl_seconds_min = 2;       // ceil(1.5 x election timeout)
  bool checkpoints = false;          // feature LeaseCheckpoint
  bool persist_checkpoints = false;  // feature LeaseCheckpointPersist, or cluster version >= 3.6
  Duration checkpoint_interval = std::chrono::minutes(5);
};

struct Info {
  LeaseId id;
  int64_t granted_ttl_s = 0;
  Duration remaining{0};  // rounded by the caller; negative: over, waiting for its revoke
};
struct Checkpoint {
  LeaseId id;
  int64_t remaining_ttl_s = 0;
};

// All leases and the keys on them, as the rows of one moment have them. Made on any thread, then handed to a lessor: a hundred
// thousand leases with a million keys take most of a second.
class LessorImage;

class Lessor {
 public:
  Lessor(storage::Backend& backend, Options options);
  ~Lessor();
  Lessor(const Lessor&) = delete;
  Lessor& operator=(const Lessor&) = delete;

  // Reads the rows; keys come back through attach() while the store recovers. Nobody is primary yet.
  base::Status recover();
  // Instead of all it knew, which it gives back: that takes its time to be destroyed. Nobody is primary.
  std::unique_ptr<LessorImage> restart(std::unique_ptr<LessorImage> image);

  // --- from the log: the same on every member -------------------------------------------------------------------------------
  // kNotFound for id 0 (etcd's answer), kOutOfRange above kTtlSecondsMax, kFailedPrecondition when it exists. Returns the TTL
  // that was granted: at least ttl_seconds_min.
  base::Result<int64_t> grant(LeaseId id, int64_t ttl_s, Instant now);
  // The keys on the lease in byte order; the caller deletes them in one transaction, then calls erase().
  // kNotFound `etcdserver: requested lease not found`.
  base::Result<std::vector<std::string>> keys(LeaseId id) const;
  void erase(LeaseId id);
  void checkpoint(LeaseId id, int64_t remaining_ttl_s, Instant now);

  // --- from the store -------------------------------------------------------------------------------------------------------
  bool exists(LeaseId id) const { return leases_.contains(id); }
  void attach(LeaseId id, std::string_view key);  // no effect on an unknown lease (rows of leases long gone)
  void detach(LeaseId id, std::string_view key);

  // --- the primary's business ------------------------------------------------------------------------------------------------
  // Becomes primary: every lease runs again for its TTL (or what the last checkpoint left) plus `extend`; more than
  // kRevokesPerSecond leases that would end together are spread.
  void promote(Instant now, Duration extend);
  void demote();
  bool is_primary() const { return primary_; }
  // The TTL, after starting it anew. kNotFound: unknown. kAborted: over, its revoke is on the way: ask again when it is gone.
  // kFailedPrecondition `not a primary lessor`.
  base::Result<int64_t> renew(LeaseId id, Instant now);
  // True if the last checkpoint left a remaining TTL that a renewal must clear through the log first.
  bool renewal_needs_checkpoint(LeaseId id) const;
  // At most `count_max` leases whose time is over, each at most once per kExpiredRetry. Empty unless primary.
  std::vector<LeaseId> expired(Instant now, size_t count_max);
  // Long leases whose remaining TTL is to be told to the followers now. Empty unless primary and the feature is on.
  std::vector<Checkpoint> due_checkpoints(Instant now, size_t count_max);
  // The earliest instant at which expired() or due_checkpoints() may have something; Instant::max() if never.
  Instant next_deadline() const;
  Instant next_checkpoint() const;

  // --- questions
  // --------------------------------------------------------------------------------------------------------------
  base::Result<Info> find(LeaseId id, Instant now) const;
  std::vector<Info> list(Instant now) const;  // by what remains, then by id
  std::vector<Info> unsorted(Instant now) const;
  size_t size() const { return leases_.size(); }
  int64_t ttl_seconds_min() const { return options_.ttl_seconds_min; }
  void set_persist_checkpoints(bool persist) { options_.persist_checkpoints = persist; }

 private:
  friend class LessorImage;
  struct Lease {
    int64_t ttl_s = 0;
    int64_t remaining_ttl_s = 0;      // of the last checkpoint; 0: none
    Instant expiry = Instant::max();  // max: never, not primary
    Instant checkpoint_at = Instant::max();
    absl::btree_set<std::string> keys;
  };
  using LeaseMap = absl::flat_hash_map<LeaseId, std::unique_ptr<Lease>>;
  // Heaps may hold more than one mark for a lease; only the one that agrees with the lease counts.
  struct Mark {
    Instant at;
    LeaseId id;
    friend bool operator>(const Mark& a, const Mark& b) { return a.at > b.at || (a.at == b.at && a.id > b.id); }
  };

  static void attach_in(LeaseMap& leases, LeaseId id, std::string_view key);
  void start(LeaseId id, Lease& lease, Instant now, Duration extend);
  void schedule_checkpoint(LeaseId id, Lease& lease, Instant now);
  void spread_pile_up(Instant now, Duration extend);
  void write(LeaseId id, const Lease& lease);
  void push(std::vector<Mark>& heap, Mark mark);
  Mark pop(std::vector<Mark>& heap);

  storage::Backend& backend_;
  Options options_;
  bool primary_ = false;
  LeaseMap leases_;
  std::vector<Mark> deadlines_;    // min-heap: expiry, or the retry of a revoke
  std::vector<Mark> checkpoints_;  // min-heap
};

class LessorImage {
 public:
  // kDataLoss: a row that is no lease. Keys come afterwards.
  static base::Result<std::unique_ptr<LessorImage>> read(const storage::View& view, int64_t ttl_seconds_min);
  void attach(LeaseId id, std::string_view key);  // as the lessor's

 private:
  friend class Lessor;
  Lessor::LeaseMap leases_;
};

// By what remains, then by id.
void sort_by_end(std::vector<Info>& leases);

}  // namespace lease
