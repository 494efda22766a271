// Reads that wait for the proof that this leader still leads (Raft 6.4, ReadIndex). Every heartbeat carries the number of reads
// that came so far; an echo of it acknowledges all of them at once. Source of behaviour: etcd raft read_only.go (3.7).
#pragma once

#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "raft/quorum.h"
#include "raft/types.h"

namespace raft {

enum class ReadOnlyOption { kSafe, kLeaseBased };

// Reads that wait at a leader, local and forwarded. Over it new ones are dropped; who asked asks again.
inline constexpr size_t kReadsWaitingMax = 65536;

struct ReadRequest {
  NodeId from;                 // kNoNode: this member
  Index index;                 // committed when it came
  std::vector<Entry> entries;  // one; its data is the asker's
};

class ReadOnly {
 public:
  explicit ReadOnly(ReadOnlyOption option) : option_(option) {}

  ReadOnlyOption option() const { return option_; }
  // False: kReadsWaitingMax wait already.
  bool add(ReadRequest request);
  // `context`: as echoed by `from`; what is no position of ours is ignored.
  void acknowledge(NodeId from, std::string_view context);
  // The reads that a quorum has confirmed, oldest first; they are forgotten here.
  std::vector<ReadRequest> take_confirmed(const JointVoters& voters);
  // For heartbeats: u64 little-endian; empty if nothing waits.
  std::string heartbeat_context() const;
  void reset();

 private:
  ReadOnlyOption option_;
  std::map<NodeId, Index> acks_;     // positions, in the type that quorums count
  std::deque<ReadRequest> waiting_;  // positions confirmed_ + 1, ...
  uint64_t confirmed_ = 0;
};

}  // namespace raft
