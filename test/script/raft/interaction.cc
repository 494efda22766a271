#include "script/raft/interaction.h"

#include <strings.h>
#include <algorithm>

#include "raft/describe.h"

namespace raft::test {

namespace {

constexpr const char* kLevels[] = {"DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"};

uint64_t number(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 10); }
bool truth(const std::string& text) { return text == "true"; }

uint64_t first_number(const script::Command& command) {
  VERIFY(!command.arguments.empty());
  return number(command.arguments.front().key);
}

// The arguments that stand alone, as places in the list of members.
std::vector<size_t> nodes_of(const script::Command& command) {
  std::vector<size_t> nodes;
  for (const script::Argument& argument : command.arguments) {
    if (argument.values.empty()) nodes.push_back(number(argument.key) - 1);
  }
  return nodes;
}

std::optional<std::string> failure(const base::Status& status) {
  if (status.ok()) return std::nullopt;
  return std::string(status.text());
}

bool is_local_delivery(const Message& m) { return m.from == m.to || is_local_target(m.from) || is_local_target(m.to); }

// Messages between threads of one member cannot be lost.
bool wanted(const Message& m, NodeId to, std::optional<MessageType> type, bool drop) {
  return m.to == to && !(drop && is_local_delivery(m)) && (!type.has_value() || m.type == *type);
}

}  // namespace

void Output::write(LogLevel level, std::string_view text) {
  print(std::string(kLevels[static_cast<int>(level)]) + " " + std::string(text) + "\n");
}

template <class Work>
void Interaction::indented(const Work& work) {
  std::string before = output_.take();
  work();
  const std::string inner = output_.take();
  for (size_t begin = 0; begin < inner.size();) {
    const size_t end = std::min(inner.find('\n', begin), inner.size());
    before += "  " + inner.substr(begin, end - begin) + "\n";
    begin = end + 1;
  }
  output_.put_back(std::move(before));
}

template <class Each>
Interaction::Failure Interaction::for_each_node(const script::Command& command, const char* what, const Each& each) {
  const std::vector<size_t> nodes = nodes_of(command);
  Failure failed;
  for (const size_t i : nodes) {
    if (nodes.size() > 1) {
      output_.print("> " + std::to_string(i + 1) + " " + what + "\n");
      indented([&] { failed = each(*members_[i]); });
    } else {
      failed = each(*members_[i]);
    }
    if (failed.has_value()) return failed;
  }
  return failed;
}

std::string Interaction::handle(const script::Command& command) {
  (void)output_.take();
  const Failure failed = run(command);
  if (failed.has_value()) {
    if (output_.quiet()) return *failed;
    output_.print(*failed);
  }
  std::string text = output_.take();
  return text.empty() ? "ok" : text;
}

Interaction::Failure Interaction::run(const script::Command& command) {
  const std::string& name = command.name;
  const auto is = [&name](const char* one) { return name == one; };
  if (is("_breakpoint")) return {};
  if (is("add-nodes")) return add_nodes(command);
  if (is("deliver-msgs")) return deliver(command);
  if (is("stabilize")) return stabilize(command);
  if (is("log-level")) return set_level(command.arguments.front().key);
  if (is("propose-conf-change")) return run_conf_change(command);
  if (is("process-ready")) {
    return for_each_node(command, "handling Ready", [this](Member& member) { return process_ready(member); });
  }
  if (is("process-append-thread")) {
    return for_each_node(command, "processing append thread", [this](Member& member) { return process_append(member); });
  }
  if (is("process-apply-thread")) {
    return for_each_node(command, "processing apply thread", [this](Member& member) { return process_apply(member); });
  }
  if (is("raft-state")) {
    print_roles();
    return {};
  }
  if (is("transfer-leadership")) {
    const size_t from = number(command.find("from")->values.front()) - 1;
    members_.at(from)->node->transfer_leader(NodeId(number(command.find("to")->values.front())));
    return {};
  }
  if (is("send-snapshot")) {
    const std::vector<size_t> nodes = nodes_of(command);
    return send_snapshot(nodes.at(0), nodes.at(1));
  }
  if (is("report-unreachable")) {
    const std::vector<size_t> nodes = nodes_of(command);
    if (nodes.size() != 2) return "must specify exactly two node indexes: node on which to report, and reported node";
    members_.at(nodes[0])->node->report_unreachable(members_.at(nodes[1])->config.id);
    return {};
  }
  static constexpr std::string_view kOneMember[] = {
      "campaign", "compact",       "raft-log",        "set-randomized-election-timeout",
      "status",   "tick-election", "tick-heartbeat",  "forget-leader",
      "propose",  "read-index",    "report-snapshot", "restart"};
  if (std::find(std::begin(kOneMember), std::end(kOneMember), name) == std::end(kOneMember)) return "unknown command";

  Member& member = *members_.at(first_number(command) - 1);
  RawNode& node = *member.node;
  if (is("campaign")) node.campaign();
  if (is("compact")) return compact(member, Index(number(command.arguments.at(1).key)));
  if (is("raft-log")) print_log(member);
  if (is("set-randomized-election-timeout")) {
    const int ticks = static_cast<int>(number(command.find("timeout")->values.front()));
    node.raft_for_test().set_randomized_election_timeout_for_test(ticks);
  }
  if (is("status")) output_.print(describe(node.status().progress));
  const int ticks = is("tick-election")    ? member.config.election_ticks
                    : is("tick-heartbeat") ? member.config.heartbeat_ticks
                                           : 0;
  for (int i = 0; i < ticks; ++i) node.tick();
  if (is("forget-leader")) (void)node.forget_leader();
  if (is("read-index")) node.read_index(command.arguments.at(1).key);
  if (is("report-snapshot")) {
    node.report_snapshot(NodeId(number(command.arguments.at(1).key)), truth(command.find("failed")->values.front()));
  }
  if (is("restart")) return restart(member);
  if (is("propose")) return failure(node.propose(std::make_shared<const std::string>(command.arguments.at(1).key)));
  return {};
}

Interaction::Failure Interaction::run_conf_change(const script::Command& command) {
  RawNode& node = *members_.at(first_number(command) - 1)->node;
  bool v1 = false;
  ConfChangeV2 change;
  for (const script::Argument& argument : command.arguments) {
    for (const std::string& value : argument.values) {
      if (argument.key == "v1") {
        v1 = truth(value);
      } else if (argument.key != "transition") {
        return "unknown command " + argument.key;
      } else if (value == "implicit") {
        change.transition = ConfChangeTransition::kJointImplicit;
      } else if (value == "explicit") {
        change.transition = ConfChangeTransition::kJointExplicit;
      } else if (value != "auto") {
        return "unknown transition " + value;
      }
    }
  }
  base::Result<std::vector<ConfChangeSingle>> changes = changes_from_string(command.input);
  if (!changes.ok()) return failure(changes.status());
  change.changes = std::move(*changes);
  if (!v1) return failure(node.propose_conf_change(change));
  if (change.changes.size() != 1 || change.transition != ConfChangeTransition::kAuto) {
    return "v1 conf change can only have one operation and no transition";
  }
  return failure(node.propose_conf_change(ConfChange{0, change.changes.front().type, change.changes.front().node_id, {}}));
}

Interaction::Failure Interaction::add_nodes(const script::Command& command) {
  Snapshot snapshot;
  Config config;
  config.election_ticks = 3;
  config.heartbeat_ticks = 1;
  config.message_bytes_max = kNoLimit;
  config.inflight_messages_max = INT32_MAX;
  config.logger = &output_;
  for (const script::Argument& argument : command.arguments) {
    for (const std::string& value : argument.values) {
      const std::string& key = argument.key;
      if (key == "voters") snapshot.conf_state.voters.emplace_back(number(value));
      if (key == "learners") snapshot.conf_state.learners.emplace_back(number(value));
      if (key == "inflight") config.inflight_messages_max = number(value);
      if (key == "index") snapshot.index = config.applied = Index(number(value));
      if (key == "content") snapshot.data = value;
      if (key == "async-storage-writes") config.async_storage_writes = truth(value);
      if (key == "prevote") config.pre_vote = truth(value);
      if (key == "checkquorum") config.check_quorum = truth(value);
      if (key == "max-committed-size-per-ready") config.committed_bytes_max = number(value);
      if (key == "disable-conf-change-validation") config.disable_conf_change_validation = truth(value);
      if (key == "max-uncommitted-size") config.uncommitted_bytes_max = number(value);
      if (key == "max-size-per-msg") config.message_bytes_max = number(value);
      if (key == "disable-proposal-forwarding") config.disable_proposal_forwarding = truth(value);
      if (key == "step-down-on-removal") config.step_down_on_removal = truth(value);
      if (key == "read-only") {
        if (value != "safe" && value != "lease-based") return "invalid read-only option " + quote(value);
        config.read_only = value == "safe" ? ReadOnlyOption::kSafe : ReadOnlyOption::kLeaseBased;
      }
    }
  }
  const bool bootstrap = snapshot != Snapshot{};
  if (bootstrap) {
    if (snapshot.index <= Index(1)) return "index must be specified as > 1 due to bootstrap";
    snapshot.term = Term(1);
  }
  const auto shared = std::make_shared<const Snapshot>(std::move(snapshot));
  for (uint64_t i = first_number(command); i > 0; --i) {
    auto member = std::make_unique<Member>();
    member->log = std::make_unique<MemberLog>(shared);
    if (bootstrap) {
      const base::Status applied = member->log->apply_snapshot(shared);
      if (!applied.ok()) return failure(applied);
    }
    member->config = config;
    member->config.id = NodeId(members_.size() + 1);
    member->config.seed = members_.size() + 1;
    member->config.storage = member->log.get();
    const base::Status valid = member->config.validate();
    if (!valid.ok()) return failure(valid);
    member->node = std::make_unique<RawNode>(member->config);
    members_.push_back(std::move(member));
  }
  return {};
}

// The process dies and comes back: what was not saved is gone, the state machine stands where it stood.
Interaction::Failure Interaction::restart(Member& member) {
  const SnapshotPtr state = member.log->snapshot();
  if (state->index > member.log->MemoryLog::snapshot()->index) {
    const base::Status kept = member.log->create_snapshot(state->index, &state->conf_state, state->data);
    if (!kept.ok()) return failure(kept);
  }
  member.append_work.clear();
  member.apply_work.clear();
  member.config.applied = state->index;
  member.node = std::make_unique<RawNode>(member.config);
  return {};
}

Interaction::Failure Interaction::set_level(std::string_view name) {
  for (size_t i = 0; i < std::size(kLevels); ++i) {
    if (strcasecmp(kLevels[i], std::string(name).c_str()) == 0) {
      output_.set_level(static_cast<int>(i));
      return {};
    }
  }
  return "log levels must be either of [DEBUG INFO WARN ERROR FATAL NONE]";
}

Interaction::Failure Interaction::compact(Member& member, Index index) {
  const base::Status compacted = member.log->compact(index);
  if (!compacted.ok()) return failure(compacted);
  print_log(member);
  return {};
}

void Interaction::print_log(const Member& member) {
  const Index first = member.log->first_index(), last = member.log->last_index();
  if (last < first) {
    output_.print(text_of("log is empty: first index=", first, ", last index=", last));
    return;
  }
  std::vector<Entry> entries;
  VERIFY(member.log->entries(first, last + 1, kNoLimit, entries));
  output_.print(describe(std::span<const Entry>(entries)));
}

void Interaction::print_roles() {
  for (const std::unique_ptr<Member>& member : members_) {
    const NodeStatus status = member->node->status();
    output_.print(text_of(status.id.value(), ": ", name_of(status.soft_state.role),
                          status.config.voters.contains(status.id) ? " (Voter)" : " (Non-Voter)",
                          " Term:", status.hard_state.term, " Lead:", status.soft_state.leader.value(), "\n"));
  }
}

Interaction::Failure Interaction::send_snapshot(size_t from, size_t to) {
  Message m;
  m.type = MessageType::kSnap;
  m.term = members_.at(from)->node->basic_status().hard_state.term;
  m.from = NodeId(from + 1);
  m.to = NodeId(to + 1);
  m.snapshot = members_.at(from)->log->snapshot();
  output_.print(describe(m));
  messages_.push_back(std::move(m));
  return {};
}

// --- storage ----------------------------------------------------------------------------------------------------------------

Interaction::Failure Interaction::save(Member& member, const HardState& state, const std::vector<Entry>& entries,
                                       const SnapshotPtr& snapshot) {
  if (!state.empty()) member.log->set_hard_state(state);
  if (snapshot != nullptr && !snapshot->empty()) {
    if (!entries.empty()) return "can't apply snapshot and entries at the same time";
    return failure(member.log->apply_snapshot(snapshot));
  }
  member.log->append(entries);
  return {};
}

// The state is the text of all commands so far.
void Interaction::apply(Member& member, const std::vector<Entry>& entries) {
  for (const Entry& entry : entries) {
    auto next = std::make_shared<Snapshot>(*member.log->snapshot());
    if (entry.type == EntryType::kNormal) {
      next->data += entry.payload();
    } else {
      const base::Result<ConfChangeV2> change = decode_conf_change(entry);
      VERIFY(change.ok());
      next->data += change->context;
      next->conf_state = member.node->apply_conf_change(*change);
    }
    next->index = entry.index;
    next->term = entry.term;
    member.log->add_snapshot(std::move(next));
  }
}

Interaction::Failure Interaction::process_ready(Member& member) {
  Ready ready = member.node->take_ready();
  output_.print(describe(ready));
  const bool async = member.config.async_storage_writes;
  if (!async) {
    const Failure failed = save(member, ready.hard_state.value_or(HardState{}), ready.entries, ready.snapshot);
    if (failed.has_value()) return failed;
    apply(member, ready.committed);
  }
  for (std::vector<Message>* part : {&ready.messages, &ready.messages_after_save}) {
    for (Message& m : *part) {
      if (m.to == kLocalAppendThread) {
        member.append_work.push_back(std::move(m));
      } else if (m.to == kLocalApplyThread) {
        member.apply_work.push_back(std::move(m));
      } else {
        messages_.push_back(std::move(m));
      }
    }
  }
  if (!async) member.node->advance();
  return {};
}

Interaction::Failure Interaction::process_append(Member& member) {
  if (member.append_work.empty()) {
    output_.print("no append work to perform");
    return {};
  }
  Message m = std::move(member.append_work.front());
  member.append_work.pop_front();
  std::vector<Message> responses = std::exchange(m.responses, {});
  output_.print("Processing:\n" + describe(m) + "\n");
  const Failure failed = save(member, {m.term, m.vote, m.commit}, m.entries, m.snapshot);
  if (failed.has_value()) return failed;
  output_.print("Responses:\n");
  for (Message& response : responses) {
    output_.print(describe(response) + "\n");
    messages_.push_back(std::move(response));
  }
  return {};
}

Interaction::Failure Interaction::process_apply(Member& member) {
  if (member.apply_work.empty()) {
    output_.print("no apply work to perform");
    return {};
  }
  Message m = std::move(member.apply_work.front());
  member.apply_work.pop_front();
  std::vector<Message> responses = std::exchange(m.responses, {});
  output_.print("Processing:\n" + describe(m) + "\n");
  apply(member, m.entries);
  output_.print("Responses:\n");
  for (Message& response : responses) {
    output_.print(describe(response) + "\n");
    messages_.push_back(std::move(response));
  }
  return {};
}

// --- network ----------------------------------------------------------------------------------------------------------------

Interaction::Failure Interaction::deliver(const script::Command& command) {
  std::optional<MessageType> type;
  std::vector<Recipient> recipients;
  for (const script::Argument& argument : command.arguments) {
    if (argument.values.empty()) recipients.push_back({NodeId(number(argument.key))});
    for (const std::string& value : argument.values) {
      if (argument.key == "drop") recipients.push_back({NodeId(number(value)), true});
      if (argument.key != "type") continue;
      for (int i = 0; i < kMessageTypes; ++i) {
        if (name_of(static_cast<MessageType>(i)) == value) type = static_cast<MessageType>(i);
      }
      if (!type.has_value()) return "unknown message type " + value;
    }
  }
  if (deliver_to(recipients, type) == 0) output_.print("no messages\n");
  return {};
}

bool Interaction::has_messages_for(NodeId id) const {
  return std::any_of(messages_.begin(), messages_.end(), [&](const Message& m) { return m.to == id; });
}

size_t Interaction::deliver_to(const std::vector<Recipient>& recipients, std::optional<MessageType> type) {
  size_t count = 0;
  for (const Recipient& recipient : recipients) {
    std::vector<Message> chosen, rest;
    for (Message& m : messages_) {
      (wanted(m, recipient.id, type, recipient.drop) ? chosen : rest).push_back(std::move(m));
    }
    messages_ = std::move(rest);
    count += chosen.size();
    for (Message& m : chosen) {
      output_.print((recipient.drop ? "dropped: " : "") + describe(m) + "\n");
      if (recipient.drop) continue;
      const base::Status stepped = members_.at(recipient.id.value() - 1)->node->step(std::move(m));
      if (!stepped.ok()) output_.print(std::string(stepped.text()) + "\n");
    }
  }
  return count;
}

Interaction::Failure Interaction::stabilize(const script::Command& command) {
  const int level_before = output_.level();
  if (const script::Argument* level = command.find("log-level")) {
    if (Failure failed = set_level(level->values.front())) return failed;
  }
  std::vector<size_t> nodes = nodes_of(command);
  if (nodes.empty()) {
    for (size_t i = 0; i < members_.size(); ++i) nodes.push_back(i);
  }
  const auto header = [&](size_t i, const char* what) { output_.print("> " + std::to_string(i + 1) + " " + what + "\n"); };
  Failure failed;
  for (bool done = false; !done && !failed.has_value();) {
    done = true;
    for (const size_t i : nodes) {
      if (failed.has_value() || !members_[i]->node->has_ready()) continue;
      header(i, "handling Ready");
      indented([&] { failed = process_ready(*members_[i]); });
      done = false;
    }
    for (const size_t i : nodes) {
      if (!has_messages_for(NodeId(i + 1))) continue;
      header(i, "receiving messages");
      indented([&] { (void)deliver_to({{NodeId(i + 1)}}, std::nullopt); });
      done = false;
    }
    for (const size_t i : nodes) {
      if (members_[i]->append_work.empty()) continue;
      header(i, "processing append thread");
      while (!members_[i]->append_work.empty() && !failed.has_value()) {
        indented([&] { failed = process_append(*members_[i]); });
      }
      done = false;
    }
    for (const size_t i : nodes) {
      if (members_[i]->apply_work.empty()) continue;
      header(i, "processing apply thread");
      while (!members_[i]->apply_work.empty()) {
        indented([&] { (void)process_apply(*members_[i]); });
      }
      done = false;
    }
  }
  output_.set_level(level_before);
  return failed;
}

}  // namespace raft::test
