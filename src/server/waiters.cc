#include "server/waiters.h"

#include "base/verify.h"

namespace server {

void Waiters::add(uint64_t id, std::unique_ptr<Waiter> waiter, base::Instant deadline) {
  VERIFY(deadlines_.empty() || deadlines_.back().at <= deadline);
  const bool fresh = waiting_.emplace(id, Waiting{std::move(waiter), deadline}).second;
  VERIFY(fresh);
  deadlines_.push_back({deadline, id});
}

std::unique_ptr<Waiter> Waiters::take(uint64_t id, base::Instant* deadline) {
  const auto found = waiting_.find(id);
  if (found == waiting_.end()) return nullptr;
  std::unique_ptr<Waiter> waiter = std::move(found->second.waiter);
  if (deadline != nullptr) *deadline = found->second.deadline;
  waiting_.erase(found);
  drop_finished();
  return waiter;
}

void Waiters::fail_all(const base::Status& status) {
  auto all = std::move(waiting_);
  waiting_.clear();
  deadlines_.clear();
  for (auto& [id, waiting] : all) waiting.waiter->done({status, 0, {}});
}

void Waiters::drop_abandoned(const base::Status& status) {
  std::vector<uint64_t> abandoned;
  for (const auto& [id, waiting] : waiting_) {
    if (waiting.waiter->abandoned()) abandoned.push_back(id);
  }
  for (const uint64_t id : abandoned) {
    if (std::unique_ptr<Waiter> waiter = take(id)) waiter->done({status, 0, {}});
  }
}

void Waiters::drop_finished() {
  while (!deadlines_.empty() && !waiting_.contains(deadlines_.front().id)) deadlines_.pop_front();
}

}  // namespace server
