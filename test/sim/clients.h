// Clients of a simulated cluster, each with one call at a time, writing down what they did: readers and writers of single keys,
// Kubernetes' way with objects (create, update and delete guarded by revision), transfers in one transaction, locks by create
// revision, leases that are kept alive and then not, compactions, watchers that resume where they were.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/cluster.h"
#include "sim/history.h"

namespace sim {

inline constexpr auto kClientPatience = std::chrono::seconds(8);

// Where all clients of a run write.
struct History {
  std::vector<Operation> operations;
  std::vector<std::unique_ptr<WatchRecord>> watches;
  std::vector<LeaseRecord> leases;
  int64_t compaction_asked = 0;  // the highest revision
  bool for_validator = false;    // etcd's, whose model knows no ranges of deletions and no serializable reads of now
  uint64_t values = 0;           // given out
  uint64_t ok = 0, refused = 0, unknown = 0;
  std::string value() { return "v" + std::to_string(++values); }
};

// Think times are drawn up to `pace`.
class Client {
 public:
  Client(Cluster& cluster, History& history, int number, base::Duration pace)
      : cluster_(cluster), history_(history), number_(number), pace_(pace) {}
  virtual ~Client() = default;
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void start() { think(); }
  // Begins nothing new.
  void stop() { stopped_ = true; }
  bool idle() const { return !busy_; }

 protected:
  virtual void act() = 0;
  void think();
  Machine& some_machine();
  base::Rng& rng() { return cluster_.world().rng(); }
  std::string some_key(const std::string& prefix, uint64_t keys) { return prefix + std::to_string(rng().below(keys)); }
  // One operation of the KV service, recorded; then `then`, or think().
  using Then = std::function<void(const Operation&)>;
  void run(wire::Op op, std::string request, bool serializable, Then then = nullptr);
  void call(Machine& machine, std::function<void(server::Node&, Cluster::Reply)> what, Cluster::Done done);

  Cluster& cluster_;
  History& history_;
  const int number_;
  const base::Duration pace_;
  bool stopped_ = false, busy_ = false;
};

enum class Work { kLook, kKeys, kObjects, kTransfers, kLocks, kLeases, kCompactions };
std::unique_ptr<Client> make_client(Work work, Cluster& cluster, History& history, int number, base::Duration pace);

// A watcher over one prefix, or all keys; on a stream of its own, which may be slow to read.
class WatchClient {
 public:
  WatchClient(Cluster& cluster, History& history, std::string prefix);
  ~WatchClient();
  void start() { connect(); }
  void stop() { stopped_ = true; }
  // Everything up to `revision` has come to the stream that is there now.
  bool has_heard(int64_t revision) const;
  // For who judges at the end: read without pauses from now on.
  void hurry() { hurry_ = true; }
  const WatchRecord* current() const { return record_; }

 private:
  class Stream;
  struct Connection;
  void connect();
  void lose();
  void arrived(const std::shared_ptr<Connection>& connection, const std::string& bytes);
  void ask_progress();

  Cluster& cluster_;
  History& history_;
  const std::string prefix_;
  bool prev_kv_, no_put_, no_delete_, slow_;
  bool stopped_ = false, hurry_ = false;
  int64_t next_ = 0;  // where to go on; 0: from now
  std::shared_ptr<Connection> connection_;
  WatchRecord* record_ = nullptr;
};

// How a machine serves a call of the KV service, as server/kv_service.cc does.
void serve_kv(server::Node& node, wire::Op op, const std::string& request, Cluster::Reply reply);

}  // namespace sim
