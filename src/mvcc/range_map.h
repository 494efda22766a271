// A map from ranges of keys to values that answers "which ranges hold this key": single keys by hash, longer ranges in a treap
// by their begin, each node knowing the greatest end below it. A key with h ranges over it costs O(h log n) at most, and
// O(log n) where ranges do not nest. An entry takes about 50 bytes and its key; a range about 90 and its keys. Entries stay
// where they are until they are erased. Owner: whoever made it; no locks.
#pragma once

#include <absl/container/flat_hash_set.h>

#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

#include "base/rng.h"
#include "base/verify.h"

namespace mvcc {

// The keys of one entry. `range_end` as in requests: empty for one key, "\0" for no end; else half-open.
struct RangeKey {
  std::string_view begin;
  std::string_view range_end;
  bool single() const { return range_end.empty(); }
  bool open_end() const { return range_end.size() == 1 && range_end[0] == '\0'; }
  bool contains(std::string_view key) const {
    if (single()) return key == begin;
    return key >= begin && (open_end() || key < range_end);
  }
  friend bool operator==(const RangeKey&, const RangeKey&) = default;
};

template <class Value>
class RangeMap {
 public:
  class Entry {
   public:
    RangeKey range() const { return {{bytes(), begin_bytes_}, {bytes() + begin_bytes_, end_bytes_}}; }
    Value value;

   private:
    friend class RangeMap;
    Entry() = default;
    ~Entry() = default;
    const char* bytes() const {
      // The keys lie behind the entry, whose own size depends on its kind.
      return reinterpret_cast<const char*>(this) + (end_bytes_ == 0 ? sizeof(Entry) : sizeof(Node));
    }
    std::string_view begin() const { return {bytes(), begin_bytes_}; }

    uint32_t begin_bytes_ = 0;
    uint32_t end_bytes_ = 0;
  };

  // `seed`: of the treap's priorities.
  explicit RangeMap(uint64_t seed) : rng_(seed) {}
  ~RangeMap() {
    for (Entry* entry : singles_) destroy(entry);
    destroy_tree(root_);
  }
  RangeMap(const RangeMap&) = delete;
  RangeMap& operator=(const RangeMap&) = delete;

  // The entry of exactly these keys, made with a default value if there is none. REQUIRES: begin is below the end, and both
  // are shorter than 4 GiB.
  Entry& find_or_make(const RangeKey& range) {
    if (range.single()) {
      if (const auto found = singles_.find(range.begin); found != singles_.end()) return **found;
      Entry* entry = make<Entry>(range);
      singles_.insert(entry);
      return *entry;
    }
    for (Node* at = root_; at != nullptr;) {
      const int order = compare(range, at->range());
      if (order == 0) return *at;
      at = order < 0 ? at->left : at->right;
    }
    Node* node = make<Node>(range);
    node->priority = static_cast<uint32_t>(rng_.next());
    node->furthest = node;
    ++ranges_;
    root_ = insert(root_, node);
    return *node;
  }

  void erase(Entry& entry) {
    if (entry.end_bytes_ == 0) {
      singles_.erase(&entry);
      destroy(&entry);
      return;
    }
    --ranges_;
    root_ = remove(root_, static_cast<Node*>(&entry));
    destroy(static_cast<Node*>(&entry));
  }

  // Calls visit(Entry&) for each entry that holds `key`: the single one first, then ranges by their begin. `visit` must not
  // insert or erase.
  template <class Visit>
  void visit(std::string_view key, const Visit& visit) const {
    if (!singles_.empty()) {
      if (const auto found = singles_.find(key); found != singles_.end()) visit(**found);
    }
    stab(root_, key, visit);
  }

  // All entries, in no order. `visit` must not insert or erase.
  template <class Visit>
  void for_each(const Visit& visit) const {
    for (Entry* entry : singles_) visit(*entry);
    each_of(root_, visit);
  }

  size_t size() const { return singles_.size() + ranges_; }
  bool empty() const { return singles_.empty() && root_ == nullptr; }
  // Heap bytes of an entry with these keys, with its share of the tables.
  static size_t cost_bytes(const RangeKey& range) {
    constexpr size_t kHeapBytes = 16, kSlotBytes = 16;
    return range.begin.size() + range.range_end.size() + kHeapBytes +
           (range.single() ? sizeof(Entry) + kSlotBytes : sizeof(Node));
  }

  // Order of keys, heap order of priorities, furthest ends. VERIFYs.
  void verify_for_test() const { verify(root_, nullptr, nullptr); }

 private:
  struct Node : Entry {
    Node* left = nullptr;
    Node* right = nullptr;
    Node* furthest = nullptr;  // the entry in this subtree whose end is the greatest
    uint32_t priority = 0;
  };

  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view key) const { return absl::Hash<std::string_view>()(key); }
    size_t operator()(const Entry* entry) const { return (*this)(entry->begin()); }
  };
  struct Equal {
    using is_transparent = void;
    bool operator()(const Entry* a, const Entry* b) const { return a == b || a->begin() == b->begin(); }
    bool operator()(const Entry* a, std::string_view b) const { return a->begin() == b; }
    bool operator()(std::string_view a, const Entry* b) const { return a == b->begin(); }
  };

  template <class Kind>
  static Kind* make(const RangeKey& range) {
    void* memory = ::operator new(sizeof(Kind) + range.begin.size() + range.range_end.size());
    Kind* made = new (memory) Kind();
    made->begin_bytes_ = static_cast<uint32_t>(range.begin.size());
    made->end_bytes_ = static_cast<uint32_t>(range.range_end.size());
    char* to = static_cast<char*>(memory) + sizeof(Kind);
    if (!range.begin.empty()) std::memcpy(to, range.begin.data(), range.begin.size());
    if (!range.range_end.empty()) std::memcpy(to + range.begin.size(), range.range_end.data(), range.range_end.size());
    return made;
  }
  template <class Kind>
  static void destroy(Kind* entry) {
    entry->~Kind();
    ::operator delete(static_cast<void*>(entry));
  }
  static void destroy_tree(Node* at) {
    if (at == nullptr) return;
    destroy_tree(at->left);
    destroy_tree(at->right);
    destroy(at);
  }

  static int compare_ends(const RangeKey& a, const RangeKey& b) {
    if (a.open_end() || b.open_end()) return static_cast<int>(a.open_end()) - static_cast<int>(b.open_end());
    return a.range_end.compare(b.range_end);
  }
  static int compare(const RangeKey& a, const RangeKey& b) {
    const int begins = a.begin.compare(b.begin);
    return begins != 0 ? begins : compare_ends(a, b);
  }
  static void refresh(Node* at) {
    at->furthest = at;
    for (const Node* child : {at->left, at->right}) {
      if (child != nullptr && compare_ends(child->furthest->range(), at->furthest->range()) > 0) at->furthest = child->furthest;
    }
  }
  static Node* rotate_right(Node* at) {
    Node* up = at->left;
    at->left = up->right;
    up->right = at;
    refresh(at);
    refresh(up);
    return up;
  }
  static Node* rotate_left(Node* at) {
    Node* up = at->right;
    at->right = up->left;
    up->left = at;
    refresh(at);
    refresh(up);
    return up;
  }
  static Node* insert(Node* at, Node* node) {
    if (at == nullptr) return node;
    if (compare(node->range(), at->range()) < 0) {
      at->left = insert(at->left, node);
      if (at->left->priority > at->priority) return rotate_right(at);
    } else {
      at->right = insert(at->right, node);
      if (at->right->priority > at->priority) return rotate_left(at);
    }
    refresh(at);
    return at;
  }
  static Node* merge(Node* left, Node* right) {
    if (left == nullptr) return right;
    if (right == nullptr) return left;
    if (left->priority >= right->priority) {
      left->right = merge(left->right, right);
      refresh(left);
      return left;
    }
    right->left = merge(left, right->left);
    refresh(right);
    return right;
  }
  static Node* remove(Node* at, Node* node) {
    VERIFY(at != nullptr);
    if (at == node) return merge(at->left, at->right);
    if (compare(node->range(), at->range()) < 0) {
      at->left = remove(at->left, node);
    } else {
      at->right = remove(at->right, node);
    }
    refresh(at);
    return at;
  }
  // As deep as the treap is: its depth is logarithmic but for bad luck that no run of a program sees.
  template <class Visit>
  static void each_of(Node* at, const Visit& visit) {
    if (at == nullptr) return;
    each_of(at->left, visit);
    visit(static_cast<Entry&>(*at));
    each_of(at->right, visit);
  }
  template <class Visit>
  static void stab(Node* at, std::string_view key, const Visit& visit) {
    while (at != nullptr) {
      const RangeKey furthest = at->furthest->range();
      if (!furthest.open_end() && furthest.range_end <= key) return;
      stab(at->left, key, visit);
      if (key < at->begin()) return;
      if (at->range().contains(key)) visit(static_cast<Entry&>(*at));
      at = at->right;
    }
  }
  static void verify(const Node* at, const Node* low, const Node* high) {
    if (at == nullptr) return;
    VERIFY(low == nullptr || compare(low->range(), at->range()) < 0);
    VERIFY(high == nullptr || compare(at->range(), high->range()) < 0);
    const Node* furthest = at;
    for (const Node* child : {at->left, at->right}) {
      if (child == nullptr) continue;
      VERIFY(child->priority <= at->priority);
      if (compare_ends(child->furthest->range(), furthest->range()) > 0) furthest = child->furthest;
    }
    VERIFY(compare_ends(furthest->range(), at->furthest->range()) == 0);
    verify(at->left, low, at);
    verify(at->right, at, high);
  }

  absl::flat_hash_set<Entry*, Hash, Equal> singles_;
  Node* root_ = nullptr;
  size_t ranges_ = 0;
  base::Rng rng_;
};

}  // namespace mvcc
