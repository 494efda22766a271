// What really happened: every transaction that any member applied, by revision. All members must apply the same, now and after
// each restart, and revisions are never given out twice: that is checked as it happens. From it the model of the store at any
// revision, which is written here once more, as simply as can be, and shares nothing with the production code. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "rpc.pb.h"

namespace sim {

struct Pair {
  std::string key, value;
  int64_t create_revision = 0, mod_revision = 0, version = 0, lease = 0;
  friend bool operator==(const Pair&, const Pair&) = default;
};
Pair to_pair(const mvccpb::KeyValue& kv);

struct Change {
  bool is_delete = false;
  Pair pair;  // of a delete: key and mod_revision
  friend bool operator==(const Change&, const Change&) = default;
};

struct Transaction {
  std::vector<Change> changes;
  base::Instant first_applied{};
};

// The store at one revision with changes of a transaction under way on top.
class Model;
class View {
 public:
  View(const Model& model, int64_t revision) : model_(model), revision_(revision) {}
  std::optional<Pair> get(std::string_view key) const;
  // Keys in [begin, end) by etcd's rules (end empty: one key; "\0": to the end), ascending.
  std::vector<Pair> range(std::string_view begin, std::string_view end) const;
  void put(std::string_view key, std::string_view value, int64_t lease);
  bool erase(std::string_view key);
  int64_t revision() const { return changes_.empty() ? revision_ : revision_ + 1; }
  const std::vector<Change>& changes() const { return changes_; }

 private:
  const Model& model_;
  const int64_t revision_;
  std::map<std::string, std::optional<Pair>, std::less<>> over_;
  std::vector<Change> changes_;
};

class Model {
 public:
  // The empty string, or what is wrong with it: it does not follow from the state before.
  std::string apply(int64_t revision, const std::vector<Change>& changes);
  std::optional<Pair> get(std::string_view key, int64_t revision) const;
  std::vector<std::string> keys(std::string_view begin, std::string_view end) const;
  int64_t revision() const { return revision_; }

 private:
  struct Version {
    int64_t revision;
    std::optional<Pair> pair;  // nullopt: deleted
  };
  std::map<std::string, std::vector<Version>, std::less<>> keys_;
  int64_t revision_ = 1;
};

bool in_range(std::string_view key, std::string_view begin, std::string_view end);

class Oracle {
 public:
  // A member applied it (again). Empty, or what is wrong.
  std::string record(int64_t revision, std::vector<Change> changes, base::Instant now);

  const Model& model() const { return model_; }
  int64_t revision() const { return model_.revision(); }
  const std::map<int64_t, Transaction>& log() const { return log_; }
  const Transaction* at(int64_t revision) const {
    const auto found = log_.find(revision);
    return found == log_.end() ? nullptr : &found->second;
  }
  // The revision whose transaction put this value; 0: none. Values are unique.
  int64_t revision_of(std::string_view value) const;
  uint64_t again() const { return again_; }

 private:
  std::map<int64_t, Transaction> log_;
  std::map<std::string, int64_t, std::less<>> by_value_;
  Model model_;
  uint64_t again_ = 0;
};

}  // namespace sim
