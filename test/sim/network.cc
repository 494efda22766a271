#include "sim/network.h"

#include <utility>

namespace sim {

using base::Duration;
using base::NodeId;
using peer::Channel;
using wire::RaftMessage;
using wire::RaftMessageType;
using namespace std::chrono_literals;

// --- the network ------------------------------------------------------------------------------------------------------------

void Network::unplug(NodeId id, bool reset) {
  plugged_.erase(id);
  if (reset)
    refusing_.insert(id);
  else
    refusing_.erase(id);
}

SimTransport* Network::find(NodeId id) const {
  const auto found = plugged_.find(id);
  return found == plugged_.end() ? nullptr : found->second;
}

Duration Network::delay() {
  Duration delay = 100us + world_.random(400us) * slowness_;
  if (slowness_ > 1 && world_.rng().one_in(50)) delay += world_.random(20ms) * slowness_;
  return delay;
}

// --- a member's end of it ---------------------------------------------------------------------------------------------------

SimTransport::SimTransport(Network& network, MachineLoop& loop, NodeId self, TakeSnapshot take)
    : network_(network), world_(network.world()), loop_(loop), self_(self), take_(std::move(take)) {}

SimTransport::~SimTransport() {
  *alive_ = false;
  // What is on the wire arrives, though its sender is dead by then.
}

void SimTransport::start(peer::Events& events) {
  events_ = &events;
  network_.plug(self_, this);
  look();
}

void SimTransport::add_peer(NodeId id, const std::vector<std::string>&) {
  if (id == self_) return;
  removed_.erase(id);
  peers_.try_emplace(id);
}

void SimTransport::remove_peer(NodeId id, bool for_ever) {
  if (for_ever) removed_.insert(id);
  const auto found = peers_.find(id);
  if (found == peers_.end()) return;
  break_streams(found->second);
  peers_.erase(found);
}

std::optional<base::Instant> SimTransport::active_since(NodeId id) const {
  const auto found = peers_.find(id);
  return found == peers_.end() ? std::nullopt : found->second.active;
}

size_t SimTransport::active_peers() const {
  return static_cast<size_t>(std::count_if(peers_.begin(), peers_.end(), [](const auto& p) { return p.second.active; }));
}

void SimTransport::stop(std::function<void()> done) {
  events_ = nullptr;
  remove_all();
  loop_.post(std::move(done));
}

void SimTransport::break_streams(Peer& peer) {
  for (std::shared_ptr<Stream>& stream : peer.streams) {
    if (stream != nullptr) stream->broken = true;
    stream.reset();
  }
}

void SimTransport::look() {
  loop_.after(kNetworkLook + world_.random(20ms), [this] { look(); });
  if (events_ == nullptr) return;
  std::vector<NodeId> ids;
  for (const auto& [id, peer] : peers_) ids.push_back(id);
  for (const NodeId id : ids) {
    const auto found = peers_.find(id);
    if (found != peers_.end()) look_at(id, found->second);
  }
}

void SimTransport::look_at(NodeId id, Peer& peer) {
  SimTransport* other = network_.find(id);
  const bool linked = network_.open(self_, id) && network_.open(id, self_);
  if (other != nullptr && linked && other->removed_.contains(self_)) {
    probe("a removed member was told so by another");
    events_->on_self_removed();
    return;
  }
  const bool there = other != nullptr && linked && other->events_ != nullptr && other->peers_.contains(self_) &&
                     !world_.is_paused(&other->loop_);
  if (there) {
    peer.silent_since.reset();
    peer.told_gone = false;
    if (!peer.active) peer.active = loop_.now();
    for (const Channel channel : {Channel::kMessage, Channel::kAppend}) {
      std::shared_ptr<Stream>& stream = peer.streams[static_cast<size_t>(channel)];
      if (stream == nullptr || stream->broken) stream = std::make_shared<Stream>(channel, self_, id);
    }
    return;
  }
  if (other == nullptr && network_.refuses(id) && linked) {
    break_streams(peer);
    peer.active.reset();
    if (!std::exchange(peer.told_gone, true)) events_->on_gone(id);
    return;
  }
  if (!peer.silent_since) peer.silent_since = loop_.now();
  if (loop_.now() - *peer.silent_since < kNetworkStall) return;
  break_streams(peer);
  peer.active.reset();
}

void SimTransport::unreachable(NodeId id) {
  loop_.post([this, id] {
    if (events_ != nullptr) events_->on_unreachable(id);
  });
}

void SimTransport::send(std::vector<RaftMessage> messages) {
  for (RaftMessage& message : messages) {
    network_.sent(self_, message);
    const auto found = peers_.find(message.to);
    if (found == peers_.end()) {
      post(message);  // Somebody who knows us before we know it.
    } else {
      send_one(found->second, std::move(message));
    }
  }
}

void SimTransport::send_one(Peer& peer, RaftMessage message) {
  const NodeId to = message.to;
  const Channel channel = message.type == RaftMessageType::kApp ? Channel::kAppend : Channel::kMessage;
  const std::shared_ptr<Stream> stream = peer.streams[static_cast<size_t>(channel)];
  if (stream == nullptr || network_.goes_by_post()) return post(message);
  if (stream->broken || !network_.open(self_, to) || network_.find(to) == nullptr) {
    stream->broken = true;  // What follows on this connection would follow a gap.
    if (world_.rng().one_in(4)) unreachable(to);
    return;
  }
  auto bytes = std::make_shared<std::string>();
  stream->writer.append(message, *bytes);
  stream->last_arrival = std::max(stream->last_arrival, world_.now() + network_.delay());
  SimTransport* other = network_.find(to);
  (void)world_.at(stream->last_arrival, &other->loop_, [other, stream, bytes, from = self_, alive = other->alive_] {
    if (!*alive || stream->broken) return;
    std::vector<RaftMessage> arrived;
    // In two pieces, as a socket may give them.
    const size_t half = bytes->size() / 2;
    base::Status fed = stream->reader.feed(std::string_view(*bytes).substr(0, half), arrived);
    if (fed.ok()) fed = stream->reader.feed(std::string_view(*bytes).substr(half), arrived);
    VERIFY(fed.ok());
    other->arrive(from, std::move(arrived));
  });
}

// A request of its own: it may overtake and be overtaken. Raft must not mind to get a message twice; a proposal would count
// twice, and production never sends one again.
void SimTransport::post(const RaftMessage& message) {
  const NodeId to = message.to;
  SimTransport* other = network_.find(to);
  if (other == nullptr || !network_.open(self_, to)) {
    if (world_.rng().one_in(4)) unreachable(to);
    return;
  }
  const std::string bytes = [&] {
    std::string out;
    wire::append_message(message, out);
    return out;
  }();
  const bool doubled = message.type != RaftMessageType::kProp && world_.rng().one_in(8);
  const int copies = doubled ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    const Duration late = world_.rng().one_in(10) ? world_.random(300ms) : world_.random(5ms);
    (void)world_.after(network_.delay() + late, &other->loop_, [other, bytes, from = self_, alive = other->alive_] {
      if (!*alive) return;
      std::optional<RaftMessage> arrived = wire::decode_raft_message(bytes);
      VERIFY(arrived.has_value());
      std::vector<RaftMessage> one;
      one.push_back(std::move(*arrived));
      other->arrive(from, std::move(one));
    });
  }
}

void SimTransport::arrive(NodeId from, std::vector<RaftMessage> messages) {
  if (events_ == nullptr || removed_.contains(from)) return;
  std::erase_if(messages, [this](const RaftMessage& m) { return m.to != self_; });
  if (!messages.empty()) events_->on_messages(std::move(messages));
}

// --- databases --------------------------------------------------------------------------------------------------------------

void SimTransport::end_snapshot(NodeId to, bool sent) {
  loop_.post([this, to, sent] {
    if (events_ != nullptr) events_->on_snapshot_sent(to, sent);
  });
}

void SimTransport::send_snapshot(RaftMessage message, std::unique_ptr<peer::SnapshotBody> body) {
  if (!peers_.contains(message.to)) return end_snapshot(message.to, false);
  std::shared_ptr<peer::SnapshotBody> shared = std::move(body);
  shared->open([this, shared, message = std::move(message)](const base::Result<uint64_t>& size) mutable {
    const NodeId to = message.to;
    if (!size.ok()) return end_snapshot(to, false);
    pull(shared, std::make_shared<std::string>(), std::move(message));
  });
}

void SimTransport::pull(std::shared_ptr<peer::SnapshotBody> body, std::shared_ptr<std::string> database, RaftMessage message) {
  body->next([this, body, database, message = std::move(message)](base::Result<std::string> piece) mutable {
    const NodeId to = message.to;
    SimTransport* other = network_.find(to);
    if (!piece.ok() || other == nullptr || !network_.open(self_, to) || world_.rng().one_in(200)) {
      probe("a database was cut on its way");
      return end_snapshot(to, false);
    }
    *database += *piece;
    if (!piece->empty()) {
      loop_.after(network_.delay(),
                  [this, body, database, message = std::move(message)]() mutable { pull(body, database, std::move(message)); });
      return;
    }
    std::string bytes;
    wire::append_message(message, bytes);
    const auto answered = std::make_shared<bool>(false);
    const auto answer = [this, to, answered, alive = alive_](bool taken) {
      if (!*alive || std::exchange(*answered, true)) return;
      end_snapshot(to, taken);
    };
    loop_.after(10s, [answer] { answer(false); });  // who died meanwhile is found dead by then
    (void)world_.after(
        network_.delay(), &other->loop_,
        [other, bytes, database, answer, alive = other->alive_, self = self_, this_loop = &loop_, &world = world_] {
          if (!*alive || other->events_ == nullptr || other->removed_.contains(self)) return;
          std::optional<RaftMessage> arrived = wire::decode_raft_message(bytes);
          VERIFY(arrived.has_value());
          other->take_(std::move(*arrived), *database, [answer, this_loop, &world](bool taken) {
            (void)world.after(1ms, this_loop, [answer, taken] { answer(taken); });
          });
        });
  });
}

}  // namespace sim
