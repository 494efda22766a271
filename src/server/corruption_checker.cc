#include "server/corruption_checker.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/log.h"
#include "mvcc/request.h"
#include "rpc.pb.h"
#include "server/errors.h"
#include "server/member_client.h"
#include "server/node.h"

namespace server {
namespace {

using base::Code;
using base::NodeId;
using base::Result;
using base::Status;
using base::log::Field;
using base::log::Level;

// Without what clients see before it.
std::string_view inside_text(const Status& status) {
  std::string_view text = status.text();
  constexpr std::string_view kPrefix = "etcdserver: ";
  if (text.starts_with(kPrefix)) text.remove_prefix(kPrefix.size());
  return text;
}

std::string id_list(const std::vector<NodeId>& ids) {
  std::string out;
  for (const NodeId id : ids) out += (out.empty() ? "" : ",") + base::hex(id.value());
  return out;
}

}  // namespace

// --- what hashes mean
// -----------------------------------------------------------------------------------------------------------

Result<HashAnswer> parse_hash_answer(const peer::Answer& answer) {
  const auto says = [&](const Status& status) { return answer.body.find(inside_text(status)) != std::string::npos; };
  if (answer.status == 400 && says(mvcc::errors::compacted())) return mvcc::errors::compacted();
  if (answer.status == 400 && says(mvcc::errors::future_revision())) return mvcc::errors::future_revision();
  if (answer.status == 412 && says(errors::cluster_id_mismatch())) return errors::cluster_id_mismatch();
  if (answer.status != 200) return Status(Code::kUnknown, "unknown error: " + answer.body);
  const nlohmann::json json = nlohmann::json::parse(answer.body, nullptr, false);
  HashAnswer out;
  // Zero values are left out; hash_revision is known since 3.6.
  const auto read = [](const nlohmann::json& object, const char* name, auto* value) {
    const auto found = object.find(name);
    if (found == object.end() || found->is_null()) return true;
    if (!found->is_number_integer()) return false;
    *value = found->get<std::remove_reference_t<decltype(*value)>>();
    return true;
  };
  const bool good = json.is_object() && read(json, "hash", &out.hash) &&
                    read(json, "compact_revision", &out.compact_revision) && read(json, "hash_revision", &out.revision);
  const auto header = good ? json.find("header") : json.end();
  if (!good || (header != json.end() && (!header->is_object() || !read(*header, "revision", &out.current_revision)))) {
    return Status(Code::kInvalidArgument, "the answer is not a hash: " + answer.body.substr(0, 200));
  }
  return out;
}

int count_initial_mismatches(NodeId self, const HashAnswer& own, const std::vector<PeerHash>& peers) {
  int mismatches = 0;
  for (const PeerHash& peer : peers) {
    std::vector<Field> fields = {{"local-member-id", base::hex(self.value())},
                                 {"local-member-revision", own.revision},
                                 {"local-member-compact-revision", own.compact_revision},
                                 {"local-member-hash", own.hash},
                                 {"remote-peer-id", base::hex(peer.id.value())},
                                 {"remote-peer-endpoints", peer.endpoints}};
    if (!peer.answer.ok()) {
      const Status& error = peer.answer.status();
      if (error == mvcc::errors::future_revision()) {
        base::log::write_fields(Level::kWarn, "cannot fetch hash from slow remote peer", fields);
      } else if (error == mvcc::errors::compacted()) {
        base::log::write_fields(Level::kWarn, "cannot fetch hash from remote peer; local member is behind", fields);
      } else if (error == errors::cluster_id_mismatch()) {
        base::log::write_fields(Level::kWarn, "cluster ID mismatch", fields);
      }
      continue;
    }
    const HashAnswer& theirs = *peer.answer;
    if (theirs.hash == own.hash) continue;
    fields.emplace_back("remote-peer-revision", theirs.current_revision);
    fields.emplace_back("remote-peer-compact-revision", theirs.compact_revision);
    fields.emplace_back("remote-peer-hash", theirs.hash);
    if (theirs.compact_revision == own.compact_revision) {
      base::log::write_fields(Level::kWarn, "found different hash values from remote peer", fields);
      ++mismatches;
    } else {
      base::log::write_fields(Level::kWarn, "found different compact revision values from remote peer", fields);
    }
  }
  return mismatches;
}

std::optional<NodeId> judge_periodic(NodeId self, const HashAnswer& own, const HashAnswer& later,
                                     const std::vector<PeerHash>& peers) {
  std::optional<NodeId> blamed;
  const auto blame = [&](NodeId id) {
    if (!blamed) blamed = id;
  };
  if (later.hash != own.hash && later.revision == own.revision && later.compact_revision == own.compact_revision) {
    base::log::warn("found hash mismatch", {{"revision-1", own.revision},
                                            {"compact-revision-1", own.compact_revision},
                                            {"hash-1", own.hash},
                                            {"revision-2", later.revision},
                                            {"compact-revision-2", later.compact_revision},
                                            {"hash-2", later.hash}});
    blame(self);
  }
  int checked = 0;
  for (const PeerHash& peer : peers) {
    if (!peer.answer.ok()) continue;
    ++checked;
    const HashAnswer& theirs = *peer.answer;
    const std::string id = base::hex(peer.id.value());
    if (theirs.current_revision > later.current_revision) {
      base::log::warn("revision from follower must be less than or equal to leader's",
                      {{"leader-revision", later.current_revision},
                       {"follower-revision", theirs.current_revision},
                       {"follower-peer-id", id}});
      blame(peer.id);
    }
    if (theirs.compact_revision > later.compact_revision) {
      base::log::warn("compact revision from follower must be less than or equal to leader's",
                      {{"leader-compact-revision", later.compact_revision},
                       {"follower-compact-revision", theirs.compact_revision},
                       {"follower-peer-id", id}});
      blame(peer.id);
    }
    if (theirs.compact_revision == own.compact_revision && theirs.hash != own.hash) {
      base::log::warn("same compact revision then hashes must match", {{"leader-compact-revision", later.compact_revision},
                                                                       {"leader-hash", own.hash},
                                                                       {"follower-compact-revision", theirs.compact_revision},
                                                                       {"follower-hash", theirs.hash},
                                                                       {"follower-peer-id", id}});
      blame(peer.id);
    }
  }
  base::log::info("finished peer corruption check", {{"number-of-peers-checked", checked}});
  return blamed;
}

CompactHashVerdict judge_compact_hash(NodeId leader, const mvcc::KeyHash& own, const std::vector<PeerHash>& peers) {
  std::map<uint32_t, std::vector<NodeId>> members_by_hash;
  members_by_hash[own.hash].push_back(leader);
  size_t checked = 0;
  for (const PeerHash& peer : peers) {
    std::string skipped;
    if (!peer.answer.ok()) {
      skipped = "no response";
    } else if (peer.answer->compact_revision != own.compact_revision) {
      skipped = "the peer's CompactRevision " + std::to_string(peer.answer->compact_revision) +
                " doesn't match leader's CompactRevision " + std::to_string(own.compact_revision);
    }
    if (!skipped.empty()) {
      base::log::warn("Skipped peer's hash", {{"number-of-peers", peers.size()},
                                              {"leader-id", base::hex(leader.value())},
                                              {"peer-id", base::hex(peer.id.value())},
                                              {"reason", skipped}});
      continue;
    }
    ++checked;
    members_by_hash[peer.answer->hash].push_back(peer.id);
  }
  CompactHashVerdict verdict;
  if (members_by_hash.size() == 1) {
    const std::vector<Field> fields = {
        {"number-of-peers-checked", checked}, {"revision", own.revision}, {"compactRevision", own.compact_revision}};
    verdict.conclusive = verdict.all_equal = checked == peers.size();
    if (verdict.all_equal) {
      base::log::write_fields(Level::kInfo, "successfully checked hash on whole cluster", fields);
    } else {
      base::log::warn("skipped revision in compaction hash check; was not able to check all peers",
                      {fields[0], {"number-of-peers", peers.size()}, fields[1], fields[2]});
    }
    return verdict;
  }
  verdict.conclusive = true;
  const size_t quorum = (peers.size() + 1) / 2 + 1;
  const auto majority = std::find_if(members_by_hash.begin(), members_by_hash.end(),
                                     [&](const auto& group) { return group.second.size() >= quorum; });
  const bool has_quorum = majority != members_by_hash.end();
  if (has_quorum) members_by_hash.erase(majority);
  const std::vector<Field> fields = {{"leader-id", base::hex(leader.value())},
                                     {"leader-revision", own.revision},
                                     {"leader-compact-revision", own.compact_revision},
                                     {"leader-hash", own.hash}};
  if (!has_quorum) {
    base::log::write_fields(
        Level::kError,
        "Detected compaction hash mismatch but cannot identify the corrupted members, so intentionally set the memberID as 0",
        fields);
    verdict.corrupt.push_back(base::kNoNode);
  }
  for (const auto& [hash, members] : members_by_hash) {
    if (has_quorum) verdict.corrupt.insert(verdict.corrupt.end(), members.begin(), members.end());
    std::vector<Field> more = fields;
    more.emplace_back("peer-hash", hash);
    more.emplace_back("peer-ids", id_list(members));
    more.emplace_back("quorum-exist", has_quorum);
    base::log::write_fields(Level::kError, "Detected compaction hash mismatch", more);
  }
  return verdict;
}

// --- asking
// ---------------------------------------------------------------------------------------------------------------------

// One revision asked of all others at once; answers keep the order of the members.
struct CorruptionChecker::Question {
  int64_t revision;
  std::vector<PeerHash> peers;
  size_t missing = 0;
  Hashes done;
};

void CorruptionChecker::ask_peers(int64_t revision, Hashes done) {
  auto question = std::make_shared<Question>();
  question->revision = revision;
  question->done = std::move(done);
  for (const auto& [id, member] : node_.membership().members()) {
    if (id == node_.id() || member.peer_urls.empty()) continue;
    question->peers.push_back({id, member.peer_urls, Status(Code::kUnavailable, "not asked")});
  }
  if (node_.environment().members == nullptr) question->peers.clear();
  question->missing = question->peers.size();
  if (question->peers.empty()) return question->done({});
  for (size_t i = 0; i < question->peers.size(); ++i) ask_endpoint(question, i, 0);
}

// A member's URLs in turn until one gives a hash.
void CorruptionChecker::ask_endpoint(std::shared_ptr<Question> question, size_t peer, size_t endpoint) {
  PeerHash& hash = question->peers[peer];
  Member member;
  member.id = hash.id;
  member.peer_urls = {hash.endpoints[endpoint]};
  peer::Question http;
  http.target = "/members/hashkv";
  http.fields.emplace_back("Content-Type", "application/json");
  http.fields.emplace_back("X-Etcd-Cluster-ID", base::hex(node_.membership().cluster_id()));
  http.body = question->revision == 0 ? "{}" : "{\"revision\":" + std::to_string(question->revision) + "}";
  auto told = [this, question, peer, endpoint](const Result<peer::Answer>& answer) {
    if (stopped_) return;
    PeerHash& asked = question->peers[peer];
    asked.answer = answer.ok() ? parse_hash_answer(*answer) : Result<HashAnswer>(answer.status());
    if (!asked.answer.ok()) {
      base::log::warn("failed hash kv request", {{"local-member-id", base::hex(node_.id().value())},
                                                 {"requested-revision", question->revision},
                                                 {"remote-peer-endpoint", asked.endpoints[endpoint]},
                                                 {"error", asked.answer.status()}});
      if (endpoint + 1 < asked.endpoints.size()) return ask_endpoint(question, peer, endpoint + 1);
    }
    if (--question->missing == 0) question->done(std::move(question->peers));
  };
  node_.environment().members->ask(member, std::move(http), node_.request_timeout(), std::move(told));
}

// --- before the member serves
// ---------------------------------------------------------------------------------------------------

void CorruptionChecker::check_initially(Done done) {
  const std::string self = base::hex(node_.id().value());
  base::log::info("starting initial corruption check",
                  {{"local-member-id", self}, Field::duration("timeout", node_.request_timeout().count())});
  node_.maintainer().hash_kv(0, [this, self, done = std::move(done)](const Result<HashAnswer>& own) {
    if (!own.ok()) {
      return done(Status(Code::kDataLoss, self + " failed to fetch hash (" + std::string(own.status().text()) + ")"));
    }
    ask_peers(own->revision, [this, self, done, own = *own](const std::vector<PeerHash>& peers) {
      if (count_initial_mismatches(node_.id(), own, peers) > 0) {
        return done(Status(Code::kDataLoss, self + " found data inconsistency with peers"));
      }
      base::log::info("initial corruption checking passed; no corruption", {{"local-member-id", self}});
      done(Status());
    });
  });
}

// --- from time to time
// ----------------------------------------------------------------------------------------------------------

void CorruptionChecker::start() {
  if (const base::Duration interval = node_.config().corrupt_check_time; interval > base::Duration(0)) {
    base::log::info("enabled corruption checking",
                    {{"local-member-id", base::hex(node_.id().value())}, Field::duration("interval", interval.count())});
    periodic_at_ = node_.environment().loop.clock().now();
    wait_periodic();
  }
  if (node_.config().feature_gates.enabled(Feature::kCompactHashCheck)) wait_compact_hash();
}

void CorruptionChecker::stop() {
  stopped_ = true;
  node_.environment().loop.cancel(periodic_timer_);
  node_.environment().loop.cancel(compact_hash_timer_);
}

// A check that takes longer than the interval leaves out those that were due meanwhile.
void CorruptionChecker::wait_periodic() {
  const base::Instant now = node_.environment().loop.clock().now();
  periodic_at_ = std::max(periodic_at_ + node_.config().corrupt_check_time, now);
  periodic_timer_ = node_.environment().loop.at(periodic_at_, [this] {
    periodic_timer_ = base::kNoTimer;
    if (!node_.is_leader()) return wait_periodic();
    check_periodically([this](const Status& checked) {
      if (stopped_) return;
      if (!checked.ok()) base::log::warn("failed to check hash KV", {{"error", checked}});
      wait_periodic();
    });
  });
}

void CorruptionChecker::check_periodically(Done done) {
  node_.maintainer().hash_kv(0, [this, done = std::move(done)](const Result<HashAnswer>& own) {
    if (stopped_ || !own.ok()) return done(own.status());
    ask_peers(own->revision, [this, done, own = *own](std::vector<PeerHash> peers) {
      // What they have applied is applied here as well after this.
      node_.linearizable_barrier([this, done, own, peers = std::move(peers)](const Status& read) {
        if (stopped_ || !read.ok()) return done(read);
        node_.maintainer().hash_kv(0, [this, done, own, peers](const Result<HashAnswer>& later) {
          if (stopped_ || !later.ok()) return done(later.status());
          const std::optional<NodeId> corrupt = judge_periodic(node_.id(), own, *later, peers);
          if (corrupt) raise_alarm(*corrupt);
          done(Status());
        });
      });
    });
  });
}

// --- at compacted revisions
// -----------------------------------------------------------------------------------------------------

void CorruptionChecker::wait_compact_hash() {
  compact_hash_timer_ = node_.environment().loop.after(node_.config().compact_hash_check_time, [this] {
    compact_hash_timer_ = base::kNoTimer;
    node_.is_leader() ? check_compact_hashes() : wait_compact_hash();
  });
}

void CorruptionChecker::check_compact_hashes() {
  base::log::info("starting compact hash check", {{"local-member-id", base::hex(node_.id().value())},
                                                  Field::duration("timeout", node_.request_timeout().count())});
  auto hashes = std::make_shared<std::vector<mvcc::KeyHash>>(node_.store().hashes().all());
  std::erase_if(*hashes, [this](const mvcc::KeyHash& hash) { return hash.revision <= latest_revision_checked_; });
  std::reverse(hashes->begin(), hashes->end());  // The newest first.
  check_next_compact_hash(std::move(hashes), 0);
}

void CorruptionChecker::check_next_compact_hash(std::shared_ptr<std::vector<mvcc::KeyHash>> hashes, size_t next) {
  if (next == hashes->size()) return finish_compact_hashes(next);
  const mvcc::KeyHash own = (*hashes)[next];
  ask_peers(own.revision, [this, hashes = std::move(hashes), next, own](const std::vector<PeerHash>& peers) {
    if (peers.empty()) return check_next_compact_hash(hashes, next + 1);
    const CompactHashVerdict verdict = judge_compact_hash(node_.id(), own, peers);
    if (verdict.all_equal) latest_revision_checked_ = std::max(latest_revision_checked_, own.revision);
    for (const NodeId corrupt : verdict.corrupt) raise_alarm(corrupt);
    verdict.conclusive ? finish_compact_hashes(next + 1) : check_next_compact_hash(hashes, next + 1);
  });
}

void CorruptionChecker::finish_compact_hashes(size_t checked) {
  base::log::info("finished compaction hash check", {{"number-of-hashes-checked", checked}});
  wait_compact_hash();
}

void CorruptionChecker::raise_alarm(NodeId corrupt) {
  etcdserverpb::AlarmRequest request;
  request.set_memberid(corrupt.value());
  request.set_action(etcdserverpb::AlarmRequest::ACTIVATE);
  request.set_alarm(etcdserverpb::CORRUPT);
  // Applying it says so in the log; the next check raises it again if this proposal is lost.
  node_.propose_message(wire::Op::kAlarm, request, [](const Status&) {});
}

}  // namespace server
