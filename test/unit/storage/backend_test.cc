// The pending batch: readers see what was put at once, views stay as they were, commits are exact prefixes.
#include "storage/backend.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <map>
#include <string>

#include "base/bytes.h"
#include "base/rng.h"
#include "storage/keyspace.h"
#include "storage/memory_engine.h"
#include "storage/pending.h"

using base::Code;
using base::Instant;
using base::Status;
using storage::Backend;
using storage::MemoryEngine;
using storage::View;

namespace {

using Model = std::map<std::string, std::string>;

std::string get(const auto& from, const std::string& key) {
  std::string value;
  auto found = from.get(key, &value);
  REQUIRE(found.ok());
  return *found ? value : "(none)";
}

Model all_rows(const View& view) {
  Model rows;
  auto it = view.iterate();
  std::string last;
  for (it->seek(""); it->valid(); it->next()) {
    REQUIRE((rows.empty() || it->key() > last));
    last = it->key();
    rows[last] = it->value();
  }
  REQUIRE(it->status().ok());
  return rows;
}

Model rows_of(const storage::Engine& engine) {
  Model rows;
  auto it = engine.iterate();
  for (it->seek(""); it->valid(); it->next()) rows[std::string(it->key())] = it->value();
  return rows;
}

// Keys of all kinds: revisions in order, a row that is always overwritten, and a small set hit at random.
std::string random_key(base::Rng& rng, uint64_t& revision) {
  switch (rng.below(4)) {
    case 0: {
      std::string key = "f";
      base::append_be64(key, rng.one_in(4) ? revision - rng.below(std::min<uint64_t>(revision, 20)) : ++revision);
      return key + "_";
    }
    case 1: return "jconsistent_index";
    case 2: return std::string(1, static_cast<char>('a' + rng.below(26)));
    default: return "k" + std::string(rng.below(20), 'x') + std::to_string(rng.below(30));
  }
}

}  // namespace

TEST_CASE("backend: what is put is seen at once, and after the commit") {
  MemoryEngine engine;
  Backend backend(engine);
  backend.put("b", "1");
  backend.put("a", "2");
  backend.put("b", "33");
  backend.put("c", "");
  CHECK(get(backend, "b") == "33");
  CHECK(get(backend, "a") == "2");
  CHECK(get(backend, "c") == "");
  CHECK(get(backend, "d") == "(none)");
  backend.erase("a");
  CHECK(get(backend, "a") == "(none)");
  CHECK(rows_of(engine).empty());
  REQUIRE(backend.commit_now().ok());
  CHECK(rows_of(engine) == Model{{"b", "33"}, {"c", ""}});
  backend.erase("b");
  backend.put("a", "back");
  CHECK(get(backend, "b") == "(none)");
  CHECK(get(backend, "c") == "");
  CHECK(all_rows(*backend.view()) == Model{{"a", "back"}, {"c", ""}});
  CHECK(backend.begin_commit(7)->tag() == 7);
}

TEST_CASE("backend: keys that differ only behind a zero byte are different keys") {
  MemoryEngine engine;
  Backend backend(engine);
  const std::string a = "a", a0("a\0", 2), a00("a\0\0", 3), long0 = std::string(16, 'z'), long1 = long0 + std::string(1, '\0');
  for (const std::string& key : {a00, a, a0, long1, long0}) backend.put(key, std::to_string(key.size()));
  for (const std::string& key : {a, a0, a00, long0, long1}) CHECK(get(backend, key) == std::to_string(key.size()));
  const std::shared_ptr<const View> view = backend.view();
  CHECK(all_rows(*view) == Model{{a, "1"}, {a0, "2"}, {a00, "3"}, {long0, "16"}, {long1, "17"}});
}

TEST_CASE("backend: when a commit is due") {
  MemoryEngine engine;
  storage::BackendOptions options;
  options.commit_changes_max = 5;
  options.commit_bytes_max = 1 << 20;
  options.pending_bytes_max = 2 << 20;
  Backend backend(engine, options);
  const Instant start{};
  CHECK_FALSE(backend.commit_due(start));
  CHECK_FALSE(backend.commit_deadline(start).has_value());
  CHECK(backend.begin_commit() == nullptr);

  backend.put("a", "1");
  CHECK_FALSE(backend.commit_due(start));
  CHECK(*backend.commit_deadline(start) == start + options.commit_interval);
  SUBCASE("by time") { CHECK(backend.commit_due(start + options.commit_interval)); }
  SUBCASE("by count") {
    for (int i = 0; i < 3; ++i) backend.put("a", "1");
    CHECK_FALSE(backend.commit_due(start));
    backend.erase("a");
    CHECK(backend.commit_due(start));
    CHECK(*backend.commit_deadline(start) == start);
  }
  SUBCASE("by bytes, and the bound at which callers must wait") {
    backend.put("b", std::string(1 << 20, 'v'));
    CHECK(backend.commit_due(start));
    CHECK_FALSE(backend.must_wait());
    std::shared_ptr<storage::Commit> commit = backend.begin_commit();
    CHECK_FALSE(backend.commit_due(start));
    backend.put("c", std::string(1 << 20, 'v'));
    CHECK_FALSE(backend.commit_due(start + options.commit_interval * 9));  // one at a time
    CHECK(backend.must_wait());
    const Status done = backend.run(*commit);
    backend.finish_commit(std::move(commit), done);
    CHECK_FALSE(backend.must_wait());
    CHECK(backend.commit_due(start));
  }
}

TEST_CASE("backend: after a failed commit its rows stay visible and no other begins") {
  MemoryEngine engine;
  Backend backend(engine);
  backend.put("a", "1");
  engine.fail_next_write_for_test(Status(Code::kInternal, "input/output error"));
  CHECK(backend.commit_now().code() == Code::kInternal);
  CHECK(get(backend, "a") == "1");
  backend.put("b", "2");
  CHECK_FALSE(backend.commit_due(Instant{} + std::chrono::hours(1)));
}

TEST_CASE("backend: model of random puts, erases, views, iterations and commits") {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    base::Rng rng(seed);
    MemoryEngine engine;
    Backend backend(engine);
    Model now;
    uint64_t revision = 1;
    std::vector<std::pair<std::shared_ptr<const View>, Model>> views;
    std::shared_ptr<storage::Commit> running;
    Model at_commit, durable;
    for (int step = 0; step < 800; ++step) {
      const uint64_t what = rng.below(100);
      if (what < 70) {
        const std::string key = random_key(rng, revision);
        if (rng.one_in(4)) {
          backend.erase(key);
          now.erase(key);
        } else {
          const std::string value(rng.below(40), static_cast<char>('a' + rng.below(26)));
          backend.put(key, value);
          now[key] = value;
        }
      } else if (what < 80) {
        const std::string key = random_key(rng, revision);
        CHECK(get(backend, key) == (now.count(key) != 0 ? now[key] : "(none)"));
      } else if (what < 88 && views.size() < 6) {
        views.emplace_back(backend.view(), now);
      } else if (what < 92 && !views.empty()) {
        const auto& [view, then] = views[rng.below(views.size())];
        CHECK(all_rows(*view) == then);
        const std::string key = random_key(rng, revision);
        CHECK(get(*view, key) == (then.count(key) != 0 ? then.at(key) : "(none)"));
        auto it = view->iterate();
        it->seek(key);
        const auto expected = then.lower_bound(key);
        CHECK(it->valid() == (expected != then.end()));
        if (it->valid()) CHECK(it->key() == expected->first);
        it->seek_to_last_before(key);
        CHECK(it->valid() == (expected != then.begin()));
        if (it->valid()) CHECK(it->key() == std::prev(expected)->first);
      } else if (what < 94 && !views.empty()) {
        views.erase(views.begin() + static_cast<ptrdiff_t>(rng.below(views.size())));
      } else if (running == nullptr) {
        running = backend.begin_commit();
        at_commit = now;
      } else if (what < 97) {
        REQUIRE(backend.run(*running).ok());
        durable = at_commit;
        CHECK(rows_of(engine) == durable);
        if (rng.one_in(2)) views.emplace_back(backend.view(), now);  // between the write and its end
        backend.finish_commit(std::move(running), Status());
        running = nullptr;
      }
    }
    if (running != nullptr) {
      REQUIRE(backend.run(*running).ok());
      backend.finish_commit(std::move(running), Status());
    }
    REQUIRE(backend.commit_now().ok());
    CHECK(rows_of(engine) == now);
    for (const auto& [view, then] : views) CHECK(all_rows(*view) == then);
  }
}

TEST_CASE("backend: many views between few puts keep the pieces few and the memory in one arena") {
  MemoryEngine engine;
  Backend backend(engine);
  for (int i = 0; i < 2000; ++i) {
    std::string key = "f";
    base::append_be64(key, static_cast<uint64_t>(i));
    backend.put(key, "value");
    (void)backend.view();
  }
  CHECK(backend.pending_bytes() <= 3 * storage::pending::Arena::kBlockBytes);
  CHECK(all_rows(*backend.view()).size() == 2000);
}

TEST_CASE("keyspace: rows of a bucket, in order, without its byte") {
  MemoryEngine engine;
  Backend backend(engine);
  storage::put_row(backend, storage::Bucket::kMeta, "term", "1");
  storage::put_row(backend, storage::Bucket::kMeta, "confState", "{}");
  storage::put_row(backend, storage::Bucket::kMembers, "m", "x");
  REQUIRE(backend.commit_now().ok());
  storage::erase_row(backend, storage::Bucket::kMeta, "term");
  CHECK(*storage::read_row(backend, storage::Bucket::kMeta, "term") == std::nullopt);
  CHECK(*storage::read_row(backend, storage::Bucket::kMembers, "m") == std::optional<std::string>("x"));
  storage::put_row(backend, storage::Bucket::kMeta, "zz", "2");
  std::string seen;
  const Status done = storage::for_each_row(backend, storage::Bucket::kMeta, [&](std::string_view key, std::string_view value) {
    seen += std::string(key) + "=" + std::string(value) + " ";
  });
  CHECK(done.ok());
  CHECK(seen == "confState={} zz=2 ");
}

TEST_CASE("backend: the rows not yet durable are known in bytes, however large the pieces of memory are that hold them") {
  storage::MemoryEngine engine;
  storage::Backend backend(engine);
  CHECK(backend.pending_row_bytes() == 0);
  backend.put("key", std::string(100, 'v'));
  const uint64_t one = backend.pending_row_bytes();
  CHECK(one >= 103);
  CHECK(one < 150);
  const auto commit = backend.begin_commit();
  CHECK(backend.pending_row_bytes() == one);
  backend.erase("key");
  CHECK(backend.pending_row_bytes() > one);
  const base::Status done = backend.run(*commit);
  backend.finish_commit(commit, done);
  CHECK(backend.pending_row_bytes() < one);
  REQUIRE(backend.commit_now().ok());
  CHECK(backend.pending_row_bytes() == 0);
}
