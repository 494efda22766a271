#include "sim/oracle.h"

#include <algorithm>

namespace sim {

Pair to_pair(const mvccpb::KeyValue& kv) {
  return {kv.key(), kv.value(), kv.create_revision(), kv.mod_revision(), kv.version(), kv.lease()};
}

bool in_range(std::string_view key, std::string_view begin, std::string_view end) {
  if (end.empty()) return key == begin;
  if (end == std::string_view("\0", 1)) return key >= begin;
  return key >= begin && key < end;
}

// --- a view -----------------------------------------------------------------------------------------------------------------

std::optional<Pair> View::get(std::string_view key) const {
  const auto over = over_.find(key);
  return over != over_.end() ? over->second : model_.get(key, revision_);
}

std::vector<Pair> View::range(std::string_view begin, std::string_view end) const {
  std::vector<std::string> keys = model_.keys(begin, end);
  for (const auto& [key, pair] : over_) {
    if (in_range(key, begin, end)) keys.push_back(key);
  }
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  std::vector<Pair> pairs;
  for (const std::string& key : keys) {
    if (std::optional<Pair> pair = get(key)) pairs.push_back(std::move(*pair));
  }
  return pairs;
}

void View::put(std::string_view key, std::string_view value, int64_t lease) {
  const int64_t revision = revision_ + 1;
  const std::optional<Pair> before = get(key);
  Pair pair{std::string(key), std::string(value), revision, revision, 1, lease};
  if (before) {
    pair.create_revision = before->create_revision;
    pair.version = before->version + 1;
  }
  over_[pair.key] = pair;
  changes_.push_back({false, pair});
}

bool View::erase(std::string_view key) {
  if (!get(key)) return false;
  over_[std::string(key)] = std::nullopt;
  Change change{true, {}};
  change.pair.key = key;
  change.pair.mod_revision = revision_ + 1;
  changes_.push_back(std::move(change));
  return true;
}

// --- the model --------------------------------------------------------------------------------------------------------------

std::string Model::apply(int64_t revision, const std::vector<Change>& changes) {
  if (revision != revision_ + 1) {
    return "revision " + std::to_string(revision) + " follows " + std::to_string(revision_);
  }
  View view(*this, revision_);
  for (const Change& change : changes) {
    if (change.is_delete) {
      if (!view.erase(change.pair.key)) return "a key was deleted that was not there: " + change.pair.key;
    } else {
      view.put(change.pair.key, change.pair.value, change.pair.lease);
    }
    if (view.changes().back() != change) {
      return "revision " + std::to_string(revision) + ": create revision, version or place of key " + change.pair.key +
             " do not follow from what was before";
    }
  }
  for (const Change& change : changes) {
    std::vector<Version>& versions = keys_[change.pair.key];
    std::optional<Pair> pair = change.is_delete ? std::nullopt : std::optional(change.pair);
    if (!versions.empty() && versions.back().revision == revision) {
      versions.back().pair = std::move(pair);
    } else {
      versions.push_back({revision, std::move(pair)});
    }
  }
  revision_ = revision;
  return {};
}

std::optional<Pair> Model::get(std::string_view key, int64_t revision) const {
  const auto found = keys_.find(key);
  if (found == keys_.end()) return std::nullopt;
  const std::vector<Version>& versions = found->second;
  const auto above = std::upper_bound(versions.begin(), versions.end(), revision,
                                      [](int64_t at, const Version& version) { return at < version.revision; });
  return above == versions.begin() ? std::nullopt : std::prev(above)->pair;
}

std::vector<std::string> Model::keys(std::string_view begin, std::string_view end) const {
  std::vector<std::string> keys;
  for (auto it = keys_.lower_bound(begin); it != keys_.end() && in_range(it->first, begin, end); ++it)
    keys.push_back(it->first);
  return keys;
}

// --- what happened ----------------------------------------------------------------------------------------------------------

std::string Oracle::record(int64_t revision, std::vector<Change> changes, base::Instant now) {
  const auto known = log_.find(revision);
  if (known != log_.end()) {
    ++again_;
    if (known->second.changes == changes) return {};
    return "revision " + std::to_string(revision) + " is not the same everywhere: " + known->second.changes.front().pair.key +
           " = " + known->second.changes.front().pair.value + " and " + changes.front().pair.key + " = " +
           changes.front().pair.value;
  }
  if (std::string wrong = model_.apply(revision, changes); !wrong.empty()) return wrong;
  for (const Change& change : changes) {
    if (change.is_delete || change.pair.value.empty()) continue;
    const auto [twice, fresh] = by_value_.emplace(change.pair.value, revision);
    if (!fresh && twice->second != revision) {
      return "the write of " + change.pair.value + " happened twice, at " + std::to_string(twice->second) + " and " +
             std::to_string(revision);
    }
  }
  log_.emplace(revision, Transaction{std::move(changes), now});
  return {};
}

int64_t Oracle::revision_of(std::string_view value) const {
  const auto found = by_value_.find(value);
  return found == by_value_.end() ? 0 : found->second;
}

}  // namespace sim
