#include "mvcc/key_index.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/bytes.h"
#include "base/verify.h"
#include "wire/codec.h"

namespace mvcc {

// What leaves and inner nodes have in common: up to kFanout records in key order, of an inner node the first one below each
// child.
struct KeyNode {
  static constexpr int kMax = KeyIndex::kFanout;
  uint16_t count = 0;
  uint16_t prefix = 0;  // bytes that all keys here share, as far as known
  uint64_t head[kMax];  // the 8 bytes behind them, big-endian, zeros behind the end
  KeyRecord* record[kMax];

  std::string_view key(int i) const { return record[i]->key(); }

  // The number of keys here that are below `k` (or_equal: not above it).
  int below(std::string_view k, bool or_equal) const {
    if (count == 0) return 0;
    const int shared = k.substr(0, prefix).compare(key(0).substr(0, prefix));
    if (shared != 0) return shared < 0 ? 0 : count;
    const uint64_t h = head_of(k, prefix);
    int low = static_cast<int>(std::lower_bound(head, head + count, h) - head);
    int high = low;
    while (high < count && head[high] == h) ++high;
    while (low < high) {
      const int middle = (low + high) / 2;
      const int order = key(middle).compare(k);
      if (order < 0 || (or_equal && order == 0)) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return low;
  }

  void insert(int at, KeyRecord* r) {
    std::move_backward(head + at, head + count, head + count + 1);
    std::move_backward(record + at, record + count, record + count + 1);
    ++count;
    set(at, r);
  }
  void remove(int at) {
    std::move(head + at + 1, head + count, head + at);
    std::move(record + at + 1, record + count, record + at);
    --count;
  }
  void set(int at, KeyRecord* r) {
    record[at] = r;
    const std::string_view neighbour = count < 2 ? std::string_view() : key(at == 0 ? 1 : 0);
    if (count >= 2 && r->key().substr(0, prefix) == neighbour.substr(0, prefix)) {
      head[at] = head_of(r->key(), prefix);
    } else {
      measure_prefix();
    }
  }
  void append(const KeyNode& from, int begin, int end) {
    std::copy(from.record + begin, from.record + end, record + count);
    count = static_cast<uint16_t>(count + end - begin);
    measure_prefix();
  }
  void truncate(int size) {
    count = static_cast<uint16_t>(size);
    measure_prefix();
  }
  void measure_prefix() {
    prefix = 0;
    if (count == 0) return;
    const std::string_view a = key(0), b = key(count - 1);
    const size_t limit = std::min({a.size(), b.size(), size_t{UINT16_MAX}});
    prefix =
        static_cast<uint16_t>(std::mismatch(a.begin(), a.begin() + static_cast<ptrdiff_t>(limit), b.begin()).first - a.begin());
    for (int i = 0; i < count; ++i) head[i] = head_of(key(i), prefix);
  }

  static uint64_t head_of(std::string_view k, size_t prefix) {
    if (k.size() >= prefix + 8) return base::load_be64(k.data() + prefix);
    char bytes[8] = {};
    if (k.size() > prefix) std::memcpy(bytes, k.data() + prefix, k.size() - prefix);
    return base::load_be64(bytes);
  }
};

struct KeyLeaf : KeyNode {
  uint64_t live = 0;  // bit i: record i exists
  KeyLeaf* previous = nullptr;
  KeyLeaf* next = nullptr;
};

namespace {

using Totals = KeyIndex::Totals;

static_assert(KeyIndex::kFanout == 64, "KeyLeaf::live has one bit a record");
constexpr int kMergeBelow = KeyIndex::kFanout / 4;  // a node emptier than this looks for a neighbour to join
constexpr int kMergedMax = KeyIndex::kFanout * 3 / 4;
constexpr int kEmptyLeavesMax = 4;  // next_live() walks over this many, then asks the counts

struct KeyInner : KeyNode {
  KeyNode* child[kMax];
  Totals totals[kMax];
};

KeyInner* as_inner(KeyNode* node) { return static_cast<KeyInner*>(node); }
const KeyInner* as_inner(const KeyNode* node) { return static_cast<const KeyInner*>(node); }
KeyLeaf* as_leaf(KeyNode* node) { return static_cast<KeyLeaf*>(node); }
const KeyLeaf* as_leaf(const KeyNode* node) { return static_cast<const KeyLeaf*>(node); }

uint64_t low_bits(int count) { return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1; }

Totals weight(const KeyRecord& record) {
  if (!record.live()) return {};
  return {1, wire::kv_field_size(record.newest.size)};
}

void add(Totals& to, const Totals& more) {
  to.live += more.live;
  to.bytes += more.bytes;
}

Totals sum_of_first(const KeyLeaf& leaf, int count) {
  Totals sum;
  for (int i = 0; i < count; ++i) add(sum, weight(*leaf.record[i]));
  return sum;
}
Totals sum_of_first(const KeyInner& inner, int count) {
  Totals sum;
  for (int i = 0; i < count; ++i) add(sum, inner.totals[i]);
  return sum;
}
Totals sum(const KeyNode* node, int level) {
  return level == 0 ? sum_of_first(*as_leaf(node), node->count) : sum_of_first(*as_inner(node), node->count);
}

void free_nodes(KeyNode* node, int level) {
  if (level == 0) {
    for (int i = 0; i < node->count; ++i) KeyRecord::free(node->record[i]);
    delete as_leaf(node);
    return;
  }
  for (int i = 0; i < node->count; ++i) free_nodes(as_inner(node)->child[i], level - 1);
  delete as_inner(node);
}

void insert_child(KeyInner& inner, int at, KeyNode* child, const Totals& totals) {
  std::move_backward(inner.child + at, inner.child + inner.count, inner.child + inner.count + 1);
  std::move_backward(inner.totals + at, inner.totals + inner.count, inner.totals + inner.count + 1);
  inner.child[at] = child;
  inner.totals[at] = totals;
  inner.insert(at, child->record[0]);
}
void remove_child(KeyInner& inner, int at) {
  std::move(inner.child + at + 1, inner.child + inner.count, inner.child + at);
  std::move(inner.totals + at + 1, inner.totals + inner.count, inner.totals + at);
  inner.remove(at);
}

// Moves what is behind `keep` to a new right neighbour.
KeyLeaf* split(KeyLeaf& left, int keep) {
  auto* right = new KeyLeaf();
  right->append(left, keep, left.count);
  right->live = keep >= 64 ? 0 : left.live >> keep;
  left.truncate(keep);
  left.live &= low_bits(keep);
  right->next = left.next;
  right->previous = &left;
  if (left.next != nullptr) left.next->previous = right;
  left.next = right;
  return right;
}
KeyInner* split(KeyInner& left, int keep) {
  auto* right = new KeyInner();
  std::copy(left.child + keep, left.child + left.count, right->child);
  std::copy(left.totals + keep, left.totals + left.count, right->totals);
  right->append(left, keep, left.count);
  left.truncate(keep);
  return right;
}

void merge(KeyLeaf& left, KeyLeaf* right) {
  if (left.count < 64) left.live |= right->live << left.count;
  left.append(*right, 0, right->count);
  left.next = right->next;
  if (right->next != nullptr) right->next->previous = &left;
  delete right;
}
void merge(KeyInner& left, KeyInner* right) {
  std::copy(right->child, right->child + right->count, left.child + left.count);
  std::copy(right->totals, right->totals + right->count, left.totals + left.count);
  left.append(*right, 0, right->count);
  delete right;
}

}  // namespace

// From the root to a leaf: node[l] is at level l (0: the leaf), at[l] the position taken in it.
struct KeyIndex::Path {
  KeyNode* node[kDepthMax];
  int at[kDepthMax];
};

KeyIndex::KeyIndex() : path_(std::make_unique<Path>()) {}

KeyIndex::~KeyIndex() { clear(); }

void KeyIndex::clear() {
  if (root_ != nullptr) free_nodes(root_, height_);
  root_ = nullptr;
  height_ = 0;
  totals_ = Totals();
  records_ = versions_ = 0;
  row_bytes_ = 0;
  path_record_ = nullptr;
}

void KeyIndex::swap(KeyIndex& other) noexcept {
  std::swap(root_, other.root_);
  std::swap(height_, other.height_);
  std::swap(totals_, other.totals_);
  std::swap(records_, other.records_);
  std::swap(versions_, other.versions_);
  std::swap(row_bytes_, other.row_bytes_);
  path_record_ = other.path_record_ = nullptr;
}

KeyLeaf* KeyIndex::descend(std::string_view key, Path* path) const {
  KeyNode* node = root_;
  for (int level = height_; level > 0; --level) {
    const int at = std::max(node->below(key, true) - 1, 0);
    if (path != nullptr) {
      path->node[level] = node;
      path->at[level] = at;
    }
    node = as_inner(node)->child[at];
  }
  if (path != nullptr) {
    path->node[0] = node;
    path->at[0] = node->below(key, false);
  }
  return as_leaf(node);
}

KeyRecord* KeyIndex::find(std::string_view key) const {
  if (root_ == nullptr) return nullptr;
  const KeyLeaf* leaf = descend(key, nullptr);
  const int at = leaf->below(key, false);
  return at < leaf->count && leaf->key(at) == key ? leaf->record[at] : nullptr;
}

KeyRecord& KeyIndex::find_or_make(std::string_view key) {
  if (root_ == nullptr) root_ = new KeyLeaf();
  path_record_ = nullptr;
  const KeyLeaf* leaf = descend(key, path_.get());
  const int at = path_->at[0];
  KeyRecord* record;
  if (at < leaf->count && leaf->key(at) == key) {
    record = leaf->record[at];
  } else {
    record = KeyRecord::make(key);
    insert(record);
    if (path_->node[0] == nullptr) descend(key, path_.get());  // Nodes were split.
  }
  path_record_ = record;
  return *record;
}

// At path_. Leaves path_->node[0] null if the path is no longer true.
void KeyIndex::insert(KeyRecord* record) {
  ++records_;
  Path& path = *path_;
  auto* leaf = as_leaf(path.node[0]);
  bool moved = false;
  if (leaf->count == kFanout) {
    moved = true;
    // Keys that arrive in order fill their leaves.
    const bool at_end = leaf->next == nullptr && path.at[0] == kFanout;
    KeyNode* right = split(*leaf, at_end ? kFanout - 1 : kFanout / 2);
    if (path.at[0] > leaf->count || at_end) {
      path.at[0] -= leaf->count;
      path.node[0] = right;
    }
    KeyNode* left = leaf;
    for (int level = 1; right != nullptr; ++level) {
      if (level > height_) {
        VERIFY(height_ + 1 < kDepthMax);
        auto* top = new KeyInner();
        insert_child(*top, 0, left, sum(left, level - 1));
        insert_child(*top, 1, right, sum(right, level - 1));
        root_ = top;
        ++height_;
        break;
      }
      auto* inner = as_inner(path.node[level]);
      inner->totals[path.at[level]] = sum(left, level - 1);
      KeyInner* inner_right = nullptr;
      if (inner->count == kFanout) {
        const bool inner_at_end = path.at[level] == kFanout - 1;
        inner_right = split(*inner, inner_at_end ? kFanout - 1 : kFanout / 2);
      }
      if (inner_right != nullptr && path.at[level] >= inner->count) {
        insert_child(*inner_right, path.at[level] - inner->count + 1, right, sum(right, level - 1));
      } else {
        insert_child(*inner, path.at[level] + 1, right, sum(right, level - 1));
      }
      left = inner;
      right = inner_right;
    }
  }
  leaf = as_leaf(path.node[0]);
  const int at = path.at[0];
  leaf->live = (leaf->live & low_bits(at)) | (leaf->live & ~low_bits(at)) << 1;
  leaf->insert(at, record);
  if (at == 0) {
    // Below all others: descend() ends at the front of a leaf only at the leftmost one.
    for (KeyNode* node = root_; node != leaf; node = as_inner(node)->child[0]) node->set(0, record);
  }
  if (moved) path.node[0] = nullptr;
}

void KeyIndex::remove(const Path& path) {
  --records_;
  auto* leaf = as_leaf(path.node[0]);
  const int at = path.at[0];
  leaf->remove(at);
  leaf->live = (leaf->live & low_bits(at)) | (leaf->live >> 1 & ~low_bits(at));
  for (int level = 1; level <= height_; ++level) {
    auto* inner = as_inner(path.node[level]);
    int child_at = path.at[level];
    KeyNode* child = path.node[level - 1];
    if (child->count == 0) {
      if (level == 1) {
        if (leaf->previous != nullptr) leaf->previous->next = leaf->next;
        if (leaf->next != nullptr) leaf->next->previous = leaf->previous;
        delete leaf;
      } else {
        delete as_inner(child);
      }
      remove_child(*inner, child_at);
      continue;
    }
    inner->set(child_at, child->record[0]);
    if (child->count >= kMergeBelow) continue;
    if (child_at + 1 == inner->count) --child_at;
    if (child_at < 0 || child_at + 1 >= inner->count) continue;
    KeyNode* left = inner->child[child_at];
    KeyNode* right = inner->child[child_at + 1];
    if (left->count + right->count > kMergedMax) continue;
    if (level == 1) {
      merge(*as_leaf(left), as_leaf(right));
    } else {
      merge(*as_inner(left), as_inner(right));
    }
    add(inner->totals[child_at], inner->totals[child_at + 1]);
    remove_child(*inner, child_at + 1);
  }
  while (height_ > 0 && root_->count <= 1) {
    KeyInner* top = as_inner(root_);
    if (top->count == 0) {
      root_ = nullptr;
      height_ = 0;
    } else {
      root_ = top->child[0];
      --height_;
    }
    delete top;
  }
}

const KeyIndex::Path& KeyIndex::path_to(const KeyRecord& record) {
  if (path_record_ != &record) {
    VERIFY(root_ != nullptr);
    const KeyLeaf* leaf = descend(record.key(), path_.get());
    VERIFY(path_->at[0] < leaf->count && leaf->record[path_->at[0]] == &record);
    path_record_ = &record;
  }
  return *path_;
}

void KeyIndex::add_weight(const KeyRecord& record, const Totals& was) {
  const Totals is = weight(record);
  if (is == was) return;
  const Path& path = path_to(record);
  auto* leaf = as_leaf(path.node[0]);
  const uint64_t bit = uint64_t{1} << path.at[0];
  leaf->live = is.live != 0 ? leaf->live | bit : leaf->live & ~bit;
  // Unsigned arithmetic: a smaller weight wraps around and comes out right.
  const Totals delta{is.live - was.live, is.bytes - was.bytes};
  for (int level = 1; level <= height_; ++level) add(as_inner(path.node[level])->totals[path.at[level]], delta);
  add(totals_, delta);
}

void KeyIndex::put(KeyRecord& record, const Version& version) {
  const Totals was = weight(record);
  record.put(version);
  ++versions_;
  row_bytes_ += version.size;
  add_weight(record, was);
}

void KeyIndex::bury(KeyRecord& record, const Version& tombstone) {
  const Totals was = weight(record);
  record.bury(tombstone);
  ++versions_;
  row_bytes_ += tombstone.size;
  add_weight(record, was);
}

void KeyIndex::restore(KeyRecord& record, const Version& version, int64_t create_revision, int64_t put_version) {
  record.restore(version, create_revision, put_version);
  ++versions_;
  row_bytes_ += version.size;
  add_weight(record, {});
}

void KeyIndex::drop_oldest(KeyRecord& record, size_t count) {
  for (size_t i = 0; i < count; ++i) row_bytes_ -= record.version(i).size;
  record.drop_oldest(count);
  versions_ -= count;
}

void KeyIndex::erase(KeyRecord& record) {
  const Path path = path_to(record);
  path_record_ = nullptr;
  versions_ -= record.versions();
  for (size_t i = 0; i < record.versions(); ++i) row_bytes_ -= record.version(i).size;
  const Totals was = weight(record);
  if (was.live != 0) {
    const Totals delta{0 - was.live, 0 - was.bytes};
    for (int level = 1; level <= height_; ++level) add(as_inner(path.node[level])->totals[path.at[level]], delta);
    add(totals_, delta);
  }
  remove(path);
  KeyRecord::free(&record);
}

KeyIndex::Totals KeyIndex::before(std::string_view key) const {
  Totals result;
  const KeyNode* node = root_;
  if (node == nullptr) return result;
  for (int level = height_; level > 0; --level) {
    const int at = std::max(node->below(key, true) - 1, 0);
    add(result, sum_of_first(*as_inner(node), at));
    node = as_inner(node)->child[at];
  }
  add(result, sum_of_first(*as_leaf(node), node->below(key, false)));
  return result;
}

uint64_t KeyIndex::live_before(std::string_view key) const {
  uint64_t result = 0;
  const KeyNode* node = root_;
  if (node == nullptr) return result;
  for (int level = height_; level > 0; --level) {
    const int at = std::max(node->below(key, true) - 1, 0);
    for (int i = 0; i < at; ++i) result += as_inner(node)->totals[i].live;
    node = as_inner(node)->child[at];
  }
  return result + static_cast<uint64_t>(std::popcount(as_leaf(node)->live & low_bits(node->below(key, false))));
}

KeyIndex::Totals KeyIndex::first(uint64_t rank) const {
  if (rank >= totals_.live) return totals_;
  Totals result;
  const KeyNode* node = root_;
  for (int level = height_; level > 0; --level) {
    const KeyInner* inner = as_inner(node);
    int at = 0;
    while (result.live + inner->totals[at].live <= rank) add(result, inner->totals[at++]);
    node = inner->child[at];
  }
  const KeyLeaf* leaf = as_leaf(node);
  for (int at = 0; result.live < rank; ++at) add(result, weight(*leaf->record[at]));
  return result;
}

// The record that exists and has `rank` such before it.
KeyIndex::Cursor KeyIndex::select(uint64_t rank) const {
  if (rank >= totals_.live) return Cursor(this, nullptr, 0);
  const KeyNode* node = root_;
  for (int level = height_; level > 0; --level) {
    const KeyInner* inner = as_inner(node);
    int at = 0;
    while (rank >= inner->totals[at].live) rank -= inner->totals[at++].live;
    node = inner->child[at];
  }
  const KeyLeaf* leaf = as_leaf(node);
  uint64_t live = leaf->live;
  for (; rank > 0; --rank) live &= live - 1;
  return Cursor(this, leaf, std::countr_zero(live));
}

KeyIndex::Cursor KeyIndex::lower_bound(std::string_view key) const {
  if (root_ == nullptr) return Cursor(this, nullptr, 0);
  const KeyLeaf* leaf = descend(key, nullptr);
  const int at = leaf->below(key, false);
  if (at < leaf->count) return Cursor(this, leaf, at);
  return Cursor(this, leaf->next, 0);
}

KeyIndex::Cursor KeyIndex::begin() const { return lower_bound({}); }

KeyIndex::Cursor KeyIndex::last_below(std::string_view key) const {
  if (root_ == nullptr) return Cursor(this, nullptr, 0);
  const KeyLeaf* leaf = descend(key, nullptr);
  Cursor cursor(this, leaf, leaf->below(key, false));
  cursor.previous();
  return cursor;
}

KeyIndex::Cursor KeyIndex::last() const {
  const KeyNode* node = root_;
  if (node == nullptr || node->count == 0) return Cursor(this, nullptr, 0);
  for (int level = height_; level > 0; --level) node = as_inner(node)->child[node->count - 1];
  return Cursor(this, as_leaf(node), node->count - 1);
}

KeyRecord& KeyIndex::Cursor::record() const { return *leaf_->record[at_]; }

void KeyIndex::Cursor::next() {
  if (++at_ < leaf_->count) return;
  leaf_ = leaf_->next;
  at_ = 0;
}

void KeyIndex::Cursor::previous() {
  if (--at_ >= 0) return;
  leaf_ = leaf_->previous;
  if (leaf_ != nullptr) at_ = leaf_->count - 1;
}

void KeyIndex::Cursor::next_live() {
  const KeyRecord& from = record();
  uint64_t live = leaf_->live & ~low_bits(at_ + 1);
  for (int leaves = 0; live == 0; ++leaves) {
    if (leaves == kEmptyLeavesMax) {
      *this = index_->select(index_->live_before(from.key()) + (from.live() ? 1 : 0));
      return;
    }
    leaf_ = leaf_->next;
    if (leaf_ == nullptr) return;
    live = leaf_->live;
  }
  at_ = std::countr_zero(live);
}

namespace {

struct Walked {
  Totals totals;
  size_t records = 0;
  size_t versions = 0;
  uint64_t row_bytes = 0;
  const KeyLeaf* last_leaf = nullptr;
  std::string_view last_key;
};

void verify_node(const KeyNode* node, int level, bool is_root, Walked* walked) {
  VERIFY(node->count > 0 || is_root);
  VERIFY(node->count <= KeyIndex::kFanout);
  for (int i = 0; i < node->count; ++i) {
    VERIFY(node->key(i).substr(0, node->prefix) == node->key(0).substr(0, node->prefix));
    VERIFY(node->head[i] == KeyNode::head_of(node->key(i), node->prefix));
    if (level == 0) {
      const KeyRecord& record = *node->record[i];
      VERIFY(walked->records == 0 || record.key() > walked->last_key);
      VERIFY(!record.empty());
      VERIFY((as_leaf(node)->live >> i & 1) == (record.live() ? 1 : 0));
      walked->last_key = record.key();
      ++walked->records;
      walked->versions += record.versions();
      for (size_t v = 0; v < record.versions(); ++v) walked->row_bytes += record.version(v).size;
      add(walked->totals, weight(record));
    } else {
      const KeyInner* inner = as_inner(node);
      VERIFY(inner->child[i]->record[0] == inner->record[i]);
      Walked below = *walked;
      below.totals = {};
      verify_node(inner->child[i], level - 1, false, &below);
      VERIFY(below.totals == inner->totals[i]);
      add(below.totals, walked->totals);
      *walked = below;
    }
  }
  if (level == 0 && node->count > 0) {
    VERIFY((as_leaf(node)->live & ~low_bits(node->count)) == 0);
    VERIFY(as_leaf(node)->previous == walked->last_leaf);
    VERIFY(walked->last_leaf == nullptr || walked->last_leaf->next == as_leaf(node));
    walked->last_leaf = as_leaf(node);
  }
}

}  // namespace

void KeyIndex::verify_for_test() const {
  Walked walked;
  if (root_ != nullptr) verify_node(root_, height_, true, &walked);
  VERIFY(walked.last_leaf == nullptr || walked.last_leaf->next == nullptr);
  VERIFY(walked.totals == totals_);
  VERIFY(walked.records == records_);
  VERIFY(walked.versions == versions_);
  VERIFY(walked.row_bytes == row_bytes_);
}

}  // namespace mvcc
