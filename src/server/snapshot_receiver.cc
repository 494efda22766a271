#include "server/snapshot_receiver.h"

#include <cstdio>

#include "base/bytes.h"
#include "base/log.h"
#include "server/config.h"
#include "server/metrics.h"
#include "server/peer_messages.h"
#include "storage/bolt/buckets.h"
#include "storage/bolt/reader.h"
#include "storage/keyspace.h"

namespace server {
namespace {

using base::Code;
using base::Result;
using base::Status;

constexpr std::string_view kDatabaseSuffix = ".snap.db";
constexpr std::string_view kUnfinishedPrefix = "db.tmp";

Status cut_short() { return Status(Code::kDataLoss, "unexpected EOF"); }

}  // namespace

std::string received_database_path(const std::string& snap_dir, base::Index index) {
  char name[32];
  std::snprintf(name, sizeof(name), "%016llx.snap.db", static_cast<unsigned long long>(index.value()));
  return io::join(snap_dir, name);
}

void remove_received_databases(io::Disk& disk, const std::string& snap_dir) {
  const Result<std::vector<std::string>> names = disk.list(snap_dir);
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    if (!name.ends_with(kDatabaseSuffix) && !name.starts_with(kUnfinishedPrefix)) continue;
    const Status removed = disk.unlink(io::join(snap_dir, name));
    base::log::info("removed a received database that is not needed", {{"path", io::join(snap_dir, name)}, {"error", removed}});
  }
}

struct SnapshotReceiver::Reception {
  std::shared_ptr<rpc::HttpCall> call;
  std::string held;  // read and not used yet
  wire::RaftMessage message;
  std::string path, final_path;
  std::unique_ptr<io::File> file;
  uint64_t bytes = 0;
  int refused_with = 400;
};

SnapshotReceiver::SnapshotReceiver(asio::io_context& loop, const Environment& environment, std::string snap_dir,
                                   peer::HttpTransport& transport, Step step)
    : loop_(loop),
      environment_(environment),
      snap_dir_(std::move(snap_dir)),
      transport_(transport),
      step_(std::move(step)),
      gate_(loop) {}

asio::awaitable<void> SnapshotReceiver::on_helper(std::function<void()> work) {
  // Shared: the frame may be gone when a loop that has stopped drops the answer.
  const auto wake = std::make_shared<net::Wake>(loop_);
  environment_.helper.submit(std::move(work), [wake] { wake->notify(); });
  co_await wake->wait();
}

void SnapshotReceiver::receive(std::shared_ptr<rpc::HttpCall> call, rpc::Metadata headers) {
  if (gate_.inside() < kReceivesMax) {
    (void)gate_.spawn(loop_.get_executor(), "snapshot", run(std::move(call), std::move(headers)));
    return;
  }
  rpc::HttpResponse response;
  response.status = 500;
  response.headers = std::move(headers);
  response.body = "failed to save KV snapshot (too many databases come in at once)\n";
  call->finish(std::move(response));
}

asio::awaitable<void> SnapshotReceiver::stop() {
  gate_.close();
  co_await gate_.wait();
}

asio::awaitable<void> SnapshotReceiver::run(std::shared_ptr<rpc::HttpCall> call, rpc::Metadata headers) {
  Reception reception;
  reception.call = std::move(call);
  Status status = co_await read_head(reception);
  if (status.ok()) {
    peer::Metrics& metrics = transport_.metrics();
    const std::string from = base::hex(reception.message.from.value());
    const base::Instant began = environment_.loop.clock().now();
    metrics.snapshot_receive_inflights.with({from}).add(1);
    status = co_await save(reception);
    if (!status.ok()) {
      reception.refused_with = 500;
      status = Status(status.code(), "failed to save KV snapshot (" + std::string(status.text()) + ")");
    } else {
      base::log::info("received and saved database snapshot",
                      {{"local-member-id", base::hex(transport_.us().self.value())},
                       {"remote-snapshot-sender-id", from},
                       {"incoming-snapshot-index", reception.message.snapshot->index.value()},
                       {"incoming-snapshot-size-bytes", reception.bytes}});
      std::optional<raft::Message> message = from_wire(std::move(reception.message));
      Result<bool> wanted = Status(Code::kInvalidArgument, "no raft message");
      if (message) wanted = step_(std::move(*message));
      status = wanted.status();
      if (!wanted.ok() || !*wanted) {  // Raft has what it says, or more.
        io::Disk& disk = environment_.files;
        environment_.helper.submit([&disk, path = reception.final_path] { (void)disk.unlink(path); }, [] {});
      }
      if (!status.ok()) status = Status(status.code(), "failed to process raft message (" + std::string(status.text()) + ")");
      reception.refused_with = 500;
    }
    metrics.snapshot_receive_inflights.with({from}).add(-1);
    if (status.ok()) {
      metrics.snapshot_receive_success.with({from}).add();
      metrics.snapshot_receive_duration.with({from}).observe_ns((environment_.loop.clock().now() - began).count());
    } else {
      metrics.snapshot_receive_failures.with({from}).add();
    }
  }
  rpc::HttpResponse response;
  response.status = status.ok() ? 204 : reception.refused_with;
  response.headers = std::move(headers);
  if (!status.ok()) {
    base::log::error("failed to receive a database snapshot",
                     {{"local-member-id", base::hex(transport_.us().self.value())}, {"error", status}});
    response.headers.append("Content-Type", "text/plain; charset=utf-8");
    response.headers.append("X-Content-Type-Options", "nosniff");
    response.body = std::string(status.text()) + "\n";
  }
  reception.call->finish(std::move(response));
}

// The length and the message that stand before the database.
asio::awaitable<Status> SnapshotReceiver::read_head(Reception& reception) {
  constexpr size_t kLengthBytes = 8;
  size_t wanted = kLengthBytes;
  const std::string failed = "failed to decode raft message (";
  for (bool knows_length = false;;) {
    while (reception.held.size() < wanted) {
      std::optional<std::string> piece = co_await reception.call->read();
      if (!piece) {
        const bool begun = reception.held.size() > (knows_length ? kLengthBytes : 0);
        co_return Status(Code::kInvalidArgument, failed + (begun ? "unexpected EOF)" : "EOF)"));
      }
      reception.held += *piece;
    }
    if (std::exchange(knows_length, true)) break;
    const uint64_t length = base::load_be64(reception.held.data());
    if (length > kSnapshotMessageBytesMax) {
      co_return Status(Code::kInvalidArgument, failed + "rafthttp: error limit exceeded)");
    }
    wanted += length;
  }
  const std::string_view bytes = std::string_view(reception.held).substr(kLengthBytes, wanted - kLengthBytes);
  std::optional<wire::RaftMessage> message = wire::decode_raft_message(bytes);
  if (!message) co_return Status(Code::kInvalidArgument, failed + "proto: cannot parse invalid wire-format data)");
  if (message->type != wire::RaftMessageType::kSnap || message->snapshot == nullptr) {
    co_return Status(Code::kInvalidArgument, "wrong raft message type");
  }
  if (!transport_.accepts(*message)) {
    reception.refused_with = 500;
    co_return Status(Code::kInvalidArgument, "failed to process raft message (cannot process message to mismatch member)");
  }
  reception.message = std::move(*message);
  reception.held.erase(0, wanted);
  co_return Status();
}

asio::awaitable<Status> SnapshotReceiver::save(Reception& reception) {
  const std::string index = std::to_string(reception.message.snapshot->index.value());
  base::log::info("receiving database snapshot", {{"local-member-id", base::hex(transport_.us().self.value())},
                                                  {"remote-snapshot-sender-id", base::hex(reception.message.from.value())},
                                                  {"incoming-snapshot-index", index}});
  io::Disk& disk = environment_.files;
  reception.path = io::join(snap_dir_, std::string(kUnfinishedPrefix) + std::to_string(++received_));
  reception.final_path = received_database_path(snap_dir_, reception.message.snapshot->index);
  Status done;
  std::function<void()> work = [&] {
    Result<std::unique_ptr<io::File>> file = disk.open(reception.path, io::OpenMode::kTruncate);
    done = file.status();
    if (file.ok()) reception.file = std::move(*file);
  };
  co_await on_helper(std::move(work));
  for (bool more = true; done.ok() && more;) {
    while (more && reception.held.size() < kReceiveWriteBytes) {
      std::optional<std::string> piece = co_await reception.call->read();
      more = piece.has_value();
      if (more) reception.held += *piece;
    }
    if (!more && !reception.call->body_complete()) done = cut_short();
    if (!done.ok() || reception.held.empty()) continue;
    const std::string bytes = std::exchange(reception.held, std::string());
    work = [&] { done = reception.file->write_at(reception.bytes, bytes); };
    co_await on_helper(std::move(work));
    reception.bytes += bytes.size();
  }
  if (done.ok()) {
    base::metrics::Histogram& syncs = environment_.metrics.snap_db_fsync_duration;
    const base::Clock& clock = environment_.loop.clock();
    work = [&] {
      const base::Instant before = clock.now();
      done = reception.file->sync();
      syncs.observe_ns((clock.now() - before).count());
    };
    co_await on_helper(std::move(work));
  }
  reception.file.reset();
  if (done.ok()) done = co_await check(reception);
  work = [&] {
    if (done.ok()) done = disk.rename(reception.path, reception.final_path);
    if (done.ok()) done = disk.sync_dir(snap_dir_);
    if (!done.ok()) (void)disk.unlink(reception.path);
  };
  co_await on_helper(std::move(work));
  co_return done;
}

// Reads the database through, in steps: what is damaged is found while there is still somebody to ask for another.
asio::awaitable<Status> SnapshotReceiver::check(Reception& reception) {
  Status done;
  std::unique_ptr<storage::bolt::Reader> rows;
  uint64_t consistent_index = 0;
  bool more = true;
  std::function<void()> work = [&] {
    Result<std::unique_ptr<io::File>> file = environment_.files.open(reception.path, io::OpenMode::kRead);
    if (!file.ok()) {
      done = file.status();
      return;
    }
    Result<std::unique_ptr<storage::bolt::Reader>> reader = storage::bolt::Reader::open(std::move(*file));
    done = reader.status();
    if (reader.ok()) rows = std::move(*reader);
  };
  co_await on_helper(std::move(work));
  const std::string_view meta = storage::bucket_name(storage::Bucket::kMeta);
  while (done.ok() && more) {
    work = [&] {
      for (size_t seen = 0; seen < kReceiveCheckBytes && more;) {
        more = rows->next();
        if (!more) break;
        seen += rows->key().size() + rows->value().size();
        if (rows->bucket() == meta && rows->key() == "consistent_index" && rows->value().size() == 8) {
          consistent_index = base::load_be64(rows->value().data());
        }
      }
      done = rows->status();
    };
    co_await on_helper(std::move(work));
  }
  work = [&] { rows.reset(); };
  co_await on_helper(std::move(work));
  if (done.ok() && consistent_index < reception.message.snapshot->index.value()) {
    done = Status(Code::kDataLoss, "the database is of entry " + std::to_string(consistent_index) + ", before the snapshot's " +
                                       std::to_string(reception.message.snapshot->index.value()));
  }
  co_return done;
}

}  // namespace server
