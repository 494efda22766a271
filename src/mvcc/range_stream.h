// KV.RangeStream: a Range in chunks that start small and grow to the size of a request (feature map 3.3). Between chunks
// anything may happen: each is a Range of its own at the revision of the first, so a compaction in between ends the stream with
// Compacted. Owner: core loop.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"
#include "mvcc/store.h"
#include "wire/codec.h"

namespace mvcc {

class RangeStream {
 public:
  static constexpr int64_t kFirstChunkPairs = 10;

  // `request` passed check_range_stream. `chunk_bytes`: --max-request-bytes, what chunks aim at.
  RangeStream(Store& store, const wire::RangeRequest& request, size_t chunk_bytes);

  // Appends the next RangeStreamResponse to `out`. `header` goes into the last one, its revision replaced. False: it was the
  // last. REQUIRES: not called after the last or an error.
  base::Result<bool> next(wire::ResponseHeader header, std::string* out);

 private:
  Store& store_;
  const size_t chunk_bytes_;
  std::string key_;
  const std::string range_end_;
  wire::RangeRequest request_;
  int64_t limit_ = 0;
  int64_t chunk_pairs_ = 0;
  int64_t sent_ = 0;
  int64_t revision_ = 0;  // of the first chunk
};

}  // namespace mvcc
