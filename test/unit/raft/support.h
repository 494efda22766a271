// What the tests of this folder share: a logger that keeps its lines, members on memory logs, a network of them.
#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "raft/memory_log.h"
#include "raft/raw_node.h"

namespace raft::test {

class Lines : public Logger {
 public:
  bool enabled(LogLevel) const override { return keep_; }
  void write(LogLevel level, std::string_view text) override {
    if (level == LogLevel::kFatal || keep_) lines_.emplace_back(text);
  }
  void keep(bool keep) { keep_ = keep; }
  size_t count(std::string_view part) const {
    return static_cast<size_t>(std::count_if(lines_.begin(), lines_.end(),
                                             [&](const std::string& line) { return line.find(part) != std::string::npos; }));
  }

 private:
  bool keep_ = true;
  std::vector<std::string> lines_;
};

inline Entry entry(uint64_t term, uint64_t index, std::string data = "x") {
  Entry made = make_entry(std::move(data));
  made.term = Term(term);
  made.index = Index(index);
  return made;
}

inline Message message(MessageType type, uint64_t from, uint64_t to, uint64_t term) {
  Message m;
  m.type = type;
  m.from = NodeId(from);
  m.to = NodeId(to);
  m.term = Term(term);
  return m;
}

// One member whose group is `voters`, and the world that works off what it has ready.
struct Single {
  using Change = std::function<void(Config&)>;

  explicit Single(const std::vector<uint64_t>& voters, const Change& change = nullptr, const HardState& state = {},
                  const std::vector<Entry>& stored = {}) {
    auto snapshot = std::make_shared<Snapshot>();
    for (const uint64_t id : voters) snapshot->conf_state.voters.emplace_back(id);
    VERIFY(log.apply_snapshot(snapshot).ok());
    log.append(stored);
    log.set_hard_state(state);
    config.id = NodeId(1);
    config.storage = &log;
    config.logger = &lines;
    config.seed = 1;
    if (change) change(config);
    node = std::make_unique<RawNode>(config);
  }

  // Saves, applies (without conf changes) and gives back the messages.
  std::vector<Message> work() {
    std::vector<Message> sent;
    while (node->has_ready()) {
      Ready ready = node->take_ready();
      if (ready.hard_state) log.set_hard_state(*ready.hard_state);
      if (ready.snapshot) VERIFY(log.apply_snapshot(ready.snapshot).ok());
      log.append(ready.entries);
      for (std::vector<Message>* part : {&ready.messages, &ready.messages_after_save}) {
        for (Message& m : *part) sent.push_back(std::move(m));
      }
      for (ReadState& read : ready.read_states) reads.push_back(std::move(read));
      for (Entry& one : ready.committed) applied.push_back(std::move(one));
      node->advance();
    }
    return sent;
  }

  // Elected by `voters` at the next term, with its first entry saved.
  void lead(const std::vector<uint64_t>& voters) {
    node->campaign();
    (void)work();
    const Term term = node->raft().term();
    for (const uint64_t id : voters) VERIFY(node->step(message(MessageType::kVoteResp, id, 1, term.value())).ok());
    (void)work();
    VERIFY(node->raft().role() == Role::kLeader);
  }
  base::Status acknowledge(uint64_t from, uint64_t index) {
    Message m = message(MessageType::kAppResp, from, 1, node->raft().term().value());
    m.index = Index(index);
    return node->step(std::move(m));
  }

  Lines lines;
  MemoryLog log;
  Config config;
  std::unique_ptr<RawNode> node;
  std::vector<ReadState> reads;
  std::vector<Entry> applied;
};

}  // namespace raft::test
