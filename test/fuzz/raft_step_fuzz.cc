// A member under any messages: the input is a program of messages from three others, ticks, proposals, saves, restarts and
// compactions. Messages take the way they take in a member, from bytes. Whatever comes: no term goes back, no vote is taken
// back, what is committed stays as it is, what is handed out to apply comes once and in order. Others that lie about what is
// committed may stop the process with the words that name it (raft/README.md), and nothing else may.
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/stop_hook.h"
#include "raft/memory_log.h"
#include "raft/raw_node.h"
#include "server/peer_messages.h"
#include "wire/raft_message.h"

namespace {

constexpr int kStepsMax = 400;
constexpr size_t kEntriesMax = 4;  // of a message
constexpr size_t kMessagesMax = 2000;
constexpr size_t kLogEntriesMax = 2000;
const raft::NodeId kSelf{1};

void require(bool condition) {
  if (!condition) std::abort();
}

struct Stopped {};

// What two contradicting leaders, or one that counts entries which we never had, lead to.
[[noreturn]] void stop(const std::string& text) {
  const bool lied_to = text.starts_with("tocommit(") || text.find("conflict with committed entry") != std::string::npos;
  if (!lied_to) {
    fprintf(stderr, "stopped: %s\n", text.c_str());
    std::abort();
  }
  throw Stopped();
}

class Silent final : public raft::Logger {
 public:
  bool enabled(raft::LogLevel) const override { return true; }  // the texts are made
  void write(raft::LogLevel, std::string_view) override {}
};

class Input {
 public:
  Input(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}
  bool empty() const { return at_ == end_; }
  uint8_t byte() { return empty() ? 0 : *at_++; }
  // Mostly near `about`, sometimes at the ends.
  uint64_t number(uint64_t about) {
    const uint8_t b = byte();
    if (b < 200) return about + b % 8 - 3;
    if (b < 240) return b % 8;
    if (b < 250) return UINT64_MAX - b % 4;
    return uint64_t{1} << (byte() % 64);
  }
  std::string text(size_t size_max) {
    const size_t wanted = byte() % (size_max + 1);
    const size_t size = std::min(wanted, static_cast<size_t>(end_ - at_));
    std::string bytes(reinterpret_cast<const char*>(at_), size);
    at_ += size;
    return bytes;
  }

 private:
  const uint8_t* at_;
  const uint8_t* const end_;
};

class Member {
 public:
  explicit Member(Input& in) : in_(in) {
    const uint8_t how = in.byte();
    auto snapshot = std::make_shared<raft::Snapshot>();
    snapshot->index = raft::Index(3);
    snapshot->term = raft::Term(1);
    snapshot->conf_state.voters = {kSelf, raft::NodeId(2), raft::NodeId(3)};
    if (how & 1) snapshot->conf_state.learners = {raft::NodeId(4)};
    if (how & 2) snapshot->conf_state.voters = {kSelf};
    require(log_.apply_snapshot(snapshot).ok());
    applied_ = snapshot->index;
    config_.id = kSelf;
    config_.storage = &log_;
    config_.logger = &silent_;
    config_.seed = how;
    config_.check_quorum = how & 4;
    config_.pre_vote = how & 8;
    config_.async_storage_writes = true;
    config_.inflight_messages_max = 3;
    config_.message_bytes_max = 100;
    config_.inflight_bytes_max = 300;
    config_.uncommitted_bytes_max = how & 16 ? 200 : 0;
    start();
  }

  void run() {
    for (int i = 0; i < kStepsMax && !in_.empty(); ++i) {
      one_step();
      look();
    }
  }

 private:
  void start() {
    config_.applied = applied_;
    node_ = std::make_unique<raft::RawNode>(config_);
    appends_.clear();
    applies_.clear();
  }

  void one_step() {
    const uint8_t what = in_.byte();
    switch (what % 20) {
      case 0:
        for (int ticks = 1 + what / 20; ticks > 0; --ticks) node_->tick();
        break;
      case 1:
        node_->campaign();
        break;
      case 2:
        (void)node_->propose(std::make_shared<const std::string>(in_.text(40)));
        break;
      case 3: {
        raft::ConfChange change;
        change.type = static_cast<raft::ConfChangeType>(in_.byte() % 4);
        change.node_id = raft::NodeId(in_.byte() % 6);
        (void)node_->propose_conf_change(change);
        break;
      }
      case 4:
        node_->transfer_leader(raft::NodeId(in_.byte() % 6));
        break;
      case 5:
        node_->report_unreachable(raft::NodeId(in_.byte() % 6));
        break;
      case 6:
        node_->report_snapshot(raft::NodeId(in_.byte() % 6), what & 128);
        break;
      case 7:
        node_->read_index(in_.text(12));
        break;
      case 8:
        if (what & 128)
          (void)node_->forget_leader();
        else
          restart();
        break;
      case 9:
        compact();
        break;
      case 10:
        take();
        break;
      case 11:
        save_one();
        break;
      case 12:
        apply_one();
        break;
      case 13:
        work();
        break;
      default:
        receive();
    }
  }

  void receive() {
    const raft::Raft& raft = node_->raft();
    wire::RaftMessage message;
    message.type = static_cast<wire::RaftMessageType>(in_.byte() % 26);
    const uint8_t flags = in_.byte();
    message.to = kSelf;
    message.from = raft::NodeId(flags % 8 == 7 ? in_.number(0) : 2 + flags % 4);
    message.reject = flags & 8;
    message.term = raft::Term(flags & 16 ? raft.term().value() : in_.number(raft.term().value()));
    message.log_term =
        raft::Term(flags & 32 ? raft.log().term_or_zero(raft.log().last_index()).value() : in_.number(raft.term().value()));
    message.index = raft::Index(flags & 32 ? raft.log().last_index().value() : in_.number(raft.log().last_index().value()));
    message.commit = raft::Index(in_.number(raft.log().committed().value()));
    if (flags & 64) message.reject_hint = raft::Index(in_.number(message.index.value()));
    if (flags & 128) {
      uint64_t next = message.index.value() + 1;
      for (size_t count = in_.byte() % (kEntriesMax + 1); count > 0; --count) {
        wire::RaftEntry entry;
        const uint8_t kind = in_.byte();
        entry.type = kind % 4;
        entry.term = raft::Term(kind & 16 ? in_.number(message.term.value()) : message.term.value());
        entry.index = raft::Index(kind & 32 ? in_.number(next) : next);
        next = entry.index.value() + 1;
        if (kind & 64) entry.data = std::make_shared<const std::string>(in_.text(30));
        message.entries.push_back(std::move(entry));
      }
    }
    if (message.type == wire::RaftMessageType::kSnap) {
      auto snapshot = std::make_shared<wire::RaftSnapshot>();
      snapshot->index = raft::Index(in_.number(raft.log().committed().value() + 2));
      snapshot->term = raft::Term(in_.number(raft.term().value()));
      const uint8_t members = in_.byte();
      for (uint64_t id = 1; id <= 4; ++id)
        (members >> (id - 1) & 1 ? snapshot->conf_state.voters : snapshot->conf_state.learners).emplace_back(id);
      if (members & 128) snapshot->conf_state.voters_outgoing = {raft::NodeId(in_.byte() % 6)};
      if (members & 64) snapshot->conf_state.learners_next = {raft::NodeId(in_.byte() % 6)};
      snapshot->conf_state.auto_leave = members & 32;
      message.snapshot = std::move(snapshot);
    }
    if (message.type == wire::RaftMessageType::kHeartbeatResp || message.type == wire::RaftMessageType::kReadIndex ||
        message.type == wire::RaftMessageType::kReadIndexResp || message.type == wire::RaftMessageType::kHeartbeat) {
      message.context = in_.text(12);
    }
    std::string bytes;
    wire::append_message(message, bytes);
    std::optional<wire::RaftMessage> read = wire::decode_raft_message(bytes);
    require(read.has_value());
    std::optional<raft::Message> taken = server::from_wire(std::move(*read));
    if (taken) (void)node_->step(std::move(*taken));
  }

  // What is ready goes where it belongs; messages to others are gone.
  void take() {
    if (!node_->has_ready()) return;
    raft::Ready ready = node_->take_ready();
    require(ready.messages.size() <= kMessagesMax);
    for (raft::Message& message : ready.messages) {
      require(message.to != kSelf);
      if (message.to == raft::kLocalAppendThread)
        appends_.push_back(std::move(message));
      else if (message.to == raft::kLocalApplyThread)
        applies_.push_back(std::move(message));
    }
  }

  void save_one() {
    if (appends_.empty()) return;
    raft::Message message = std::move(appends_.front());
    appends_.erase(appends_.begin());
    if (message.term != raft::Term{}) log_.set_hard_state({message.term, message.vote, message.commit});
    if (message.snapshot != nullptr) {
      require(log_.apply_snapshot(message.snapshot).ok());
      applied_ = message.snapshot->index;  // the state machine is the snapshot's
      committed_terms_.clear();
      applies_.clear();
    }
    log_.append(message.entries);
    answer(std::move(message.responses));
  }

  void apply_one() {
    if (applies_.empty()) return;
    raft::Message message = std::move(applies_.front());
    applies_.erase(applies_.begin());
    for (const raft::Entry& entry : message.entries) {
      require(entry.index == applied_ + 1);
      applied_ = entry.index;
      const auto [known, first] = committed_terms_.emplace(entry.index, entry.term);
      require(first || known->second == entry.term);
      if (entry.type == raft::EntryType::kNormal) continue;
      const base::Result<raft::ConfChangeV2> change = raft::decode_conf_change(entry);
      if (!change.ok()) throw Stopped();  // a leader sent it as committed; ours would have refused it
      // As the owner does: what does not fit changes nothing. (Simple changes do not fit a joint group, of which a snapshot
      // told.)
      raft::ConfChangeV2 none;
      none.changes = {{raft::ConfChangeType::kAddNode, base::kNoNode}};
      const auto fits = [this](const raft::ConfChangeV2& one) {
        return node_->raft().group().changed(one, node_->raft().log().last_index()).ok();
      };
      if (!fits(none) && !fits(*change)) throw Stopped();
      conf_state_ = node_->apply_conf_change(fits(*change) ? *change : none);
      has_conf_state_ = true;
    }
    answer(std::move(message.responses));
  }

  void answer(std::vector<raft::Message> responses) {
    for (raft::Message& response : responses) {
      if (response.to == kSelf) (void)node_->step(std::move(response));
    }
  }

  void work() {
    for (int i = 0; i < 100 && (node_->has_ready() || !appends_.empty() || !applies_.empty()); ++i) {
      take();
      save_one();
      apply_one();
    }
  }

  // What was not saved is gone; the state machine is as it was.
  void restart() {
    raft::HardState state = log_.hard_state();
    state.commit = std::max(state.commit, applied_);
    if (applied_ > log_.last_index() || state.commit > log_.last_index()) return;  // an owner does not get there
    if (has_conf_state_ && applied_ > log_.snapshot()->index) {
      if (!log_.create_snapshot(applied_, &conf_state_, "").ok()) return;
    }
    log_.set_hard_state(state);
    term_ = state.term;
    vote_ = state.vote;
    committed_ = raft::Index{};
    start();
  }

  void compact() {
    if (applied_ <= log_.snapshot()->index || applied_ > log_.last_index()) return;
    if (!log_.create_snapshot(applied_, has_conf_state_ ? &conf_state_ : nullptr, "state").ok()) return;
    (void)log_.compact(applied_);
  }

  void look() {
    const raft::Raft& raft = node_->raft();
    require(raft.term() >= term_);
    if (raft.term() == term_) require(vote_ == base::kNoNode || raft.vote() == vote_);
    require(raft.log().committed() >= committed_);
    require(raft.log().committed() <= raft.log().last_index());
    require(raft.log().last_index().value() - raft.log().first_index().value() + 1 <= kLogEntriesMax);
    if (raft.role() == raft::Role::kLeader) require(raft.leader() == kSelf);
    term_ = raft.term();
    vote_ = raft.vote();
    committed_ = raft.log().committed();
    (void)raft::to_json(node_->status());
  }

  Input& in_;
  Silent silent_;
  raft::MemoryLog log_;
  raft::Config config_;
  std::unique_ptr<raft::RawNode> node_;
  std::vector<raft::Message> appends_, applies_;
  raft::ConfState conf_state_;
  bool has_conf_state_ = false;
  raft::Index applied_, committed_;
  raft::Term term_;
  raft::NodeId vote_;
  std::map<raft::Index, raft::Term> committed_terms_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  base::set_stop_hook_for_test(stop);
  Input in(data, size);
  try {
    Member(in).run();
  } catch (const Stopped&) {
    return 0;
  }
  return 0;
}
