// A cluster of members on one World: production nodes (raft driver, WAL, engine, MVCC, leases, watch hub, membership, the pages
// of the peer port) on machines with a disk that forgets, a clock of their own and a network that is cut. What any of them
// applies goes through the oracle.
#pragma once

#include <asio.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "io/mem_disk.h"
#include "rpc/server.h"
#include "server/config.h"
#include "server/metrics.h"
#include "server/node.h"
#include "server/pages.h"
#include "sim/network.h"
#include "sim/oracle.h"
#include "sim/raft_watch.h"
#include "sim/world.h"

namespace sim {

class Cluster;

// What a client sees of a call.
struct Answer {
  enum Kind {
    kOk,
    kRefused,  // certainly without effect
    kUnknown,  // an error or no answer: it may have happened, or may still
  };
  Kind kind = kUnknown;
  std::string error;
  int64_t revision = 0;  // of the header
  std::string fields;    // the response but for the header
};

class Machine {
 public:
  Machine(Cluster& cluster, size_t number, std::string initial_cluster, bool joins, bool varied);
  ~Machine();

  // A process: from the disk as it is. False: it refused to start; `why` tells.
  bool start(std::string* why);
  // The process dies, what it gave to the system stays.
  void kill();
  // The machine dies: what was not synced is gone.
  void cut_power();
  // What disks do to what they were told to keep. REQUIRES: not up.
  enum class Damage {
    kFlippedBit,       // somewhere in some file
    kLostSector,       // the disk said that it had written it
    kMisplacedSector,  // written over another one
    kOlderState,       // the disk is what it was at keep_state(): what was acknowledged since is gone
    kNothingLeft,
  };
  void damage(Damage damage);
  void keep_state() { kept_ = disk_->clone(); }
  bool has_kept_state() const { return kept_ != nullptr; }
  // It may refuse to start, or stop itself, and is then gone; what it serves while it runs must be right.
  bool damaged() const { return damaged_; }

  bool up() const { return node_ != nullptr; }
  bool serves() const { return up() && ready_; }
  bool paused() const;
  void pause();
  void resume();

  size_t number() const { return number_; }
  const std::string& url() const { return url_; }
  base::NodeId id() const { return id_; }
  server::Node& node() { return *node_; }
  MachineLoop& loop() { return *loop_; }
  io::MemDisk& disk() { return *disk_; }
  const server::Config& config() const { return config_; }
  server::Config& next_config() { return config_; }  // from the next start on
  MachineWorker& disk_worker() { return *disk_worker_; }
  // How much longer the log's writes and the other work take, each; also after a restart.
  void set_slowness(int64_t disk, int64_t helper);
  double clock_rate() const { return clock_rate_; }
  uint64_t life() const { return life_; }
  // The next sync or some change fails, or there is no room left: the member must stop itself.
  void fail_next_sync();
  void fail_a_change();  // one of the next: a write, a rename, a new file
  void fill_disk();
  bool fault_planned() const { return fail_sync_ || fail_change_ || disk_full_; }
  bool disk_full() const { return disk_full_; }
  bool change_planned() const { return fail_change_; }
  // Removed from the cluster for ever: does not come back.
  bool gone = false;

  // A question on its peer port.
  void ask(const rpc::HttpRequest& request, std::function<void(rpc::HttpResponse)> done);

 private:
  class Tap;
  class Members;
  void stop_process();
  void take_snapshot(wire::RaftMessage message, std::string database, std::function<void(bool)> done);

  Cluster& cluster_;
  const size_t number_;
  const std::string url_;
  server::Config config_;
  void damage_files(Damage damage);
  std::unique_ptr<io::MemDisk> disk_ = std::make_unique<io::MemDisk>(), kept_;
  bool damaged_ = false;
  base::NodeId id_;
  uint64_t life_ = 0;
  double clock_rate_ = 1;
  bool ready_ = false;
  bool fail_sync_ = false, fail_change_ = false, disk_full_ = false;
  uint64_t received_ = 0;
  asio::io_context unused_io_{1};  // pages want one for CPU profiles
  std::unique_ptr<MachineLoop> loop_;
  std::unique_ptr<MachineWorker> disk_worker_, helper_worker_;
  int64_t disk_slowness_ = 1, helper_slowness_ = 1;
  std::unique_ptr<server::Metrics> metrics_;
  std::unique_ptr<SimTransport> transport_;
  std::unique_ptr<Members> members_;
  std::unique_ptr<server::Node> node_;
  std::unique_ptr<Tap> tap_;
  std::unique_ptr<server::Pages> pages_;
};

class Cluster {
 public:
  // `varied`: members with flags that are not the defaults, and not the same. `keeps_log`: no snapshots, the log has
  // everything.
  Cluster(uint64_t seed, size_t members, bool varied = false, bool keeps_log = false);
  ~Cluster();

  bool keeps_log() const { return keeps_log_; }
  World& world() { return world_; }
  Network& network() { return network_; }
  Oracle& oracle() { return oracle_; }
  std::vector<std::unique_ptr<Machine>>& machines() { return machines_; }
  Machine& machine(size_t number) { return *machines_[number]; }
  Machine* leader();  // the one with the highest term that thinks so; null: none
  Machine* by_id(base::NodeId id);
  Machine* by_url(const std::string& url);
  // Machines that belong to the cluster, up or not.
  std::vector<Machine*> members();
  size_t up_count();

  void start_all();
  // A machine that will join what runs; it is not started.
  Machine& add_machine(const std::string& initial_cluster);
  void start(Machine& machine);

  // A client's call: to the machine, there on its loop, and back. `done` once; after `timeout` kUnknown.
  using Reply = std::function<void(base::Status, int64_t revision, std::string fields)>;
  using Done = std::function<void(Answer)>;
  void call(Machine& machine, std::function<void(server::Node&, Reply)> what, base::Duration timeout, Done done);

  // Told of each message between members, after the checks.
  void set_on_sent(Network::OnSent callback) { on_sent_ = std::move(callback); }

  // Something that must not be; the run ends as failed. The first counts.
  void fail(const std::string& what);
  const std::string& failure() const { return failure_; }
  bool failed() const { return !failure_.empty(); }
  RaftWatch& raft_watch() { return raft_watch_; }
  // The story, for who reads a failure.
  void tell(const std::string& what);
  const std::vector<std::string>& story() const { return story_; }

 private:
  void on_stopped(World::Owner owner, const MemberStopped& stopped);
  void sent(base::NodeId from, const wire::RaftMessage& message);

  const bool varied_, keeps_log_;
  World world_;
  Network network_;
  Oracle oracle_;
  RaftWatch raft_watch_;
  Network::OnSent on_sent_;
  std::vector<std::unique_ptr<Machine>> machines_;
  std::string failure_;
  std::vector<std::string> story_;
};

// Answers that tell for certain that nothing happened.
bool certainly_refused(const base::Status& status);

}  // namespace sim
