#include "server/force_new_cluster.h"

#include <algorithm>
#include <set>
#include <span>

#include "base/bytes.h"
#include "base/log.h"
#include "raft.pb.h"
#include "server/conf_state_json.h"
#include "server/membership.h"
#include "storage/keyspace.h"

namespace server {
namespace {

using base::Code;
using base::Index;
using base::NodeId;
using base::Result;
using base::Status;
using storage::Bucket;

// What etcd invents for a member that its own log does not know.
constexpr const char* kUnknownPeerUrl = "http://localhost:2380";

Result<std::optional<std::string>> read_meta(const storage::Engine& engine, std::string_view name) {
  std::string value;
  Result<bool> found = engine.get(storage::row_key(Bucket::kMeta, name), &value);
  if (!found.ok()) return found.status();
  return *found ? std::optional<std::string>(std::move(value)) : std::nullopt;
}

raft::ConfState of_snapshot(const storage::ConfState& from) {
  raft::ConfState to;
  to.voters = from.voters;
  to.learners = from.learners;
  return to;
}

void drop(std::vector<NodeId>* ids, NodeId id) { std::erase(*ids, id); }

void include(std::vector<NodeId>* ids, NodeId id) {
  if (std::count(ids->begin(), ids->end(), id) == 0) ids->push_back(id);
}

std::span<const storage::WalEntry> up_to(const std::vector<storage::WalEntry>& entries, Index last) {
  const auto end = std::find_if(entries.begin(), entries.end(), [last](const auto& entry) { return entry.index > last; });
  return {entries.begin(), end};
}

storage::WalEntry to_entry(const raft::ConfChange& change, base::Term term, Index index) {
  raftpb::ConfChange message;
  message.set_type(static_cast<raftpb::ConfChangeType>(change.type));
  message.set_node_id(change.node_id.value());
  if (!change.context.empty()) message.set_context(change.context);
  auto data = std::make_shared<const std::string>(message.SerializeAsString());
  return {term, index, storage::kEntryConfChange, std::move(data)};
}

}  // namespace

Result<raft::ConfState> conf_state_after(const raft::ConfState& state, Index applied,
                                         std::span<const storage::WalEntry> entries) {
  raft::ConfState out = state;
  for (const storage::WalEntry& entry : entries) {
    if (entry.type != storage::kEntryConfChange || entry.index <= applied) continue;
    raftpb::ConfChange change;
    if (entry.data == nullptr || !change.ParseFromString(*entry.data)) {
      return Status(Code::kDataLoss,
                    "the conf change entry " + std::to_string(entry.index.value()) + " of the log does not parse");
    }
    const NodeId id(change.node_id());
    switch (static_cast<raft::ConfChangeType>(change.type())) {
      case raft::ConfChangeType::kAddNode:
        drop(&out.learners, id);
        include(&out.voters, id);
        break;
      case raft::ConfChangeType::kAddLearnerNode:
        drop(&out.voters, id);
        include(&out.learners, id);
        break;
      case raft::ConfChangeType::kRemoveNode:
        drop(&out.voters, id);
        drop(&out.learners, id);
        break;
      case raft::ConfChangeType::kUpdateNode:
        break;
    }
  }
  return out;
}

std::vector<raft::ConfChange> changes_to_be_alone(const raft::ConfState& state, NodeId self) {
  std::vector<raft::ConfChange> out;
  const auto holds = [self](const std::vector<NodeId>& ids) { return std::count(ids.begin(), ids.end(), self) > 0; };
  // First, since a cluster is never without a voter.
  if (holds(state.learners)) {
    const std::string context = "{\"id\":" + std::to_string(self.value()) + ",\"peerURLs\":null,\"isPromote\":true}";
    out.push_back({0, raft::ConfChangeType::kAddNode, self, context});
  } else if (!holds(state.voters)) {
    Member member;
    member.id = self;
    member.peer_urls = {kUnknownPeerUrl};
    out.push_back({0, raft::ConfChangeType::kAddNode, self, member_json(member)});
  }
  std::set<NodeId> others(state.voters.begin(), state.voters.end());
  others.insert(state.learners.begin(), state.learners.end());
  others.erase(self);
  for (const NodeId id : others) out.push_back({0, raft::ConfChangeType::kRemoveNode, id, ""});
  return out;
}

Status force_new_cluster(DataDir* data) {
  storage::WalContents& log = data->log;
  Result<std::optional<std::string>> applied_row = read_meta(*data->engine, "consistent_index");
  if (!applied_row.ok()) return applied_row.status();
  Result<std::optional<std::string>> state_row = read_meta(*data->engine, "confState");
  if (!state_row.ok()) return state_row.status();
  std::string ignored;
  const Result<bool> removed =
      data->engine->get(storage::row_key(Bucket::kMembersRemoved, base::hex(data->self.value())), &ignored);
  if (!removed.ok()) return removed.status();
  if (*removed) {  // Real etcd dies of it later.
    return Status(Code::kFailedPrecondition,
                  "the member has been permanently removed from the cluster; its data directory "
                  "cannot become a new cluster: take that of another member, or a snapshot");
  }
  Index applied = data->snapshot.index;
  raft::ConfState state = of_snapshot(data->snapshot.conf_state);
  if (applied_row->has_value() && (*applied_row)->size() == sizeof(uint64_t) && state_row->has_value()) {
    applied = Index(base::load_be64((*applied_row)->data()));
    Result<raft::ConfState> parsed = parse_conf_state(**state_row);
    if (!parsed.ok()) return parsed.status();
    state = std::move(*parsed);
  }
  const Index commit_before = log.state.commit;
  // A commit index that moved without anything else is not synced: what the store has applied was committed.
  Index commit = std::max({commit_before, applied, data->snapshot.index});
  // Alone it needed nobody: what is in its log was acknowledged.
  Result<raft::ConfState> committed_state = conf_state_after(state, applied, up_to(log.entries, commit));
  if (!committed_state.ok()) return committed_state.status();
  if (committed_state->voters == std::vector<NodeId>{data->self} && !log.entries.empty()) {
    commit = std::max(commit, log.entries.back().index);
  }
  const auto uncommitted = std::find_if(log.entries.begin(), log.entries.end(),
                                        [&](const storage::WalEntry& entry) { return entry.index > commit; });
  if (uncommitted != log.entries.end()) {
    base::log::info("discarding uncommitted WAL entries",
                    {{"entry-index", uncommitted->index.value()},
                     {"commit-index-from-wal", commit.value()},
                     {"number-of-discarded-entries", static_cast<uint64_t>(log.entries.end() - uncommitted)}});
    log.entries.erase(uncommitted, log.entries.end());
  }
  Result<raft::ConfState> last_state = conf_state_after(state, applied, log.entries);
  if (!last_state.ok()) return last_state.status();
  std::vector<storage::WalEntry> forced;
  for (const raft::ConfChange& change : changes_to_be_alone(*last_state, data->self)) {
    commit = commit + 1;
    forced.push_back(to_entry(change, log.state.term, commit));
  }
  log.state.commit = commit;
  if (!forced.empty()) {
    storage::WalBatch batch;
    data->wal->encode(forced, log.state, &batch);
    if (Status written = data->wal->write(batch); !written.ok()) return written;
    log.entries.insert(log.entries.end(), forced.begin(), forced.end());
  }
  base::log::info("forcing restart member", {{"cluster-id", base::hex(data->cluster_id)},
                                             {"local-member-id", base::hex(data->self.value())},
                                             {"wal-commit-index", commit_before.value()},
                                             {"commit-index", commit.value()}});
  return {};
}

}  // namespace server
