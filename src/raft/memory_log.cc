#include "raft/memory_log.h"

#include <algorithm>

namespace raft {

using base::Code;
using base::Status;

MemoryLog::MemoryLog() : snapshot_(std::make_shared<const Snapshot>()) {}

std::optional<Term> MemoryLog::term(Index index) const {
  if (index == base_index_) return base_term_;
  if (index < base_index_ || index > last_index()) return std::nullopt;
  return entries_[index - base_index_ - 1].term;
}

bool MemoryLog::entries(Index lo, Index hi, uint64_t bytes_max, std::vector<Entry>& out) const {
  if (lo <= base_index_) return false;
  VERIFY(lo < hi && hi <= last_index() + 1);
  const auto begin = entries_.begin() + static_cast<ptrdiff_t>(lo - first_index());
  const auto end = begin + static_cast<ptrdiff_t>(hi - lo);
  auto stop = begin;
  for (uint64_t size = 0; stop != end; ++stop) {
    size += encoded_size(*stop);
    if (size > bytes_max && stop != begin) break;
  }
  out.insert(out.end(), begin, stop);
  return true;
}

void MemoryLog::append(std::span<const Entry> entries) {
  if (entries.empty() || entries.back().index < first_index()) return;
  if (entries.front().index < first_index()) entries = entries.subspan(first_index() - entries.front().index);
  VERIFY(entries.front().index <= last_index() + 1);
  while (last_index() >= entries.front().index) {
    size_bytes_ -= encoded_size(entries_.back());
    entries_.pop_back();
  }
  for (const Entry& entry : entries) {
    VERIFY(entry.index == last_index() + 1);
    size_bytes_ += encoded_size(entry);
    entries_.push_back(entry);
  }
}

Status MemoryLog::apply_snapshot(SnapshotPtr snapshot) {
  VERIFY(snapshot != nullptr);
  // A snapshot at index 0 carries only a ConfState: the start of a new group.
  if (!snapshot_->empty() && snapshot_->index >= snapshot->index) {
    return {Code::kOutOfRange, "requested index is older than the existing snapshot"};
  }
  base_index_ = snapshot->index;
  base_term_ = snapshot->term;
  entries_.clear();
  size_bytes_ = 0;
  snapshot_ = std::move(snapshot);
  return {};
}

Status MemoryLog::create_snapshot(Index index, const ConfState* conf_state, std::string data) {
  if (index <= snapshot_->index) return {Code::kOutOfRange, "requested index is older than the existing snapshot"};
  const std::optional<Term> at = term(index);
  VERIFY(at.has_value());
  Snapshot snapshot;
  snapshot.data = std::move(data);
  snapshot.conf_state = conf_state != nullptr ? *conf_state : snapshot_->conf_state;
  snapshot.index = index;
  snapshot.term = *at;
  snapshot_ = std::make_shared<const Snapshot>(std::move(snapshot));
  return {};
}

Status MemoryLog::compact(Index index) {
  if (index <= base_index_) return {Code::kOutOfRange, "requested index is unavailable due to compaction"};
  VERIFY(index <= last_index());
  base_term_ = *term(index);
  for (; base_index_ < index; ++base_index_) {
    size_bytes_ -= encoded_size(entries_.front());
    entries_.pop_front();
  }
  return {};
}

}  // namespace raft
