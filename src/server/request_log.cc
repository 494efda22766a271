#include "server/request_log.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/log_time.h"
#include "rpc.pb.h"
#include "server/errors.h"
#include "server/metrics.h"
#include "server/node.h"
#include "server/proto_call.h"
#include "server/request_text.h"

namespace server {
namespace {

using base::Duration;
using base::Status;
using base::log::Field;

template <class Message>
bool read(std::string_view bytes, Message* out) {
  google::protobuf::io::ArrayInputStream array(bytes.data(), static_cast<int>(bytes.size()));
  google::protobuf::io::CodedInputStream input(&array);
  input.SetRecursionLimit(wire::kDepthMax);
  return out->ParseFromCodedStream(&input) && input.ConsumedEntireMessage();
}

// Answers inside etcd have a header that says the revision and nothing else, until they leave.
size_t with_revision_size(int64_t revision, size_t fields_bytes) {
  std::string header;
  wire::append_range_head({0, 0, revision, 0}, header);
  return header.size() + fields_bytes;
}

size_t with_header_size(const Node& node, int64_t revision, size_t fields_bytes) {
  std::string header;
  wire::append_range_head(node.header(revision), header);
  return header.size() + fields_bytes;
}

// What etcd's own function for the entry gives back, as `size:N`; empty where it gives nothing.
std::string applied_size(const Node& node, const AppliedEntry& entry) {
  using wire::Op;
  const Outcome& outcome = entry.outcome;
  const bool answered = outcome.status.ok() || outcome.revision != 0;
  const bool refused = outcome.status == errors::corrupt() || outcome.status == errors::no_space();
  std::optional<size_t> size;
  switch (entry.request.op) {
    case Op::kRange:
    case Op::kPut:
    case Op::kDeleteRange:
    case Op::kTxn:
    case Op::kCompaction:
      if (answered) size = with_revision_size(outcome.revision, outcome.fields.size());
      break;
    case Op::kLeaseGrant:
      if (answered) size = with_header_size(node, outcome.revision, outcome.fields.size());
      else if (!refused) size = 0;
      break;
    case Op::kLeaseRevoke:
    case Op::kLeaseCheckpoint:
      if (answered || !refused) size = with_header_size(node, node.store().current_revision(), outcome.fields.size());
      break;
    case Op::kAlarm:
      if (answered) size = outcome.fields.size();
      break;
    case Op::kClusterVersionSet:
    case Op::kClusterMemberAttrSet:
    case Op::kDowngradeInfoSet:
    case Op::kDowngradeVersionTest:
      break;
    default:  // users and roles
      if (answered) size = with_header_size(node, node.store().current_revision(), outcome.fields.size());
  }
  return size ? "size:" + std::to_string(*size) : std::string();
}

void add_error(std::vector<Field>& fields, const Status& status) {
  if (!status.ok()) fields.emplace_back("error", internal_error_text(status));
}

void warn_slow(Node& node, Duration took, std::string_view prefix, const std::string& request, const std::string& response,
               const Status& status) {
  const Duration expected = node.config().warning_apply_duration;
  std::vector<Field> fields{Field::duration("took", took.count()), Field::duration("expected-duration", expected.count()),
                            Field("prefix", prefix), Field("request", request), Field("response", response)};
  add_error(fields, status);
  base::log::write_fields(base::log::Level::kWarn, "apply request took too long", fields);
  node.metrics().slow_apply.add();
}

// --- traces ------------------------------------------------------------------------------------------------------------------

struct Step {
  const char* what;
  Duration took;
};

// Steps that took less than their share of kTraceFrom are left out.
void log_trace(Node& node, const char* operation, const std::string& detail, Duration took, const std::vector<Step>& steps) {
  const Duration step_from = kTraceFrom / (steps.size() + 1);
  std::vector<std::string> shown;
  for (const Step& step : steps) {
    if (step.took <= step_from) continue;
    shown.push_back("'" + std::string(step.what) + "'  (duration: " + base::log::duration_text(step.took.count()) + ")");
  }
  const int64_t end = node.environment().loop.clock().unix_ns();
  const auto time = [](int64_t unix_ns) { return "\"" + base::log::timestamp(unix_ns) + "\""; };
  // Like etcd's, the number only tells two lines apart.
  static uint64_t last = 0;
  last = last * 6364136223846793005u + 1442695040888963407u + static_cast<uint64_t>(end);
  base::log::info("trace", {{"trace_id", static_cast<int64_t>(last >> 33)},
                            {"operation", operation},
                            {"detail", "{" + detail + "}"},
                            Field::duration("duration", took.count()),
                            Field::json("start", time(end - took.count())),
                            Field::json("end", time(end)),
                            {"steps", shown},
                            {"step_count", shown.size()}});
}

std::string detail(std::string_view name, std::string_view value) {
  return std::string(name) + ":" + std::string(value) + "; ";
}
std::string detail(std::string_view name, int64_t value) { return detail(name, std::to_string(value)); }

}  // namespace

bool is_slow(const Node& node, Duration took) { return took > std::min(node.config().warning_apply_duration, kTraceFrom); }

void log_applied(Node& node, const AppliedEntry& entry) {
  const bool slow = entry.took > node.config().warning_apply_duration;
  if (!slow && !entry.failed) return;
  const std::string request = entry_text(entry.bytes), response = applied_size(node, entry);
  if (slow) warn_slow(node, entry.took, "", request, response, entry.outcome.status);
  if (!entry.failed) return;
  std::vector<Field> fields{Field::duration("took", entry.took.count()), Field("request", request),
                            Field("response", response)};
  add_error(fields, entry.outcome.status);
  base::log::write_fields(base::log::Level::kWarn, "failed to apply request", fields);
}

void log_slow_write(Node& node, const AppliedEntry& entry, Duration took) {
  if (!entry.outcome.status.ok()) return;
  const std::vector<Step> steps{{"process raft request", took - entry.took}, {"apply the request", entry.took}};
  const int64_t revision = entry.outcome.revision;
  if (entry.request.op == wire::Op::kPut) {
    wire::PutRequest put;
    if (!wire::parse(entry.request.body, put)) return;
    log_trace(node, "put",
              detail("key", put.key) + detail("req_size", static_cast<int64_t>(wire::encoded_size(put))) +
                  detail("response_revision", revision),
              took, steps);
  } else if (entry.request.op == wire::Op::kTxn) {
    etcdserverpb::TxnResponse response;
    if (!read(entry.outcome.fields, &response)) return;
    log_trace(node, "transaction",
              detail("read_only", "false") + detail("number_of_response", response.responses_size()) +
                  detail("response_revision", revision),
              took, steps);
  }
}

void log_slow_range(Node& node, const FinishedRange& range) {
  etcdserverpb::RangeRequest request;
  if (!read(range.request, &request)) return;
  uint64_t pairs = range.pairs, bytes = range.bytes;
  if (range.status.ok() && bytes == 0) {
    etcdserverpb::RangeResponse response;
    if (!read(range.fields, &response)) return;
    pairs = static_cast<uint64_t>(response.kvs_size());
    bytes = range.fields.size();
  }
  if (range.took > node.config().warning_apply_duration) {
    std::string response;
    if (range.status.ok()) {
      response = "range_response_count:" + std::to_string(pairs) +
                 " size:" + std::to_string(with_revision_size(range.revision, bytes));
    }
    warn_slow(node, range.took, "read-only range ", message_text(request), response, range.status);
  }
  if (range.took <= kTraceFrom) return;
  std::string text = detail("range_begin", request.key()) + detail("range_end", request.range_end());
  if (range.status.ok()) {
    text += detail("response_count", static_cast<int64_t>(pairs)) + detail("response_revision", range.revision);
  }
  log_trace(node, "range", text, range.took,
            {{"agreement among raft nodes before linearized reading", range.waited},
             {"assemble the response", range.took - range.waited}});
}

void log_slow_read_txn(Node& node, const FinishedTxn& txn) {
  etcdserverpb::TxnResponse answer;
  if (txn.status.ok() && !read(txn.fields, &answer)) return;
  if (txn.took > node.config().warning_apply_duration) {
    std::string response;
    if (txn.status.ok()) {
      for (const etcdserverpb::ResponseOp& op : answer.responses()) {
        response += (response.empty() ? "" : " ") + ("range_response_count:" + std::to_string(op.response_range().kvs_size()));
      }
      response = "responses:<" + response +
                 "> size:" + std::to_string(with_revision_size(txn.revision, txn.fields.size()));
    }
    warn_slow(node, txn.took, "read-only txn ", txn_text(txn.request), response, txn.status);
  }
  if (txn.took + txn.waited <= kTraceFrom) return;
  std::string text = detail("read_only", "true");
  if (txn.status.ok()) {
    text += detail("number_of_response", answer.responses_size()) + detail("response_revision", txn.revision);
  }
  log_trace(node, "transaction", text, txn.took + txn.waited,
            {{"agreement among raft nodes before linearized reading", txn.waited}, {"assemble the response", txn.took}});
}

// --- calls -------------------------------------------------------------------------------------------------------------------

namespace {

struct Stats {
  int64_t request_count = -1, request_size = -1, response_count = -1, response_size = -1;
  std::string content;
};

template <class Request, class Response>
struct Both {
  explicit Both(const rpc::FinishedUnary& call) : good(call.status.ok()) {
    (void)read(call.request, &request);
    if (good && call.source == nullptr) (void)read(call.response, &response);
    stats.request_count = 0;
    stats.request_size = static_cast<int64_t>(request.ByteSizeLong());
    stats.response_count = 0;
    stats.response_size = !good ? 0 : static_cast<int64_t>(call.source ? call.source->size() : call.response.size());
  }
  const bool good;
  Request request;
  Response response;
  Stats stats;
};

Stats stats_of(const rpc::FinishedUnary& call) {
  using namespace etcdserverpb;
  const std::string_view path = call.context.path;
  // Refused before its own handler saw it.
  for (const Status& early : {errors::not_capable(), errors::learner_unsupported(), errors::invalid_client_api_version(),
                              errors::no_leader(), errors::stopped()}) {
    if (call.status == early) return {};
  }
  if (path == "/etcdserverpb.KV/Range") {
    Both<RangeRequest, RangeResponse> both(call);
    both.stats.content = message_text(both.request);
    if (both.good) both.stats.response_count = call.source ? call.source->count() : both.response.count();
    return both.stats;
  }
  if (path == "/etcdserverpb.KV/Put") {
    Both<PutRequest, PutResponse> both(call);
    both.stats.content = put_text(call.request);
    both.stats.request_count = 1;
    return both.stats;
  }
  if (path == "/etcdserverpb.KV/DeleteRange") {
    Both<DeleteRangeRequest, DeleteRangeResponse> both(call);
    both.stats.content = message_text(both.request);
    if (both.good) both.stats.response_count = both.response.deleted();
    return both.stats;
  }
  if (path == "/etcdserverpb.KV/Txn") {
    Both<TxnRequest, TxnResponse> both(call);
    both.stats.request_size = 0;
    if (!both.good) return both.stats;
    const auto& ops = both.response.succeeded() ? both.request.success() : both.request.failure();
    both.stats.request_count = ops.size();
    for (const RequestOp& op : ops) both.stats.request_size += static_cast<int64_t>(op.ByteSizeLong());
    both.stats.content = txn_text(call.request);
    return both.stats;
  }
  return {};
}

}  // namespace

void log_call(const base::Clock& clock, const rpc::FinishedUnary& call) {
  if (call.status == unmarshal_error()) return;
  const bool debug = base::log::enabled(base::log::Level::kDebug);
  const Stats stats = stats_of(call);
  base::log::write(debug ? base::log::Level::kDebug : base::log::Level::kWarn, "request stats",
                   {Field::json("start time", "\"" + base::log::timestamp(clock.unix_ns() - call.took.count()) + "\""),
                    Field::duration("time spent", call.took.count()),
                    {"remote", call.context.peer},
                    {"response type", call.context.path},
                    {"request count", stats.request_count},
                    {"request size", stats.request_size},
                    {"response count", stats.response_count},
                    {"response size", stats.response_size},
                    {"request content", stats.content}});
}

}  // namespace server
