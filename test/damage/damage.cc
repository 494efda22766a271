// Flips one bit at a time in what a member keeps on disk, starts it, and judges: the member has everything it had, or it says
// which file is damaged and stops. Three images: a member whose store has all of its log; one whose store lags behind what
// was acknowledged; a snapshot file that is restored. Each try is a process of its own, so a crash is a finding too.
//
//   damage            FLIPS=300 by default; SEED=n begins elsewhere, VERBOSE=1 tells each try
//
// A flip is out of scope where no reader could know better: a torn last write of the log looks like damage of it only if the
// write has a whole sector of zeros (storage/wal/reader.h), so values here are random bytes.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/verify.h"
#include "io/mem_disk.h"
#include "rpc.pb.h"
#include "server/data_dir.h"
#include "server/database_export.h"
#include "server/metrics.h"
#include "server/node.h"
#include "server/restore.h"
#include "sim/sim_loop.h"
#include "storage/bolt/buckets.h"

namespace {

using base::Result;
using base::Status;

constexpr uint64_t kFlipsDefault = 300;
constexpr int kPutsSettled = 400, kPutsLate = 40, kKeys = 60;
constexpr unsigned kTrySecondsMax = 300;
constexpr uint64_t kStepsMax = 5'000'000;
constexpr uint64_t kBehindEnd = 4096;  // zeros behind the end of a log are flipped too
constexpr const char* kSnapshotPath = "/saved.db";

[[noreturn]] void stop(const std::string& text) {
  std::fprintf(stderr, "damage: %s\n", text.c_str());
  std::_Exit(2);
}

server::Config config() {
  server::Config config = server::Config::defaults();
  config.name = "one";
  config.data_dir = "/data";
  config.initial_cluster = "one=http://localhost:2380";
  config.snapshot_count = 150;
  config.snapshot_catchup_entries = 30;
  return config;
}

class Waiter final : public server::Waiter {
 public:
  explicit Waiter(bool& done) : done_(done) {}
  void done(server::Outcome outcome) override {
    if (!outcome.status.ok()) stop("a proposal failed: " + outcome.status.to_string());
    done_ = true;
  }

 private:
  bool& done_;
};

class Machine {
 public:
  Machine(io::Disk& disk, uint64_t seed) : rng_(seed), config_(config()), disk_(disk) {}

  Status boot() {
    using namespace std::chrono_literals;
    metrics_ = std::make_unique<server::Metrics>(config_);
    Result<server::DataDir> data = server::open_data_dir(config_, disk_, server::AskPeer());
    if (!data.ok()) return data.status();
    auto node =
        server::Node::open(config_, {loop_, disk_worker_, helper_worker_, disk_, rng_.next(), *metrics_}, std::move(*data));
    if (!node.ok()) return node.status();
    node_ = std::move(*node);
    bool ready = false;
    node_->start([&ready] { ready = true; });
    wait(ready);
    return {};
  }
  void propose(wire::Op op, const std::string& body) {
    bool done = false;
    node_->propose(op, body, std::make_unique<Waiter>(done));
    wait(done);
  }
  void put(const std::string& key, const std::string& value, int64_t lease = 0) {
    etcdserverpb::PutRequest request;
    request.set_key(key);
    request.set_value(value);
    request.set_lease(lease);
    propose(wire::Op::kPut, request.SerializeAsString());
  }
  void run_for(base::Duration time) {
    const base::Instant end = clock_.now() + time;
    while (clock_.now() < end && loop_.step()) {
    }
  }
  // Whether all rows are what they were: all but where the log is.
  uint32_t digest() {
    const std::shared_ptr<const storage::View> view = node_->backend().view();
    const std::unique_ptr<storage::bolt::Rows> rows = storage::bolt::rows_of(*view);
    uint32_t crc = 0;
    while (rows->next()) {
      if (rows->bucket() == "meta" && rows->key() != "scheduledCompactRev" && rows->key() != "finishedCompactRev") continue;
      for (const std::string_view part : {rows->bucket(), rows->key(), rows->value()}) {
        crc = base::crc32c_extend(crc, part);
        crc = base::crc32c_extend(crc, std::string_view("\0", 1));
      }
    }
    if (!rows->status().ok()) base::fatal("cannot read the store: " + rows->status().to_string());
    return crc;
  }
  server::Node& node() { return *node_; }
  base::Rng& rng() { return rng_; }

 private:
  void wait(const bool& done) {
    for (uint64_t i = 0; !done; ++i) {
      if (i == kStepsMax || !loop_.step()) stop("the member stands still");
    }
  }

  base::Rng rng_;
  const server::Config config_;
  io::Disk& disk_;
  sim::SimClock clock_;
  sim::SimLoop loop_{clock_};
  sim::SimWorker disk_worker_{loop_, rng_, std::chrono::milliseconds(2)};
  sim::SimWorker helper_worker_{loop_, rng_, std::chrono::milliseconds(30)};
  std::unique_ptr<server::Metrics> metrics_;
  std::unique_ptr<server::Node> node_;
};

// --- images ---

struct ImageFile {
  std::string path;
  uint64_t size_bytes = 0;
  std::string bytes;  // without the zeros at the end
};
using Image = std::vector<ImageFile>;

void collect(io::Disk& disk, const std::string& path, Image& image) {
  const Result<io::FileInfo> info = disk.stat(path);
  if (!info.ok()) stop(info.status().to_string());
  if (!info->is_dir) {
    Result<std::string> bytes = io::read_file(disk, path, size_t{1} << 30);
    if (!bytes.ok()) stop(bytes.status().to_string());
    ImageFile file{path, bytes->size(), std::move(*bytes)};
    const size_t last = file.bytes.find_last_not_of('\0');
    file.bytes.resize(last == std::string::npos ? 0 : last + 1);
    image.push_back(std::move(file));
    return;
  }
  const Result<std::vector<std::string>> names = disk.list(path);
  if (!names.ok()) stop(names.status().to_string());
  for (const std::string& name : *names) collect(disk, io::join(path, name), image);
}

void lay_out(io::Disk& disk, const Image& image) {
  for (const ImageFile& file : image) {
    Status done = io::make_dirs(disk, io::parent(file.path));
    Result<std::unique_ptr<io::File>> made = disk.open(file.path, io::OpenMode::kCreateNew);
    if (done.ok()) done = made.status();
    if (done.ok()) done = (*made)->write_at(0, file.bytes);
    if (done.ok()) done = (*made)->truncate(file.size_bytes);
    if (done.ok()) done = (*made)->sync();
    if (done.ok()) done = disk.sync_dir(io::parent(file.path));
    if (!done.ok()) stop(done.to_string());
  }
}

std::string random_bytes(base::Rng& rng, size_t n) {
  std::string out(n, '\0');
  for (char& c : out) c = static_cast<char>(1 + rng.below(255));
  return out;
}

void write_history(Machine& machine) {
  for (int i = 0; i < kPutsSettled; ++i) {
    machine.put("key" + std::to_string(machine.rng().below(kKeys)), random_bytes(machine.rng(), machine.rng().below(600)));
    if (i % 40 == 9) {
      etcdserverpb::DeleteRangeRequest gone;
      gone.set_key("key" + std::to_string(machine.rng().below(kKeys)));
      machine.propose(wire::Op::kDeleteRange, gone.SerializeAsString());
    }
    if (i == kPutsSettled / 2) {
      etcdserverpb::CompactionRequest compaction;
      compaction.set_revision(machine.node().store().current_revision() - 20);
      machine.propose(wire::Op::kCompaction, compaction.SerializeAsString());
    }
  }
  etcdserverpb::LeaseGrantRequest grant;
  grant.set_id(4711);
  grant.set_ttl(1'000'000);
  machine.propose(wire::Op::kLeaseGrant, grant.SerializeAsString());
  machine.put("leased", "value", 4711);
  machine.run_for(std::chrono::seconds(20));  // commits, the compaction, snapshots
}

// A member with a history; `lagging`: with acknowledged puts that only its log has.
Image make_member(uint64_t seed, bool lagging) {
  io::MemDisk disk;
  auto* machine = new Machine(disk, seed);  // the process ends without taking it apart
  if (Status booted = machine->boot(); !booted.ok()) stop(booted.to_string());
  write_history(*machine);
  Image image;
  if (lagging) {
    // The engine's writes fall behind by what one commit interval holds.
    for (int i = 0; i < kPutsLate; ++i) machine->put("late" + std::to_string(i % 7), random_bytes(machine->rng(), 300));
  }
  collect(disk, "/data", image);
  return image;
}

Image make_snapshot(uint64_t seed) {
  io::MemDisk disk;
  auto* machine = new Machine(disk, seed);
  if (Status booted = machine->boot(); !booted.ok()) stop(booted.to_string());
  write_history(*machine);
  server::DatabaseExport saved(machine->node().backend().view());
  while (saved.status().ok() && saved.more()) saved.step();
  if (!saved.status().ok()) stop(saved.status().to_string());
  const std::string bytes = saved.buffer() + saved.digest();
  return {{kSnapshotPath, bytes.size(), bytes}};
}

// --- processes: an engine has threads, and what forks must have none ---

struct Ended {
  std::string output;
  int status = 0;
};

Ended in_process(const std::function<void(FILE* out)>& work) {
  int ends[2];
  if (::pipe(ends) != 0) stop("no pipe");
  std::fflush(nullptr);
  const pid_t pid = ::fork();
  if (pid < 0) stop("cannot fork");
  if (pid == 0) {
    ::close(ends[0]);
    ::dup2(ends[1], STDERR_FILENO);
    ::alarm(kTrySecondsMax);
    FILE* out = ::fdopen(ends[1], "w");
    work(out);
    std::fflush(out);
    std::_Exit(0);
  }
  ::close(ends[1]);
  Ended ended;
  char piece[65536];
  for (ssize_t n; (n = ::read(ends[0], piece, sizeof piece)) > 0;) ended.output.append(piece, static_cast<size_t>(n));
  ::close(ends[0]);
  ::waitpid(pid, &ended.status, 0);
  return ended;
}

void write_number(FILE* out, uint64_t number) { std::fwrite(&number, sizeof number, 1, out); }
void write_bytes(FILE* out, const std::string& bytes) {
  write_number(out, bytes.size());
  std::fwrite(bytes.data(), 1, bytes.size(), out);
}

Image made_in_process(const std::function<Image()>& make) {
  const Ended ended = in_process([&make](FILE* out) {
    for (const ImageFile& file : make()) {
      write_bytes(out, file.path);
      write_number(out, file.size_bytes);
      write_bytes(out, file.bytes);
    }
  });
  if (ended.status != 0) stop("cannot make an image: " + ended.output);
  Image image;
  size_t at = 0;
  const auto number = [&] {
    uint64_t n = 0;
    ended.output.copy(reinterpret_cast<char*>(&n), sizeof n, at);
    at += sizeof n;
    return n;
  };
  const auto bytes = [&] {
    const uint64_t n = number();
    std::string out = ended.output.substr(at, n);
    at += n;
    return out;
  };
  while (at < ended.output.size()) {
    ImageFile file;
    file.path = bytes();
    file.size_bytes = number();
    file.bytes = bytes();
    image.push_back(std::move(file));
  }
  return image;
}

// --- tries ---

struct Flip {
  std::string path;
  uint64_t offset = 0;
  uint8_t mask = 0;
};

Flip choose(base::Rng& rng, const Image& image) {
  uint64_t all = 0;
  for (const ImageFile& file : image) all += file.bytes.size();
  const ImageFile* file = &image[rng.below(image.size())];
  if (rng.one_in(2)) {  // by size, else each file alike
    uint64_t at = rng.below(all);
    for (const ImageFile& candidate : image) {
      file = &candidate;
      if (at < candidate.bytes.size()) break;
      at -= candidate.bytes.size();
    }
  }
  uint64_t reach = std::min(file->size_bytes, file->bytes.size() + kBehindEnd);
  while (reach == 0) {  // an empty file has no bits
    file = &image[rng.below(image.size())];
    reach = std::min(file->size_bytes, file->bytes.size() + kBehindEnd);
  }
  return {file->path, rng.below(reach), static_cast<uint8_t>(1u << rng.below(8))};
}

void start_member(io::Disk& disk, FILE* out) {
  auto* machine = new Machine(disk, 1);
  const Status booted = machine->boot();
  if (!booted.ok()) {
    std::fprintf(out, "REFUSED %s\n", std::string(booted.text()).c_str());
    return;
  }
  machine->run_for(std::chrono::seconds(2));
  std::fprintf(out, "DIGEST %08x\n", machine->digest());
}

void restore_file(io::Disk& disk, FILE* out) {
  server::RestoreOptions options;
  options.snapshot_path = kSnapshotPath;
  options.data_dir = "/target";
  options.wal_dir = "/target/member/wal";
  options.peer_urls = {"http://localhost:2380"};
  options.initial_cluster = "default=http://localhost:2380";
  options.initial_cluster_token = "etcd-cluster";
  const Status restored = server::restore_snapshot(disk, options);
  const Result<bool> left = io::exists(disk, "/target");
  if (restored.ok()) {
    std::fprintf(out, "DIGEST restored\n");
  } else {
    // The user named the file; what must not be left is a target.
    const char* told = left.ok() && !*left ? kSnapshotPath : "left its target behind";
    std::fprintf(out, "REFUSED %s: %s\n", told, std::string(restored.text()).c_str());
  }
}

struct Subject {
  const char* name;
  Image files;
  void (*start)(io::Disk&, FILE*);
  const char* named;  // what a refusal must name
};

Ended try_one(const Subject& image, const std::optional<Flip>& flip) {
  return in_process([&](FILE* out) {
    io::MemDisk disk;
    lay_out(disk, image.files);
    if (flip.has_value()) disk.damage_for_test(flip->path, flip->offset, flip->mask);
    image.start(disk, out);
    std::fflush(out);
    std::_Exit(0);  // threads may be at work
  });
}

std::string line_of(const std::string& output, const std::string& word) {
  const size_t at = output.find(word);
  return at == std::string::npos ? "" : output.substr(at, output.find('\n', at) - at);
}

enum class Verdict { kHarmless, kStopped, kWrong };

Verdict judge(const Subject& image, const Ended& ended, const std::string& sound) {
  if (const std::string digest = line_of(ended.output, "DIGEST "); !digest.empty()) {
    return digest == sound && ended.status == 0 ? Verdict::kHarmless : Verdict::kWrong;
  }
  const bool crashed = WIFSIGNALED(ended.status) && WTERMSIG(ended.status) != SIGABRT;
  return !crashed && ended.output.find(image.named) != std::string::npos ? Verdict::kStopped : Verdict::kWrong;
}

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr && *text != '\0' ? std::strtoull(text, nullptr, 10) : otherwise;
}

}  // namespace

int main() {
  base::log::set_level(base::log::Level::kWarn);  // what was cut off is told as a warning
  const uint64_t flips = from_environment("FLIPS", kFlipsDefault), seed = from_environment("SEED", 1);
  const bool verbose = from_environment("VERBOSE", 0) != 0;
  const Subject images[] = {
      {"member", made_in_process([&] { return make_member(seed, false); }), start_member, "/data/member/"},
      {"lagging member", made_in_process([&] { return make_member(seed, true); }), start_member, "/data/member/"},
      {"snapshot file", made_in_process([&] { return make_snapshot(seed); }), restore_file, kSnapshotPath},
  };
  base::Rng rng(seed);
  uint64_t passed = 0, failed = 0;
  for (const Subject& image : images) {
    const std::string sound = line_of(try_one(image, std::nullopt).output, "DIGEST ");
    if (sound.empty())
      stop(std::string("the ") + image.name + " does not start undamaged: " + try_one(image, std::nullopt).output);
    uint64_t harmless = 0, stopped = 0;
    for (uint64_t i = 0; i < flips / std::size(images); ++i) {
      const Flip flip = choose(rng, image.files);
      const Ended ended = try_one(image, flip);
      Verdict verdict = judge(image, ended, sound);
      // A digest is over all bytes of the file: none is harmless.
      if (image.start == restore_file && verdict == Verdict::kHarmless) verdict = Verdict::kWrong;
      harmless += verdict == Verdict::kHarmless;
      stopped += verdict == Verdict::kStopped;
      if (verdict == Verdict::kWrong || verbose) {
        std::printf("%s: %s offset %llu bit %02x: status %d: %s\n", image.name, flip.path.c_str(),
                    static_cast<unsigned long long>(flip.offset), flip.mask, ended.status,
                    ended.output.substr(0, 2000).c_str());
      }
      ++(verdict == Verdict::kWrong ? failed : passed);
    }
    std::printf("%s: %llu flips harmless, %llu stopped with the file named\n", image.name,
                static_cast<unsigned long long>(harmless), static_cast<unsigned long long>(stopped));
  }
  std::printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(passed), static_cast<unsigned long long>(failed));
  return failed == 0 ? 0 : 1;
}
