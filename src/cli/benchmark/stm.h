// Software transactions as etcd's client library has them: reads remember revisions, writes wait, and the commit is one Txn
// that compares what was read. Pure: makes requests, takes answers.
// Source of behaviour: etcd client/v3/concurrency/stm.go.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "rpc.pb.h"

namespace cli::benchmark {

enum class Isolation {
  kReadCommitted,         // compares nothing
  kRepeatableReads,       // what was read is unchanged at the commit
  kSerializable,          // ... and was read as of one revision
  kSerializableSnapshot,  // ... and what is written was not written since
};

class StmAttempt {
 public:
  explicit StmAttempt(Isolation isolation) : isolation_(isolation) {}

  // Forgets reads and writes, but for what a failed commit has brought along.
  void begin();
  // The request that reads `key`; nullopt: nothing has to be asked, the key was read or written before.
  std::optional<etcdserverpb::TxnRequest> read(const std::string& key);
  // The answer to it.
  void take_read(const std::string& key, const etcdserverpb::TxnResponse& response);
  void write(const std::string& key, std::string value) { writes_[key] = std::move(value); }
  etcdserverpb::TxnRequest commit() const;
  // Whether the commit went through; otherwise begin() again.
  bool take_commit(const etcdserverpb::TxnResponse& response);

 private:
  struct Read {
    int64_t mod_revision = 0;    // 0: there was no such key
    int64_t store_revision = 0;  // as of which it was read
  };
  bool keeps_revision() const { return isolation_ >= Isolation::kSerializable; }
  void keep(const std::string& key, const Read& read);

  Isolation isolation_;
  std::map<std::string, Read> reads_, prefetched_;
  std::map<std::string, std::string> writes_;
  int64_t revision_ = 0;  // of the first read of this attempt
};

}  // namespace cli::benchmark
