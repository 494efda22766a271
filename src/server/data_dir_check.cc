#include "server/data_dir_check.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "etcdserver.pb.h"
#include "io/overlay_disk.h"
#include "mvcc/revision.h"
#include "mvcc/store.h"
#include "server/conf_state_json.h"
#include "server/membership.h"
#include "storage/backend.h"
#include "storage/bolt/database_engine.h"
#include "storage/keyspace.h"
#include "storage/leveldb_engine.h"
#include "storage/leveldb_table.h"
#include "storage/snap/snap.h"
#include "storage/wal/wal.h"
#include "wire/codec.h"

namespace server {
namespace {

using base::Code;
using base::Index;
using base::NodeId;
using base::Result;
using base::Status;
using storage::Bucket;

std::string number(uint64_t value) { return std::to_string(value); }

std::string hex_text(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const char c : bytes.substr(0, 64)) {
    out += kDigits[static_cast<unsigned char>(c) >> 4];
    out += kDigits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

class Check {
 public:
  Check(io::Disk& disk, std::string data_dir, std::string wal_dir)
      : disk_(disk), unchanged_(disk), member_dir_(data_dir + "/member"), wal_dir_(std::move(wal_dir)) {
    if (wal_dir_.empty()) wal_dir_ = member_dir_ + "/wal";
  }

  Result<DataDirReport> run(const std::function<bool()>& wait) {
    if (Status kind = find_store(); !kind.ok()) return kind;
    if (Status locked = keep_others_out(wait); !locked.ok()) return locked;
    check_log();
    check_tables();
    check_store();
    check_snapshot_files();
    return std::move(report_);
  }

 private:
  void fact(std::string text) { report_.facts.push_back(std::move(text)); }
  void problem(std::string text) {
    if (report_.problems.size() < kProblemsMax) report_.problems.push_back(std::move(text));
  }
  std::string store_dir() const { return member_dir_ + "/store"; }
  std::string snap_dir() const { return member_dir_ + "/snap"; }
  std::string store_path() const { return ours_ ? store_dir() : snap_dir() + "/db"; }

  Status find_store() {
    Result<bool> ours = io::exists(disk_, store_dir());
    if (!ours.ok()) return ours.status();
    ours_ = *ours;
    if (ours_) return {};
    return disk_.stat(store_path()).status();
  }

  // What a server locks: our store's file, or the newest segment of the log.
  Status keep_others_out(const std::function<bool()>& wait) {
    std::string path = store_dir() + "/LOCK";
    if (!ours_) {
      Result<std::vector<std::string>> names = disk_.list(wal_dir_);
      if (!names.ok()) return names.status();
      std::erase_if(*names, [](const std::string& name) { return !name.ends_with(".wal"); });
      if (names->empty()) return {};
      path = io::join(wal_dir_, names->back());
    }
    Result<std::unique_ptr<io::File>> file = disk_.open(path, io::OpenMode::kReadWrite);
    if (!file.ok()) return file.status().code() == Code::kNotFound ? Status() : file.status();
    lock_ = std::move(*file);
    for (Status locked = lock_->lock(); !locked.ok(); locked = lock_->lock()) {
      if (locked.code() != Code::kFailedPrecondition) return locked;
      if (!wait()) return Status(Code::kDeadlineExceeded, "timeout");
    }
    return {};
  }

  void check_log() {
    Result<std::vector<storage::WalSnapshot>> snapshots = storage::Wal::valid_snapshots(disk_, wal_dir_);
    if (!snapshots.ok()) return problem(std::string(snapshots.status().text()));
    if (!snapshots->empty()) snapshot_ = snapshots->back();
    auto opened = storage::Wal::open(unchanged_, wal_dir_, snapshot_.index, snapshot_.term);
    if (!opened.ok()) return problem(std::string(opened.status().text()));
    log_ = std::move(opened->second);
    etcdserverpb::Metadata metadata;
    if (!metadata.ParseFromString(log_->metadata) || metadata.nodeid() == 0) {
      problem("the metadata record in " + wal_dir_ + " does not name a member");
    }
    self_ = NodeId(metadata.nodeid());
    cluster_id_ = metadata.clusterid();
    last_index_ = log_->entries.empty() ? snapshot_.index : log_->entries.back().index;
    fact("log " + wal_dir_ + ": snapshot " + number(snapshot_.index.value()) + ", last entry " + number(last_index_.value()) +
         ", commit " + number(log_->state.commit.value()) +
         (log_->cut_bytes > 0 ? ", " + number(log_->cut_bytes) + " bytes of a torn record at the end" : ""));
  }

  void check_tables() {
    if (!ours_) return;
    Result<std::vector<std::string>> names = disk_.list(store_dir());
    if (!names.ok()) return problem(std::string(names.status().text()));
    uint64_t rows = 0, files = 0;
    for (const std::string& name : *names) {
      if (!name.ends_with(".ldb") && !name.ends_with(".sst")) continue;
      Result<uint64_t> checked = storage::check_table(disk_, io::join(store_dir(), name));
      if (!checked.ok()) problem(std::string(checked.status().text()));
      if (checked.ok()) rows += *checked;
      ++files;
    }
    fact("tables in " + store_dir() + ": " + number(files) + " with " + number(rows) + " rows");
  }

  Status open_engine() {
    if (!ours_) {
      Result<std::unique_ptr<storage::bolt::DatabaseEngine>> database =
          storage::bolt::DatabaseEngine::open(disk_, store_path());
      if (!database.ok()) {
        return Status(database.status().code(), store_path() + ": " + std::string(database.status().text()));
      }
      engine_ = std::move(*database);
      return {};
    }
    Result<std::unique_ptr<storage::LevelDbEngine>> engine = storage::LevelDbEngine::open(unchanged_, store_dir());
    if (!engine.ok()) return engine.status();
    engine_ = std::move(*engine);
    return {};
  }

  void check_store() {
    if (Status opened = open_engine(); !opened.ok()) return problem(std::string(opened.text()));
    storage::Backend backend(*engine_);
    if (Status rows = check_rows(backend); !rows.ok()) return problem(std::string(rows.text()));
    mvcc::Store store(backend);
    if (Status recovered = store.recover(); !recovered.ok()) {
      problem(store_path() + ": " + std::string(recovered.text()));
    } else {
      fact("keys: " + number(rows_) + " rows, revision " + std::to_string(store.current_revision()) + ", compacted " +
           std::to_string(store.compact_revision()));
    }
    check_position(backend);
    check_members(backend);
  }

  // What is told of a key so far; two hashes of a name stand for it, as two keys never share both.
  struct Generation {
    int64_t create_revision = 0, version = 0;
    bool live = false;
  };
  using KeyName = std::pair<uint64_t, uint64_t>;

  Status check_rows(storage::Backend& backend) {
    int64_t compacted = 0;
    for (const char* mark : {"scheduledCompactRev", "finishedCompactRev"}) {
      Result<std::optional<std::string>> row = storage::read_row(backend, Bucket::kMeta, mark);
      if (!row.ok()) return row.status();
      if (row->has_value() && (*row)->size() >= 8) {
        compacted = std::max(compacted, static_cast<int64_t>(base::load_be64((*row)->data())));
      }
    }
    const std::shared_ptr<const storage::View> view = backend.view();
    const std::unique_ptr<storage::EngineIterator> row = view->iterate();
    absl::flat_hash_map<KeyName, Generation> keys;
    for (row->seek(std::string(1, '\0')); row->valid(); row->next()) {
      const bool known = std::any_of(std::begin(storage::kBuckets), std::end(storage::kBuckets),
                                     [&](Bucket bucket) { return row->key()[0] == static_cast<char>(bucket); });
      if (!known) problem(store_path() + ": a row of no bucket: " + hex_text(row->key()));
      if (row->key()[0] == static_cast<char>(Bucket::kKey)) check_version(row->key(), row->value(), compacted, keys);
    }
    return row->status();
  }

  void check_version(std::string_view row_key, std::string_view value, int64_t compacted,
                     absl::flat_hash_map<KeyName, Generation>& keys) {
    ++rows_;
    const std::optional<mvcc::ParsedRowKey> parsed = mvcc::parse_row_key(row_key);
    wire::KeyValue pair;
    const std::string where =
        store_path() + ": the row of revision " +
        (parsed ? std::to_string(parsed->revision.main) + "/" + std::to_string(parsed->revision.sub) : hex_text(row_key));
    if (!parsed) return problem(where + " has no revision for a key");
    if (!wire::parse(value, pair)) return problem(where + " is not a KeyValue");
    if (value.empty()) return;  // a restore that raised the revision left it
    const KeyName name(absl::HashOf(1, pair.key), absl::HashOf(2, pair.key));
    Generation& before = keys[name];
    if (parsed->tombstone) {
      before.live = false;
      before.version = 0;
      return;
    }
    if (pair.mod_revision != parsed->revision.main) problem(where + " says revision " + std::to_string(pair.mod_revision));
    if (pair.version < 1 || pair.create_revision > pair.mod_revision ||
        (pair.version == 1) != (pair.create_revision == pair.mod_revision)) {
      problem(where + " has create revision " + std::to_string(pair.create_revision) + " and version " +
              std::to_string(pair.version));
    } else if (before.live) {
      if (pair.version != before.version + 1 || pair.create_revision != before.create_revision) {
        problem(where + " does not follow the one before it: version " + std::to_string(pair.version) + " after " +
                std::to_string(before.version));
      }
    } else if (pair.version != 1 && parsed->revision.main > compacted) {
      problem(where + " has version " + std::to_string(pair.version) + ", and those before it are missing");
    }
    before = {pair.create_revision, pair.version, true};
  }

  static Result<uint64_t> meta_number(storage::Backend& backend, const char* name) {
    Result<std::optional<std::string>> row = storage::read_row(backend, Bucket::kMeta, name);
    if (!row.ok()) return row.status();
    if (!row->has_value()) return uint64_t{0};
    if ((*row)->size() != 8) return Status(Code::kDataLoss, std::string("row ") + name + " of bucket meta is damaged");
    return base::load_be64((*row)->data());
  }

  // The log entry that the store stands at.
  void check_position(storage::Backend& backend) {
    Result<uint64_t> index = meta_number(backend, "consistent_index");
    Result<uint64_t> term = meta_number(backend, "term");
    for (const Result<uint64_t>* row : {&index, &term}) {
      if (!row->ok()) problem(store_path() + ": " + std::string(row->status().text()));
    }
    if (!index.ok() || !term.ok() || !log_.has_value()) return;
    fact("store " + store_path() + ": consistent index " + number(*index) + ", term " + number(*term));
    if (*index < snapshot_.index.value()) {
      problem("the store of " + member_dir_ + " ends at entry " + number(*index) + ", before the snapshot of the log at " +
              number(snapshot_.index.value()));
    } else if (*index > last_index_.value()) {
      problem("the store of " + member_dir_ + " holds entry " + number(*index) + " but the log ends at " +
              number(last_index_.value()));
    } else if (*term > 0 && *index > 0) {
      const bool in_log = *index > snapshot_.index.value();
      const base::Term logged = in_log ? log_->entries[*index - snapshot_.index.value() - 1].term : snapshot_.term;
      if (logged.value() != *term) {
        problem("the store of " + member_dir_ + " names term " + number(*term) + " for entry " + number(*index) +
                ", the log term " + number(logged.value()));
      }
    }
  }

  void check_members(storage::Backend& backend) {
    Membership membership(backend, self_, cluster_id_, 0);
    if (Status read = membership.recover(); !read.ok()) return problem(store_path() + ": " + std::string(read.text()));
    fact("members: " + number(membership.members().size()) + ", removed " + number(membership.removed().size()));
    if (membership.members().empty()) return;  // what founds them may not be applied yet
    if (log_.has_value() && membership.find(self_) == nullptr && !membership.is_removed(self_)) {
      problem(store_path() + ": member " + base::hex(self_.value()) + ", whose log this is, is not in the store");
    }
    Result<std::optional<std::string>> row = storage::read_row(backend, Bucket::kMeta, "confState");
    if (!row.ok()) return problem(std::string(row.status().text()));
    if (!row->has_value() || !ours_) return;  // that of an etcd in Go may lag
    Result<raft::ConfState> state = parse_conf_state(**row);
    if (!state.ok()) return problem(store_path() + ": " + std::string(state.status().text()));
    size_t named = 0;
    for (const auto* ids : {&state->voters, &state->learners}) {
      for (const NodeId id : *ids) {
        ++named;
        const Member* member = membership.find(id);
        if (member == nullptr) {
          problem(store_path() + ": confState names " + base::hex(id.value()) + ", which is no member");
        } else if (member->is_learner != (ids == &state->learners)) {
          problem(store_path() + ": confState and members disagree whether " + base::hex(id.value()) + " is a learner");
        }
      }
    }
    if (named != membership.members().size()) {
      problem(store_path() + ": confState names " + number(named) + " members of " + number(membership.members().size()));
    }
  }

  void check_snapshot_files() {
    Result<std::vector<std::string>> names = disk_.list(snap_dir());
    if (!names.ok()) {
      if (names.status().code() != Code::kNotFound) problem(std::string(names.status().text()));
      return;
    }
    size_t files = 0, databases = 0;
    for (const std::string& name : *names) {
      const std::string path = io::join(snap_dir(), name);
      if (name.ends_with(".snap")) {
        ++files;
        Result<std::string> bytes = io::read_file(disk_, path, storage::kSnapFileBytesMax);
        const Status read = bytes.ok() ? storage::decode_snap(*bytes).status() : bytes.status();
        if (!read.ok()) problem(path + " at offset 0: " + std::string(read.text()));
      } else if (name.ends_with(".snap.db")) {
        ++databases;
        const Status read = storage::bolt::DatabaseEngine::open(disk_, path).status();
        if (!read.ok()) problem(path + ": " + std::string(read.text()));
      }
    }
    fact("snapshot files in " + snap_dir() + ": " + number(files) + ", received databases: " + number(databases));
  }

  io::Disk& disk_;
  io::OverlayDisk unchanged_;
  const std::string member_dir_;
  std::string wal_dir_;
  bool ours_ = true;
  std::unique_ptr<io::File> lock_;
  storage::WalSnapshot snapshot_;
  std::optional<storage::WalContents> log_;
  Index last_index_;
  NodeId self_;
  uint64_t cluster_id_ = 0;
  std::unique_ptr<storage::Engine> engine_;
  uint64_t rows_ = 0;
  DataDirReport report_;
};

}  // namespace

Result<DataDirReport> check_data_dir(io::Disk& disk, const std::string& data_dir, const std::string& wal_dir,
                                     const std::function<bool()>& wait) {
  return Check(disk, data_dir, wal_dir).run(wait);
}

}  // namespace server
