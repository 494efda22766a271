// Databases that other members send (POST /raft/snapshot): to a file of member/snap, read through once, and only then is raft
// told. What is cut, damaged or not asked for leaves nothing behind. Owner: core loop; files are the helper thread's.
// Wire-and-disk 3.6, 8.5; source: etcd rafthttp snapshotHandler.
#pragma once

#include <asio.hpp>
#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "net/spawn.h"
#include "peer/http_transport.h"
#include "raft/types.h"
#include "rpc/server.h"
#include "server/node.h"

namespace server {

inline constexpr uint64_t kSnapshotMessageBytesMax = 64u << 20;  // what stands before the database; etcd's bound
inline constexpr size_t kReceiveWriteBytes = 1u << 20;           // of one write to the file
inline constexpr size_t kReceiveCheckBytes = 2u << 20;           // of one step of reading it through
inline constexpr int kReceivesMax = 2;                           // at one moment

// "<dir>/00000000000004d2.snap.db": the name etcd gives the database of an index.
std::string received_database_path(const std::string& snap_dir, base::Index index);
// At a start, when no installation is left to be finished: databases that nobody wants any more, and parts of such.
void remove_received_databases(io::Disk& disk, const std::string& snap_dir);

class SnapshotReceiver {
 public:
  // Hands the message to raft; whether the database is wanted: it is unlinked otherwise.
  using Step = std::function<base::Result<bool>(raft::Message)>;
  // All outlive it; it outlives its receptions (stop()).
  SnapshotReceiver(asio::io_context& loop, const Environment& environment, std::string snap_dir, peer::HttpTransport& transport,
                   Step step);

  // `headers`: of every answer.
  void receive(std::shared_ptr<rpc::HttpCall> call, rpc::Metadata headers);
  // No more begins; `done` when none is under way.
  asio::awaitable<void> stop();

 private:
  struct Reception;
  asio::awaitable<void> run(std::shared_ptr<rpc::HttpCall> call, rpc::Metadata headers);
  asio::awaitable<base::Status> read_head(Reception& reception);
  asio::awaitable<base::Status> save(Reception& reception);
  asio::awaitable<base::Status> check(Reception& reception);
  asio::awaitable<void> on_helper(std::function<void()> work);

  asio::io_context& loop_;
  const Environment environment_;
  const std::string snap_dir_;
  peer::HttpTransport& transport_;
  const Step step_;
  net::Gate gate_;
  uint64_t received_ = 0;  // numbers temporary files
};

}  // namespace server
