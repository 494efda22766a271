#include "storage/memory_engine.h"

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <vector>

#include "base/verify.h"

namespace storage {

using base::Result;
using base::Status;

struct MemoryEngine::State {
  // Versions of a key, newest first; nullopt: erased.
  struct Version {
    uint64_t sequence;
    std::optional<std::string> value;
  };
  using Versions = std::vector<Version>;

  mutable std::mutex mutex;
  std::map<std::string, Versions, std::less<>> keys;
  std::multiset<uint64_t> snapshots;  // sequences that somebody still reads
  uint64_t sequence = 0;
  uint64_t bytes = 0;
  Status fail_next;

  static const std::string* at(const Versions& versions, uint64_t sequence) {
    for (const Version& version : versions) {
      if (version.sequence <= sequence) return version.value.has_value() ? &*version.value : nullptr;
    }
    return nullptr;
  }
};

struct MemoryEngine::Snapshot final : public EngineSnapshot {
  Snapshot(std::shared_ptr<State> of, uint64_t at) : state(std::move(of)), sequence(at) { state->snapshots.insert(sequence); }
  ~Snapshot() override {
    const std::lock_guard hold(state->mutex);
    state->snapshots.erase(state->snapshots.find(sequence));
  }
  const std::shared_ptr<State> state;
  const uint64_t sequence;
};

// Copies the row it stands on, so that writes may go on.
class MemoryEngine::Iterator final : public EngineIterator {
 public:
  Iterator(std::shared_ptr<State> state, std::shared_ptr<const EngineSnapshot> pin, uint64_t sequence)
      : state_(std::move(state)), pin_(std::move(pin)), sequence_(sequence) {}

  void seek(std::string_view key) override {
    const std::lock_guard hold(state_->mutex);
    take_from(state_->keys.lower_bound(key));
  }
  void seek_to_last_before(std::string_view limit) override {
    const std::lock_guard hold(state_->mutex);
    auto it = state_->keys.lower_bound(limit);
    valid_ = false;
    while (!valid_ && it != state_->keys.begin()) take(--it);
  }
  bool valid() const override { return valid_; }
  void next() override {
    VERIFY(valid_);
    const std::lock_guard hold(state_->mutex);
    take_from(state_->keys.upper_bound(key_));
  }
  std::string_view key() const override { return key_; }
  std::string_view value() const override { return value_; }
  Status status() const override { return {}; }

 private:
  using Position = std::map<std::string, State::Versions, std::less<>>::const_iterator;
  void take_from(Position it) {
    valid_ = false;
    for (; !valid_ && it != state_->keys.end(); ++it) take(it);
  }
  void take(Position it) {
    const std::string* value = State::at(it->second, sequence_);
    if (value == nullptr) return;
    key_ = it->first;
    value_ = *value;
    valid_ = true;
  }

  const std::shared_ptr<State> state_;
  const std::shared_ptr<const EngineSnapshot> pin_;
  const uint64_t sequence_;
  bool valid_ = false;
  std::string key_;
  std::string value_;
};

MemoryEngine::MemoryEngine() : state_(std::make_shared<State>()) {}
MemoryEngine::~MemoryEngine() = default;

Result<bool> MemoryEngine::get(std::string_view key, std::string* value, const EngineSnapshot* snapshot) const {
  const std::lock_guard hold(state_->mutex);
  const auto it = state_->keys.find(key);
  if (it == state_->keys.end()) return false;
  const uint64_t sequence = snapshot != nullptr ? static_cast<const Snapshot*>(snapshot)->sequence : state_->sequence;
  const std::string* found = State::at(it->second, sequence);
  if (found != nullptr) *value = *found;
  return found != nullptr;
}

std::unique_ptr<EngineIterator> MemoryEngine::iterate(const EngineSnapshot* given) const {
  if (given != nullptr) return std::make_unique<Iterator>(state_, nullptr, static_cast<const Snapshot*>(given)->sequence);
  std::shared_ptr<const EngineSnapshot> pin = snapshot();
  const uint64_t sequence = static_cast<const Snapshot&>(*pin).sequence;
  return std::make_unique<Iterator>(state_, std::move(pin), sequence);
}

std::shared_ptr<const EngineSnapshot> MemoryEngine::snapshot() const {
  const std::lock_guard hold(state_->mutex);
  return std::make_shared<const Snapshot>(state_, state_->sequence);
}

Status MemoryEngine::write(const Changes& changes, bool /*sync*/) {
  const std::lock_guard hold(state_->mutex);
  if (!state_->fail_next.ok()) return std::exchange(state_->fail_next, Status());
  const uint64_t sequence = ++state_->sequence;
  const uint64_t oldest_read = state_->snapshots.empty() ? sequence : *state_->snapshots.begin();
  changes.for_each([&](std::string_view key, std::string_view value, bool is_erase) {
    const auto it = state_->keys.try_emplace(std::string(key)).first;
    State::Versions& versions = it->second;
    if (!versions.empty() && versions.front().sequence == sequence) {  // Twice in one list: the later wins.
      state_->bytes -= versions.front().value.has_value() ? versions.front().value->size() : 0;
      versions.erase(versions.begin());
    }
    versions.insert(versions.begin(), {sequence, is_erase ? std::nullopt : std::optional<std::string>(value)});
    state_->bytes += is_erase ? 0 : value.size();
    // Everything behind the newest version that the oldest reader can see is garbage.
    size_t keep = 0;
    while (keep < versions.size() && versions[keep].sequence > oldest_read) ++keep;
    for (; versions.size() > keep + 1; versions.pop_back()) {
      state_->bytes -= versions.back().value.has_value() ? versions.back().value->size() : 0;
    }
    if (versions.size() == 1 && !versions.front().value.has_value()) state_->keys.erase(it);
  });
  return {};
}

uint64_t MemoryEngine::size_bytes() const {
  const std::lock_guard hold(state_->mutex);
  return state_->bytes;
}

uint64_t MemoryEngine::range_bytes(std::string_view begin, std::string_view limit) const {
  const std::lock_guard hold(state_->mutex);
  uint64_t bytes = 0;
  const auto end = state_->keys.lower_bound(limit);
  for (auto at = state_->keys.lower_bound(begin); at != end && at->first < limit; ++at) {
    if (const std::string* value = State::at(at->second, state_->sequence)) bytes += at->first.size() + value->size();
  }
  return bytes;
}

void MemoryEngine::fail_next_write_for_test(Status status) {
  const std::lock_guard hold(state_->mutex);
  state_->fail_next = std::move(status);
}

}  // namespace storage
