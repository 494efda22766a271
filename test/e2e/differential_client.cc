// The same random calls to two servers; every answer must be the same: messages, order, revisions, codes, texts, and in the
// end the hash of the whole history.
//
//   differential_client --a URL --b URL [--seed N] [--ops N]
//
// Both servers must be fresh (revision 1). Calls go one after the other, so the order is the same on both sides. What may
// differ by nature is taken out before comparing: cluster id, member id and term of the headers. The first difference is
// printed with the seed, the number of the call and both answers. Last line: "N passed, N failed" (calls).
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "e2e/blocking_client.h"
#include "rpc.pb.h"

namespace {

constexpr char kRangePath[] = "/etcdserverpb.KV/Range";
constexpr char kPutPath[] = "/etcdserverpb.KV/Put";
constexpr char kDeletePath[] = "/etcdserverpb.KV/DeleteRange";
constexpr char kTxnPath[] = "/etcdserverpb.KV/Txn";
constexpr char kCompactPath[] = "/etcdserverpb.KV/Compact";
constexpr char kHashKvPath[] = "/etcdserverpb.Maintenance/HashKV";

constexpr uint64_t kKeysOfWorld = 24;          // few, so that operations meet
constexpr int kDepthMax = 3;                   // of nested transactions
constexpr uint64_t kCallsBetweenHashes = 250;
constexpr size_t kShownBytesMax = 4000;        // of a message in a report

using etcdserverpb::Compare;
using etcdserverpb::RangeRequest;

// Makes requests that are mostly sensible and sometimes wrong in each way a client can be wrong.
class Maker {
 public:
  explicit Maker(uint64_t seed) : rng_(seed) {}

  void saw(int64_t revision) { revision_ = std::max(revision_, revision); }

  std::string key() {
    if (rng_.one_in(60)) return std::string();
    if (rng_.one_in(40)) return std::string("\0", 1);
    const uint64_t n = rng_.below(kKeysOfWorld);
    std::string key(1, static_cast<char>('a' + n % 4));
    if (n >= 4) key += static_cast<char>('0' + n / 4 % 3);
    if (n >= 12) key += n >= 20 ? std::string("\xff", 1) : std::string("\0z", 2);
    return key;
  }

  // Empty: one key. Else a prefix, a pair of keys, all, to the end, an empty or an inverted range.
  std::string range_end(const std::string& key) {
    switch (rng_.below(8)) {
      case 0:
      case 1:
      case 2: return std::string();
      case 3: return std::string("\0", 1);
      case 4: {
        std::string end = key;
        if (!end.empty()) ++end.back();
        return end;
      }
      case 5: return key + std::string("\0", 1);
      default: return this->key();
    }
  }

  // Mostly the present; sometimes the past, what is compacted, the future and negative numbers.
  int64_t revision() {
    switch (rng_.below(12)) {
      case 0: return revision_;
      case 1: return revision_ + 1 + static_cast<int64_t>(rng_.below(3));
      case 2: return -static_cast<int64_t>(rng_.below(6));
      case 3:
      case 4:
      case 5: return static_cast<int64_t>(rng_.below(static_cast<uint64_t>(revision_) + 1));
      default: return 0;
    }
  }

  RangeRequest range() {
    RangeRequest request;
    request.set_key(key());
    request.set_range_end(range_end(request.key()));
    request.set_revision(revision());
    if (rng_.one_in(3)) request.set_limit(static_cast<int64_t>(rng_.below(6)) - 1);
    if (rng_.one_in(3)) request.set_sort_order(static_cast<RangeRequest::SortOrder>(rng_.below(rng_.one_in(20) ? 5 : 3)));
    if (rng_.one_in(3)) request.set_sort_target(static_cast<RangeRequest::SortTarget>(rng_.below(rng_.one_in(20) ? 8 : 5)));
    request.set_serializable(rng_.one_in(4));
    request.set_keys_only(rng_.one_in(6));
    request.set_count_only(rng_.one_in(8));
    if (rng_.one_in(10)) request.set_min_mod_revision(bound());
    if (rng_.one_in(10)) request.set_max_mod_revision(bound());
    if (rng_.one_in(10)) request.set_min_create_revision(bound());
    if (rng_.one_in(10)) request.set_max_create_revision(bound());
    return request;
  }

  etcdserverpb::PutRequest put() {
    etcdserverpb::PutRequest request;
    request.set_key(key());
    request.set_ignore_value(rng_.one_in(12));
    if (!request.ignore_value() || rng_.one_in(6)) request.set_value(value());
    request.set_ignore_lease(rng_.one_in(12));
    if (rng_.one_in(25)) request.set_lease(static_cast<int64_t>(rng_.below(3)) + 77);  // no such lease
    request.set_prev_kv(rng_.one_in(3));
    return request;
  }

  etcdserverpb::DeleteRangeRequest remove() {
    etcdserverpb::DeleteRangeRequest request;
    request.set_key(key());
    if (rng_.one_in(3)) request.set_range_end(range_end(request.key()));
    request.set_prev_kv(rng_.one_in(2));
    return request;
  }

  // Real etcd dies at apply when a transaction deletes to the end of the key space and then puts with ignore_value or
  // ignore_lease: its check overlooks the open end. Ours refuses that, so a transaction here has the one or the other.
  etcdserverpb::TxnRequest txn() {
    open_deletes_ = rng_.one_in(2);
    return txn_at(1);
  }

  etcdserverpb::TxnRequest txn_at(int depth) {
    etcdserverpb::TxnRequest request;
    for (uint64_t n = rng_.below(3); n > 0; --n) compare(*request.add_compare());
    const uint64_t most = rng_.one_in(100) ? 140 : 4;
    for (uint64_t n = rng_.below(most); n > 0; --n) operation(*request.add_success(), depth);
    for (uint64_t n = rng_.below(most); n > 0; --n) operation(*request.add_failure(), depth);
    return request;
  }

  etcdserverpb::CompactionRequest compaction() {
    etcdserverpb::CompactionRequest request;
    const int64_t recent = std::max<int64_t>(1, revision_ - static_cast<int64_t>(rng_.below(20)));
    request.set_revision(rng_.one_in(4) ? revision() : recent);
    request.set_physical(rng_.one_in(2));
    return request;
  }

  etcdserverpb::HashKVRequest hash() {
    etcdserverpb::HashKVRequest request;
    // Not below the present: the hash at a compacted revision comes from a cache whose life is the server's own.
    request.set_revision(rng_.one_in(3) ? 0 : revision_ + static_cast<int64_t>(rng_.below(2)));
    return request;
  }

  base::Rng& rng() { return rng_; }

 private:
  int64_t bound() { return static_cast<int64_t>(rng_.below(static_cast<uint64_t>(revision_) + 2)); }

  std::string value() {
    const uint64_t bytes = rng_.one_in(50) ? rng_.below(20'000) : rng_.below(12);
    std::string value;
    for (uint64_t i = 0; i < bytes; ++i) value += static_cast<char>(rng_.below(rng_.one_in(10) ? 256 : 4));
    return value;
  }

  void compare(Compare& compare) {
    compare.set_key(key());
    if (rng_.one_in(4)) compare.set_range_end(range_end(compare.key()));
    compare.set_result(static_cast<Compare::CompareResult>(rng_.below(4)));
    const uint64_t target = rng_.below(5);
    compare.set_target(static_cast<Compare::CompareTarget>(target));
    // Sometimes the union holds something else than the target says.
    switch (rng_.one_in(20) ? rng_.below(6) : target) {
      case 0: compare.set_version(static_cast<int64_t>(rng_.below(4))); break;
      case 1: compare.set_create_revision(rng_.one_in(2) ? 0 : bound()); break;
      case 2: compare.set_mod_revision(rng_.one_in(2) ? 0 : bound()); break;
      case 3: compare.set_value(value()); break;
      case 4: compare.set_lease(static_cast<int64_t>(rng_.below(2))); break;
      default: break;
    }
  }

  void operation(etcdserverpb::RequestOp& op, int depth) {
    switch (rng_.below(depth < kDepthMax ? 20 : 18)) {
      case 0: break;  // An empty one.
      case 1:
      case 2:
      case 3:
      case 4:
      case 5: *op.mutable_request_range() = range(); break;
      case 6:
      case 7:
      case 8: {
        auto& request = *op.mutable_request_delete_range() = remove();
        if (!open_deletes_ && request.range_end() == std::string("\0", 1)) request.clear_range_end();
        break;
      }
      case 18:
      case 19: *op.mutable_request_txn() = txn_at(depth + 1); break;
      default: {
        auto& request = *op.mutable_request_put() = put();
        request.set_ignore_value(request.ignore_value() && !open_deletes_);
        request.set_ignore_lease(request.ignore_lease() && !open_deletes_);
        break;
      }
    }
  }

  base::Rng rng_;
  int64_t revision_ = 1;
  bool open_deletes_ = false;
};

void clear_identity(etcdserverpb::ResponseHeader* header) {
  header->clear_cluster_id();
  header->clear_member_id();
  header->clear_raft_term();
}

template <class Response>
void forget_identity(Response& response) {
  if (response.has_header()) clear_identity(response.mutable_header());
}

void forget_identity(etcdserverpb::TxnResponse& txn) {
  if (txn.has_header()) clear_identity(txn.mutable_header());
  for (auto& op : *txn.mutable_responses()) {
    if (op.has_response_txn()) forget_identity(*op.mutable_response_txn());
  }
}

class Differential {
 public:
  Differential(const std::string& a, const std::string& b, uint64_t seed) : a_(a), b_(b), seed_(seed), maker_(seed) {}

  bool run(uint64_t calls) {
    for (uint64_t i = 0; i < calls; ++i) {
      if (!one()) return false;
      const bool hash_now = i % kCallsBetweenHashes == kCallsBetweenHashes - 1;
      if (hash_now && !same<etcdserverpb::HashKVResponse>(kHashKvPath, maker_.hash())) return false;
    }
    return same<etcdserverpb::HashKVResponse>(kHashKvPath, etcdserverpb::HashKVRequest());
  }

  uint64_t passed() const { return passed_; }
  uint64_t errors() const { return errors_; }
  int64_t revision() const { return revision_; }

 private:
  bool one() {
    const uint64_t choice = maker_.rng().below(100);
    if (choice < 35) return same<etcdserverpb::PutResponse>(kPutPath, maker_.put());
    if (choice < 65) return same<etcdserverpb::RangeResponse>(kRangePath, maker_.range());
    if (choice < 75) return same<etcdserverpb::DeleteRangeResponse>(kDeletePath, maker_.remove());
    if (choice < 98) return same<etcdserverpb::TxnResponse>(kTxnPath, maker_.txn());
    return same<etcdserverpb::CompactionResponse>(kCompactPath, maker_.compaction());
  }

  template <class Response, class Request>
  bool same(const char* path, const Request& request) {
    base::Result<Response> a = a_.call<Response>(path, request);
    base::Result<Response> b = b_.call<Response>(path, request);
    if (a.ok() != b.ok()) return differ(path, request, a, b);
    if (!a.ok()) {
      if (!(a.status() == b.status())) return differ(path, request, a, b);
      ++errors_;
    } else {
      if (a->has_header()) maker_.saw(revision_ = a->header().revision());
      forget_identity(*a);
      forget_identity(*b);
      if (!google::protobuf::util::MessageDifferencer::Equals(*a, *b)) return differ(path, request, a, b);
    }
    ++passed_;
    return true;
  }

  template <class Response, class Request>
  bool differ(const char* path, const Request& request, const base::Result<Response>& a,
              const base::Result<Response>& b) const {
    printf("seed %" PRIu64 ", call %" PRIu64 ": %s\n%s\n-- a answers\n%s\n-- b answers\n%s\n", seed_, passed_, path,
           request.DebugString().substr(0, kShownBytesMax).c_str(), shown(a).c_str(), shown(b).c_str());
    return false;
  }

  template <class Response>
  static std::string shown(const base::Result<Response>& answer) {
    return answer.ok() ? answer->DebugString().substr(0, kShownBytesMax) : answer.status().to_string();
  }

  BlockingClient a_, b_;
  uint64_t seed_;
  Maker maker_;
  uint64_t passed_ = 0, errors_ = 0;
  int64_t revision_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  std::string a, b;
  uint64_t seed = 1, calls = 10'000;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!strcmp(argv[i], "--a")) a = argv[i + 1];
    if (!strcmp(argv[i], "--b")) b = argv[i + 1];
    if (!strcmp(argv[i], "--seed")) seed = strtoull(argv[i + 1], nullptr, 10);
    if (!strcmp(argv[i], "--ops")) calls = strtoull(argv[i + 1], nullptr, 10);
  }
  if (a.empty() || b.empty()) {
    fprintf(stderr, "usage: differential_client --a URL --b URL [--seed N] [--ops N]\n");
    return 2;
  }
  Differential differential(a, b, seed);
  const bool same = differential.run(calls);
  printf("seed %" PRIu64 ": revision %" PRId64 ", %" PRIu64 " answers were errors\n", seed, differential.revision(),
         differential.errors());
  printf("%" PRIu64 " passed, %d failed\n", differential.passed(), same ? 0 : 1);
  return same ? 0 : 1;
}
