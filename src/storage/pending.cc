#include "storage/pending.h"

#include <algorithm>
#include <new>
#include <utility>

#include "base/bytes.h"
#include "base/verify.h"

namespace storage::pending {

namespace {

template <class Entries>
auto first_not_below(Entries& entries, const Probe& key) {
  return std::partition_point(entries.begin(), entries.end(), [&](const Entry& entry) { return entry <=> key < 0; });
}

}  // namespace

Probe::Probe(std::string_view k) : key(k) {
  if (k.size() >= 16) {
    high = base::load_be64(k.data());
    low = base::load_be64(k.data() + 8);
    return;
  }
  char head[16] = {};
  k.copy(head, k.size());
  high = base::load_be64(head);
  low = base::load_be64(head + 8);
}

Row* Arena::add(std::string_view key, std::string_view value, bool is_erase) {
  VERIFY(key.size() < Row::kErased && value.size() < Row::kErased);
  char* at = take(sizeof(Row) + key.size() + value.size());
  const auto value_bytes = static_cast<uint32_t>(value.size());
  key.copy(at + sizeof(Row), key.size());
  value.copy(at + sizeof(Row) + key.size(), value.size());
  return new (at) Row{static_cast<uint32_t>(key.size()), is_erase ? Row::kErased : value_bytes, value_bytes};
}

char* Arena::take(size_t bytes) {
  bytes = (bytes + alignof(Row) - 1) / alignof(Row) * alignof(Row);
  if (bytes > left_) {
    // What would waste much of a block gets one of its own, and the open block stays in use.
    const bool own = bytes > kBlockBytes / 4;
    blocks_.push_back(std::unique_ptr<char[]>(new char[own ? bytes : kBlockBytes]));
    used_bytes_ += own ? bytes : kBlockBytes;
    if (own) return blocks_.back().get();
    at_ = blocks_.back().get();
    left_ = kBlockBytes;
  }
  left_ -= bytes;
  return std::exchange(at_, at_ + bytes);
}

const Row* Rows::find(const Probe& key) const {
  const size_t position = lower_bound(key);
  return position < entries_.size() && entries_[position] == key ? entries_[position].row : nullptr;
}

size_t Rows::lower_bound(const Probe& key) const {
  return static_cast<size_t>(first_not_below(entries_, key) - entries_.begin());
}

void Rows::for_each(const Visit& visit) const {
  for (const Entry& entry : entries_) visit(entry.row->key(), entry.row->value(), entry.row->erased());
}

std::shared_ptr<const Rows> Rows::merge(const Rows& older, const Rows& newer) {
  VERIFY(older.arena_ == newer.arena_);
  std::vector<Entry> entries;
  entries.reserve(older.entries_.size() + newer.entries_.size());
  auto from = older.entries_.begin();
  for (const Entry& entry : newer.entries_) {
    const Probe key(entry.row->key());
    for (; from != older.entries_.end() && *from <=> key < 0; ++from) entries.push_back(*from);
    if (from != older.entries_.end() && *from == key) ++from;
    entries.push_back(entry);
  }
  entries.insert(entries.end(), from, older.entries_.end());
  return std::make_shared<const Rows>(std::move(entries), newer.arena_);
}

Batch::Batch() : arena_(std::make_shared<Arena>()) {}

Batch::Run& Batch::run_of(unsigned char first) {
  if (run_at_[first] == 0) {
    VERIFY(runs_.size() < 255);  // The first bytes are a few buckets.
    runs_.push_back(Run{first, {}, {}});
    run_at_[first] = static_cast<uint8_t>(runs_.size());
  }
  return runs_[run_at_[first] - 1];
}

void Batch::replace(Entry& entry, std::string_view value, bool is_erase) {
  Row& row = *entry.row;
  if (value.size() <= row.value_room) {
    // Nobody else sees the rows of an unsealed batch.
    std::copy(value.begin(), value.end(), const_cast<char*>(row.bytes()) + row.key_bytes);
    row.value_bytes = is_erase ? Row::kErased : static_cast<uint32_t>(value.size());
  } else {
    entry.row = arena_->add(row.key(), value, is_erase);
  }
}

void Batch::put(std::string_view key, std::string_view value, bool is_erase) {
  VERIFY(!key.empty());
  const Probe probe(key);
  Run& run = run_of(static_cast<unsigned char>(key[0]));
  const auto add = [&] { return Entry{probe.high, probe.low, arena_->add(key, value, is_erase)}; };
  if (run.ascending.empty()) {
    run.ascending.push_back(add());
    return;
  }
  const std::strong_ordering last = run.ascending.back() <=> probe;
  if (last < 0) {
    run.ascending.push_back(add());
  } else if (last == 0) {
    replace(run.ascending.back(), value, is_erase);
  } else {
    const auto it = first_not_below(run.ascending, probe);
    if (*it == probe) {  // `it` is not the end: the last one is above.
      replace(*it, value, is_erase);
    } else if (const auto other = run.others.find(probe); other != run.others.end()) {
      // The place in the tree depends on the key only, so the row may change.
      replace(const_cast<Entry&>(*other), value, is_erase);
    } else {
      run.others.insert(add());
    }
  }
}

const Row* Batch::find(const Probe& key) const {
  if (key.key.empty()) return nullptr;
  const uint8_t at = run_at_[static_cast<unsigned char>(key.key[0])];
  if (at == 0) return nullptr;
  const Run& run = runs_[at - 1];
  const auto it = first_not_below(run.ascending, key);
  if (it == run.ascending.end()) return nullptr;
  if (*it == key) return it->row;
  if (run.others.empty()) return nullptr;
  const auto other = run.others.find(key);
  return other == run.others.end() ? nullptr : other->row;
}

std::shared_ptr<const Rows> Batch::seal() {
  std::sort(runs_.begin(), runs_.end(), [](const Run& a, const Run& b) { return a.first < b.first; });
  size_t count = 0;
  for (const Run& run : runs_) count += run.ascending.size() + run.others.size();
  std::vector<Entry> entries;
  entries.reserve(count);
  for (const Run& run : runs_) {
    auto other = run.others.begin();
    for (const Entry& entry : run.ascending) {
      if (other != run.others.end()) {
        const Probe key(entry.row->key());
        for (; other != run.others.end() && *other <=> key < 0; ++other) entries.push_back(*other);
      }
      entries.push_back(entry);
    }
    DVERIFY(other == run.others.end());
  }
  runs_.clear();
  run_at_.fill(0);
  return std::make_shared<const Rows>(std::move(entries), arena_);
}

void Batch::start_commit() {
  VERIFY(empty());
  arena_ = std::make_shared<Arena>();
}

}  // namespace storage::pending
