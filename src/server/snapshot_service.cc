// Maintenance.Snapshot: the database in chunks, then its digest (feature map 3.11, wire-and-disk 8.1). A piece is made when the
// one before has gone to the socket, so a slow client costs a piece of memory and a pinned view, and no time of anybody else's.
#include <algorithm>

#include "base/log.h"
#include "server/await_worker.h"
#include "server/database_export.h"
#include "server/maintainer.h"
#include "server/metrics.h"
#include "server/proto_call.h"
#include "server/services.h"

namespace server {
namespace {

using base::Result;
using base::Status;

constexpr size_t kChunkBytes = 32u << 10;  // etcd's

std::string encode(uint64_t remaining_bytes, std::string_view blob, const std::string& version) {
  etcdserverpb::SnapshotResponse response;
  response.set_remaining_bytes(remaining_bytes);
  response.set_blob(blob.data(), blob.size());
  response.set_version(version);
  return response.SerializeAsString();
}

// Lists of fields are not written inside the coroutine: UBSan saw a string of this one out of place, and g++ 12 is known to
// misplace brace-made temporaries of coroutines.
void log_begin(uint64_t total, const std::string& version) {
  base::log::info("sending database snapshot to client",
                  {{"total-bytes", total}, {"size", size_text(total)}, {"storage-version", version}});
}

// Once more each time the transfer has taken so long again as a fast network would need at all.
class TransferWatch {
 public:
  TransferWatch(const base::Clock& clock, uint64_t total)
      : clock_(clock), total_(total), began_(clock.now()), every_(std::max<base::Duration>(kWarnFrom, at_full_speed(total))),
        next_(began_ + every_) {}
  void look() {
    const base::Instant now = clock_.now();
    if (now < next_) return;
    while (next_ <= now) next_ += every_;
    const auto taking = base::log::Field::duration("taking", (now - began_).count());
    base::log::warn("snapshotting taking too long to transfer", {taking, {"bytes", total_}, {"size", size_text(total_)}});
  }

 private:
  static constexpr auto kWarnFrom = std::chrono::seconds(30);
  static constexpr uint64_t kBytesPerSecond = 100u << 20;
  static base::Duration at_full_speed(uint64_t bytes) {
    return std::chrono::milliseconds(bytes / (kBytesPerSecond / 1000));
  }
  const base::Clock& clock_;
  const uint64_t total_;
  const base::Instant began_;
  const base::Duration every_;
  base::Instant next_;
};

void log_digest(uint64_t total, size_t digest_bytes) {
  base::log::info("sending database sha256 checksum to client", {{"total-bytes", total}, {"checksum-size", digest_bytes}});
}

void log_end(uint64_t total, base::Duration took, const std::string& version) {
  base::log::info("successfully sent database snapshot to client", {{"total-bytes", total},
                                                                    {"size", size_text(total)},
                                                                    base::log::Field::duration("took", took.count()),
                                                                    {"storage-version", version}});
}

asio::awaitable<Status> serve_snapshot(Node& node, std::shared_ptr<rpc::ServerStream> stream) {
  Status admitted = admit_stream(node, stream, OnLearner::kServed);
  if (!admitted.ok()) co_return admitted;
  const Result<std::optional<std::string>> first = co_await stream->read();
  if (!first.ok()) co_return first.status();
  if (!first->has_value()) co_return Status(base::Code::kUnknown, "EOF");
  etcdserverpb::SnapshotRequest request;
  if (!request.ParseFromString(**first)) co_return unmarshal_error();
  Result<std::shared_ptr<DatabaseExport>> opened = node.maintainer().open_export();
  if (!opened.ok()) co_return opened.status();
  const std::shared_ptr<DatabaseExport> database = std::move(*opened);
  const std::string version = node.storage_version();
  const base::Clock& clock = node.environment().loop.clock();
  const base::Instant began = clock.now();
  // What the helper thread does while this coroutine waits; it keeps the export alive, whatever becomes of the stream.
  const std::function<void()> step = [database] { database->step(); };

  while (!database->measured()) {
    co_await await_worker(node.environment().helper, step);
    if (!database->status().ok()) co_return database->status();
    if (stream->closed()) co_return Status(base::Code::kCancelled, "context canceled");
  }
  const uint64_t total = database->size();
  log_begin(total, version);
  TransferWatch watch(clock, total);
  uint64_t sent = 0;
  while (sent < total) {
    co_await await_worker(node.environment().helper, step);
    if (!database->status().ok()) co_return database->status();
    size_t taken = 0;
    while (database->buffer().size() - taken >= kChunkBytes || (!database->more() && taken < database->buffer().size())) {
      const std::string_view chunk = std::string_view(database->buffer()).substr(taken, kChunkBytes);
      taken += chunk.size();
      sent += chunk.size();
      std::string message = encode(total - sent, chunk, version);
      const Status written = co_await stream->write(std::move(message));
      if (!written.ok()) co_return written;
      if (!database->status().ok()) co_return database->status();
    }
    database->buffer().erase(0, taken);
    watch.look();
  }
  log_digest(total, database->digest().size());
  std::string last = encode(0, database->digest(), version);
  const Status written = co_await stream->write(std::move(last));
  if (!written.ok()) co_return written;
  const base::Duration took = clock.now() - began;
  node.metrics().backend_snapshot_duration.observe_ns(took.count());
  log_end(total, took, version);
  co_return Status();
}

}  // namespace

void add_snapshot_service(rpc::Server& server, Node& node) {
  server.add_stream("/etcdserverpb.Maintenance/Snapshot",
                    [&node](std::shared_ptr<rpc::ServerStream> stream) { return serve_snapshot(node, std::move(stream)); });
}

}  // namespace server
