#include "peer/http_transport.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/log.h"
#include "base/verify.h"

namespace peer {
namespace {

using base::NodeId;
using wire::RaftMessage;
using wire::RaftMessageType;

asio::awaitable<void> wait_until_empty(std::shared_ptr<Shared> shared, std::function<void()> done) {
  co_await shared->gate.wait();
  shared->timers.stop();
  done();
}

// What it answered before, a later answer says too.
bool is_plain_append_answer(const RaftMessage& message) { return message.type == RaftMessageType::kAppResp && !message.reject; }

}  // namespace

HttpTransport::HttpTransport(asio::io_context& loop, const base::Clock& clock, Dialer& dialer, Metrics& metrics, Identity us,
                             Timeouts timeouts)
    : shared_(std::make_shared<Shared>(loop, clock, dialer, metrics, std::move(us), timeouts)) {}

HttpTransport::~HttpTransport() = default;

void HttpTransport::start(Events& events) { shared_->events = &events; }

std::shared_ptr<Member> HttpTransport::find(NodeId id) const {
  const auto peer = peers_.find(id);
  if (peer != peers_.end()) return peer->second;
  const auto remote = remotes_.find(id);
  return remote == remotes_.end() ? nullptr : remote->second;
}

void HttpTransport::add_peer(NodeId id, const std::vector<std::string>& urls) {
  VERIFY(!urls.empty());
  if (id == shared_->us.self || shared_->gate.closed()) return;
  if (peers_.contains(id)) return update_peer(id, urls);
  const auto remote = remotes_.find(id);
  if (remote != remotes_.end()) {
    remote->second->close();
    remotes_.erase(remote);
  }
  removed_.erase(id);
  base::log::info("starting remote peer", {{"remote-peer-id", base::hex(id.value())}});
  const auto member = std::make_shared<Member>(shared_, id, urls, true);
  peers_.emplace(id, member);
  member->start();
  base::log::info("added remote peer", {{"local-member-id", base::hex(shared_->us.self.value())},
                                        {"remote-peer-id", base::hex(id.value())},
                                        {"remote-peer-urls", urls}});
}

void HttpTransport::update_peer(NodeId id, const std::vector<std::string>& urls) {
  const auto peer = peers_.find(id);
  if (peer == peers_.end() || urls.empty()) return;
  peer->second->set_urls(urls);
}

void HttpTransport::remove_peer(NodeId id, bool for_ever) {
  if (for_ever) removed_.insert(id);
  for (auto* members : {&peers_, &remotes_}) {
    const auto found = members->find(id);
    if (found == members->end()) continue;
    base::log::info("stopping remote peer", {{"remote-peer-id", base::hex(id.value())}});
    found->second->close();
    members->erase(found);
    base::log::info("removed remote peer", {{"local-member-id", base::hex(shared_->us.self.value())},
                                            {"removed-remote-peer-id", base::hex(id.value())}});
  }
}

void HttpTransport::remove_all() {
  for (auto* members : {&peers_, &remotes_}) {
    for (const auto& [id, member] : *members) member->close();
    members->clear();
  }
}

void HttpTransport::send(std::vector<RaftMessage> messages) {
  for (size_t i = 0; i < messages.size(); ++i) {
    const bool repeated = is_plain_append_answer(messages[i]) &&
                          std::any_of(messages.begin() + static_cast<ptrdiff_t>(i) + 1, messages.end(), [&](const auto& later) {
                            return later.to == messages[i].to && is_plain_append_answer(later) &&
                                   later.term == messages[i].term && later.index >= messages[i].index;
                          });
    if (repeated) continue;
    const std::shared_ptr<Member> member = find(messages[i].to);
    if (member != nullptr) member->send(std::move(messages[i]));
  }
}

void HttpTransport::send_snapshot(RaftMessage message, std::unique_ptr<SnapshotBody> body) {
  const std::shared_ptr<Member> member = find(message.to);
  if (member != nullptr) return member->send_snapshot(std::move(message), std::move(body));
  asio::post(shared_->loop, [shared = shared_, id = message.to] {
    if (shared->events != nullptr) shared->events->on_snapshot_sent(id, false);
  });
}

std::optional<base::Instant> HttpTransport::active_since(NodeId id) const {
  const auto peer = peers_.find(id);
  return peer == peers_.end() ? std::nullopt : peer->second->active_since();
}

bool HttpTransport::reaches(NodeId id) const {
  const auto peer = peers_.find(id);
  return peer != peers_.end() && (peer->second->active_since() || peer->second->has_writer());
}

size_t HttpTransport::active_peers() const {
  return static_cast<size_t>(
      std::count_if(peers_.begin(), peers_.end(), [](const auto& peer) { return peer.second->active_since().has_value(); }));
}

void HttpTransport::end_streams() {
  for (const auto& [id, peer] : peers_) peer->end_streams();
}

void HttpTransport::stop(std::function<void()> done) {
  shared_->events = nullptr;
  shared_->gate.close();
  remove_all();
  net::spawn(shared_->loop.get_executor(), "peer stop", wait_until_empty(shared_, std::move(done)));
}

// --- the peer port ----------------------------------------------------------------------------------------------------------

namespace {

void log_refusal(const Identity& us, const Request& request, const Refusal& refusal) {
  if (refusal.status != 412) return;
  const Sender sender = sender_of(request);
  base::log::warn(refusal.text == "cluster ID mismatch" ? "request cluster ID mismatch" : "failed version compatibility check",
                  {{"local-member-id", base::hex(us.self.value())},
                   {"local-member-cluster-id", base::hex(us.cluster_id)},
                   {"local-member-server-version", us.version},
                   {"remote-peer-server-name", base::hex(sender.id.value())},
                   {"error", refusal.reason}});
}

}  // namespace

// Who knows us and is not known here gets answers: we may learn of it from the log it helps to send.
void HttpTransport::add_remote(const Request& request) {
  Sender sender = sender_of(request);
  const bool stranger = sender.id != base::kNoNode && sender.id != shared_->us.self && !removed_.contains(sender.id) &&
                        find(sender.id) == nullptr;
  if (!stranger || sender.urls.empty() || remotes_.size() >= kRemotesMax || shared_->gate.closed()) return;
  base::log::info("added new remote peer", {{"local-member-id", base::hex(shared_->us.self.value())},
                                            {"remote-peer-id", base::hex(sender.id.value())},
                                            {"remote-peer-urls", sender.urls}});
  remotes_.emplace(sender.id, std::make_shared<Member>(shared_, sender.id, std::move(sender.urls), false));
}

std::optional<Refusal> HttpTransport::admit_stream(const Request& request, Channel* channel, NodeId* from) {
  std::optional<Refusal> refusal = check_stream(shared_->us, request, channel, from);
  if (refusal) {
    log_refusal(shared_->us, request, *refusal);
    return refusal;
  }
  if (removed_.contains(*from)) {
    base::log::warn("rejected stream from remote peer because it was removed",
                    {{"local-member-id", base::hex(shared_->us.self.value())},
                     {"remote-peer-id-stream-handler", base::hex(shared_->us.self.value())},
                     {"remote-peer-id-from", base::hex(from->value())}});
    return Refusal{410, "removed member", {}, "removed"};
  }
  if (!peers_.contains(*from)) {
    add_remote(request);
    base::log::warn("failed to find remote peer in cluster", {{"local-member-id", base::hex(shared_->us.self.value())},
                                                              {"remote-peer-id-from", base::hex(from->value())},
                                                              {"cluster-id", base::hex(shared_->us.cluster_id)}});
    return Refusal{404, "error sender not found", {}, "sender"};
  }
  if (request.header("x-raft-to") != base::hex(shared_->us.self.value())) {
    return Refusal{412, "to field mismatch", {}, "to"};
  }
  return std::nullopt;
}

void HttpTransport::open_stream(NodeId from, Channel channel, std::shared_ptr<Outlet> outlet) {
  const auto peer = peers_.find(from);
  if (peer == peers_.end()) return outlet->end();
  peer->second->attach(channel, std::move(outlet));
}

std::optional<Refusal> HttpTransport::admit_post(const Request& request) {
  std::optional<Refusal> refusal = check_post(shared_->us, request);
  if (refusal)
    log_refusal(shared_->us, request, *refusal);
  else
    add_remote(request);
  return refusal;
}

bool HttpTransport::accepts(const RaftMessage& message) const {
  if (removed_.contains(message.from)) {
    base::log::warn("rejected Raft message from removed member", {{"local-member-id", base::hex(shared_->us.self.value())},
                                                                  {"removed-member-id", base::hex(message.from.value())}});
    return false;
  }
  if (message.to != shared_->us.self) {
    base::log::warn("rejected Raft message to mismatch member", {{"local-member-id", base::hex(shared_->us.self.value())},
                                                                 {"mismatch-member-id", base::hex(message.to.value())}});
    return false;
  }
  return shared_->events != nullptr;
}

std::optional<Refusal> HttpTransport::take_message(std::string_view body) {
  std::optional<RaftMessage> message = wire::decode_raft_message(body);
  if (!message) return Refusal{400, "error unmarshalling raft message", {}, "message"};
  const std::shared_ptr<Member> member = find(message->from);
  if (member != nullptr) member->count_received(body.size());
  if (!accepts(*message) || message->type == RaftMessageType::kSnap) {
    if (member != nullptr) member->count_received_failure();
    return Refusal{500, "error processing raft message", {}, "process"};
  }
  std::vector<RaftMessage> messages;
  messages.push_back(std::move(*message));
  shared_->events->on_messages(std::move(messages));
  return std::nullopt;
}

}  // namespace peer
