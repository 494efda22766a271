#include "sim/cluster.h"

#include <leveldb/env.h>

#include <algorithm>
#include <future>
#include <utility>

#include "base/bytes.h"
#include "base/stop_hook.h"
#include "server/data_dir.h"
#include "server/peer_messages.h"
#include "server/raft_driver.h"
#include "server/snapshot_receiver.h"
#include "server/wal_segments.h"
#include "server/watchers.h"
#include "wire/codec.h"

namespace sim {

using base::Duration;
using base::NodeId;
using base::Status;
using namespace std::chrono_literals;

namespace {

constexpr size_t kStoryLinesMax = 4000;
constexpr uint64_t kSmallSegmentBytes = 32 << 10;
constexpr base::Duration kSupervisorPause = 1s;
constexpr std::string_view kNobodyToAsk = "could not retrieve cluster information";
constexpr uint64_t kDamagedBytesMax = 8 << 20;  // from the beginning of a file

[[noreturn]] void throw_stopped(const std::string& text) { throw MemberStopped(text); }

// LevelDB compacts on a thread of its own. What it leaves is the same whenever it ends, but a power cut or a planned fault in
// the middle of it would not be: it is waited for.
void let_engines_rest() {
  for (int i = 0; i < 3; ++i) {
    std::promise<void> reached;
    leveldb::Env::Default()->Schedule([](void* promise) { static_cast<std::promise<void>*>(promise)->set_value(); }, &reached);
    reached.get_future().wait();
  }
}

std::string url_of(size_t number) { return "http://10.0.0." + std::to_string(number + 1) + ":2380"; }

// An answer to a question between members, which may come later.
class PageCall final : public rpc::HttpCall {
 public:
  PageCall(rpc::HttpRequest request, std::function<void(rpc::HttpResponse)> done)
      : request_(std::move(request)), done_(std::move(done)) {}
  const rpc::HttpRequest& request() const override { return request_; }
  void finish(rpc::HttpResponse response) override {
    if (done_) std::exchange(done_, nullptr)(std::move(response));
  }
  void begin(int, rpc::Metadata) override { VERIFY(false); }
  asio::awaitable<Status> write(std::string) override { co_return Status(base::Code::kInternal, "no stream"); }
  bool try_write(std::string) override { return false; }
  void end() override {}
  void upgrade(rpc::Metadata) override { VERIFY(false); }
  asio::awaitable<std::optional<std::string>> read() override { co_return std::nullopt; }
  bool body_complete() const override { return true; }
  bool closed() const override { return false; }
  void on_closed(std::function<void()>) override {}

 private:
  const rpc::HttpRequest request_;
  std::function<void(rpc::HttpResponse)> done_;
};

rpc::HttpRequest to_request(const std::string& method, const std::string& target, const std::string& body) {
  rpc::HttpRequest request;
  request.method = method;
  request.target = target;
  request.body = body;
  request.headers.add("host", "sim");
  return request;
}

peer::Answer to_answer(const rpc::HttpResponse& response) {
  peer::Answer answer;
  answer.status = response.status;
  answer.body = response.body;
  for (const auto& [name, value] : response.headers.fields()) {
    std::string lower = name;
    std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
    answer.fields.emplace_back(std::move(lower), value);
  }
  return answer;
}

}  // namespace

bool certainly_refused(const Status& status) {
  switch (status.code()) {
    case base::Code::kInvalidArgument:
    case base::Code::kOutOfRange:
    case base::Code::kNotFound:
    case base::Code::kFailedPrecondition:
      return true;
    default:
      return status.text() == "etcdserver: too many requests";
  }
}

// --- what a machine needs of the others -------------------------------------------------------------------------------------

// What the store of a member goes through, past the watch hub, to the oracle.
class Machine::Tap final : public mvcc::Observer {
 public:
  explicit Tap(Machine& machine) : machine_(machine) {}
  void on_commit(int64_t main, std::span<const mvcc::Event> events) override {
    std::vector<Change> changes;
    for (const mvcc::Event& event : events) {
      Change change;
      change.is_delete = event.is_delete;
      wire::KeyValue kv;
      VERIFY(wire::parse(*event.pair, kv));
      change.pair = {std::string(kv.key), std::string(kv.value), kv.create_revision, kv.mod_revision, kv.version, kv.lease};
      changes.push_back(std::move(change));
    }
    Cluster& cluster = machine_.cluster_;
    const uint64_t again = cluster.oracle().again();
    const std::string wrong = cluster.oracle().record(main, std::move(changes), cluster.world().now());
    if (!wrong.empty()) cluster.fail("member " + std::to_string(machine_.number_) + " applied: " + wrong);
    if (cluster.oracle().again() > again && !machine_.ready_) probe("a member applied entries again after a restart");
    cluster.world().trace(static_cast<uint64_t>(main));
    machine_.node_->watchers().on_commit(main, events);
  }
  void on_compact(int64_t revision) override { machine_.node_->watchers().on_compact(revision); }

 private:
  Machine& machine_;
};

class Machine::Members final : public server::MemberClient {
 public:
  explicit Members(Machine& machine) : machine_(machine) {}
  ~Members() override { *alive_ = false; }
  void ask(const server::Member& member, peer::Question question, Duration timeout, Done done) override {
    Cluster& cluster = machine_.cluster_;
    World& world = cluster.world();
    const auto asked = std::make_shared<Done>(std::move(done));
    const auto answer = [asked, alive = alive_](base::Result<peer::Answer> what) {
      if (*alive && *asked) std::exchange(*asked, nullptr)(std::move(what));
    };
    machine_.loop().after(timeout, [answer] { answer(Status(base::Code::kDeadlineExceeded, "context deadline exceeded")); });
    Machine* other = member.peer_urls.empty() ? nullptr : cluster.by_url(member.peer_urls.front());
    if (other == nullptr || !other->up()) {
      return machine_.loop().post([answer] { answer(Status(base::Code::kUnavailable, "connection refused")); });
    }
    if (!cluster.network().open(machine_.id(), other->id())) return;
    const rpc::HttpRequest request = to_request(question.method, question.target, question.body);
    (void)world.after(cluster.network().delay(), &other->loop(), [&cluster, other, request, answer, asker = &machine_] {
      other->ask(request, [&cluster, other, answer, asker](const rpc::HttpResponse& response) {
        if (!cluster.network().open(other->id(), asker->id()) || !asker->up()) return;
        const peer::Answer got = to_answer(response);
        (void)cluster.world().after(cluster.network().delay(), &asker->loop(), [answer, got] { answer(got); });
      });
    });
  }

 private:
  Machine& machine_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// --- a machine --------------------------------------------------------------------------------------------------------------

Machine::Machine(Cluster& cluster, size_t number, std::string initial_cluster, bool joins, bool varied)
    : cluster_(cluster), number_(number), url_(url_of(number)), config_(server::Config::defaults()) {
  config_.name = "m" + std::to_string(number);
  config_.data_dir = "/data";
  config_.initial_cluster = std::move(initial_cluster);
  config_.initial_cluster_state = joins ? "existing" : "new";
  config_.existing_cluster = joins;
  config_.advertise_peer_urls = server::parse_urls({url_}).value();
  config_.advertise_client_urls = server::parse_urls({"http://10.0.0." + std::to_string(number + 1) + ":2379"}).value();
  // So that snapshots, segment releases and databases for who lags come within a run.
  config_.snapshot_count = 100;
  config_.snapshot_catchup_entries = 40;
  if (varied) {
    base::Rng& rng = cluster.world().rng();
    config_.snapshot_count = 10 + rng.below(200);
    config_.snapshot_catchup_entries = 1 + rng.below(config_.snapshot_count);
    config_.pre_vote = !rng.one_in(10);
    config_.strict_reconfig_check = !rng.one_in(10);
  }
  if (cluster.keeps_log()) config_.snapshot_count = 1'000'000;
  config_.compaction_batch_limit = 20;
  config_.max_learners = 2;
  config_.watch_progress_notify_interval = 2s;
}

Machine::~Machine() {
  if (up()) stop_process();
}

bool Machine::paused() const { return loop_ != nullptr && cluster_.world().is_paused(loop_.get()); }
void Machine::pause() { cluster_.world().pause(loop_.get()); }
void Machine::resume() { cluster_.world().resume(loop_.get()); }

bool Machine::start(std::string* why) {
  VERIFY(!up());
  World& world = cluster_.world();
  ++life_;
  clock_rate_ = 0.99 + 0.02 * static_cast<double>(world.rng().below(1001)) / 1000;
  // Dates only go forward across restarts: request ids are made of them, here as in etcd.
  const int64_t date = 1'700'000'000'000'000'000 + static_cast<int64_t>(world.rng().below(1'000'000'000)) +
                       static_cast<int64_t>(life_) * 1'000'000'000;
  loop_ = std::make_unique<MachineLoop>(world, clock_rate_, date);
  disk_worker_ = std::make_unique<MachineWorker>(world, loop_.get(), 1ms);
  helper_worker_ = std::make_unique<MachineWorker>(world, loop_.get(), 10ms);
  set_slowness(disk_slowness_, helper_slowness_);
  metrics_ = std::make_unique<server::Metrics>(config_);
  const server::AskPeer ask = [this](const server::Url& url, const std::string& path, Duration) -> base::Result<peer::Answer> {
    Machine* other = cluster_.by_url(url.text);
    // Time stands still meanwhile: what does not answer at once counts as no answer.
    const auto got = std::make_shared<std::optional<rpc::HttpResponse>>();
    if (other != nullptr && other->up()) {
      other->ask(to_request("GET", path, ""), [got](rpc::HttpResponse response) { *got = std::move(response); });
    }
    if (!*got) return Status(base::Code::kUnavailable, "connection refused");
    return to_answer(**got);
  };
  const auto fails = [&](const Status& status) {
    *why = status.to_string();
    world.drop(loop_.get());
    metrics_.reset();
    return false;
  };
  const base::Result<std::vector<std::string>> files = disk_->list(config_.snap_dir());
  if (files.ok() && std::any_of(files->begin(), files->end(), [](const auto& name) { return name.ends_with(".snap.db"); })) {
    probe("a member started with a database that was not taken over");
  }
  base::Result<server::DataDir> data = server::open_data_dir(config_, *disk_, ask);
  if (!data.ok()) return fails(data.status());
  id_ = data->self;
  transport_ = std::make_unique<SimTransport>(
      cluster_.network(), *loop_, id_, [this](wire::RaftMessage message, std::string database, std::function<void(bool)> done) {
        take_snapshot(std::move(message), std::move(database), std::move(done));
      });
  members_ = std::make_unique<Members>(*this);
  const server::Environment environment{*loop_,    *disk_worker_,  *helper_worker_, *disk_, world.rng().next(),
                                        *metrics_, members_.get(), transport_.get()};
  auto node = server::Node::open(config_, environment, std::move(*data));
  let_engines_rest();
  if (!node.ok()) {
    members_.reset();
    transport_.reset();
    return fails(node.status());
  }
  node_ = std::move(*node);
  tap_ = std::make_unique<Tap>(*this);
  node_->store().set_observer(tap_.get());
  pages_ = std::make_unique<server::Pages>(unused_io_, *node_, config_);
  node_->set_on_removed([this] {
    gone = true;
    cluster_.tell("member " + std::to_string(number_) + " leaves: it was removed");
    kill();
  });
  node_->start([this] { ready_ = true; });
  return true;
}

void Machine::stop_process() {
  let_engines_rest();
  cluster_.world().drop(loop_.get());
  ready_ = false;
  pages_.reset();
  node_.reset();
  tap_.reset();
  members_.reset();
  transport_.reset();
  metrics_.reset();
  // A cut or a fault was for this life.
  disk_->fail_sync_after(io::MemDisk::kNever);
  disk_->fail_change_after(io::MemDisk::kNever);
  disk_->set_capacity(io::MemDisk::kDefaultCapacityBytes);
  fail_sync_ = fail_change_ = disk_full_ = false;
}

void Machine::kill() {
  VERIFY(up());
  cluster_.network().unplug(id_, true);
  // From outside of the node's own calls.
  if (node_ != nullptr) {
    World& world = cluster_.world();
    world.drop(loop_.get());
    stop_process();
  }
}

void Machine::cut_power() {
  probe("a machine lost power");
  cluster_.network().unplug(id_, false);
  if (up()) stop_process();
  base::Rng rng(cluster_.world().rng().next());
  disk_->power_cut(rng);
}

void Machine::damage(Damage damage) {
  VERIFY(!up());
  damaged_ = true;
  cluster_.raft_watch().forget(id_);
  if (damage == Damage::kNothingLeft) {
    disk_ = std::make_unique<io::MemDisk>();
  } else if (damage == Damage::kOlderState) {
    VERIFY(kept_ != nullptr);
    disk_ = std::move(kept_);
    base::Rng rng(cluster_.world().rng().next());
    disk_->power_cut(rng);
  } else {
    damage_files(damage);
  }
}

void Machine::damage_files(Damage damage) {
  base::Rng& rng = cluster_.world().rng();
  std::vector<std::string> files, folders = {config_.data_dir};
  while (!folders.empty()) {
    const std::string folder = folders.back();
    folders.pop_back();
    const base::Result<std::vector<std::string>> names = disk_->list(folder);
    if (!names.ok()) continue;
    for (const std::string& name : *names) {
      const std::string path = io::join(folder, name);
      (disk_->stat(path)->is_dir ? folders : files).push_back(path);
    }
  }
  if (files.empty()) return;
  const std::string path = files[rng.below(files.size())];
  std::string bytes(std::min<uint64_t>(disk_->stat(path)->size_bytes, kDamagedBytesMax), '\0');
  base::Result<std::unique_ptr<io::File>> file = disk_->open(path, io::OpenMode::kRead);
  VERIFY(file.ok());
  bytes.resize((*file)->read_at(0, bytes.data(), bytes.size()).value());
  bytes.resize(bytes.find_last_not_of('\0') + 1);  // What is only reserved does not count.
  if (bytes.empty()) return;
  const uint64_t at = rng.below(bytes.size());
  cluster_.tell("... in " + path + " at " + std::to_string(at) + " of " + std::to_string(bytes.size()));
  if (damage == Damage::kFlippedBit) return disk_->damage_for_test(path, at, static_cast<uint8_t>(1u << rng.below(8)));
  const uint64_t sector = at / io::kSectorBytes * io::kSectorBytes;
  const uint64_t other = rng.below(bytes.size()) / io::kSectorBytes * io::kSectorBytes;
  for (uint64_t i = 0; i < io::kSectorBytes && sector + i < bytes.size(); ++i) {
    char instead = 0;
    if (damage == Damage::kMisplacedSector) instead = other + i < bytes.size() ? bytes[other + i] : bytes[sector + i];
    disk_->damage_for_test(path, sector + i, static_cast<uint8_t>(bytes[sector + i] ^ instead));
  }
}

void Machine::fail_next_sync() {
  fail_sync_ = true;
  disk_worker_->set_around([this] { disk_->fail_sync_after(0); }, [this] { disk_->fail_sync_after(io::MemDisk::kNever); });
}

void Machine::fail_a_change() {
  fail_change_ = true;
  const auto before = [this] {
    let_engines_rest();
    disk_->fail_change_after(cluster_.world().rng().below(5));
  };
  const auto after = [this] { disk_->fail_change_after(io::MemDisk::kNever); };
  disk_worker_->set_around(before, after);
  helper_worker_->set_around(before, after);
}

void Machine::set_slowness(int64_t disk, int64_t helper) {
  disk_slowness_ = disk;
  helper_slowness_ = helper;
  if (disk_worker_ != nullptr) disk_worker_->set_slowness(disk);
  if (helper_worker_ != nullptr) helper_worker_->set_slowness(helper);
}

void Machine::fill_disk() {
  disk_full_ = true;
  disk_->set_capacity(0);
}

void Machine::ask(const rpc::HttpRequest& request, std::function<void(rpc::HttpResponse)> done) {
  pages_->serve(server::Port::kPeer, nullptr, std::make_shared<PageCall>(request, std::move(done)));
}

// As server/snapshot_receiver.h, whose way over HTTP is not simulated: the file first, and durably, then raft.
void Machine::take_snapshot(wire::RaftMessage message, std::string database, std::function<void(bool)> done) {
  const std::string path = server::received_database_path(config_.snap_dir(), message.snapshot->index);
  const std::string temporary = io::join(config_.snap_dir(), "db.tmp" + std::to_string(++received_));
  auto saved = std::make_shared<Status>();
  auto arrived = std::make_shared<wire::RaftMessage>(std::move(message));
  helper_worker_->submit(
      [this, path, temporary, database = std::move(database), saved] {
        base::Result<std::unique_ptr<io::File>> file = disk_->open(temporary, io::OpenMode::kTruncate);
        *saved = file.status();
        if (saved->ok()) *saved = (*file)->write_at(0, database);
        if (saved->ok()) *saved = (*file)->sync();
        if (saved->ok()) *saved = disk_->rename(temporary, path);
        if (saved->ok()) *saved = disk_->sync_dir(config_.snap_dir());
      },
      [this, arrived, saved, done = std::move(done)] {
        std::optional<raft::Message> raft_message = server::from_wire(std::move(*arrived));
        if (!saved->ok() || !raft_message) return done(false);
        probe("a database was installed");
        done(node_->driver().step(std::move(*raft_message)).ok());
      });
}

// --- the cluster ------------------------------------------------------------------------------------------------------------

Cluster::Cluster(uint64_t seed, size_t members, bool varied, bool keeps_log)
    : varied_(varied), keeps_log_(keeps_log), world_(seed), network_(world_) {
  base::set_stop_hook_for_test(throw_stopped);
  // Every second story has segments that are full soon.
  if (varied && seed % 2 == 0) server::set_wal_segment_bytes_for_test(kSmallSegmentBytes);
  network_.set_on_sent([this](NodeId from, const wire::RaftMessage& message) { sent(from, message); });
  world_.set_on_stopped([this](World::Owner owner, const MemberStopped& stopped) { on_stopped(owner, stopped); });
  std::string initial;
  for (size_t i = 0; i < members; ++i) initial += (i > 0 ? ",m" : "m") + std::to_string(i) + "=" + url_of(i);
  for (size_t i = 0; i < members; ++i) machines_.push_back(std::make_unique<Machine>(*this, i, initial, false, varied_));
}

Cluster::~Cluster() {
  machines_.clear();
  server::set_wal_segment_bytes_for_test(storage::kWalSegmentBytes);
  base::set_stop_hook_for_test(nullptr);
}

void Cluster::start_all() {
  for (const auto& machine : machines_) {
    if (!machine->up() && !machine->gone) start(*machine);
  }
}

Machine& Cluster::add_machine(const std::string& initial_cluster) {
  const size_t number = machines_.size();
  machines_.push_back(std::make_unique<Machine>(*this, number, initial_cluster, true, varied_));
  return *machines_.back();
}

void Cluster::start(Machine& machine) {
  std::string why;
  try {
    if (machine.start(&why)) return;
  } catch (const MemberStopped& stopped) {
    why = stopped.what();
  }
  if (machine.damaged()) {
    tell("member " + std::to_string(machine.number()) + " refuses its disk: " + why);
    probe("a damaged member refused to start");
    machine.gone = true;
    return;
  }
  // One that joins and has nothing on disk yet asks the others; its supervisor tries again.
  if (why.find(kNobodyToAsk) != std::string::npos) {
    tell("member " + std::to_string(machine.number()) + " finds nobody to ask");
    probe("a member that joins found nobody to ask");
    (void)world_.after(kSupervisorPause, [this, &machine] {
      if (!machine.up() && !machine.gone) start(machine);
    });
    return;
  }
  fail("member " + std::to_string(machine.number()) + " did not start: " + why);
}

void Cluster::on_stopped(World::Owner owner, const MemberStopped& stopped) {
  for (const auto& machine : machines_) {
    if (!machine->up() || &machine->loop() != owner) continue;
    const std::string text = "member " + std::to_string(machine->number()) + " stopped itself: " + stopped.what();
    tell(text);
    if (machine->damaged() && !machine->fault_planned()) {
      probe("a damaged member stopped itself");
      machine->kill();
      machine->gone = true;
      return;
    }
    if (stopped.broken || !machine->fault_planned()) fail(text);
    probe(machine->disk_full()        ? "a member stopped itself on a full disk"
          : machine->change_planned() ? "a member stopped itself after a failed write"
                                      : "a member stopped itself after a failed sync");
    return machine->kill();
  }
  fail(std::string("stopped outside of a member: ") + stopped.what());
}

void Cluster::sent(NodeId from, const wire::RaftMessage& message) {
  Machine* machine = by_id(from);
  if (machine == nullptr || !machine->up()) return;
  server::Node& node = machine->node();
  // What Raft itself holds for committed when it asks for votes; the driver may still have to take note of it.
  const bool asks = message.type == wire::RaftMessageType::kVote;
  const base::Index committed = asks ? node.driver().status().hard_state.commit : node.committed_index();
  const RaftWatch::Sender sender{from, committed, node.applied_index()};
  if (std::string wrong = raft_watch_.sent(sender, message); !wrong.empty()) fail(wrong);
  if (on_sent_) on_sent_(from, message);
}

Machine* Cluster::leader() {
  Machine* best = nullptr;
  for (const auto& machine : machines_) {
    if (!machine->up() || machine->paused() || !machine->node().is_leader()) continue;
    if (best == nullptr || machine->node().term() > best->node().term()) best = machine.get();
  }
  return best;
}

Machine* Cluster::by_id(NodeId id) {
  for (const auto& machine : machines_) {
    if (machine->id() == id) return machine.get();
  }
  return nullptr;
}

Machine* Cluster::by_url(const std::string& url) {
  for (const auto& machine : machines_) {
    if (machine->url() == url) return machine.get();
  }
  return nullptr;
}

std::vector<Machine*> Cluster::members() {
  std::vector<Machine*> all;
  for (const auto& machine : machines_) {
    if (!machine->gone) all.push_back(machine.get());
  }
  return all;
}

size_t Cluster::up_count() {
  return static_cast<size_t>(std::count_if(machines_.begin(), machines_.end(), [](const auto& m) { return m->up(); }));
}

void Cluster::call(Machine& machine, std::function<void(server::Node&, Reply)> what, Duration timeout, Done done) {
  const auto asked = std::make_shared<Done>(std::move(done));
  const auto answer = [asked](Answer got) {
    if (*asked) std::exchange(*asked, nullptr)(std::move(got));
  };
  if (!machine.serves()) {
    (void)world_.after(1ms, [answer] { answer({Answer::kRefused, "connection refused", 0, {}}); });
    return;
  }
  (void)world_.after(timeout, [answer] { answer({Answer::kUnknown, "no answer", 0, {}}); });
  (void)world_.after(50us + world_.random(200us), &machine.loop(), [this, &machine, what = std::move(what), answer] {
    what(machine.node(), [this, answer](const Status& status, int64_t revision, std::string fields) {
      Answer got;
      got.kind = status.ok() ? Answer::kOk : certainly_refused(status) ? Answer::kRefused : Answer::kUnknown;
      got.error = status.ok() ? "" : status.to_string();
      got.revision = revision;
      got.fields = std::move(fields);
      (void)world_.after(50us + world_.random(200us), [answer, got] { answer(got); });
    });
  });
}

void Cluster::fail(const std::string& what) {
  tell("FAILED: " + what);
  if (failure_.empty()) failure_ = what;
}

void Cluster::tell(const std::string& what) {
  const double seconds = std::chrono::duration<double>(world_.now().time_since_epoch()).count();
  char stamp[32];
  std::snprintf(stamp, sizeof stamp, "%10.6f ", seconds);
  if (story_.size() < kStoryLinesMax) story_.push_back(stamp + what);
}

}  // namespace sim
