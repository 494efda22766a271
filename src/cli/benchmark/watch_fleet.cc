#include "cli/benchmark/watch_fleet.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>

#include "net/spawn.h"
#include "rpc/channel.h"

namespace cli::benchmark {

using base::Code;
using base::Result;
using base::Status;
using google::protobuf::internal::WireFormatLite;

namespace {

constexpr std::string_view kWatch = "/etcdserverpb.Watch/Watch";

uint32_t varint_tag(int field) { return WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_VARINT); }

}  // namespace

Result<WatchMessage> scan_watch_response(std::string_view bytes) {
  using etcdserverpb::WatchResponse;
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int>(bytes.size()));
  static const uint32_t kId = varint_tag(WatchResponse::kWatchIdFieldNumber);
  static const uint32_t kCreated = varint_tag(WatchResponse::kCreatedFieldNumber);
  static const uint32_t kCanceled = varint_tag(WatchResponse::kCanceledFieldNumber);
  static const uint32_t kEvents =
      WireFormatLite::MakeTag(WatchResponse::kEventsFieldNumber, WireFormatLite::WIRETYPE_LENGTH_DELIMITED);
  WatchMessage message;
  bool good = true;
  while (good) {
    const uint32_t tag = in.ReadTag();
    if (tag == 0) break;
    uint64_t number = 0;
    if (tag == kId || tag == kCreated || tag == kCanceled) {
      good = in.ReadVarint64(&number);
      if (tag == kId) message.watch_id = static_cast<int64_t>(number);
      if (tag == kCreated) message.created = number != 0;
      if (tag == kCanceled) message.canceled = number != 0;
    } else {
      good = WireFormatLite::SkipField(&in, tag);
      if (tag == kEvents) ++message.events;
    }
  }
  if (!good || !in.ConsumedEntireMessage()) {
    return Status(Code::kInternal, "grpc: failed to unmarshal the received message");
  }
  return message;
}

struct WatchFleet::State {
  Load& load;
  Plan plan;
  Listener listener;
};

WatchFleet::WatchFleet(Load& load, Plan plan, Listener listener)
    : state_(std::make_shared<State>(State{load, std::move(plan), std::move(listener)})) {
  for (uint64_t stream = 0; stream < state_->plan.streams; ++stream) {
    net::spawn(load.loop().get_executor(), "watch stream", serve(state_, stream));
  }
}

std::vector<uint64_t> WatchFleet::spread(uint64_t count, uint64_t streams) {
  std::vector<uint64_t> out(streams, streams == 0 ? 0 : count / streams);
  for (uint64_t i = 0; i < streams && i < count % streams; ++i) ++out[i];
  return out;
}

asio::awaitable<void> WatchFleet::serve(std::shared_ptr<State> state, uint64_t stream) {
  Load& load = state->load;
  const Listener& listener = state->listener;
  Result<std::unique_ptr<rpc::ClientStream>> opened = co_await load.channel(stream).stream(kWatch, load.call_options());
  Status status = opened.status();
  const uint64_t wanted = state->plan.watchers[stream];
  uint64_t made = 0;
  base::Instant asked = load.clock().now();
  bool ask = wanted > 0;
  while (status.ok()) {
    if (ask) {
      ask = false;
      asked = load.clock().now();
      etcdserverpb::WatchRequest request;
      *request.mutable_create_request() = state->plan.request(stream, made);
      std::string bytes = request.SerializeAsString();
      status = co_await (*opened)->write(std::move(bytes));
      if (!status.ok()) break;
    }
    Result<std::optional<std::string>> read = co_await (*opened)->read();
    status = read.status();
    if (status.ok() && !read->has_value()) status = Status(Code::kUnavailable, "the server ended a watch stream");
    if (!status.ok()) break;
    const Result<WatchMessage> message = scan_watch_response(**read);
    status = message.status();
    if (!status.ok()) break;
    if (message->canceled) status = Status(Code::kUnavailable, "the server cancelled a watch");
    if (message->created && !message->canceled) {
      ++made;
      ask = made < wanted;
      listener.on_created(load.clock().now() - asked);
    }
    if (message->events > 0) listener.on_events(stream, static_cast<uint64_t>(message->watch_id), message->events);
  }
  listener.on_failure(in_words(status, false));
}

}  // namespace cli::benchmark
