// The network between machines, in memory: what production sends over HTTP streams goes as the same frames (peer/frames.h) with
// delay, over connections that break; what it would POST may be late, reordered and doubled. Links are cut by direction.
// A member sees of the others what it sees over TCP: an outage after a while, a dead process at once.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "peer/frames.h"
#include "peer/transport.h"
#include "server/member_client.h"
#include "sim/probe.h"
#include "sim/world.h"

namespace sim {

class SimTransport;

inline constexpr auto kNetworkLook = std::chrono::milliseconds(100);  // how often a member looks after its connections
inline constexpr auto kNetworkStall = std::chrono::seconds(5);        // a connection that carries nothing is given up

class Network {
 public:
  explicit Network(World& world) : world_(world) {}

  World& world() { return world_; }
  // Members by id; those not here have no process.
  void plug(base::NodeId id, SimTransport* transport) { plugged_[id] = transport; }
  // `reset`: the others get a reset and refused connections (the process died); else there is only silence (the power did).
  void unplug(base::NodeId id, bool reset);
  SimTransport* find(base::NodeId id) const;
  bool refuses(base::NodeId id) const { return refusing_.contains(id); }

  void cut(base::NodeId from, base::NodeId to) { cuts_.emplace(from, to); }
  void mend(base::NodeId from, base::NodeId to) { cuts_.erase({from, to}); }
  void heal() { cuts_.clear(); }
  bool any_cut() const { return !cuts_.empty(); }
  bool open(base::NodeId from, base::NodeId to) const { return !cuts_.contains({from, to}); }
  const std::set<std::pair<base::NodeId, base::NodeId>>& cuts() const { return cuts_; }

  // Told of every message as it leaves a member, whatever becomes of it.
  using OnSent = std::function<void(base::NodeId from, const wire::RaftMessage&)>;
  void set_on_sent(OnSent callback) { on_sent_ = std::move(callback); }
  void sent(base::NodeId from, const wire::RaftMessage& message) const {
    if (on_sent_) on_sent_(from, message);
  }

  // 1: a local network; more: that many times slower, with outliers.
  void set_slowness(int64_t times) { slowness_ = times; }
  void set_posts_in(uint64_t n) { posts_in_ = n; }
  base::Duration delay();
  // One message in so many takes a way of its own, past the streams.
  bool goes_by_post() { return world_.rng().one_in(posts_in_); }

 private:
  World& world_;
  std::map<base::NodeId, SimTransport*> plugged_;
  std::set<base::NodeId> refusing_;
  std::set<std::pair<base::NodeId, base::NodeId>> cuts_;
  OnSent on_sent_;
  int64_t slowness_ = 1;
  uint64_t posts_in_ = 40;
};

class SimTransport final : public peer::Transport {
 public:
  // Hands a MsgSnap with its database to the member: to a file, then to raft. `done` says whether it was taken.
  using TakeSnapshot = std::function<void(wire::RaftMessage, std::string database, std::function<void(bool)> done)>;

  SimTransport(Network& network, MachineLoop& loop, base::NodeId self, TakeSnapshot take);
  ~SimTransport() override;

  void start(peer::Events& events) override;
  void add_peer(base::NodeId id, const std::vector<std::string>& urls) override;
  void update_peer(base::NodeId, const std::vector<std::string>&) override {}
  void remove_peer(base::NodeId id, bool for_ever) override;
  void remove_all() override { peers_.clear(); }
  void send(std::vector<wire::RaftMessage> messages) override;
  void send_snapshot(wire::RaftMessage message, std::unique_ptr<peer::SnapshotBody> body) override;
  std::optional<base::Instant> active_since(base::NodeId id) const override;
  size_t active_peers() const override;
  void stop(std::function<void()> done) override;

  base::NodeId self() const { return self_; }

 private:
  // One direction of one connection, from the sender's point of view.
  struct Stream {
    Stream(peer::Channel channel, base::NodeId from, base::NodeId to) : writer(channel), reader(channel, to, from) {}
    peer::FrameWriter writer;
    peer::FrameReader reader;  // the receiver's
    base::Instant last_arrival{};
    bool broken = false;
  };
  struct Peer {
    std::shared_ptr<Stream> streams[2];   // by peer::Channel
    std::optional<base::Instant> active;  // by our clock
    std::optional<base::Instant> silent_since;
    bool told_gone = true;
  };

  void look();
  void look_at(base::NodeId id, Peer& peer);
  void break_streams(Peer& peer);
  void send_one(Peer& peer, wire::RaftMessage message);
  void post(const wire::RaftMessage& message);
  void unreachable(base::NodeId id);
  void arrive(base::NodeId from, std::vector<wire::RaftMessage> messages);
  void pull(std::shared_ptr<peer::SnapshotBody> body, std::shared_ptr<std::string> database, wire::RaftMessage message);
  void end_snapshot(base::NodeId to, bool sent);

  Network& network_;
  World& world_;
  MachineLoop& loop_;
  const base::NodeId self_;
  const TakeSnapshot take_;
  peer::Events* events_ = nullptr;
  std::map<base::NodeId, Peer> peers_;
  std::set<base::NodeId> removed_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace sim
