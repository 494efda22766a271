#include "server/version_monitor.h"

#include "base/bytes.h"
#include "base/log.h"
#include "membership.pb.h"
#include "server/member_client.h"
#include "server/node.h"

namespace server {
namespace {

using base::NodeId;
using base::Result;
using base::Status;

constexpr MinorVersion kUnknownClusterVersion{3, 0};  // of a new cluster in which somebody does not answer

std::string minor_text(const MinorVersion& version) {
  return std::to_string(version.major) + "." + std::to_string(version.minor);
}

}  // namespace

struct VersionMonitor::Round {
  size_t missing = 0;
  std::map<NodeId, std::optional<MinorVersion>> servers;
};

std::optional<MinorVersion> decide_cluster_version(std::optional<MinorVersion> current,
                                                   const std::map<NodeId, std::optional<MinorVersion>>& servers,
                                                   std::optional<MinorVersion> downgrade) {
  std::optional<MinorVersion> lowest;
  for (const auto& [id, version] : servers) {
    if (!version) return current ? std::nullopt : std::optional(kUnknownClusterVersion);
    if (!lowest || *version < *lowest) lowest = version;
  }
  if (!current) return lowest ? lowest : kUnknownClusterVersion;
  if (downgrade) {
    const MinorVersion above{downgrade->major, downgrade->minor + 1};
    return *current == above && lowest == above ? downgrade : std::nullopt;
  }
  if (lowest && *current < *lowest && current->major == lowest->major) return lowest;
  return std::nullopt;
}

void VersionMonitor::start() { wait(); }

void VersionMonitor::stop() {
  stopped_ = true;
  node_.environment().loop.cancel(timer_);
  round_.reset();
}

void VersionMonitor::wait() {
  timer_ = node_.environment().loop.after(node_.config().raft_write_timeout - kVersionCheckMargin, [this] {
    wait();
    check();
  });
}

void VersionMonitor::check() {
  if (stopped_ || proposing_ || round_ != nullptr || !node_.is_leader()) return;
  round_ = std::make_shared<Round>();
  const MinorVersion own = *parse_minor_version(kVersion);
  MemberClient* client = node_.environment().members;
  for (const auto& [id, member] : node_.membership().members()) {
    round_->servers[id] = id == node_.id() ? std::optional(own) : std::nullopt;
    if (id != node_.id() && client != nullptr) ++round_->missing;
  }
  if (round_->missing == 0) return finish(*std::exchange(round_, nullptr));
  for (const auto& [id, member] : node_.membership().members()) {
    if (id == node_.id()) continue;
    peer::Question question;
    question.target = "/version";
    const std::weak_ptr<Round> round = round_;
    client->ask(member, std::move(question), node_.request_timeout(), [this, round, id = id](Result<peer::Answer> answer) {
      const std::shared_ptr<Round> still = round.lock();
      if (still == nullptr) return;
      Result<PeerVersions> told = answer.ok() ? parse_version_answer(*answer) : Result<PeerVersions>(answer.status());
      if (told.ok()) {
        still->servers[id] = parse_minor_version(told->server);
      } else {
        base::log::warn("failed to get version", {{"remote-member-id", base::hex(id.value())}, {"error", told.status()}});
      }
      if (--still->missing == 0) finish(*std::exchange(round_, nullptr));
    });
  }
}

void VersionMonitor::finish(const Round& round) {
  if (!node_.is_leader()) return;
  const MinorVersion own = *parse_minor_version(kVersion);
  for (const auto& [id, version] : round.servers) {
    if (!version || !(own < *version)) continue;
    base::log::warn("leader found higher-versioned member", {{"local-member-version", std::string(kVersion)},
                                                             {"remote-member-id", base::hex(id.value())},
                                                             {"remote-member-version", version->text()}});
  }
  const std::optional<MinorVersion> next = decide_cluster_version(
      parse_minor_version(node_.cluster_version()), round.servers, parse_minor_version(node_.membership().downgrade_target()));
  if (next) propose(*next);
}

void VersionMonitor::propose(MinorVersion version) {
  const std::string& current = node_.cluster_version();
  if (current.empty()) {
    base::log::info("setting up initial cluster version using v3 API", {{"cluster-version", minor_text(version)}});
  } else {
    base::log::info("updating cluster version using v3 API",
                    {{"from", minor_text(*parse_minor_version(current))}, {"to", minor_text(version)}});
  }
  proposing_ = true;
  membershippb::ClusterVersionSetRequest request;
  request.set_ver(version.text());
  node_.propose_message(wire::Op::kClusterVersionSet, request, [this, version](const Status& done) {
    proposing_ = false;
    if (done.ok()) return base::log::info("cluster version is updated", {{"cluster-version", minor_text(version)}});
    base::log::warn("failed to update cluster version", {{"error", done}});
  });
}

}  // namespace server
