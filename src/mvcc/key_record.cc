#include "mvcc/key_record.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "base/verify.h"

namespace mvcc {

Version make_version(Revision revision, size_t size, bool tombstone, bool has_lease) {
  VERIFY(revision.sub <= kSubMax);
  Version version;
  version.main = revision.main;
  version.sub = static_cast<uint32_t>(revision.sub) & uint32_t{kSubMax};
  version.tombstone = tombstone;
  version.has_lease = has_lease;
  version.size = static_cast<uint32_t>(size);
  return version;
}

KeyRecord* KeyRecord::make(std::string_view key) {
  VERIFY(key.size() <= UINT32_MAX);
  auto* record = new (::operator new(sizeof(KeyRecord) + key.size())) KeyRecord();
  record->key_bytes = static_cast<uint32_t>(key.size());
  if (!key.empty()) std::memcpy(reinterpret_cast<char*>(record + 1), key.data(), key.size());
  return record;
}

void KeyRecord::free(KeyRecord* record) {
  record->~KeyRecord();
  ::operator delete(record);
}

void KeyRecord::push_newest() {
  if (history == nullptr) history = new History();
  history->versions.push_back(newest);
}

void KeyRecord::put(const Version& v) {
  VERIFY(!v.tombstone && v.revision() > newest.revision());
  if (empty()) {
    created = v.main;
    key_version = 1;
  } else {
    push_newest();
    if (newest.tombstone) {
      history->closed.push_back({created, key_version, static_cast<uint32_t>(history->versions.size())});
      created = v.main;
      key_version = 1;
    } else {
      ++key_version;
    }
  }
  newest = v;
}

void KeyRecord::bury(const Version& tombstone) {
  VERIFY(live() && tombstone.tombstone && tombstone.revision() > newest.revision());
  push_newest();
  newest = tombstone;
}

void KeyRecord::restore(const Version& v, int64_t create_revision, int64_t put_version) {
  VERIFY(empty());
  newest = v;
  created = create_revision;
  key_version = put_version;
}

const Version& KeyRecord::version(size_t position) const {
  return history != nullptr && position < history->versions.size() ? history->versions[position] : newest;
}

std::optional<Located> KeyRecord::find(int64_t at) const {
  if (newest.main <= at) {
    if (newest.tombstone || empty()) return std::nullopt;
    return Located{newest, created, key_version};
  }
  if (history == nullptr) return std::nullopt;
  const std::vector<Version>& versions = history->versions;
  const auto above = std::partition_point(versions.begin(), versions.end(), [at](const Version& v) { return v.main <= at; });
  if (above == versions.begin()) return std::nullopt;
  const size_t position = static_cast<size_t>(above - versions.begin()) - 1;
  const Version& v = versions[position];
  if (v.tombstone) return std::nullopt;
  const std::vector<Generation>& closed = history->closed;
  const auto g = std::partition_point(closed.begin(), closed.end(), [&](const Generation& c) { return c.end <= position; });
  // Counted from the last put of the generation: after a compaction its beginning is gone.
  if (g != closed.end()) return Located{v, g->created, g->key_version - static_cast<int64_t>(g->end - 2 - position)};
  const size_t puts_after = versions.size() - position - (newest.tombstone ? 1 : 0);
  return Located{v, created, key_version - static_cast<int64_t>(puts_after)};
}

KeyRecord::Cut KeyRecord::cut(int64_t at) const {
  const size_t count = versions();
  size_t begin = 0;
  if (history != nullptr) {
    for (const Generation& g : history->closed) {
      if (history->versions[g.end - 1].main >= at) return cut_generation(begin, g.end, at);
      begin = g.end;
    }
  }
  if (newest.tombstone && newest.main < at) return {count, std::nullopt};
  return cut_generation(begin, count, at);
}

// In the oldest generation that stays, the newest version at or below `at` stays, and all behind it.
KeyRecord::Cut KeyRecord::cut_generation(size_t begin, size_t end, int64_t at) const {
  size_t low = begin, high = end;
  while (low < high) {
    const size_t middle = low + (high - low) / 2;
    if (version(middle).main <= at) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if (low == begin) return {begin, std::nullopt};
  return {low - 1, low - 1};
}

void KeyRecord::drop_oldest(size_t count) {
  if (count == 0) return;
  VERIFY(history != nullptr && count <= history->versions.size());
  if (count == history->versions.size()) {
    delete history;
    history = nullptr;
    return;
  }
  std::vector<Version>& versions = history->versions;
  versions.erase(versions.begin(), versions.begin() + static_cast<ptrdiff_t>(count));
  if (versions.capacity() > 2 * versions.size()) versions.shrink_to_fit();
  std::vector<Generation>& closed = history->closed;
  std::erase_if(closed, [count](const Generation& g) { return g.end <= count; });
  for (Generation& g : closed) g.end -= static_cast<uint32_t>(count);
  if (closed.empty()) closed.shrink_to_fit();
}

}  // namespace mvcc
