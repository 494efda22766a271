// Generations of one key: what a read at a revision sees, and what a compaction leaves.
#include "mvcc/key_record.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

using mvcc::KeyRecord;
using mvcc::Version;

namespace {

struct Free {
  void operator()(KeyRecord* record) const { KeyRecord::free(record); }
};
using Owned = std::unique_ptr<KeyRecord, Free>;

Version version(int64_t main, bool tombstone = false, uint32_t sub = 0) {
  Version v;
  v.main = main;
  v.sub = sub;
  v.tombstone = tombstone;
  v.size = static_cast<uint32_t>(main);
  return v;
}

// "2 4 6t 8 10 12t 14": puts and tombstones by main revision.
Owned make(const std::string& story) {
  Owned record(KeyRecord::make("key"));
  for (size_t at = 0; at < story.size();) {
    size_t used = 0;
    const int64_t main = std::stoll(story.substr(at), &used);
    at += used;
    if (at < story.size() && story[at] == 't') {
      if (record->empty()) {
        record->restore(version(main, true), 0, 1);
      } else {
        record->bury(version(main, true));
      }
      ++at;
    } else {
      record->put(version(main));
    }
    while (at < story.size() && story[at] == ' ') ++at;
  }
  return record;
}

std::string story_of(const KeyRecord& record) {
  std::string story;
  for (size_t i = 0; i < record.versions(); ++i) {
    if (i > 0) story += ' ';
    story += std::to_string(record.version(i).main) + (record.version(i).tombstone ? "t" : "");
  }
  return story;
}

}  // namespace

TEST_CASE("key record: what a read sees") {
  struct Row {
    int64_t at;
    int64_t main;  // 0: nothing
    int64_t created;
    int64_t key_version;
  };
  const Owned record = make("2 4 6t 8 10 12t 14");
  for (const Row& row :
       {Row{1, 0, 0, 0}, Row{2, 2, 2, 1}, Row{3, 2, 2, 1}, Row{5, 4, 2, 2}, Row{6, 0, 0, 0}, Row{7, 0, 0, 0}, Row{8, 8, 8, 1},
        Row{11, 10, 8, 2}, Row{12, 0, 0, 0}, Row{13, 0, 0, 0}, Row{14, 14, 14, 1}, Row{99, 14, 14, 1}}) {
    CAPTURE(row.at);
    const auto found = record->find(row.at);
    REQUIRE(found.has_value() == (row.main != 0));
    if (!found) continue;
    CHECK(found->version.main == row.main);
    CHECK(found->create_revision == row.created);
    CHECK(found->key_version == row.key_version);
  }
}

TEST_CASE("key record: what a compaction leaves, and reads after it") {
  struct Row {
    const char* rule;
    const char* before;
    int64_t at;
    const char* after;  // "": the record goes
    int64_t kept;       // 0: nothing at or below `at` stays
  };
  for (const Row& row : {
           Row{"below everything", "4 6", 3, "4 6", 0},
           Row{"the newest at or below stays", "2 4 6", 5, "4 6", 4},
           Row{"the newest of all stays", "2 4 6", 9, "6", 6},
           Row{"a generation that ended below goes", "2 4t 6", 5, "6", 0},
           Row{"a tombstone at the revision itself stays", "2 4t 6", 4, "4t 6", 4},
           Row{"...and goes with the next", "4t 6", 5, "6", 0},
           Row{"a deleted key goes", "2 4t", 5, "", 0},
           Row{"a deleted key, at its tombstone", "2 4t", 4, "4t", 4},
           Row{"a lone tombstone", "2 4t", 9, "", 0},
           Row{"inside the second generation", "2 4t 6 8 10t 12", 8, "8 10t 12", 8},
           Row{"inside the first", "2 3 4t 6 8 10t 12", 3, "3 4t 6 8 10t 12", 3},
           Row{"before the second begins", "2 4t 8 9", 6, "8 9", 0},
           Row{"one version", "7", 9, "7", 7},
       }) {
    CAPTURE(row.rule);
    const Owned record = make(row.before);
    const Owned before = make(row.before);
    const KeyRecord::Cut cut = record->cut(row.at);
    CHECK((cut.kept ? record->version(*cut.kept).main : 0) == row.kept);
    if (std::string(row.after).empty()) {
      CHECK(cut.dropped == record->versions());
      continue;
    }
    record->drop_oldest(cut.dropped);
    CHECK(story_of(*record) == row.after);
    // Reads at or above the revision are as before.
    for (int64_t at = row.at; at < 20; ++at) {
      CAPTURE(at);
      const auto a = before->find(at), b = record->find(at);
      REQUIRE(a.has_value() == b.has_value());
      if (!a) continue;
      CHECK(a->version.main == b->version.main);
      CHECK(a->create_revision == b->create_revision);
      CHECK(a->key_version == b->key_version);
    }
    CHECK(record->cut(row.at).dropped == 0);
  }
}

TEST_CASE("key record: read back from what a compaction left") {
  const Owned put = Owned(KeyRecord::make("key"));
  put->restore(version(9), 4, 3);
  CHECK(put->find(9)->create_revision == 4);
  put->put(version(11));
  CHECK(put->find(11)->key_version == 4);
  CHECK(put->find(10)->key_version == 3);
  CHECK(!put->find(8));

  const Owned buried = Owned(KeyRecord::make("key"));
  buried->restore(version(5, true), 0, 1);
  CHECK(!buried->live());
  CHECK(!buried->find(5));
  buried->put(version(7));
  CHECK(buried->find(7)->create_revision == 7);
  CHECK(buried->find(7)->key_version == 1);
  CHECK(!buried->find(6));
}

TEST_CASE("key record: several versions of one transaction") {
  const Owned record = Owned(KeyRecord::make("key"));
  record->put(version(2));
  record->bury(version(3, true, 0));
  record->put(version(3, false, 1));
  CHECK(record->find(3)->version.revision() == mvcc::Revision{3, 1});
  CHECK(record->find(3)->create_revision == 3);
  CHECK(record->find(2)->version.main == 2);
}
