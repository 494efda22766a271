// A group of Raft members in one thread whose every move a script commands: the interaction environment of etcd's own Raft
// tests (rafttest), with the same commands and the same words, so that its scripts run here. Ours may also use:
//   restart ID                           lose what is not saved, come back
//   read-index ID CONTEXT                ask for a read
//   report-snapshot ID ID failed=BOOL    the snapshot has arrived, or has not
//   add-nodes ... max-uncommitted-size=N max-size-per-msg=N disable-proposal-forwarding=BOOL
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "raft/memory_log.h"
#include "raft/raw_node.h"
#include "script/datadriven.h"

namespace raft::test {

// Collects log lines and what the commands print. At level none nothing is printed but errors.
class Output : public Logger {
 public:
  static constexpr int kNone = 5;

  bool enabled(LogLevel level) const override { return static_cast<int>(level) >= level_; }
  void write(LogLevel level, std::string_view text) override;
  void print(std::string_view text) {
    if (!quiet()) text_ += text;
  }

  bool quiet() const { return level_ == kNone; }
  int level() const { return level_; }
  void set_level(int level) { level_ = level; }
  std::string take() { return std::exchange(text_, {}); }
  void put_back(std::string before) { text_ = std::move(before); }

 private:
  std::string text_;
  int level_ = 0;
};

// The newest snapshot is always the state machine's state of now.
class MemberLog : public MemoryLog {
 public:
  explicit MemberLog(SnapshotPtr first) : newest_(std::move(first)) {}
  SnapshotPtr snapshot() const override { return newest_; }
  void add_snapshot(SnapshotPtr snapshot) { newest_ = std::move(snapshot); }

 private:
  SnapshotPtr newest_;
};

struct Member {
  std::unique_ptr<MemberLog> log;
  Config config;
  std::unique_ptr<RawNode> node;
  std::deque<Message> append_work;
  std::deque<Message> apply_work;
};

class Interaction {
 public:
  // What the command printed; "ok" if nothing.
  std::string handle(const script::Command& command);

 private:
  struct Recipient {
    NodeId id;
    bool drop = false;
  };
  using Failure = std::optional<std::string>;

  Failure run(const script::Command& command);
  Failure run_conf_change(const script::Command& command);
  Failure add_nodes(const script::Command& command);
  Failure deliver(const script::Command& command);
  Failure stabilize(const script::Command& command);
  Failure restart(Member& member);
  Failure set_level(std::string_view name);
  Failure compact(Member& member, Index index);
  Failure send_snapshot(size_t from, size_t to);
  void print_log(const Member& member);
  void print_roles();

  template <class Each>
  Failure for_each_node(const script::Command& command, const char* what, const Each& each);
  template <class Work>
  void indented(const Work& work);

  Failure process_ready(Member& member);
  Failure process_append(Member& member);
  Failure process_apply(Member& member);
  size_t deliver_to(const std::vector<Recipient>& recipients, std::optional<MessageType> type);
  bool has_messages_for(NodeId id) const;
  Failure save(Member& member, const HardState& state, const std::vector<Entry>& entries, const SnapshotPtr& snapshot);
  void apply(Member& member, const std::vector<Entry>& entries);

  Output output_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<Message> messages_;  // on the network
};

}  // namespace raft::test
