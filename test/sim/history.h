// What clients asked and what they were told, for the checkers. Times are the world's.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "rpc.pb.h"
#include "wire/codec.h"

namespace sim {

struct Operation {
  int client = 0;
  wire::Op op = wire::Op::kNone;  // kRange, kPut, kDeleteRange, kTxn
  std::string request;
  bool linearizable = true;  // of a read
  base::Instant call{}, end{};
  int64_t applied = 0;  // the highest revision that any member had applied at the call
  enum Outcome { kOk, kRefused, kUnknown } outcome = kUnknown;
  std::string error;
  int64_t revision = 0;
  std::string response;  // fields, without the header
};

// One life of a watcher on one stream: the request and everything that came.
struct WatchRecord {
  etcdserverpb::WatchCreateRequest request;
  int64_t created_at = 0;  // the header's revision in the answer to it; 0: none came
  struct Response {
    base::Instant at{};
    int64_t revision = 0;  // the header's
    bool canceled = false;
    int64_t compact_revision = 0;
    std::vector<mvccpb::Event> events;  // empty and not canceled: progress
  };
  std::vector<Response> responses;
  // The first revision it must hear of.
  int64_t first() const { return request.start_revision() > 0 ? request.start_revision() : created_at + 1; }
};

struct LeaseRecord {
  int64_t id = 0, ttl_s = 0;
  std::string key;                   // hangs on it; empty: the put was not acknowledged
  base::Instant granted{};           // when the grant was asked for
  base::Instant renewed{};           // when the last renewal that succeeded was asked for
  base::Instant renewal_answered{};  // ... and answered
  bool revoked = false;              // somebody asked for its end
  bool key_lost = false;             // the key was written again without the lease, maybe
  int64_t let_go = 0;                // at this revision; 0: nobody knows
};

}  // namespace sim
