// The door to Raft for whoever owns the log, the network and the clock. Owner: one thread.
//
//   step(), tick(), propose()...  any number of times; then, while has_ready():
//   Ready ready = take_ready();   save ready.hard_state, ready.entries, ready.snapshot; send; apply ready.committed
//   advance();                    all of that is done
//
// A leader's `messages` may leave while its own save is under way (thesis 10.2.1); `messages_after_save` (votes and
// acknowledgements) only when it is done. With Config::async_storage_writes saving and applying are told by messages instead
// (kStorageAppend to kLocalAppendThread, kStorageApply to kLocalApplyThread, the last ones of `messages`): when the work of one
// is done its `responses` go to whom they name, those for this member through step(); advance() is not called, and take_ready()
// may be called again at once. A kStorageAppend carries a HardState in term, vote, commit (all 0: unchanged). With a snapshot
// in either form entries may come as well: they go behind it. Entries that overlap what is saved replace it and all that
// follows. Source of behaviour: etcd raft rawnode.go.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "raft/raft.h"
#include "raft/types.h"

namespace raft {

struct Ready {
  std::optional<SoftState> soft_state;  // if changed
  std::optional<HardState> hard_state;  // if changed; to save
  std::vector<Entry> entries;           // to save, before messages_after_save leave
  SnapshotPtr snapshot;                 // to save and to install; null: none
  std::vector<Entry> committed;         // to apply
  std::vector<Message> messages;
  std::vector<Message> messages_after_save;
  std::vector<ReadState> read_states;
  bool must_sync = false;  // false: the save needs no fsync (only the commit index moved)
};

struct BasicStatus {
  NodeId id;
  HardState hard_state;
  SoftState soft_state;
  Index applied;
  NodeId lead_transferee;  // 0: none
};

struct NodeStatus : BasicStatus {
  GroupConfig config;
  ProgressMap progress;  // leader only
};
std::string to_json(const NodeStatus& status);

class RawNode {
 public:
  // REQUIRES: config.validate().ok().
  explicit RawNode(const Config& config);

  void tick() { raft_.tick(); }
  // Start an election now.
  void campaign() { raft_.campaign(); }

  // Appends one entry for each; a follower forwards them. Error: kUnavailable, kProposalDropped: no leader, a transfer is under
  // way, or the uncommitted tail is over its limit. Ok promises nothing: look for the entry among the committed ones.
  base::Status propose(Data data);
  base::Status propose(std::vector<Data> batch);
  base::Status propose_conf_change(const ConfChange& change);
  base::Status propose_conf_change(const ConfChangeV2& change);
  // To be called for each committed entry of a conf change type, unless the change is refused.
  ConfState apply_conf_change(const ConfChange& change) { return raft_.apply_conf_change(as_v2(change)); }
  ConfState apply_conf_change(const ConfChangeV2& change) { return raft_.apply_conf_change(change); }
  // A fresh group of these members (type kAddNode or kAddLearnerNode, in the same order on every first member).
  // REQUIRES: an empty log.
  void bootstrap(const std::vector<ConfChange>& members);

  // A message from another member, or the response of a storage message. Errors: kInvalidArgument, kStepLocalMessage: its type
  // never crosses a network; kNotFound, kStepPeerNotFound: an answer of a stranger; those of propose(). `from` is believed: who
  // reads the network must refuse a message whose `from` is_local_target(), and one whose `to` is not this member.
  base::Status step(Message message);

  // The answer comes as a ReadState with the same context; or never: ask again. `context` must tell one request from another.
  void read_index(std::string context);
  void transfer_leader(NodeId to) { raft_.transfer_leader(to); }
  // A follower that knows better than its lease: it may vote again. Error: none known.
  base::Status forget_leader();
  void report_unreachable(NodeId id) { raft_.report_unreachable(id); }
  // A snapshot sent to `id` has arrived, or has not. Must be told, the leader waits for it.
  void report_snapshot(NodeId id, bool failed) { raft_.report_snapshot(id, failed); }

  bool has_ready() const;
  Ready take_ready();
  // REQUIRES: not async_storage_writes.
  void advance();

  BasicStatus basic_status() const;
  NodeStatus status() const;  // copies; not for the fast path
  const Raft& raft() const { return raft_; }
  Raft& raft_for_test() { return raft_; }

 private:
  void add_storage_messages(Ready& ready);
  void keep_steps_for_advance(Ready& ready);
  std::optional<Message> storage_append_response(const Ready& ready) const;
  bool apply_unstable() const { return !async_; }

  Raft raft_;
  const bool async_;
  SoftState last_soft_state_;
  HardState last_hard_state_;

  // What advance() will do.
  struct Pending {
    bool accepted = false;
    std::vector<Message> steps;  // acknowledgements to ourselves, then the end of the save
    Index applied;
    uint64_t applied_bytes = 0;
    uint64_t applied_payload = 0;
  };
  Pending pending_;
};

}  // namespace raft
