// Watches, promise by promise. watch_model_test.cc has what random histories say.
#include "unit/mvcc/watch_fixture.h"

#include <malloc.h>

using mvcc_test::Sink;
using mvcc_test::watch_of;
using mvcc_test::WatchFixture;
using Texts = std::vector<std::string>;

namespace {
const std::string kOpen("\0", 1);
}

TEST_CASE("watch: ranges and filters choose the events") {
  struct Row {
    const char* rule;
    std::string key, range_end;
    bool no_put, no_delete;
    Texts expected;
  };
  const Row rows[] = {
      {"one key", "b", "", false, false, {"0@3 PUT b=2/3", "0@5 DEL b=/5"}},
      {"a range is half-open", "a", "b", false, false, {"0@2 PUT a=1/2"}},
      {"to the end", "b", kOpen, false, false, {"0@3 PUT b=2/3", "0@4 PUT c=3/4", "0@5 DEL b=/5"}},
      {"no puts", "a", kOpen, true, false, {"0@5 DEL b=/5"}},
      {"no deletes", "b", "", false, true, {"0@3 PUT b=2/3"}},
      {"neither", "b", "", true, true, {}},
      {"a key that is only a prefix", "aa", "", false, false, {}},
  };
  for (const Row& row : rows) {
    CAPTURE(row.rule);
    WatchFixture world;
    Sink sink;
    mvcc::WatchStream* stream = world.hub.open(sink);
    mvcc::WatchRequest request = watch_of(row.key, row.range_end);
    request.no_put = row.no_put;
    request.no_delete = row.no_delete;
    world.watch(stream, request);
    world.db.put("a", "1");
    world.db.put("b", "2");
    world.db.put("c", "3");
    world.db.erase("b");
    CHECK(sink.take() == row.expected);
    // The same from the past, in one response.
    world.hub.cancel(stream, 0);
    request.start_revision = 1;
    world.watch(stream, request);
    CHECK(sink.take().empty());
    world.run();
    std::string events;
    for (const std::string& text : row.expected) events += text.substr(text.find(' '));
    CHECK(sink.take() == (events.empty() ? Texts() : Texts{"1@5" + events}));
    world.hub.close(stream);
  }
}

TEST_CASE("watch: where a watch begins") {
  WatchFixture world;
  for (int i = 2; i <= 6; ++i) world.db.put("k", std::to_string(i));
  Sink sink;
  mvcc::WatchStream* stream = world.hub.open(sink);
  world.watch(stream, watch_of("k", "", 5));  // past
  world.watch(stream, watch_of("k", "", 6));  // present
  world.watch(stream, watch_of("k", "", 7));  // next
  world.watch(stream, watch_of("k", "", 9));  // future
  world.watch(stream, watch_of("k", "", 0));
  CHECK(world.hub.statistics().slow_watchers == 2);
  world.run();
  CHECK(sink.take() == Texts{"0@6 PUT k=5/5 PUT k=6/6", "1@6 PUT k=6/6"});
  CHECK(world.hub.statistics().slow_watchers == 0);
  world.db.put("k", "7");
  CHECK(sink.take() == Texts{"2@7 PUT k=7/7", "4@7 PUT k=7/7", "0@7 PUT k=7/7", "1@7 PUT k=7/7"});
  world.db.put("k", "8");
  world.db.put("k", "9");
  CHECK(sink.take().size() == 4 + 5);
  world.hub.close(stream);
}

TEST_CASE("watch: ids are chosen, given, taken and freed") {
  WatchFixture world;
  Sink sink;
  mvcc::WatchStream* stream = world.hub.open(sink);
  mvcc::WatchRequest given = watch_of("k");
  given.watch_id = 1;
  CHECK(world.watch(stream, given) == 1);
  CHECK(world.watch(stream, watch_of("k")) == 0);
  CHECK(world.watch(stream, watch_of("k")) == 2);
  CHECK(world.hub.watch(stream, given).status().text() == "mvcc: duplicate watch ID provided on the WatchStream");
  CHECK(world.hub.watch(stream, watch_of("k", "k")).status().text() == "mvcc: watcher range is empty");
  CHECK(world.hub.watch(stream, watch_of("k", "a")).status().text() == "mvcc: watcher range is empty");
  CHECK_FALSE(world.hub.cancel(stream, 7));
  CHECK(world.hub.cancel(stream, 1));
  CHECK_FALSE(world.hub.cancel(stream, 1));
  CHECK(world.watch(stream, given) == 1);
  given.watch_id = -1;
  CHECK(world.watch(stream, given) == -1);
  world.hub.close(stream);
  CHECK(world.hub.statistics().bytes == 0);
  CHECK(world.hub.statistics().streams == 0);
}

TEST_CASE("watch: the bounds of watchers") {
  mvcc::WatchLimits limits;
  limits.stream_watchers_max = 10;
  limits.bytes_max = 2400;
  WatchFixture world(limits);
  Sink sink;
  mvcc::WatchStream* first = world.hub.open(sink);
  mvcc::WatchStream* second = world.hub.open(sink);
  for (int i = 0; i < 10; ++i) world.watch(first, watch_of("k" + std::to_string(i)));
  CHECK(world.hub.watch(first, watch_of("k")).status().code() == base::Code::kResourceExhausted);
  int made = 0;
  while (made < 100 && world.hub.watch(second, watch_of("a" + std::to_string(made))).ok()) ++made;
  CHECK(made < 10);
  CHECK(world.hub.statistics().bytes <= 2400);
  world.hub.close(first);
  CHECK(world.hub.watch(second, watch_of("z")).ok());
  world.hub.close(second);
}

TEST_CASE("watch: events of a revision come together, encoded once for all who get the same") {
  WatchFixture world;
  Sink sink;
  mvcc::WatchStream* stream = world.hub.open(sink);
  for (int i = 0; i < 3; ++i) world.watch(stream, watch_of("a", "z"));
  world.watch(stream, watch_of("b"));
  mvcc::Store::WriteTxn write(*world.db.store);
  for (const char* key : {"a", "b", "c"}) write.put(key, "1", base::LeaseId());
  write.commit();
  REQUIRE(sink.queue.size() == 4);
  CHECK(sink.queue[0].body == sink.queue[1].body);
  CHECK(sink.queue[0].body == sink.queue[2].body);
  CHECK(sink.take() == Texts{"0@2 PUT a=1/2 PUT b=1/2 PUT c=1/2", "1@2 PUT a=1/2 PUT b=1/2 PUT c=1/2",
                             "2@2 PUT a=1/2 PUT b=1/2 PUT c=1/2", "3@2 PUT b=1/2"});
  world.hub.close(stream);
}

TEST_CASE("watch: the pair before") {
  for (const size_t hot : {size_t{0}, size_t{1} << 20}) {
    mvcc::Options options;
    options.hot_bytes_max = hot;
    WatchFixture world({}, options);
    Sink sink;
    mvcc::WatchStream* stream = world.hub.open(sink);
    mvcc::WatchRequest request = watch_of("k");
    request.prev_kv = true;
    world.watch(stream, request);
    world.db.put("k", "a");
    world.db.put("k", "b");
    world.db.erase("k");
    world.db.put("k", "c");
    world.db.put("k", "d");
    CHECK(sink.take() == Texts{"0@2 PUT k=a/2", "0@3 PUT k=b/3(a)", "0@4 DEL k=/4(b)", "0@5 PUT k=c/5", "0@6 PUT k=d/6(c)"});
    request.start_revision = 2;
    world.watch(stream, request);
    world.run();
    CHECK(sink.take() == Texts{"1@6 PUT k=a/2 PUT k=b/3(a) DEL k=/4(b) PUT k=c/5 PUT k=d/6(c)"});
    // Below a compaction it is gone; at the revision of it there is the pair, but not the one before.
    world.db.compact(6);
    request.start_revision = 6;
    world.watch(stream, request);
    world.run();
    CHECK(sink.take() == Texts{"2@6 PUT k=d/6"});
    world.hub.close(stream);
  }
}

TEST_CASE("watch: compacted watchers end, keep their id and silence progress") {
  WatchFixture world;
  for (int i = 2; i <= 9; ++i) world.db.put("k", std::to_string(i));
  REQUIRE(world.db.store->compact(5).ok());
  Sink sink;
  mvcc::WatchStream* stream = world.hub.open(sink);
  world.watch(stream, watch_of("k", "", 4));
  world.watch(stream, watch_of("k", "", 5));
  world.run();
  CHECK(sink.take() == Texts{"0@0 compacted 5", "1@9 PUT k=5/5 PUT k=6/6 PUT k=7/7 PUT k=8/8 PUT k=9/9"});
  world.hub.request_progress(stream);
  CHECK(sink.take().empty());
  mvcc::WatchRequest given = watch_of("k");
  given.watch_id = 1;
  CHECK_FALSE(world.hub.watch(stream, given).ok());
  CHECK(world.hub.cancel(stream, 0));
  world.hub.request_progress(stream);
  CHECK(sink.take() == Texts{"-1@9 progress"});
  world.db.run_compactions();
  world.hub.close(stream);
}

TEST_CASE("watch: progress is told when nothing is outstanding") {
  WatchFixture world;
  Sink sink;
  mvcc::WatchStream* stream = world.hub.open(sink);
  world.hub.request_progress(stream);
  CHECK(sink.take().empty());  // Nobody watches.
  world.db.put("k", "1");
  mvcc::WatchRequest request = watch_of("k");
  request.progress_notify = true;
  world.watch(stream, request);
  world.hub.request_progress(stream);
  CHECK(sink.take() == Texts{"-1@2 progress"});
  world.watch(stream, watch_of("k", "", 4));
  world.hub.request_progress(stream);
  CHECK(sink.take().empty());  // One waits for the future.
  world.db.put("x", "1");
  world.db.put("x", "1");
  world.hub.request_progress(stream);
  CHECK(sink.take() == Texts{"-1@4 progress"});
  world.watch(stream, watch_of("k", "", 100));
  CHECK(world.hub.cancel(stream, 2));
  world.watch(stream, watch_of("k", "", 2));
  world.hub.request_progress(stream);
  CHECK(sink.take().empty());  // One is behind.
  world.run();
  CHECK(sink.take() == Texts{"3@4 PUT k=1/2"});
  // By time: not to who got an event since the last tick, and only to who asked.
  world.hub.tick_progress(stream);
  CHECK(sink.take() == Texts{"0@4 progress"});
  world.db.put("k", "2");
  CHECK(sink.take().size() == 3);
  world.hub.tick_progress(stream);
  CHECK(sink.take().empty());
  world.hub.tick_progress(stream);
  CHECK(sink.take() == Texts{"0@5 progress"});
  CHECK(world.hub.wants_ticks(stream));
  CHECK(world.hub.cancel(stream, 0));
  CHECK_FALSE(world.hub.wants_ticks(stream));
  // Who was cancelled before its time came keeps nobody waiting.
  world.hub.request_progress(stream);
  CHECK(sink.take() == Texts{"-1@5 progress"});
  // Not to who waits for the future, until it is there.
  request.start_revision = 7;
  world.watch(stream, request);
  world.hub.tick_progress(stream);
  world.hub.tick_progress(stream);
  CHECK(sink.take().empty());
  world.db.put("x", "1");
  world.db.put("x", "1");
  world.hub.tick_progress(stream);
  CHECK(sink.take() == Texts{"4@7 progress"});
  world.hub.close(stream);
}

TEST_CASE("watch: a full stream holds up nobody, and gets the rest later") {
  WatchFixture world;
  Sink slow(2), quick;
  mvcc::WatchStream* slow_stream = world.hub.open(slow);
  mvcc::WatchStream* quick_stream = world.hub.open(quick);
  world.watch(slow_stream, watch_of("k"));
  world.watch(quick_stream, watch_of("k"));
  for (int i = 0; i < 5; ++i) world.db.put("k", "v");
  world.run();
  CHECK(quick.take().size() == 5);
  CHECK(slow.take() == Texts{"0@2 PUT k=v/2", "0@3 PUT k=v/3"});
  CHECK(world.hub.statistics().slow_watchers == 1);
  world.hub.request_progress(slow_stream);
  CHECK(slow.take().empty());
  world.hub.drained(slow_stream);
  world.run();
  CHECK(slow.take() == Texts{"0@6 PUT k=v/4 PUT k=v/5 PUT k=v/6"});
  CHECK(world.hub.statistics().slow_watchers == 0);
  world.hub.request_progress(slow_stream);
  CHECK(slow.take() == Texts{"-1@6 progress"});
  world.db.put("k", "w");
  CHECK(slow.take() == Texts{"0@7 PUT k=w/7"});
  world.hub.close(slow_stream);
  world.hub.close(quick_stream);
}

TEST_CASE("watch: once a full stream has drained, each of its watchers goes on") {
  WatchFixture world;
  Sink sink(3);
  mvcc::WatchStream* stream = world.hub.open(sink);
  for (const char* key : {"a", "b", "c"}) world.watch(stream, watch_of(key));
  for (const char* key : {"a", "b", "c", "a", "b", "c"}) world.db.put(key, "v");
  CHECK(sink.take() == Texts{"0@2 PUT a=v/2", "1@3 PUT b=v/3", "2@4 PUT c=v/4"});
  CHECK(world.hub.statistics().slow_watchers == 3);
  world.hub.drained(stream);
  world.run();
  CHECK(sink.take() == Texts{"0@7 PUT a=v/5", "1@7 PUT b=v/6", "2@7 PUT c=v/7"});
  world.hub.close(stream);
}

TEST_CASE("watch: neither a long history nor a crowd of late comers makes the others wait for long") {
  mvcc::WatchLimits limits;
  limits.near_revisions = 3;
  limits.watchers_max = 1;
  limits.chunk_rows = 4;
  limits.chunks_max = 1;
  WatchFixture world(limits);
  for (int i = 0; i < 40; ++i) world.db.put("old", "v");
  Sink old, late;
  mvcc::WatchStream* old_stream = world.hub.open(old);
  mvcc::WatchStream* late_stream = world.hub.open(late);
  world.watch(old_stream, watch_of("old", "", 1));
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 2; ++i) world.watch(late_stream, watch_of("old", "", world.db.store->current_revision()));
    for (int catch_ups = 0; catch_ups < 2; ++catch_ups) {
      REQUIRE(world.step());
      while (world.catch_up != nullptr) REQUIRE(world.step());
    }
  }
  CHECK(old.queue.size() >= 2);
  CHECK(late.queue.size() >= 2);
  world.run();
  world.hub.close(old_stream);
  world.hub.close(late_stream);
}

TEST_CASE("watch: a compaction over what a catch-up could not keep ends the watch; nothing is left out unsaid") {
  mvcc::WatchLimits limits;
  limits.tail_events_max = 2;
  WatchFixture world(limits);
  for (int i = 2; i <= 5; ++i) world.db.put("k", std::to_string(i));
  Sink sink;
  mvcc::WatchStream* stream = world.hub.open(sink);
  world.watch(stream, watch_of("k", "", 4));
  REQUIRE(world.step());  // It has its view now.
  for (int i = 6; i <= 9; ++i) world.db.put("k", std::to_string(i));
  world.db.compact(9);
  world.run();
  CHECK(sink.take() == Texts{"0@9 PUT k=4/4 PUT k=5/5", "0@0 compacted 9"});
  world.hub.close(stream);
}

TEST_CASE("watch: after a snapshot took the store's place, nobody misses what it brought, or hears again what it heard") {
  // What a snapshot brings is not told by commits: the hub hears of none from 4 to 7.
  WatchFixture world;
  Sink sink;
  mvcc::WatchStream* stream = world.hub.open(sink);
  for (int i = 2; i <= 3; ++i) world.db.put("k", std::to_string(i));
  world.watch(stream, watch_of("k"));
  world.watch(stream, watch_of("k", "", 6));
  world.watch(stream, watch_of("k", "", 8));
  const int64_t before = world.db.store->current_revision();
  world.forward.hub = nullptr;
  for (int i = 4; i <= 7; ++i) world.db.put("k", std::to_string(i));
  world.forward.hub = &world.hub;
  world.hub.on_restart(before);
  world.run();
  CHECK(sink.take() == Texts{"0@7 PUT k=4/4 PUT k=5/5 PUT k=6/6 PUT k=7/7", "1@7 PUT k=6/6 PUT k=7/7"});
  world.db.put("k", "8");
  CHECK(sink.take().size() == 3);
  world.hub.close(stream);
}

TEST_CASE("watch: what is committed during a catch-up comes behind it, also when it is too much to keep") {
  for (const size_t tail : {size_t{2}, size_t{1000}}) {
    CAPTURE(tail);
    mvcc::WatchLimits limits;
    limits.tail_events_max = tail;
    WatchFixture world(limits);
    for (int i = 2; i <= 5; ++i) world.db.put("k", std::to_string(i));
    Sink sink;
    mvcc::WatchStream* stream = world.hub.open(sink);
    world.watch(stream, watch_of("k", "", 4));
    REQUIRE(world.step());  // It has its view now.
    for (int i = 6; i <= 9; ++i) world.db.put("k", std::to_string(i));
    world.run();
    std::string all;
    for (const std::string& text : sink.take()) all += text.substr(text.find(' '));
    CHECK(all == " PUT k=4/4 PUT k=5/5 PUT k=6/6 PUT k=7/7 PUT k=8/8 PUT k=9/9");
    world.db.put("k", "10");
    CHECK(sink.take() == Texts{"0@10 PUT k=10/10"});
    world.hub.close(stream);
  }
}

TEST_CASE("watch: a response of the past has a thousand revisions at most") {
  WatchFixture world;
  for (int i = 0; i < 2500; ++i) world.db.put("k", "v");
  Sink sink;
  mvcc::WatchStream* stream = world.hub.open(sink);
  world.watch(stream, watch_of("k", "", 1));
  world.run();
  REQUIRE(sink.queue.size() == 3);
  CHECK(sink.queue[0].events.size() == 1000);
  CHECK(sink.queue[1].events.size() == 1000);
  CHECK(sink.queue[2].events.size() == 500);
  sink.queue.clear();
  world.hub.close(stream);
}

TEST_CASE("watch: a stream of many watchers is taken apart in steps") {
  mvcc::WatchLimits limits;
  limits.close_step = 8;
  WatchFixture world(limits);
  Sink sink, other;
  mvcc::WatchStream* stream = world.hub.open(sink);
  mvcc::WatchStream* stays = world.hub.open(other);
  for (int i = 0; i < 50; ++i) world.watch(stream, watch_of("k"));
  world.watch(stays, watch_of("k"));
  world.hub.close(stream);
  CHECK(world.hub.statistics().watchers > 1);
  world.db.put("k", "v");  // Reaches nobody who is gone.
  CHECK(sink.queue.empty());
  CHECK(other.take() == Texts{"0@2 PUT k=v/2"});
  world.run();
  CHECK(world.hub.statistics().watchers == 1);
  world.hub.close(stays);
}

TEST_CASE("watch: a watcher costs 200 bytes at most") {
  // 100 streams of 1,000 watchers, each of a key of its own, or of ranges.
  for (const bool ranges : {false, true}) {
    WatchFixture world;
    Sink sink;
    std::vector<mvcc::WatchStream*> streams;
    for (int i = 0; i < 100; ++i) streams.push_back(world.hub.open(sink));
    const size_t before = mallinfo2().uordblks;
    int n = 0;
    for (mvcc::WatchStream* stream : streams) {
      for (int i = 0; i < 1000; ++i) {
        const std::string key = "/registry/pods/" + std::to_string(1000000 + n++);
        world.watch(stream, watch_of(key, ranges ? key + "0" : ""));
      }
    }
    const double each = static_cast<double>(mallinfo2().uordblks - before) / n;
    MESSAGE((ranges ? "range of two 23-byte keys: " : "23-byte key: ") << each << " bytes a watcher");
    MESSAGE("counted as " << static_cast<double>(world.hub.statistics().bytes) / n);
    CHECK(each <= (ranges ? 260 : 200));
    for (mvcc::WatchStream* stream : streams) world.hub.close(stream);
    world.run();
    CHECK(world.hub.statistics().bytes == 0);
  }
}
