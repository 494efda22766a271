#include "sim/clients.h"

#include <algorithm>
#include <utility>

#include "mvcc/request.h"
#include "server/errors.h"
#include "server/leases.h"
#include "server/services.h"
#include "server/watch_session.h"

namespace sim {

using base::Duration;
using base::Status;
using wire::Op;
using namespace std::chrono_literals;

namespace {

constexpr uint64_t kKeys = 8, kObjects = 6, kAccounts = 5;
constexpr size_t kWatchBytesHeld = 64 << 10;

class ReplyWaiter final : public server::Waiter {
 public:
  explicit ReplyWaiter(Cluster::Reply reply) : reply_(std::move(reply)) {}
  void done(server::Outcome outcome) override { reply_(outcome.status, outcome.revision, std::move(outcome.fields)); }

 private:
  const Cluster::Reply reply_;
};

class ReplyReader final : public server::Reader {
 public:
  ReplyReader(server::Node& node, Op op, std::string request, Cluster::Reply reply)
      : node_(node), op_(op), request_(std::move(request)), reply_(std::move(reply)) {}
  void read(const Status& status) override {
    if (!status.ok()) return reply_(status, 0, {});
    base::Result<mvcc::Reply> got = mvcc::execute_read(node_.store(), op_, request_);
    if (!got.ok()) return reply_(got.status(), 0, {});
    reply_(Status(), got->revision, std::move(got->fields));
  }

 private:
  server::Node& node_;
  const Op op_;
  const std::string request_;
  const Cluster::Reply reply_;
};

etcdserverpb::RequestOp put_op(const std::string& key, const std::string& value, int64_t lease = 0) {
  etcdserverpb::RequestOp op;
  op.mutable_request_put()->set_key(key);
  op.mutable_request_put()->set_value(value);
  op.mutable_request_put()->set_lease(lease);
  return op;
}

etcdserverpb::RequestOp get_op(const std::string& key) {
  etcdserverpb::RequestOp op;
  op.mutable_request_range()->set_key(key);
  return op;
}

std::string end_of(std::string prefix) {
  ++prefix.back();
  return prefix;
}

}  // namespace

void serve_kv(server::Node& node, Op op, const std::string& request, Cluster::Reply reply) {
  const rpc::CallContext context;
  mvcc::Checked checked;
  Status status = server::admit(node, context, op == Op::kRange ? server::OnLearner::kServed : server::OnLearner::kRefused);
  if (status.ok()) status = mvcc::check_request(op, request, node.config().max_txn_ops, &checked);
  if (!status.ok()) return reply(status, 0, {});
  if (op == Op::kRange || (op == Op::kTxn && checked.read_only)) {
    auto reader = std::make_unique<ReplyReader>(node, op, request, std::move(reply));
    if (checked.serializable) return reader->read(Status());
    if (node.is_learner()) return reader->read(server::errors::learner_unsupported());
    return node.linearizable_read(std::move(reader));
  }
  node.propose(op, request, std::make_unique<ReplyWaiter>(std::move(reply)));
}

// --- what all clients do ----------------------------------------------------------------------------------------------------

void Client::think() {
  if (stopped_) return;
  (void)cluster_.world().after(cluster_.world().random(pace_), [this] {
    if (!stopped_) act();
  });
}

Machine& Client::some_machine() {
  const std::vector<Machine*> all = cluster_.members();
  return *all[rng().below(all.size())];
}

void Client::call(Machine& machine, std::function<void(server::Node&, Cluster::Reply)> what, Cluster::Done done) {
  busy_ = true;
  cluster_.call(machine, std::move(what), kClientPatience, [this, done = std::move(done)](Answer answer) {
    busy_ = false;
    ++(answer.kind == Answer::kOk ? history_.ok : answer.kind == Answer::kRefused ? history_.refused : history_.unknown);
    done(std::move(answer));
  });
}

void Client::run(Op op, std::string request, bool serializable, Then then) {
  const size_t at = history_.operations.size();
  Operation& operation = history_.operations.emplace_back();
  operation.client = number_;
  operation.op = op;
  operation.request = request;
  operation.linearizable = !serializable;
  operation.applied = cluster_.oracle().revision();
  operation.call = operation.end = cluster_.world().now();
  call(
      some_machine(),
      [op, request = std::move(request)](server::Node& node, Cluster::Reply reply) {
        serve_kv(node, op, request, std::move(reply));
      },
      [this, at, then = std::move(then)](Answer answer) {
        Operation& ended = history_.operations[at];
        ended.end = cluster_.world().now();
        ended.outcome = answer.kind == Answer::kOk        ? Operation::kOk
                        : answer.kind == Answer::kRefused ? Operation::kRefused
                                                          : Operation::kUnknown;
        ended.error = answer.error;
        ended.revision = answer.revision;
        ended.response = std::move(answer.fields);
        cluster_.world().trace(static_cast<uint64_t>(ended.revision) * 4 + ended.outcome);
        if (ended.op == Op::kRange && ended.outcome == Operation::kOk && !ended.linearizable &&
            ended.revision < cluster_.oracle().revision()) {
          probe("a serializable read was behind");
        }
        if (then) return then(Operation(ended));
        think();
      });
}

namespace {

// --- one look at everything, before anything is there -----------------------------------------------------------------------

class LookClient final : public Client {
 public:
  using Client::Client;

 private:
  void act() override {
    etcdserverpb::RangeRequest request;
    request.set_key("a");
    request.set_range_end("z");
    run(Op::kRange, request.SerializeAsString(), false);
  }
};

// --- single keys ------------------------------------------------------------------------------------------------------------

class KeyClient final : public Client {
 public:
  using Client::Client;

 private:
  void act() override {
    const uint64_t what = rng().below(20);
    if (what < 8) return put();
    if (what < 10) return erase();
    read(what >= 16);
  }

  void put() {
    etcdserverpb::PutRequest request;
    request.set_key(some_key("k", kKeys));
    request.set_value(history_.value());
    if (rng().one_in(10)) request.mutable_value()->append(rng().below(20000), '.');
    request.set_prev_kv(rng().one_in(2));
    run(Op::kPut, request.SerializeAsString(), false);
  }

  void erase() {
    etcdserverpb::DeleteRangeRequest request;
    request.set_key(some_key("k", kKeys));
    if (rng().one_in(5) && !history_.for_validator) request.set_range_end(end_of(request.key()));
    request.set_prev_kv(rng().one_in(2));
    run(Op::kDeleteRange, request.SerializeAsString(), false);
  }

  void read(bool serializable) {
    etcdserverpb::RangeRequest request;
    serializable = serializable && !history_.for_validator;
    request.set_serializable(serializable);
    if (rng().one_in(2)) {
      request.set_key(some_key("k", kKeys));
    } else {
      request.set_key("k");
      request.set_range_end("l");
      if (rng().one_in(2)) request.set_limit(1 + static_cast<int64_t>(rng().below(5)));
    }
    const int64_t now = cluster_.oracle().revision();
    if (rng().one_in(3)) request.set_revision(std::max<int64_t>(1, now - static_cast<int64_t>(rng().below(40))));
    run(Op::kRange, request.SerializeAsString(), serializable);
  }
};

// --- objects, as Kubernetes keeps them --------------------------------------------------------------------------------------

class ObjectClient final : public Client {
 public:
  using Client::Client;

 private:
  void act() override {
    const std::string key = some_key("o", kObjects);
    etcdserverpb::RangeRequest get;
    get.set_key(key);
    // Caches are stale: the revision the change is guarded by may be an old one.
    get.set_serializable(rng().one_in(3) && !history_.for_validator);
    run(Op::kRange, get.SerializeAsString(), get.serializable(), [this, key](const Operation& read) {
      if (read.outcome != Operation::kOk || stopped_) return think();
      etcdserverpb::RangeResponse response;
      VERIFY(response.ParseFromString(read.response));
      change(key, response.kvs_size() == 0 ? 0 : response.kvs(0).mod_revision());
    });
  }

  void change(const std::string& key, int64_t revision) {
    etcdserverpb::TxnRequest txn;
    etcdserverpb::Compare* compare = txn.add_compare();
    compare->set_key(key);
    compare->set_target(etcdserverpb::Compare::MOD);
    compare->set_mod_revision(revision);
    if (revision > 0 && rng().one_in(4)) {
      txn.add_success()->mutable_request_delete_range()->set_key(key);
    } else {
      *txn.add_success() = put_op(key, history_.value());
    }
    *txn.add_failure() = get_op(key);
    run(Op::kTxn, txn.SerializeAsString(), false, [this](const Operation& written) {
      etcdserverpb::TxnResponse response;
      if (written.outcome == Operation::kOk && response.ParseFromString(written.response) && !response.succeeded()) {
        probe("a transaction met a conflict");
      }
      think();
    });
  }
};

// --- several keys in one transaction ----------------------------------------------------------------------------------------

class TransferClient final : public Client {
 public:
  using Client::Client;

 private:
  void act() override {
    etcdserverpb::TxnRequest txn;
    const uint64_t from = rng().below(kAccounts), to = (from + 1 + rng().below(kAccounts - 1)) % kAccounts;
    *txn.add_success() = put_op("a" + std::to_string(from), history_.value());
    if (rng().one_in(3)) {
      txn.add_success()->mutable_request_delete_range()->set_key("a" + std::to_string(to));
    } else {
      *txn.add_success() = put_op("a" + std::to_string(to), history_.value());
    }
    etcdserverpb::RequestOp all;
    all.mutable_request_range()->set_key("a");
    all.mutable_request_range()->set_range_end("b");
    *txn.add_success() = all;
    run(Op::kTxn, txn.SerializeAsString(), false);
  }
};

// --- locks: who creates the key has it --------------------------------------------------------------------------------------

class LockClient final : public Client {
 public:
  using Client::Client;

 private:
  void act() override {
    etcdserverpb::TxnRequest txn;
    etcdserverpb::Compare* compare = txn.add_compare();
    guard(compare, 0);
    *txn.add_success() = put_op("lock", history_.value());
    *txn.add_failure() = get_op("lock");
    run(Op::kTxn, txn.SerializeAsString(), false, [this](const Operation& tried) {
      etcdserverpb::TxnResponse response;
      if (tried.outcome != Operation::kOk || !response.ParseFromString(tried.response)) return think();
      // One that nobody seems to hold any more (its holder never heard that it got it) is broken up.
      int64_t revision = 0;
      if (response.succeeded()) {
        revision = tried.revision;
      } else if (rng().one_in(6) && response.responses(0).response_range().kvs_size() == 1) {
        revision = response.responses(0).response_range().kvs(0).create_revision();
      }
      if (revision == 0) return think();
      release(revision);
    });
  }

  // Its key is written once, so that both revisions are the same.
  void guard(etcdserverpb::Compare* compare, int64_t revision) {
    compare->set_key("lock");
    if (history_.for_validator) {
      compare->set_target(etcdserverpb::Compare::MOD);
      compare->set_mod_revision(revision);
    } else {
      compare->set_target(etcdserverpb::Compare::CREATE);
      compare->set_create_revision(revision);
    }
  }

  void release(int64_t revision) {
    etcdserverpb::TxnRequest txn;
    etcdserverpb::Compare* compare = txn.add_compare();
    guard(compare, revision);
    txn.add_success()->mutable_request_delete_range()->set_key("lock");
    run(Op::kTxn, txn.SerializeAsString(), false);
  }
};

// --- leases -----------------------------------------------------------------------------------------------------------------

class LeaseClient final : public Client {
 public:
  using Client::Client;

 private:
  static constexpr int kRenewalsMax = 6;

  void act() override {
    const int64_t id = 1000 * (number_ + 1) + ++granted_;
    const size_t at = history_.leases.size();
    LeaseRecord& lease = history_.leases.emplace_back();
    lease.id = id;
    lease.ttl_s = 2 + static_cast<int64_t>(rng().below(6));
    lease.granted = lease.renewed = cluster_.world().now();
    etcdserverpb::LeaseGrantRequest request;
    request.set_id(id);
    request.set_ttl(lease.ttl_s);
    call(
        some_machine(),
        [body = request.SerializeAsString()](server::Node& node, Cluster::Reply reply) {
          const Status admitted = server::admit(node, rpc::CallContext(), server::OnLearner::kRefused);
          if (!admitted.ok()) return reply(admitted, 0, {});
          node.propose(Op::kLeaseGrant, body, std::make_unique<ReplyWaiter>(std::move(reply)));
        },
        [this, at](const Answer& answer) {
          if (answer.kind != Answer::kOk || stopped_) return think();
          attach(at);
        });
  }

  void attach(size_t at) {
    const LeaseRecord& lease = history_.leases[at];
    const std::string key = "l" + std::to_string(lease.id);
    etcdserverpb::PutRequest put;
    put.set_key(key);
    put.set_value(history_.value());
    put.set_lease(lease.id);
    run(Op::kPut, put.SerializeAsString(), false, [this, at, key](const Operation& written) {
      if (written.outcome == Operation::kOk) history_.leases[at].key = key;
      if (written.outcome == Operation::kOk && rng().one_in(6) && !stopped_) return let_go(at, key);
      renew(at, static_cast<int>(rng().below(kRenewalsMax)));
    });
  }

  // Written again without the lease: that it ends must not matter to the key any more.
  void let_go(size_t at, const std::string& key) {
    etcdserverpb::PutRequest put;
    put.set_key(key);
    put.set_value(history_.value());
    history_.leases[at].key_lost = true;
    run(Op::kPut, put.SerializeAsString(), false, [this, at](const Operation& written) {
      history_.leases[at].let_go = written.outcome == Operation::kOk ? written.revision : 0;
      renew(at, static_cast<int>(rng().below(kRenewalsMax)));
    });
  }

  void renew(size_t at, int times) {
    if (stopped_ || times == 0) return finish(at);
    const int64_t id = history_.leases[at].id, ttl_s = history_.leases[at].ttl_s;
    const Duration wait = cluster_.world().random(std::chrono::seconds(ttl_s) * 2 / 3);
    busy_ = true;
    (void)cluster_.world().after(wait, [this, at, id, ttl_s, times] {
      const base::Instant asked = cluster_.world().now();
      Machine& machine = some_machine();
      const bool follower = machine.serves() && !machine.node().is_leader();
      call(
          machine,
          [id](server::Node& node, const Cluster::Reply& reply) {
            const Status admitted = server::admit(node, rpc::CallContext(), server::OnLearner::kRefused);
            if (!admitted.ok()) return reply(admitted, 0, {});
            node.leases().renew(base::LeaseId(id),
                                [reply](const base::Result<int64_t>& ttl) { reply(ttl.status(), ttl.ok() ? *ttl : 0, {}); });
          },
          [this, at, ttl_s, times, asked, follower](const Answer& answer) {
            LeaseRecord& lease = history_.leases[at];
            if (answer.kind == Answer::kOk) {
              if (follower) probe("a lease was renewed through a follower");
              lease.renewed = std::max(lease.renewed, asked);
              lease.renewal_answered = cluster_.world().now();
              if (answer.revision != ttl_s) cluster_.fail("a renewal answered a TTL of " + std::to_string(answer.revision));
            }
            renew(at, times - 1);
          });
    });
  }

  void finish(size_t at) {
    busy_ = false;
    if (stopped_ || !rng().one_in(4)) return think();
    history_.leases[at].revoked = true;
    etcdserverpb::LeaseRevokeRequest request;
    request.set_id(history_.leases[at].id);
    call(
        some_machine(),
        [body = request.SerializeAsString()](server::Node& node, Cluster::Reply reply) {
          const Status admitted = server::admit(node, rpc::CallContext(), server::OnLearner::kRefused);
          if (!admitted.ok()) return reply(admitted, 0, {});
          node.propose(Op::kLeaseRevoke, body, std::make_unique<ReplyWaiter>(std::move(reply)));
        },
        [this](const Answer&) { think(); });
  }

  int64_t granted_ = 0;
};

// --- compactions ------------------------------------------------------------------------------------------------------------

class CompactClient final : public Client {
 public:
  using Client::Client;

 private:
  void act() override {
    const int64_t now = cluster_.oracle().revision();
    const int64_t revision = now - static_cast<int64_t>(rng().below(60));
    if (revision <= 1) return think();
    history_.compaction_asked = std::max(history_.compaction_asked, revision);
    etcdserverpb::CompactionRequest request;
    request.set_revision(revision);
    call(
        some_machine(),
        [body = request.SerializeAsString()](server::Node& node, Cluster::Reply reply) {
          serve_kv(node, Op::kCompaction, body, std::move(reply));
        },
        [this](const Answer&) { think(); });
  }
};

}  // namespace

std::unique_ptr<Client> make_client(Work work, Cluster& cluster, History& history, int number, Duration pace) {
  switch (work) {
    case Work::kLook:
      return std::make_unique<LookClient>(cluster, history, number, pace);
    case Work::kKeys:
      return std::make_unique<KeyClient>(cluster, history, number, pace);
    case Work::kObjects:
      return std::make_unique<ObjectClient>(cluster, history, number, pace);
    case Work::kTransfers:
      return std::make_unique<TransferClient>(cluster, history, number, pace);
    case Work::kLocks:
      return std::make_unique<LockClient>(cluster, history, number, pace);
    case Work::kLeases:
      return std::make_unique<LeaseClient>(cluster, history, number, pace);
    case Work::kCompactions:
      return std::make_unique<CompactClient>(cluster, history, number, pace * 10);
  }
  return nullptr;
}

// --- watches ----------------------------------------------------------------------------------------------------------------

// One connection of a watcher; what is in flight knows it, and finds it closed.
struct WatchClient::Connection {
  Machine* machine = nullptr;
  uint64_t life = 0;
  bool closed = false;
  base::Instant last_arrival{};
  size_t queued = 0;  // sent and not read
  std::shared_ptr<Stream> stream;
  std::shared_ptr<server::WatchSession> session;  // the member's; gone with it
};

// The member's end of the stream.
class WatchClient::Stream final : public rpc::ServerStream {
 public:
  Stream(WatchClient& client, std::shared_ptr<Connection> connection) : client_(client), connection_(connection) {}
  const rpc::CallContext& context() const override { return context_; }
  asio::awaitable<base::Result<std::optional<std::string>>> read() override { co_return std::nullopt; }
  asio::awaitable<Status> write(std::string) override { co_return Status(); }
  bool try_write(std::string prefix, std::shared_ptr<const std::string> shared) override {
    const std::shared_ptr<Connection> connection = connection_.lock();
    if (connection == nullptr || connection->closed) return false;
    if (shared != nullptr) prefix += *shared;
    World& world = client_.cluster_.world();
    Duration delay = 100us + world.random(300us);
    if (client_.slow_ && !client_.hurry_ && world.rng().one_in(5)) {
      delay += world.random(4s);
      probe("a watcher did not read");
    }
    connection->last_arrival = std::max(connection->last_arrival, world.now() + delay);
    connection->queued += prefix.size();
    (void)world.at(connection->last_arrival, nullptr, [&client = client_, connection, bytes = std::move(prefix)] {
      const bool was_full = connection->queued > kWatchBytesHeld / 2;
      connection->queued -= bytes.size();
      if (connection->closed) return;
      if (was_full && connection->queued <= kWatchBytesHeld / 2) {
        (void)client.cluster_.world().after(100us, &connection->machine->loop(), [connection] {
          if (!connection->closed && connection->session != nullptr) connection->session->drained();
        });
      }
      client.arrived(connection, bytes);
    });
    return true;
  }
  // A small window: streams fill up, and their watchers fall behind.
  size_t queued_bytes() const override {
    const std::shared_ptr<Connection> connection = connection_.lock();
    if (connection == nullptr || connection->queued <= kWatchBytesHeld) return 0;
    return server::kWatchQueuedBytesMax + 1;
  }
  void on_drained(std::function<void()>) override {}
  void on_closed(std::function<void()>) override {}
  bool closed() const override { return false; }
  void end(Status) override {}

 private:
  WatchClient& client_;
  const std::weak_ptr<Connection> connection_;
  const rpc::CallContext context_;
};

WatchClient::WatchClient(Cluster& cluster, History& history, std::string prefix)
    : cluster_(cluster), history_(history), prefix_(std::move(prefix)) {
  base::Rng& rng = cluster.world().rng();
  prev_kv_ = rng.one_in(2);
  no_put_ = rng.one_in(8) && !history.for_validator;
  no_delete_ = rng.one_in(8) && !history.for_validator;
  slow_ = rng.one_in(2);
}

WatchClient::~WatchClient() = default;

bool WatchClient::has_heard(int64_t revision) const {
  return record_ != nullptr && record_->created_at > 0 && next_ > revision;
}

void WatchClient::lose() {
  if (connection_ != nullptr) {
    const std::shared_ptr<Connection> old = std::exchange(connection_, nullptr);
    old->closed = true;
    if (old->machine->up() && old->machine->life() == old->life) {
      (void)cluster_.world().after(100us, &old->machine->loop(), [old] {
        if (old->session != nullptr) old->session->close();
        old->session.reset();
      });
    } else if (old->session != nullptr) {
      // The member took its hub along; the session's own part must not touch it.
      old->session.reset();
    }
  }
  record_ = nullptr;
  if (!stopped_) (void)cluster_.world().after(cluster_.world().random(500ms), [this] { connect(); });
}

void WatchClient::connect() {
  if (stopped_ || connection_ != nullptr) return;
  World& world = cluster_.world();
  const std::vector<Machine*> all = cluster_.members();
  Machine& machine = *all[world.rng().below(all.size())];
  if (!machine.serves() || machine.node().is_learner()) {
    (void)world.after(world.random(300ms), [this] { connect(); });
    return;
  }
  if (next_ > 0) probe("a watch was resumed elsewhere");
  history_.watches.push_back(std::make_unique<WatchRecord>());
  record_ = history_.watches.back().get();
  etcdserverpb::WatchRequest request;
  etcdserverpb::WatchCreateRequest& create = *request.mutable_create_request();
  create.set_key(prefix_);
  create.set_range_end(end_of(prefix_));
  create.set_prev_kv(prev_kv_);
  create.set_progress_notify(true);
  if (no_put_) create.add_filters(etcdserverpb::WatchCreateRequest::NOPUT);
  if (no_delete_) create.add_filters(etcdserverpb::WatchCreateRequest::NODELETE);
  // Sometimes from the past anew, which a compaction may have taken, or from the future.
  int64_t start = next_;
  if (next_ > 40 && world.rng().one_in(5)) start = next_ - static_cast<int64_t>(world.rng().below(40));
  if (next_ > 0 && world.rng().one_in(12)) start = next_ + static_cast<int64_t>(world.rng().below(20));
  create.set_start_revision(start);
  next_ = start;
  record_->request = create;
  const auto connection = std::make_shared<Connection>();
  connection->machine = &machine;
  connection->life = machine.life();
  connection_ = connection;
  (void)world.after(200us, &machine.loop(), [this, connection, bytes = request.SerializeAsString()] {
    if (connection->closed) return;
    connection->stream = std::make_shared<Stream>(*this, connection);
    connection->session = std::make_shared<server::WatchSession>(connection->machine->node(), connection->stream, nullptr);
    base::Result<std::string> answer = connection->session->handle(bytes);
    VERIFY(answer.ok());
    (void)connection->stream->try_write(std::move(*answer), nullptr);
  });
  // It is there as long as the member, or until the client goes elsewhere.
  const std::function<void()> look = [this, connection] {
    if (connection->closed) return;
    const bool alive = connection->machine->up() && connection->machine->life() == connection->life;
    if (!alive || (!hurry_ && cluster_.world().rng().one_in(40))) lose();
  };
  struct Again {
    static void look(World& world, const std::function<void()>& what, const std::shared_ptr<Connection>& connection) {
      (void)world.after(300ms, [&world, what, connection] {
        what();
        if (!connection->closed) look(world, what, connection);
      });
    }
  };
  Again::look(world, look, connection);
  ask_progress();
}

void WatchClient::ask_progress() {
  const std::shared_ptr<Connection> connection = connection_;
  if (connection == nullptr || connection->closed) return;
  World& world = cluster_.world();
  (void)world.after(500ms + world.random(1s), &connection->machine->loop(), [this, connection] {
    if (connection->closed || connection->session == nullptr) return;
    etcdserverpb::WatchRequest request;
    request.mutable_progress_request();
    (void)connection->session->handle(request.SerializeAsString());
    ask_progress();
  });
}

void WatchClient::arrived(const std::shared_ptr<Connection>& connection, const std::string& bytes) {
  if (connection != connection_ || record_ == nullptr) return;
  etcdserverpb::WatchResponse got;
  if (!got.ParseFromString(bytes)) return cluster_.fail("a watch response that does not parse");
  if (got.created()) {
    record_->created_at = got.header().revision();
    if (next_ == 0) next_ = got.header().revision() + 1;
    return;
  }
  WatchRecord::Response& response = record_->responses.emplace_back();
  response.at = cluster_.world().now();
  response.revision = got.header().revision();
  response.canceled = got.canceled();
  response.compact_revision = got.compact_revision();
  response.events.assign(got.events().begin(), got.events().end());
  cluster_.world().trace(static_cast<uint64_t>(got.events_size()) + 1);
  if (got.canceled()) {
    if (got.compact_revision() > 0) {
      probe("a watch began below the compaction");
      next_ = std::max(next_, got.compact_revision());
    }
    return lose();
  }
  next_ = std::max(next_, (got.events_size() > 0 ? got.events().rbegin()->kv().mod_revision() : got.header().revision()) + 1);
}

}  // namespace sim
