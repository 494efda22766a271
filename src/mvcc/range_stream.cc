#include "mvcc/range_stream.h"

#include <algorithm>

#include "base/failpoint.h"
#include "base/verify.h"
#include "mvcc/range_reader.h"
#include "mvcc/request.h"

namespace mvcc {
namespace {

using base::Result;
using base::Status;

int64_t next_chunk_pairs(int64_t pairs, size_t bytes, size_t target) {
  if (bytes < target / 2) return pairs * 2;
  if (bytes > target * 2) return std::max<int64_t>(pairs / 2, 1);
  return pairs;
}

Status measure(RangeReader& reader) {
  for (;;) {
    const Result<bool> known = reader.measure();
    if (!known.ok()) return known.status();
    if (*known) return {};
  }
}

}  // namespace

RangeStream::RangeStream(Store& store, const wire::RangeRequest& request, size_t chunk_bytes)
    : store_(store), chunk_bytes_(chunk_bytes), key_(request.key), range_end_(request.range_end), request_(request) {
  request_.key = {};
  request_.range_end = {};
  limit_ = request.limit == 0 ? INT64_MAX : request.limit;
  chunk_pairs_ = std::min(kFirstChunkPairs, limit_);  // A negative limit stays one: everything in one chunk.
}

Result<bool> RangeStream::next(wire::ResponseHeader header, std::string* out) {
  FAILPOINT(beforeRangeStreamChunk);
  ++store_.counters().ranges;
  const int64_t current = store_.current_revision();
  const int64_t asked = request_.revision;
  if (asked > current) return errors::future_revision();
  if (asked > 0 && asked < store_.compact_revision()) return errors::compacted();
  const int64_t at = asked > 0 ? asked : current;
  if (revision_ == 0) {
    revision_ = current;
    if (asked == 0) request_.revision = current;
  }
  wire::RangeRequest chunk = request_;
  chunk.key = key_;
  chunk.range_end = range_end_;
  chunk.limit = chunk_pairs_;
  RangeReader reader(store_, chunk, at, request_.count_only ? RangeReader::Count::kRange : RangeReader::Count::kPairs);
  Status status = measure(reader);
  if (!status.ok()) return status;
  std::vector<PairBytes> pairs;
  wire::RangeResponse response;
  header.revision = revision_;
  if (request_.count_only) {
    response.header = header;
    response.count = reader.count();
    wire::append_range_stream(response, *out);
    return false;
  }
  status = reader.read_all(&pairs);
  if (!status.ok()) return status;
  size_t bytes = 0;
  for (const PairBytes& pair : pairs) {
    response.kvs.push_back(*pair);
    bytes += wire::kv_field_size(pair->size());
  }
  sent_ += static_cast<int64_t>(pairs.size());
  if (reader.more()) {
    wire::KeyValue last_pair;
    VERIFY(wire::parse(response.kvs.back(), last_pair));
    key_.assign(last_pair.key);
    key_ += '\0';
  }
  if (!reader.more() || sent_ == limit_) {
    response.header = header;
    response.more = reader.more();
    response.count = sent_;
    if (response.more) {
      chunk.key = key_;
      chunk.count_only = true;
      ++store_.counters().ranges;
      RangeReader rest(store_, chunk, at);
      status = measure(rest);
      if (!status.ok()) return status;
      response.count += rest.count();
    }
    wire::append_range_stream(response, *out);
    return false;
  }
  response.has_header = false;
  wire::append_range_stream(response, *out);
  // etcd measures the Range it made the chunk from: with a header, `more`, and a count that stops one behind the limit.
  wire::ResponseHeader inner;
  inner.revision = current;
  const size_t range_bytes = wire::range_response_size(inner, bytes, true, chunk_pairs_ + 1);
  chunk_pairs_ = std::min(next_chunk_pairs(chunk_pairs_, range_bytes, chunk_bytes_), limit_ - sent_);
  return true;
}

}  // namespace mvcc
