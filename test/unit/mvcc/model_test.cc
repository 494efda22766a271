// Random histories with compactions, restarts and slow readers against the plain model.
#include "model.h"
#include "base/rng.h"
#include "fixture.h"
#include "mvcc/range_reader.h"
#include "mvcc/range_stream.h"

using namespace mvcc_test;

namespace {

using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;

// Few keys, so that they have histories; prefixes of each other, zero bytes, and some that share more than eight bytes.
std::string random_key(base::Rng& rng) {
  std::string key = rng.one_in(3) ? "shared-prefix/" : "";
  const size_t length = 1 + rng.below(3);
  for (size_t i = 0; i < length; ++i) key += "ab\0z\xff"[rng.below(5)];
  return key;
}

std::string random_end(base::Rng& rng, const std::string& key) {
  switch (rng.below(5)) {
    case 0:
      return "";
    case 1:
      return std::string(1, '\0');
    case 2:
      return key + "\xff";
    default:
      return random_key(rng);
  }
}

RangeRequest random_range(base::Rng& rng, int64_t current) {
  RangeRequest r;
  r.set_key(random_key(rng));
  r.set_range_end(random_end(rng, r.key()));
  if (rng.one_in(4)) {
    r.set_key(std::string(1, '\0'));
    r.set_range_end(r.key());
  }
  if (rng.one_in(2)) r.set_revision(static_cast<int64_t>(rng.below(static_cast<uint64_t>(current) + 2)));
  if (rng.one_in(2)) r.set_limit(static_cast<int64_t>(rng.below(8)) - 1);
  if (rng.one_in(3)) r.set_sort_order(static_cast<RangeRequest::SortOrder>(rng.below(3)));
  if (rng.one_in(3)) r.set_sort_target(static_cast<RangeRequest::SortTarget>(rng.below(5)));
  if (rng.one_in(5)) r.set_keys_only(true);
  if (rng.one_in(8)) r.set_count_only(true);
  const auto revision = [&] { return static_cast<int64_t>(rng.below(static_cast<uint64_t>(current) + 1)); };
  if (rng.one_in(8)) r.set_min_mod_revision(revision());
  if (rng.one_in(8)) r.set_max_mod_revision(revision());
  if (rng.one_in(8)) r.set_min_create_revision(revision());
  if (rng.one_in(8)) r.set_max_create_revision(revision());
  return r;
}

wire::RangeRequest in_place(const std::string& bytes) {
  wire::RangeRequest request;
  REQUIRE(wire::parse(bytes, request));
  return request;
}

// A reader somebody drains slowly, and what it must say in the end.
struct Slow {
  std::string request;
  std::unique_ptr<mvcc::RangeReader> reader;
  RangeResponse expected;
  std::string got;
  bool measured = false;
};

class History {
 public:
  explicit History(uint64_t seed, mvcc::Options options) : rng_(seed), f_(&leases_, nullptr, options) {
    for (int64_t lease : {7, 8, 9}) leases_.keys[lease];
  }

  void step() {
    switch (rng_.below(20)) {
      case 0:
        return compact();
      case 1:
        return step_compaction();
      case 2:
        return rng_.one_in(20) ? reopen() : step_compaction();
      case 3:
        return open_slow();
      case 4:
      case 5:
      case 6:
        return drain();
      case 7:
      case 8:
      case 9:
      case 10:
        return range();
      case 11:
        return stream();
      default:
        return write();
    }
  }

  void finish() {
    while (!slow_.empty()) drain();
    run_compactions();
    check_rows();
    reopen();
    check_rows();
    f_.store->index().verify_for_test();
    for (const auto& [lease, keys] : leases_.keys) {
      for (const std::string& key : keys) CHECK(model_.live(key, model_.current)->pair.lease() == lease);
    }
  }

 private:
  void write() {
    mvcc::Store::WriteTxn write(*f_.store);
    model_.begin();
    for (uint64_t ops = 1 + rng_.below(3); ops > 0; --ops) {
      const std::string key = random_key(rng_);
      if (rng_.one_in(4)) {
        const std::string end = rng_.one_in(3) ? random_end(rng_, key) : "";
        CHECK(write.delete_range(key, end) == model_.erase(key, end));
      } else {
        const std::string value(rng_.below(4) * rng_.below(30), "xy"[rng_.below(2)]);
        const int64_t lease = rng_.one_in(3) ? 7 + static_cast<int64_t>(rng_.below(3)) : 0;
        write.put(key, value, LeaseId(lease));
        model_.put(key, value, lease);
      }
    }
    write.commit();
    model_.end();
    REQUIRE(f_.store->current_revision() == model_.current);
  }

  void compact() {
    const int64_t at = static_cast<int64_t>(rng_.below(static_cast<uint64_t>(model_.current) + 2));
    const Status status = f_.store->compact(at);
    if (at <= model_.compacted) {
      CHECK(status == mvcc::errors::compacted());
    } else if (at > model_.current) {
      CHECK(status == mvcc::errors::future_revision());
    } else {
      CHECK(status.ok());
      model_.compacted = at;
      compactions_.push_back(at);
    }
  }
  void step_compaction() {
    if (!task_) task_ = f_.store->next_compaction();
    if (!task_) return;
    if (task_->wants_read()) task_->read();
    if (!task_->step()) return;
    CHECK(task_->status().ok());
    task_.reset();
    if (!f_.store->compaction_waiting()) check_rows();
  }
  void run_compactions() {
    while (task_ || f_.store->compaction_waiting()) step_compaction();
  }
  void check_rows() {
    // What is left of everything after all compactions is what the last leaves.
    std::set<std::string> rows;
    for (const std::string& row : f_.rows()) rows.insert(row.substr(0, row.find(' ')));
    CHECK(rows == model_.rows_after(model_.compacted));
    CHECK(f_.store->versions() == rows.size());
  }

  void reopen() {
    while (!slow_.empty()) drain();
    task_.reset();  // A compaction under way starts anew.
    for (auto& [lease, keys] : leases_.keys) keys.clear();
    f_.reopen();
    CHECK(f_.store->current_revision() == model_.current);
    CHECK(f_.store->compact_revision() == model_.compacted);
    f_.store->index().verify_for_test();
  }

  void range() {
    const RangeRequest request = random_range(rng_, model_.current);
    CAPTURE(request.ShortDebugString());
    const auto response = f_.range(request);
    const int64_t at = request.revision() > 0 ? request.revision() : model_.current;
    if (at > model_.current) {
      CHECK(response.status() == mvcc::errors::future_revision());
    } else if (at < model_.compacted) {
      CHECK(response.status() == mvcc::errors::compacted());
    } else {
      RangeResponse expected = model_.range(request, at);
      expected.mutable_header()->set_revision(model_.current);
      REQUIRE(response.ok());
      CHECK(response->ShortDebugString() == expected.ShortDebugString());
    }
  }

  void open_slow() {
    if (slow_.size() >= 4) return;
    RangeRequest request = random_range(rng_, model_.current);
    const int64_t at = request.revision() > 0 ? request.revision() : model_.current;
    if (at > model_.current || at < model_.compacted) return;
    auto slow = std::make_unique<Slow>();
    slow->request = request.SerializeAsString();
    slow->expected = model_.range(request, at);
    slow->reader = std::make_unique<mvcc::RangeReader>(*f_.store, in_place(slow->request), at);
    if (rng_.one_in(2)) slow->measured = *slow->reader->measure();
    slow->reader->pin();
    slow_.push_back(std::move(slow));
  }
  void drain() {
    if (slow_.empty()) return;
    const size_t at = rng_.below(slow_.size());
    Slow& slow = *slow_[at];
    if (!slow.measured) {
      slow.measured = *slow.reader->measure();
      return;
    }
    const Result<bool> more = slow.reader->read(&slow.got, rng_.below(40));
    REQUIRE(more.ok());
    if (*more) return;
    CHECK(slow.got.size() == slow.reader->size());
    RangeResponse response;
    REQUIRE(response.ParseFromString(slow.got));
    CHECK(response.ShortDebugString() == slow.expected.ShortDebugString());
    slow_.erase(slow_.begin() + static_cast<ptrdiff_t>(at));
  }

  void stream() {
    RangeRequest request = random_range(rng_, model_.current);
    request.clear_sort_order();
    request.clear_sort_target();
    request.clear_min_mod_revision();
    request.clear_max_mod_revision();
    request.clear_min_create_revision();
    request.clear_max_create_revision();
    const int64_t at = request.revision() > 0 ? request.revision() : model_.current;
    if (at > model_.current || at < model_.compacted) return;
    RangeResponse expected = model_.range(request, at);
    expected.mutable_header()->set_revision(model_.current);
    const std::string bytes = request.SerializeAsString();
    mvcc::RangeStream stream(*f_.store, in_place(bytes), 64 + rng_.below(200));
    RangeResponse together;
    for (;;) {
      std::string message;
      const Result<bool> more = stream.next({0, 0, 99, 0}, &message);
      REQUIRE(more.ok());
      etcdserverpb::RangeStreamResponse chunk;
      REQUIRE(chunk.ParseFromString(message));
      CHECK(chunk.range_response().has_header() == !*more);
      together.MergeFrom(chunk.range_response());
      if (!*more) break;
      if (rng_.one_in(2)) write();
    }
    if (request.revision() > 0) together.mutable_header()->set_revision(expected.header().revision());
    CHECK(together.ShortDebugString() == expected.ShortDebugString());
  }

  base::Rng rng_;
  FakeLeases leases_;
  Fixture f_;
  Model model_;
  std::unique_ptr<mvcc::CompactionTask> task_;
  std::vector<int64_t> compactions_;
  std::vector<std::unique_ptr<Slow>> slow_;
};

}  // namespace

TEST_CASE("model: random histories, compactions, restarts and slow readers") {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    CAPTURE(seed);
    mvcc::Options options;
    options.hot_bytes_max = seed % 3 == 0 ? 0 : seed % 3 == 1 ? 4096 : 1 << 20;
    options.compaction_batch_rows = 1 + seed;
    History history(seed, options);
    for (int i = 0; i < 3000; ++i) history.step();
    history.finish();
  }
}
