// How members reach each other. The server hands messages down and gets events up; who carries them is behind this face: HTTP
// (http_transport.h, etcd's own peer protocol) in a process, memory in the simulator. Owner: core loop, all of it; nothing here
// waits, and no event comes from inside of a call.
// Messages are wire::RaftMessage: peer does not see raft, and entries stay shared with the log until a stream writes them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/ids.h"
#include "base/status.h"
#include "wire/raft_message.h"

namespace peer {

// A database on its way to another member, produced while the socket drains. Bounded: one piece is asked for at a time.
class SnapshotBody {
 public:
  using Done = std::function<void(base::Result<std::string>)>;
  virtual ~SnapshotBody() = default;
  // Calls `done` with its size in bytes once that is known, on the core loop.
  virtual void open(std::function<void(base::Result<uint64_t>)> done) = 0;
  // The next piece, on the core loop, now or later; empty: that was all. Never called while one is under way.
  virtual void next(Done done) = 0;
};

// What the transport tells its owner. On the core loop, never from inside of a call of Transport.
class Events {
 public:
  virtual ~Events() = default;
  // What came in one read of one connection, in order. `to` of each is this member; MsgSnap comes by its own way
  // (server/peer_snapshot.h), after its database is on disk.
  virtual void on_messages(std::vector<wire::RaftMessage> messages) = 0;
  // A message to `id` was lost: its queue was full, or sending failed.
  virtual void on_unreachable(base::NodeId id) = 0;
  // Once for each send_snapshot().
  virtual void on_snapshot_sent(base::NodeId id, bool sent) = 0;
  // The process of `id` is gone: its connections broke and its port refuses new ones. Not told for one that hangs.
  virtual void on_gone(base::NodeId id) = 0;
  // Another member says that we were removed from the cluster.
  virtual void on_self_removed() = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;

  // Before anything else; outlives this, or stop() came before.
  virtual void start(Events& events) = 0;

  // --- who is there. `urls`: peer URLs, not empty.
  // Starts to talk to a member. Known already: as update_peer.
  virtual void add_peer(base::NodeId id, const std::vector<std::string>& urls) = 0;
  virtual void update_peer(base::NodeId id, const std::vector<std::string>& urls) = 0;
  // Ends all with it; what it sends from now on is answered `removed member` if `for_ever`.
  virtual void remove_peer(base::NodeId id, bool for_ever) = 0;
  virtual void remove_all() = 0;

  // --- messages. To an unknown or removed member: dropped. Of several MsgAppResp to one member the last is enough.
  virtual void send(std::vector<wire::RaftMessage> messages) = 0;
  // `message` is a MsgSnap; on_snapshot_sent() tells how it went.
  virtual void send_snapshot(wire::RaftMessage message, std::unique_ptr<SnapshotBody> body) = 0;

  // --- what is known
  // Since when connections to it work; nullopt: they do not.
  virtual std::optional<base::Instant> active_since(base::NodeId id) const = 0;
  virtual size_t active_peers() const = 0;
  // Whether what is sent to it now has a way: streams that it opened to us count even while ours to it do not come about.
  virtual bool reaches(base::NodeId id) const { return active_since(id).has_value(); }

  // Cuts everything; no event comes after this. `done` when nothing of it is under way any more.
  virtual void stop(std::function<void()> done) = 0;
};

}  // namespace peer
