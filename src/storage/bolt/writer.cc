#include "storage/bolt/writer.h"

#include <optional>
#include <utility>

#include "base/bytes.h"
#include "base/verify.h"
#include "storage/bolt/format.h"

namespace storage::bolt {

using base::Code;
using base::Result;
using base::Status;

namespace {

constexpr size_t kInlineBytesMax = kWritePageBytes / 4;  // of the leaf page of a bucket that goes into the root's leaf
constexpr size_t kLeafRowsMin = 2;                       // as bbolt: two rows of 5 KB take three pages, not two of two
constexpr size_t kPageChildrenMin = 2;                   // bbolt cannot rebalance a branch of one child
constexpr uint64_t kTxid = 2;                            // even: the newer meta is page 0

void append_le16(std::string& out, uint16_t v) { out.append(reinterpret_cast<const char*>(&v), sizeof v); }
void append_le32(std::string& out, uint32_t v) { out.append(reinterpret_cast<const char*>(&v), sizeof v); }

void append_page_header(std::string& out, uint64_t id, uint16_t flags, size_t count, uint64_t overflow) {
  VERIFY(count < UINT16_MAX && overflow <= UINT32_MAX);
  base::append_le64(out, id);
  append_le16(out, flags);
  append_le16(out, static_cast<uint16_t>(count));
  append_le32(out, static_cast<uint32_t>(overflow));
}

void append_meta(std::string& out, uint64_t id, uint64_t root, uint64_t end, uint64_t txid) {
  const size_t page = out.size();
  append_page_header(out, id, kMetaPage, 0, 0);
  const size_t begin = out.size();
  append_le32(out, kMagic);
  append_le32(out, kFormatVersion);
  append_le32(out, kWritePageBytes);
  append_le32(out, 0);
  base::append_le64(out, root);
  base::append_le64(out, 0);
  base::append_le64(out, kNoFreelist);
  base::append_le64(out, end);
  base::append_le64(out, txid);
  base::append_le64(out, fnv1a(std::string_view(out).substr(begin)));
  out.resize(page + kWritePageBytes, '\0');
}

// Hands out page ids; keeps the pages' bytes, or only counts.
struct Pages {
  uint64_t next = kFirstPage;
  bool keep = false;
  std::string bytes;

  // `fill` appends what stands behind the header.
  template <class Fill>
  uint64_t add(uint16_t flags, size_t count, size_t page_bytes, const Fill& fill) {
    const uint64_t id = next;
    const uint64_t pages = (page_bytes + kWritePageBytes - 1) / kWritePageBytes;
    next += pages;
    if (!keep) return id;
    const size_t begin = bytes.size();
    append_page_header(bytes, id, flags, count, pages - 1);
    fill(bytes);
    VERIFY(bytes.size() - begin == page_bytes);
    bytes.resize(begin + pages * kWritePageBytes, '\0');
    return id;
  }
};

// One B+ tree from its rows in order. Leaves are filled as far as a page goes, and further for a second row.
class Tree {
 public:
  explicit Tree(Pages& pages) : pages_(pages) {}

  void add(uint32_t flags, std::string_view key, std::string_view value) {
    const size_t bytes = kElementBytes + key.size() + value.size();
    if (elements_.size() >= kLeafRowsMin && leaf_bytes_ + bytes > kWritePageBytes) close_leaf();
    if (elements_.empty()) first_key_.assign(key);
    elements_.push_back({flags, static_cast<uint32_t>(key.size()), static_cast<uint32_t>(value.size())});
    leaf_bytes_ += bytes;
    if (!pages_.keep) return;
    data_.append(key);
    data_.append(value);
  }

  // The bucket's value in the root's leaf; the tree is done with. While only counting, its bytes are right in number only.
  std::string finish_bucket() {
    std::string value;
    if (!levels_.empty() || leaf_bytes_ > kInlineBytesMax) {
      base::append_le64(value, finish());
      base::append_le64(value, 0);
      return value;
    }
    value.assign(kBucketHeaderBytes, '\0');
    append_page_header(value, 0, kLeafPage, elements_.size(), 0);
    if (pages_.keep) append_leaf(value);
    value.resize(kBucketHeaderBytes + leaf_bytes_, '\0');
    return value;
  }

  // The root's page.
  uint64_t finish() {
    if (!elements_.empty() || levels_.empty()) close_leaf();
    for (size_t level = 0;; ++level) {
      const Level& open = levels_[level];
      if (level + 1 == levels_.size() && open.children.size() == 1) return open.children.front().id;
      // One more than a page holds: the last branch would have a single child.
      if (open.children.size() > open.fit && open.fit > kPageChildrenMin) {
        close_branch(level, open.children.size() - kPageChildrenMin);
      }
      close_branch(level, levels_[level].children.size());
    }
  }

 private:
  struct Element {
    uint32_t flags, key_bytes, value_bytes;
  };
  struct Child {
    std::string first_key;
    uint64_t id;
  };
  struct Level {
    std::vector<Child> children;  // of branches not closed yet
    size_t bytes = kPageHeaderBytes;
    size_t fit = 0;  // so many of the first fit one page; kPageChildrenMin at least, whatever their size
  };

  void append_leaf(std::string& out) const {
    size_t position = elements_.size() * kElementBytes;
    for (size_t i = 0; i < elements_.size(); ++i) {
      const Element& element = elements_[i];
      append_le32(out, element.flags);
      append_le32(out, static_cast<uint32_t>(position - i * kElementBytes));
      append_le32(out, element.key_bytes);
      append_le32(out, element.value_bytes);
      position += element.key_bytes + element.value_bytes;
    }
    out.append(data_);
  }

  void close_leaf() {
    const uint64_t id = pages_.add(kLeafPage, elements_.size(), leaf_bytes_, [this](std::string& out) { append_leaf(out); });
    elements_.clear();
    data_.clear();
    leaf_bytes_ = kPageHeaderBytes;
    add_child(0, Child{std::move(first_key_), id});
    first_key_.clear();
  }

  void add_child(size_t at, Child child) {
    if (at == levels_.size()) levels_.emplace_back();
    Level& level = levels_[at];
    append_child(level, std::move(child));
    // A branch is closed only when two more children are there, so that the next one has enough of them.
    if (level.children.size() >= level.fit + kPageChildrenMin) close_branch(at, level.fit);
  }

  static void append_child(Level& level, Child child) {
    level.bytes += kElementBytes + child.first_key.size();
    level.children.push_back(std::move(child));
    if (level.bytes <= kWritePageBytes || level.children.size() <= kPageChildrenMin) level.fit = level.children.size();
  }

  // Makes a branch of the first `count` children of the level and hands it to the level above.
  void close_branch(size_t at, size_t count) {
    std::vector<Child> all = std::move(levels_[at].children);
    size_t bytes = kPageHeaderBytes;
    for (size_t i = 0; i < count; ++i) bytes += kElementBytes + all[i].first_key.size();
    const uint64_t id = pages_.add(kBranchPage, count, bytes, [&all, count](std::string& out) {
      size_t position = count * kElementBytes;
      for (size_t i = 0; i < count; ++i) {
        append_le32(out, static_cast<uint32_t>(position - i * kElementBytes));
        append_le32(out, static_cast<uint32_t>(all[i].first_key.size()));
        base::append_le64(out, all[i].id);
        position += all[i].first_key.size();
      }
      for (size_t i = 0; i < count; ++i) out.append(all[i].first_key);
    });
    Child parent{all.front().first_key, id};
    levels_[at] = Level();
    for (size_t i = count; i < all.size(); ++i) append_child(levels_[at], std::move(all[i]));
    add_child(at + 1, std::move(parent));
  }

  Pages& pages_;
  std::vector<Element> elements_;  // of the open leaf
  std::string data_;               // its keys and values
  std::string first_key_;
  size_t leaf_bytes_ = kPageHeaderBytes;
  std::vector<Level> levels_;
};

Status impossible(const std::string& what) { return Status(Code::kInternal, "bolt: cannot write " + what); }

}  // namespace

// One pass: the trees of the buckets one after the other, and that of the root.
class Writer::Layout {
 public:
  Layout(const std::vector<std::string>& buckets, bool keep) : buckets_(buckets), root_(pages_) { pages_.keep = keep; }

  Status add(std::string_view bucket, std::string_view key, std::string_view value) {
    while (at_ < buckets_.size() && buckets_[at_] < bucket) close_bucket();
    if (at_ == buckets_.size() || buckets_[at_] != bucket) {
      return impossible("a row of bucket " + std::string(bucket) + ": it is unknown, or its turn is over");
    }
    if (key.empty() || key.size() > kKeyBytesMax || value.size() > kValueBytesMax) {
      return impossible("a row of bucket " + std::string(bucket) + " with a key of " + std::to_string(key.size()) +
                        " bytes and a value of " + std::to_string(value.size()));
    }
    if (tree_ && key <= last_key_) return impossible("rows out of order: key " + base::hex_bytes(key));
    if (!tree_) tree_.emplace(pages_);
    last_key_.assign(key);
    tree_->add(0, key, value);
    return {};
  }

  // All rows were added; the root's page.
  uint64_t finish() {
    while (at_ < buckets_.size()) close_bucket();
    return root_.finish();
  }
  uint64_t end() const { return pages_.next; }
  std::string& bytes() { return pages_.bytes; }

 private:
  void close_bucket() {
    if (!tree_) tree_.emplace(pages_);
    root_.add(kBucketElement, buckets_[at_], tree_->finish_bucket());
    tree_.reset();
    ++at_;
  }

  const std::vector<std::string>& buckets_;
  size_t at_ = 0;  // the bucket whose rows come now
  Pages pages_;
  Tree root_;
  std::optional<Tree> tree_;  // of the bucket at_; nullopt: no row yet
  std::string last_key_;
};

Writer::Writer(std::vector<std::string> buckets, OpenRows open) : buckets_(std::move(buckets)), open_(std::move(open)) {}
Writer::~Writer() = default;

Status Writer::add_row() { return layout_->add(rows_->bucket(), rows_->key(), rows_->value()); }

Result<bool> Writer::measure(size_t bytes_max) {
  VERIFY(!measured_);
  if (layout_ == nullptr) {
    layout_ = std::make_unique<Layout>(buckets_, false);
    rows_ = open_();
  }
  for (size_t seen = 0; seen < bytes_max;) {
    if (!rows_->next()) {
      if (!rows_->status().ok()) return rows_->status();
      root_ = layout_->finish();
      size_ = layout_->end() * kWritePageBytes;
      measured_ = true;
      layout_.reset();
      rows_.reset();
      return true;
    }
    if (Status added = add_row(); !added.ok()) return added;
    seen += kElementBytes + rows_->key().size() + rows_->value().size();
  }
  return false;
}

Result<bool> Writer::read(std::string* out, size_t bytes_max) {
  VERIFY(measured_);
  if (layout_ == nullptr) {
    layout_ = std::make_unique<Layout>(buckets_, true);
    rows_ = open_();
    const uint64_t end = size_ / kWritePageBytes;
    append_meta(layout_->bytes(), 0, root_, end, kTxid);
    append_meta(layout_->bytes(), 1, root_, end, kTxid - 1);
  }
  bool more = true;
  while (more && layout_->bytes().size() < bytes_max) {
    more = rows_->next();
    if (more) {
      if (Status added = add_row(); !added.ok()) return added;
      continue;
    }
    if (!rows_->status().ok()) return rows_->status();
    if (layout_->finish() != root_ || layout_->end() * kWritePageBytes != size_) {
      return impossible("the database: its rows were not the same in the second pass");
    }
  }
  out->append(layout_->bytes());
  layout_->bytes().clear();
  return more;
}

}  // namespace storage::bolt
