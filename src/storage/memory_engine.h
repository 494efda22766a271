// An Engine in a sorted map, for tests and models. Keeps old versions while a snapshot needs them. One mutex inside, so that
// views work from any thread as they do on LevelDB.
#pragma once

#include <memory>

#include "storage/engine.h"

namespace storage {

class MemoryEngine final : public Engine {
 public:
  MemoryEngine();
  ~MemoryEngine() override;

  base::Result<bool> get(std::string_view key, std::string* value, const EngineSnapshot* snapshot = nullptr) const override;
  std::unique_ptr<EngineIterator> iterate(const EngineSnapshot* snapshot = nullptr) const override;
  std::shared_ptr<const EngineSnapshot> snapshot() const override;
  base::Status write(const Changes& changes, bool sync) override;
  uint64_t size_bytes() const override;
  uint64_t range_bytes(std::string_view begin, std::string_view limit) const override;
  base::Status compact(std::string_view, std::string_view) override { return {}; }

  // The next write fails with this.
  void fail_next_write_for_test(base::Status status);

 private:
  struct State;
  struct Snapshot;
  class Iterator;
  std::shared_ptr<State> state_;
};

}  // namespace storage
