// One key and its versions. A generation is a run of versions that starts with a put and ends with a tombstone, if it has
// ended. Most keys have one version, which is in the record itself (48 bytes and the key); what came before hangs off it.
// Source: etcd mvcc/key_index.go; wire-and-disk 6.6.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "mvcc/key_hasher.h"
#include "mvcc/revision.h"

namespace mvcc {

// Rows of one transaction.
inline constexpr int64_t kSubMax = (int64_t{1} << 30) - 1;

struct Version {
  int64_t main = 0;
  uint32_t sub : 30 = 0;
  uint32_t tombstone : 1 = 0;
  uint32_t has_lease : 1 = 0;
  uint32_t size = 0;  // bytes of the row's value: the encoded pair

  Revision revision() const { return {main, static_cast<int64_t>(sub)}; }
};
static_assert(sizeof(Version) == 16);
// REQUIRES: revision.sub <= kSubMax.
Version make_version(Revision revision, size_t size, bool tombstone, bool has_lease);

// A version with what a reader wants to know of it.
struct Located {
  Version version;
  int64_t create_revision = 0;
  int64_t key_version = 0;  // 1 for the put that created the key
};

struct KeyRecord {
  struct Generation {
    int64_t created;
    int64_t key_version;  // of its last put
    uint32_t end;         // position behind its tombstone in History::versions
  };
  struct History {
    std::vector<Version> versions;   // older than `newest`, ascending
    std::vector<Generation> closed;  // generations that lie in `versions` with their tombstone
  };

  Version newest;
  int64_t created = 0;      // of newest's generation; 0 for a tombstone whose puts are unknown
  int64_t key_version = 0;  // of the last put of newest's generation
  History* history = nullptr;
  uint32_t hot = 0;  // slot in HotValues, 0: none
  uint32_t key_bytes = 0;

  static KeyRecord* make(std::string_view key);
  static void free(KeyRecord* record);
  KeyRecord(const KeyRecord&) = delete;
  KeyRecord& operator=(const KeyRecord&) = delete;

  std::string_view key() const { return {reinterpret_cast<const char*>(this + 1), key_bytes}; }
  bool empty() const { return newest.main == 0; }  // made and nothing put yet
  bool live() const { return !newest.tombstone && !empty(); }

  // REQUIRES: version.revision() above all it has. A put after a tombstone, or into an empty record, starts a generation.
  void put(const Version& version);
  // REQUIRES: live().
  void bury(const Version& tombstone);
  // The first version found of a key when rows are read back: the generation began before.
  void restore(const Version& version, int64_t create_revision, int64_t put_version);

  // The version that a read at `at` sees.
  std::optional<Located> find(int64_t at) const;
  size_t versions() const { return empty() ? 0 : 1 + (history ? history->versions.size() : 0); }

  // What Compact(at) makes of the record: versions [0, dropped) go, and `kept` (if any) is the newest one that stays at or
  // below `at`. Positions count from the oldest.
  struct Cut {
    size_t dropped = 0;
    std::optional<size_t> kept;
  };
  Cut cut(int64_t at) const;
  const Version& version(size_t position) const;
  // Forgets the `count` oldest versions. REQUIRES: count < versions(); who drops all erases the record.
  void drop_oldest(size_t count);

 private:
  KeyRecord() = default;
  ~KeyRecord() { delete history; }
  void push_newest();
  Cut cut_generation(size_t begin, size_t end, int64_t at) const;
};

}  // namespace mvcc
