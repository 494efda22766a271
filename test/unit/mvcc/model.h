// The plain model: every version of every key for ever, and answers computed from their definitions (feature map 3.1-3.6).
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "kv.pb.h"
#include "mvcc/sort_as_go.h"
#include "rpc.pb.h"

namespace mvcc_test {

class Model {
 public:
  struct Version {
    int64_t main, sub;
    bool tombstone;
    mvccpb::KeyValue pair;  // of a tombstone: the key alone
  };
  using Request = etcdserverpb::RangeRequest;

  // --- writes: begin(), any number of put and erase, end() ---
  void begin() { sub_ = 0; }
  void put(const std::string& key, const std::string& value, int64_t lease) {
    const Version* old = live(key, current + 1);
    mvccpb::KeyValue pair;
    pair.set_key(key);
    pair.set_value(value);
    pair.set_lease(lease);
    pair.set_create_revision(old ? old->pair.create_revision() : current + 1);
    pair.set_mod_revision(current + 1);
    pair.set_version(old ? old->pair.version() + 1 : 1);
    keys[key].push_back({current + 1, sub_++, false, pair});
  }
  int64_t erase(const std::string& key, const std::string& range_end) {
    int64_t deleted = 0;
    for (auto& [k, versions] : keys) {
      if (!in_range(k, key, range_end) || live(k, current + 1) == nullptr) continue;
      mvccpb::KeyValue pair;
      pair.set_key(k);
      versions.push_back({current + 1, sub_++, true, pair});
      ++deleted;
    }
    return deleted;
  }
  void end() { current += sub_ > 0; }

  // --- reads ---
  static bool in_range(const std::string& k, const std::string& key, const std::string& range_end) {
    if (range_end.empty()) return k == key;
    return k >= key && (range_end == std::string(1, '\0') || k < range_end);
  }
  const Version* live(const std::string& key, int64_t at) const {
    const auto found = keys.find(key);
    if (found == keys.end()) return nullptr;
    const Version* last = nullptr;
    for (const Version& v : found->second) {
      if (v.main <= at) last = &v;
    }
    return last == nullptr || last->tombstone ? nullptr : last;
  }
  etcdserverpb::RangeResponse range(const Request& r, int64_t at) const {
    std::vector<mvccpb::KeyValue> found;
    for (const auto& [k, versions] : keys) {
      if (!in_range(k, r.key(), r.range_end())) continue;
      if (const Version* v = live(k, at)) found.push_back(v->pair);
    }
    etcdserverpb::RangeResponse response;
    response.set_count(static_cast<int64_t>(found.size()));
    if (r.count_only()) return response;
    const bool filters = r.min_mod_revision() || r.max_mod_revision() || r.min_create_revision() || r.max_create_revision();
    if (r.sort_order() == Request::NONE && !filters && r.limit() > 0 && found.size() > static_cast<size_t>(r.limit())) {
      found.resize(static_cast<size_t>(r.limit()) + 1);
    }
    std::erase_if(found, [&](const mvccpb::KeyValue& kv) {
      return (r.min_mod_revision() && kv.mod_revision() < r.min_mod_revision()) ||
             (r.max_mod_revision() && kv.mod_revision() > r.max_mod_revision()) ||
             (r.min_create_revision() && kv.create_revision() < r.min_create_revision()) ||
             (r.max_create_revision() && kv.create_revision() > r.max_create_revision());
    });
    const auto less = [&](const mvccpb::KeyValue& a, const mvccpb::KeyValue& b) {
      switch (r.sort_target()) {
        case Request::VERSION:
          return a.version() < b.version();
        case Request::CREATE:
          return a.create_revision() < b.create_revision();
        case Request::MOD:
          return a.mod_revision() < b.mod_revision();
        case Request::VALUE:
          return a.value() < b.value();
        default:
          return a.key() < b.key();
      }
    };
    // Which of the equals comes first is what Go's sort makes of them; sort_test.cc has that from Go itself.
    if (r.sort_order() == Request::DESCEND) {
      mvcc::sort_as_go(found, [&](const auto& a, const auto& b) { return less(b, a); });
    } else {
      mvcc::sort_as_go(found, less);
    }
    if (r.limit() > 0 && found.size() > static_cast<size_t>(r.limit())) {
      found.resize(static_cast<size_t>(r.limit()));
      response.set_more(true);
    }
    for (mvccpb::KeyValue& kv : found) {
      if (r.keys_only()) kv.clear_value();
      if (r.keys_only() && r.sort_target() != Request::VALUE) kv.clear_lease();
      *response.add_kvs() = kv;
    }
    return response;
  }

  // --- compaction: "main/sub[t]" of the rows that are left after Compact(at) on everything there was ---
  std::set<std::string> rows_after(int64_t at) const {
    std::set<std::string> rows;
    for (const auto& [key, versions] : keys) {
      size_t begin = 0, generation = 0, end = 0;
      // The oldest generation that is not closed below `at`.
      for (size_t i = 0; i < versions.size(); ++i) {
        if (versions[i].tombstone && versions[i].main < at) begin = generation = i + 1;
      }
      for (end = generation; end < versions.size() && !versions[end].tombstone; ++end) {
      }
      for (size_t i = generation; i <= end && i < versions.size(); ++i) {
        if (versions[i].main <= at) begin = i;
      }
      for (size_t i = begin; i < versions.size(); ++i) {
        rows.insert(std::to_string(versions[i].main) + "/" + std::to_string(versions[i].sub) +
                    (versions[i].tombstone ? "t" : ""));
      }
    }
    return rows;
  }

  int64_t current = 1;
  int64_t compacted = -1;
  std::map<std::string, std::vector<Version>> keys;

 private:
  int64_t sub_ = 0;
};

}  // namespace mvcc_test
