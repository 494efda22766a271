// Compares this member's data with the other members', by hashes asked over the peer ports: before the member serves (feature
// InitialCorruptCheck), from time to time (--corrupt-check-time), and at compacted revisions (feature CompactHashCheck). The
// leader raises the CORRUPT alarm through the log; a member that starts refuses to. What hashes mean is decided by pure
// functions. Owner: core loop. Source: wire-and-disk 3.8, 6.8; etcd server/etcdserver/corrupt.go.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/loop.h"
#include "base/status.h"
#include "mvcc/hash_cache.h"
#include "peer/fetch.h"
#include "server/maintainer.h"

namespace server {

class Node;

// What one member said when it was asked for the hash at a revision.
struct PeerHash {
  base::NodeId id;
  std::vector<std::string> endpoints;
  base::Result<HashAnswer> answer;
};

// The answer to GET /members/hashkv. Errors: compacted, future revision, cluster ID mismatch, as clients know them; else what
// the member said.
base::Result<HashAnswer> parse_hash_answer(const peer::Answer& answer);

// How many members have another hash at the same compaction. Logs what it sees.
int count_initial_mismatches(base::NodeId self, const HashAnswer& own, const std::vector<PeerHash>& peers);
// Whom to blame, nullopt: nobody. `own` was taken before the peers were asked, `later` when all they had answered with was
// applied here as well. Logs what it sees.
std::optional<base::NodeId> judge_periodic(base::NodeId self, const HashAnswer& own, const HashAnswer& later,
                                           const std::vector<PeerHash>& peers);
// Whom to blame for differing from the hash that a compaction left at the leader: all but the majority, or member 0 if there is
// none. `conclusive`: all were compared, or somebody is blamed; else an older hash may tell more. Logs what it sees.
struct CompactHashVerdict {
  bool conclusive = false;
  bool all_equal = false;  // and all were asked
  std::vector<base::NodeId> corrupt;
};
CompactHashVerdict judge_compact_hash(base::NodeId leader, const mvcc::KeyHash& own, const std::vector<PeerHash>& peers);

class CorruptionChecker {
 public:
  using Done = std::function<void(const base::Status&)>;
  explicit CorruptionChecker(Node& node) : node_(node) {}
  CorruptionChecker(const CorruptionChecker&) = delete;
  CorruptionChecker& operator=(const CorruptionChecker&) = delete;

  // Before Node::start(). kDataLoss: other members hold other data. Members that cannot be asked are no reason to refuse.
  void check_initially(Done done);
  void start();  // nothing, if the flags say so
  void stop();

 private:
  using Hashes = std::function<void(std::vector<PeerHash>)>;
  struct Question;
  void ask_peers(int64_t revision, Hashes done);
  void ask_endpoint(std::shared_ptr<Question> question, size_t peer, size_t endpoint);
  void wait_periodic();
  void check_periodically(Done done);
  void wait_compact_hash();
  void check_compact_hashes();
  void check_next_compact_hash(std::shared_ptr<std::vector<mvcc::KeyHash>> hashes, size_t next);
  void finish_compact_hashes(size_t checked);
  void raise_alarm(base::NodeId corrupt);

  Node& node_;
  base::TimerId periodic_timer_ = base::kNoTimer, compact_hash_timer_ = base::kNoTimer;
  base::Instant periodic_at_{};
  bool stopped_ = false;
  int64_t latest_revision_checked_ = 0;  // by compaction hash, on the whole cluster
};

}  // namespace server
