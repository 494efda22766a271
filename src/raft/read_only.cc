#include "raft/read_only.h"

#include <algorithm>

#include "base/bytes.h"

namespace raft {

bool ReadOnly::add(ReadRequest request) {
  if (waiting_.size() >= kReadsWaitingMax) return false;
  waiting_.push_back(std::move(request));
  return true;
}

void ReadOnly::acknowledge(NodeId from, std::string_view context) {
  if (context.size() != sizeof(uint64_t)) return;
  const uint64_t position = base::load_le64(context.data());
  if (position > confirmed_ + waiting_.size()) return;  // Never sent by this leader in this term.
  Index& acked = acks_[from];
  acked = std::max(acked, Index(position));
}

std::vector<ReadRequest> ReadOnly::take_confirmed(const JointVoters& voters) {
  const uint64_t position = voters
                                .committed([this](NodeId id) -> std::optional<Index> {
                                  const auto ack = acks_.find(id);
                                  if (ack == acks_.end()) return std::nullopt;
                                  return ack->second;
                                })
                                .value();
  std::vector<ReadRequest> confirmed;
  for (; confirmed_ < position && !waiting_.empty(); ++confirmed_) {
    confirmed.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
  return confirmed;
}

std::string ReadOnly::heartbeat_context() const {
  std::string context;
  if (!waiting_.empty()) base::append_le64(context, confirmed_ + waiting_.size());
  return context;
}

void ReadOnly::reset() {
  acks_.clear();
  waiting_.clear();
  confirmed_ = 0;
}

}  // namespace raft
