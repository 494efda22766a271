// A transaction on a store: compares decide the path, the path is checked, then it is executed (wire-and-disk 5.5). Used by
// request.cc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string_view>
#include <vector>

#include "mvcc/request.h"
#include "mvcc/store.h"
#include "wire/codec.h"

namespace mvcc {

class Txn {
 public:
  Txn(const Store& store, const wire::TxnRequest& request, Answer answer, Rules rules = Rules::kSince37)
      : store_(store), request_(request), answer_(answer), rules_(rules), revision_(store.current_revision()) {}

  // Decides and checks. An error: the transaction fails and nothing was touched. REQUIRES: first, and once.
  base::Status prepare();
  // Runs the path. `write` null: REQUIRES that it only reads. An error with `write`: its writes are done, see Rules.
  base::Result<Reply> run(Store::WriteTxn* write);

  // The parts of it that requests outside of transactions need too.
  static base::Status check_put(const Store& store, const wire::PutRequest& request);

 private:
  using Ops = std::vector<wire::RequestOp>;

  bool holds(const wire::Compare& compare) const;
  void decide(const wire::TxnRequest& request);
  const Ops& taken(const wire::TxnRequest& request, size_t* at) const;
  base::Status check(const wire::TxnRequest& request, size_t* at, class Deleted* deleted);
  base::Status check_revision(const wire::RangeRequest& request) const;
  bool needs_old_pair(const wire::TxnRequest& request, size_t* at) const;
  base::Status run(const wire::TxnRequest& request, size_t* at, Store::WriteTxn* write, wire::TxnResponse* out);
  int64_t now(const Store::WriteTxn* write) const { return write != nullptr ? write->revision() : revision_; }
  base::Status range(const wire::RangeRequest& request, int64_t revision, wire::RangeResponse* out);
  std::string_view keep(PairBytes pair);

  const Store& store_;
  const wire::TxnRequest& request_;
  Answer answer_;
  const Rules rules_;
  const int64_t revision_;
  base::Status unread_;              // why the ranges of kUpTo36 that would fail are not read
  std::vector<bool> path_;           // which branch of each transaction on the path, in the order they are met
  std::vector<PairBytes> answered_;  // what the views in the answer point into
};

// What a put needs of the pair it replaces, and does: in and out of transactions.
struct PutOutcome {
  PairBytes prev;  // if asked for and there
};
PutOutcome run_put(const Store& store, Store::WriteTxn& write, const wire::PutRequest& request, Answer answer);
// Pairs of a range, all of them, as of now. For prev_kvs.
base::Status read_pairs(const Store& store, std::string_view key, std::string_view range_end, int64_t revision,
                        std::vector<PairBytes>* out);

}  // namespace mvcc
