#include "io/mem_disk.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <mutex>
#include <set>

#include "base/verify.h"

namespace io {

using base::Code;
using base::Result;
using base::Rng;
using base::Status;

namespace {

constexpr size_t kPageBytes = 4096;
constexpr size_t kSectorsPerPage = kPageBytes / kSectorBytes;

// Missing pages read as zeros, now and after a power cut.
struct Page {
  std::array<char, kPageBytes> now{};
  std::array<char, kPageBytes> kept{};  // what a power cut cannot take
  uint8_t dirty = 0;                    // one bit per sector written since
};

std::vector<std::string> split(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    const size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (!part.empty() && part != ".") parts.emplace_back(part);
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return parts;
}

Status missing(std::string_view call, const std::string& path) {
  return Status(Code::kNotFound, std::string(call) + " " + path + ": no such file or directory");
}

Status io_error(std::string_view call, const std::string& path) {
  return Status(Code::kInternal, std::string(call) + " " + path + ": input/output error");
}

}  // namespace

// A file or a folder; names hold it by shared pointers, open files too.
struct MemDisk::Node {
  bool is_dir = false;
  uint32_t mode = 0;

  // File.
  std::map<uint64_t, Page> pages;
  std::set<uint64_t> dirty_pages;
  uint64_t size = 0;
  uint64_t size_kept = 0;
  uint64_t allocated = 0;  // bytes that count against the capacity
  bool locked = false;

  // Folder. A step removes a name, sets a name, or both (rename).
  struct Step {
    std::string remove;
    std::string set;
    std::shared_ptr<Node> node;
    void apply(std::map<std::string, std::shared_ptr<Node>>& to) const {
      if (!remove.empty()) to.erase(remove);
      if (!set.empty()) to[set] = node;
    }
  };
  std::map<std::string, std::shared_ptr<Node>> names;
  std::map<std::string, std::shared_ptr<Node>> names_kept;
  std::vector<Step> steps;  // names = names_kept + steps

  void take(Step step) {
    step.apply(names);
    steps.push_back(std::move(step));
  }
};

struct MemDisk::State {
  mutable std::mutex mutex;
  std::shared_ptr<Node> root = std::make_shared<Node>();
  uint64_t generation = 0;  // power cuts so far; files opened before the last one are dead
  uint64_t used = 0;
  uint64_t capacity = kDefaultCapacityBytes;
  uint64_t changes = 0;
  uint64_t syncs = 0;
  uint64_t die_at = kNever;
  uint64_t fail_change_at = kNever;
  uint64_t fail_sync_at = kNever;
  bool dead = false;

  // --- faults ---
  enum class Fate { kWorks, kFails, kDies };
  Fate next_change(bool is_sync) {
    if (dead) return Fate::kFails;
    const uint64_t change = changes++;
    const uint64_t sync = is_sync ? syncs++ : kNever;
    if (change == die_at) {
      dead = true;
      return Fate::kDies;
    }
    if (change == fail_change_at || (is_sync && sync == fail_sync_at)) return Fate::kFails;
    return Fate::kWorks;
  }

  // --- names ---
  std::shared_ptr<Node> find(const std::string& path) const {
    std::shared_ptr<Node> at = root;
    for (const std::string& part : split(path)) {
      if (!at->is_dir) return nullptr;
      const auto it = at->names.find(part);
      if (it == at->names.end()) return nullptr;
      at = it->second;
    }
    return at;
  }
  std::shared_ptr<Node> find_dir(const std::string& path) const {
    std::shared_ptr<Node> node = find(path);
    return node != nullptr && node->is_dir ? node : nullptr;
  }

  // --- bytes ---
  bool reserve(Node& node, uint64_t end) {
    if (end <= node.allocated) return true;
    if (end - node.allocated > capacity - std::min(capacity, used)) return false;
    used += end - node.allocated;
    node.allocated = end;
    return true;
  }

  static void put(Node& node, uint64_t offset, std::string_view bytes) {
    while (!bytes.empty()) {
      const uint64_t number = offset / kPageBytes;
      const size_t at = offset % kPageBytes;
      const size_t n = std::min(bytes.size(), kPageBytes - at);
      auto it = node.pages.find(number);
      const std::string_view part = bytes.substr(0, n);
      // Zeros over nothing stay nothing, so that a preallocated file costs no memory.
      if (it != node.pages.end() || part.find_first_not_of('\0') != std::string_view::npos) {
        if (it == node.pages.end()) it = node.pages.try_emplace(number).first;
        std::memcpy(it->second.now.data() + at, part.data(), n);
        const size_t last = (at + n - 1) / kSectorBytes;
        for (size_t s = at / kSectorBytes; s <= last; ++s) it->second.dirty |= static_cast<uint8_t>(1u << s);
        node.dirty_pages.insert(number);
      }
      bytes.remove_prefix(n);
      offset += n;
    }
  }

  void resize(Node& node, uint64_t size) {
    if (size < node.size) {
      const std::string zeros(kPageBytes, '\0');
      for (auto it = node.pages.lower_bound(size / kPageBytes); it != node.pages.end(); ++it) {
        const uint64_t from = std::max<uint64_t>(size, it->first * kPageBytes);
        put(node, from, std::string_view(zeros).substr(0, (it->first + 1) * kPageBytes - from));
      }
      if (node.allocated > size) {
        used -= node.allocated - size;
        node.allocated = size;
      }
    }
    node.size = size;
  }

  using Keep = std::function<bool()>;
  static void settle(Node& node, Rng& rng);
  static void settle_pieces(Node& node, const Keep& keep);
  static void keep_sectors(Node& node, const Keep& keep);
  static void settle_names(Node& node, Rng& rng);
  static void settle_names(Node& node, const Keep& keep);
  template <class How>
  void settle_tree(Node& node, How& how, std::set<Node*>& seen);
  std::shared_ptr<Node> copy(const std::shared_ptr<Node>& from, std::map<const Node*, std::shared_ptr<Node>>& made) const;
  void power_is_back() {
    ++generation;
    dead = false;
    die_at = fail_change_at = fail_sync_at = kNever;
  }
};

// How much of the unsynced state a power cut keeps: nothing, all, or each piece by a coin; the extremes matter as much.
void MemDisk::State::settle(Node& node, Rng& rng) {
  const uint64_t mood = rng.below(4);
  const auto keep = [&] { return mood == 0 ? false : mood == 1 ? true : rng.one_in(2); };
  if (node.size != node.size_kept) {
    const uint64_t low = std::min(node.size, node.size_kept);
    const uint64_t high = std::max(node.size, node.size_kept);
    // Grown: any size between. Shrunk: done or not done.
    if (node.size > node.size_kept && mood >= 2) {
      node.size = low + rng.below(high - low + 1);
    } else if (!keep()) {
      node.size = node.size_kept;
    }
  }
  keep_sectors(node, keep);
}

// By its pieces alone: a size has changed or not.
void MemDisk::State::settle_pieces(Node& node, const Keep& keep) {
  if (node.size != node.size_kept && !keep()) node.size = node.size_kept;
  keep_sectors(node, keep);
}

void MemDisk::State::keep_sectors(Node& node, const Keep& keep) {
  for (auto& [number, page] : node.pages) {
    for (size_t s = 0; s < kSectorsPerPage; ++s) {
      // A sector that is not dirty and yet differs had its sync fail: it is lost for certain.
      if ((page.dirty & 1u << s) != 0 && keep()) continue;
      std::memcpy(page.now.data() + s * kSectorBytes, page.kept.data() + s * kSectorBytes, kSectorBytes);
    }
    page.kept = page.now;
    page.dirty = 0;
  }
  node.dirty_pages.clear();
  // Sectors behind the end read as zeros when the file grows again.
  for (auto it = node.pages.lower_bound(node.size / kPageBytes); it != node.pages.end(); ++it) {
    const uint64_t start = it->first * kPageBytes;
    const size_t from = node.size > start ? static_cast<size_t>(node.size - start) : 0;
    std::memset(it->second.now.data() + from, 0, kPageBytes - from);
    it->second.kept = it->second.now;
  }
  node.size_kept = node.size;
  node.locked = false;
}

void MemDisk::State::settle_names(Node& node, Rng& rng) {
  const uint64_t mood = rng.below(3);
  const size_t prefix = static_cast<size_t>(rng.below(node.steps.size() + 1));  // a journal keeps a prefix
  for (size_t i = 0; i < node.steps.size(); ++i) {
    const bool kept = mood == 0 ? i < prefix : mood == 1 ? rng.one_in(2) : false;
    if (kept) node.steps[i].apply(node.names_kept);
  }
  node.names = node.names_kept;
  node.steps.clear();
}

void MemDisk::State::settle_names(Node& node, const Keep& keep) {
  for (const Node::Step& step : node.steps) {
    if (keep()) step.apply(node.names_kept);
  }
  node.names = node.names_kept;
  node.steps.clear();
}

template <class How>
void MemDisk::State::settle_tree(Node& node, How& how, std::set<Node*>& seen) {
  if (!seen.insert(&node).second) return;
  if (node.is_dir) {
    settle_names(node, how);
    for (const auto& [name, child] : node.names) settle_tree(*child, how, seen);
  } else if constexpr (std::is_same_v<How, Rng>) {
    settle(node, how);
  } else {
    settle_pieces(node, how);
  }
}

std::shared_ptr<MemDisk::Node> MemDisk::State::copy(const std::shared_ptr<Node>& from,
                                                    std::map<const Node*, std::shared_ptr<Node>>& made) const {
  if (from == nullptr) return nullptr;
  std::shared_ptr<Node>& to = made[from.get()];
  if (to != nullptr) return to;
  to = std::make_shared<Node>(*from);
  to->locked = false;
  const std::shared_ptr<Node> node = to;  // `made` grows below.
  for (auto& [name, child] : node->names) child = copy(child, made);
  for (auto& [name, child] : node->names_kept) child = copy(child, made);
  for (Node::Step& step : node->steps) step.node = copy(step.node, made);
  return node;
}

class MemDisk::Handle final : public File {
 public:
  Handle(std::shared_ptr<State> state, std::shared_ptr<Node> node, std::string path, bool writable)
      : state_(std::move(state)),
        node_(std::move(node)),
        path_(std::move(path)),
        generation_(state_->generation),
        writable_(writable) {}
  ~Handle() override {
    const std::lock_guard hold(state_->mutex);
    if (locked_ && generation_ == state_->generation) node_->locked = false;
  }

  Result<size_t> read_at(uint64_t offset, char* into, size_t n) const override {
    const std::lock_guard hold(state_->mutex);
    if (dead()) return io_error("read", path_);
    if (offset >= node_->size) return size_t{0};
    n = static_cast<size_t>(std::min<uint64_t>(n, node_->size - offset));
    for (size_t done = 0; done < n;) {
      const size_t at = (offset + done) % kPageBytes;
      const size_t part = std::min(n - done, kPageBytes - at);
      const auto it = node_->pages.find((offset + done) / kPageBytes);
      if (it == node_->pages.end()) {
        std::memset(into + done, 0, part);
      } else {
        std::memcpy(into + done, it->second.now.data() + at, part);
      }
      done += part;
    }
    return n;
  }

  Status write_at(uint64_t offset, std::string_view bytes) override {
    const std::lock_guard hold(state_->mutex);
    if (Status refused = begin("write"); !refused.ok()) return refused;
    const State::Fate fate = state_->next_change(false);
    if (fate == State::Fate::kFails) return io_error("write", path_);
    if (!state_->reserve(*node_, offset + bytes.size())) {
      return Status(Code::kResourceExhausted, "write " + path_ + ": no space left on device");
    }
    State::put(*node_, offset, bytes);
    node_->size = std::max<uint64_t>(node_->size, offset + bytes.size());
    return fate == State::Fate::kDies ? io_error("write", path_) : Status();
  }

  Status sync() override {
    const std::lock_guard hold(state_->mutex);
    if (dead()) return io_error("fdatasync", path_);
    const State::Fate fate = state_->next_change(true);
    if (fate == State::Fate::kDies) return io_error("fdatasync", path_);
    for (const uint64_t number : node_->dirty_pages) {
      Page& page = node_->pages[number];
      for (size_t s = 0; s < kSectorsPerPage && fate == State::Fate::kWorks; ++s) {
        if ((page.dirty & 1u << s) == 0) continue;
        std::memcpy(page.kept.data() + s * kSectorBytes, page.now.data() + s * kSectorBytes, kSectorBytes);
      }
      page.dirty = 0;  // after a failure too: the kernel forgets that these were ever to be written
    }
    node_->dirty_pages.clear();
    if (fate == State::Fate::kFails) return io_error("fdatasync", path_);
    node_->size_kept = node_->size;
    return {};
  }

  Result<uint64_t> size() const override {
    const std::lock_guard hold(state_->mutex);
    if (dead()) return io_error("stat", path_);
    return node_->size;
  }

  Status truncate(uint64_t size_bytes) override { return change_size("truncate", size_bytes, false); }
  Status allocate(uint64_t size_bytes) override { return change_size("fallocate", size_bytes, true); }

  Status lock() override {
    const std::lock_guard hold(state_->mutex);
    if (Status refused = begin("lock"); !refused.ok()) return refused;
    if (node_->locked && !locked_) return Status(Code::kFailedPrecondition, "lock " + path_ + ": file already locked");
    node_->locked = locked_ = true;
    return {};
  }

 private:
  bool dead() const { return state_->dead || generation_ != state_->generation; }
  Status begin(std::string_view call) const {
    if (dead()) return io_error(call, path_);
    if (!writable_) return Status(Code::kInternal, std::string(call) + " " + path_ + ": bad file descriptor");
    return {};
  }
  Status change_size(std::string_view call, uint64_t size_bytes, bool only_grow) {
    const std::lock_guard hold(state_->mutex);
    if (Status refused = begin(call); !refused.ok()) return refused;
    const State::Fate fate = state_->next_change(false);
    if (fate == State::Fate::kFails) return io_error(call, path_);
    if (only_grow && !state_->reserve(*node_, size_bytes)) {
      return Status(Code::kResourceExhausted, std::string(call) + " " + path_ + ": no space left on device");
    }
    if (!only_grow || size_bytes > node_->size) state_->resize(*node_, size_bytes);
    return fate == State::Fate::kDies ? io_error(call, path_) : Status();
  }

  const std::shared_ptr<State> state_;
  const std::shared_ptr<Node> node_;
  const std::string path_;
  const uint64_t generation_;
  const bool writable_;
  bool locked_ = false;
};

MemDisk::MemDisk() : state_(std::make_shared<State>()) {
  state_->root->is_dir = true;
  state_->root->mode = kPrivateDirMode;
}
MemDisk::~MemDisk() = default;

Result<std::unique_ptr<File>> MemDisk::open(const std::string& path, OpenMode how, uint32_t mode) {
  const std::lock_guard hold(state_->mutex);
  if (state_->dead) return io_error("open", path);
  std::shared_ptr<Node> node = state_->find(path);
  if (node != nullptr && node->is_dir) return Status(Code::kInternal, "open " + path + ": is a directory");
  const bool must_exist = how == OpenMode::kRead || how == OpenMode::kReadWrite;
  if (node != nullptr && how == OpenMode::kCreateNew) return Status(Code::kAlreadyExists, "open " + path + ": file exists");
  if (node == nullptr) {
    const std::shared_ptr<Node> dir = state_->find_dir(parent(path));
    if (must_exist || dir == nullptr) return missing("open", path);
    const State::Fate fate = state_->next_change(false);
    if (fate == State::Fate::kFails) return io_error("open", path);
    node = std::make_shared<Node>();
    node->mode = mode;
    dir->take({"", base_name(path), node});
    if (fate == State::Fate::kDies) return io_error("open", path);
  } else if (how == OpenMode::kTruncate && node->size > 0) {
    const State::Fate fate = state_->next_change(false);
    if (fate == State::Fate::kFails) return io_error("open", path);
    state_->resize(*node, 0);
    if (fate == State::Fate::kDies) return io_error("open", path);
  }
  return std::unique_ptr<File>(std::make_unique<Handle>(state_, std::move(node), path, how != OpenMode::kRead));
}

Result<FileInfo> MemDisk::stat(const std::string& path) {
  const std::lock_guard hold(state_->mutex);
  if (state_->dead) return io_error("stat", path);
  const std::shared_ptr<Node> node = state_->find(path);
  if (node == nullptr) return missing("stat", path);
  FileInfo info;
  info.size_bytes = node->size;
  info.mode = node->mode;
  info.is_dir = node->is_dir;
  return info;
}

Result<std::vector<std::string>> MemDisk::list(const std::string& dir) {
  const std::lock_guard hold(state_->mutex);
  if (state_->dead) return io_error("open", dir);
  const std::shared_ptr<Node> node = state_->find_dir(dir);
  if (node == nullptr) return missing("open", dir);
  std::vector<std::string> names;
  for (const auto& [name, child] : node->names) names.push_back(name);
  return names;
}

Status MemDisk::make_dir(const std::string& dir, uint32_t mode) {
  const std::lock_guard hold(state_->mutex);
  if (state_->dead) return io_error("mkdir", dir);
  if (state_->find(dir) != nullptr) return Status(Code::kAlreadyExists, "mkdir " + dir + ": file exists");
  const std::shared_ptr<Node> above = state_->find_dir(parent(dir));
  if (above == nullptr) return missing("mkdir", dir);
  const State::Fate fate = state_->next_change(false);
  if (fate == State::Fate::kFails) return io_error("mkdir", dir);
  auto node = std::make_shared<Node>();
  node->is_dir = true;
  node->mode = mode;
  above->take({"", base_name(dir), std::move(node)});
  return fate == State::Fate::kDies ? io_error("mkdir", dir) : Status();
}

Status MemDisk::remove_dir(const std::string& dir) {
  const std::lock_guard hold(state_->mutex);
  if (state_->dead) return io_error("rmdir", dir);
  const std::shared_ptr<Node> node = state_->find_dir(dir);
  if (node == nullptr || node == state_->root) return missing("rmdir", dir);
  if (!node->names.empty()) return Status(Code::kFailedPrecondition, "rmdir " + dir + ": directory not empty");
  const State::Fate fate = state_->next_change(false);
  if (fate == State::Fate::kFails) return io_error("rmdir", dir);
  state_->find_dir(parent(dir))->take({base_name(dir), "", nullptr});
  return fate == State::Fate::kDies ? io_error("rmdir", dir) : Status();
}

Status MemDisk::rename(const std::string& from, const std::string& to) {
  const std::lock_guard hold(state_->mutex);
  if (state_->dead) return io_error("rename", from);
  const std::shared_ptr<Node> dir = state_->find_dir(parent(from));
  const std::shared_ptr<Node> node = state_->find(from);
  if (dir == nullptr || node == nullptr || node == state_->root) return missing("rename", from);
  VERIFY(state_->find_dir(parent(to)) == dir);  // Disk::rename promises one folder.
  if (from == to) return {};
  const std::shared_ptr<Node> old = state_->find(to);
  if (old != nullptr && (old->is_dir != node->is_dir || !old->names.empty())) {
    return Status(Code::kFailedPrecondition, "rename " + from + " " + to + ": file exists");
  }
  const State::Fate fate = state_->next_change(false);
  if (fate == State::Fate::kFails) return io_error("rename", from);
  dir->take({base_name(from), base_name(to), node});
  return fate == State::Fate::kDies ? io_error("rename", from) : Status();
}

Status MemDisk::unlink(const std::string& path) {
  const std::lock_guard hold(state_->mutex);
  if (state_->dead) return io_error("remove", path);
  const std::shared_ptr<Node> node = state_->find(path);
  if (node == nullptr || node->is_dir) return missing("remove", path);
  const State::Fate fate = state_->next_change(false);
  if (fate == State::Fate::kFails) return io_error("remove", path);
  state_->find_dir(parent(path))->take({base_name(path), "", nullptr});
  state_->used -= node->allocated;  // Freed at once, though an open file may still hold it: nothing here depends on that.
  node->allocated = 0;
  return fate == State::Fate::kDies ? io_error("remove", path) : Status();
}

Status MemDisk::sync_dir(const std::string& dir) {
  const std::lock_guard hold(state_->mutex);
  if (state_->dead) return io_error("fsync", dir);
  const std::shared_ptr<Node> node = state_->find_dir(dir);
  if (node == nullptr) return missing("open", dir);
  if (state_->next_change(true) != State::Fate::kWorks) return io_error("fsync", dir);
  node->names_kept = node->names;
  node->steps.clear();
  return {};
}

Result<uint64_t> MemDisk::free_bytes(const std::string& path) {
  const std::lock_guard hold(state_->mutex);
  if (state_->dead) return io_error("statfs", path);
  return state_->capacity - std::min(state_->capacity, state_->used);
}

void MemDisk::power_cut(Rng& rng) {
  const std::lock_guard hold(state_->mutex);
  std::set<Node*> seen;
  state_->settle_tree(*state_->root, rng, seen);
  state_->power_is_back();
}

void MemDisk::power_cut(const std::function<bool()>& keep) {
  const std::lock_guard hold(state_->mutex);
  std::set<Node*> seen;
  state_->settle_tree(*state_->root, keep, seen);
  state_->power_is_back();
}

std::unique_ptr<MemDisk> MemDisk::clone() const {
  const std::lock_guard hold(state_->mutex);
  auto disk = std::make_unique<MemDisk>();
  std::map<const Node*, std::shared_ptr<Node>> made;
  disk->state_->root = state_->copy(state_->root, made);
  disk->state_->used = state_->used;
  disk->state_->capacity = state_->capacity;
  return disk;
}

uint64_t MemDisk::changes() const {
  const std::lock_guard hold(state_->mutex);
  return state_->changes;
}

void MemDisk::lose_power_after(uint64_t n) {
  const std::lock_guard hold(state_->mutex);
  state_->die_at = n == kNever ? kNever : state_->changes + n;
}

bool MemDisk::lost_power() const {
  const std::lock_guard hold(state_->mutex);
  return state_->dead;
}

void MemDisk::fail_change_after(uint64_t n) {
  const std::lock_guard hold(state_->mutex);
  state_->fail_change_at = state_->changes + n;
}

void MemDisk::fail_sync_after(uint64_t n) {
  const std::lock_guard hold(state_->mutex);
  state_->fail_sync_at = state_->syncs + n;
}

void MemDisk::set_capacity(uint64_t bytes) {
  const std::lock_guard hold(state_->mutex);
  state_->capacity = bytes;
}

void MemDisk::damage_for_test(const std::string& path, uint64_t offset, uint8_t mask) {
  const std::lock_guard hold(state_->mutex);
  const std::shared_ptr<Node> node = state_->find(path);
  VERIFY(node != nullptr && !node->is_dir && offset < node->size);
  Page& page = node->pages[offset / kPageBytes];
  page.now[offset % kPageBytes] = static_cast<char>(page.now[offset % kPageBytes] ^ mask);
  page.kept[offset % kPageBytes] = static_cast<char>(page.kept[offset % kPageBytes] ^ mask);
}

}  // namespace io
