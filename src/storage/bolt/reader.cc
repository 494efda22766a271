#include "storage/bolt/reader.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/bytes.h"
#include "base/verify.h"
#include "storage/bolt/format.h"

namespace storage::bolt {

using base::Code;
using base::Result;
using base::Status;

namespace {

constexpr int kPageBytesLog2Min = 9, kPageBytesLog2Max = 24;

uint16_t load_le16(const char* p) {
  return static_cast<uint16_t>(static_cast<uint8_t>(p[0]) | static_cast<uint8_t>(p[1]) << 8);
}

struct Header {
  uint64_t id;
  uint16_t flags, count;
  uint32_t overflow;
};

// REQUIRES: at least kPageHeaderBytes.
Header parse_header(std::string_view page) {
  return {base::load_le64(page.data()), load_le16(page.data() + 8), load_le16(page.data() + 10),
          base::load_le32(page.data() + 12)};
}

struct Meta {
  uint64_t page_bytes, root, end, txid;
};

// Whether a meta page begins here: magic, version and checksum are right and the numbers make sense.
bool parse_meta(std::string_view page, Meta* meta) {
  if (page.size() < kPageHeaderBytes + kMetaBytes) return false;
  const std::string_view body = page.substr(kPageHeaderBytes, kMetaBytes);
  if (base::load_le32(body.data()) != kMagic || base::load_le32(body.data() + 4) != kFormatVersion) return false;
  if (base::load_le64(body.data() + kMetaSummedBytes) != fnv1a(body.substr(0, kMetaSummedBytes))) return false;
  *meta = {base::load_le32(body.data() + 8), base::load_le64(body.data() + 16), base::load_le64(body.data() + 40),
           base::load_le64(body.data() + 48)};
  return std::has_single_bit(meta->page_bytes) && meta->page_bytes >= uint64_t{1} << kPageBytesLog2Min &&
         meta->page_bytes <= uint64_t{1} << kPageBytesLog2Max;
}

}  // namespace

// A leaf or branch with all that belongs to it. The elements' places are checked when they are asked for.
struct Reader::Page {
  uint64_t id = 0;
  bool is_leaf = false;
  size_t count = 0;
  std::string bytes;
};

// Depth first through one tree. Each key must be above the one before and inside the bounds that the branches above give.
class Reader::Walk {
 public:
  explicit Walk(Reader& reader) : reader_(reader) {}

  Status begin(const Bucket& bucket) {
    if (bucket.root != 0) return push(bucket.root, {}, false);
    if (bucket.inline_page.size() < kPageHeaderBytes) return reader_.damaged(reader_.root_, "an inline bucket of no page");
    const Header header = parse_header(bucket.inline_page);
    if (header.flags != kLeafPage) return reader_.damaged(reader_.root_, "an inline bucket that is no leaf");
    path_.push_back({{reader_.root_, true, header.count, bucket.inline_page}, 0, {}, false});
    return check_elements(path_.back().page);
  }

  // False: the end, or *status is set.
  bool next(Status* status) {
    while (!path_.empty()) {
      Step& step = path_.back();
      if (step.at == step.page.count) {
        path_.pop_back();
        continue;
      }
      Status moved = step.page.is_leaf ? take_row(step) : descend(step);
      if (!moved.ok()) {
        *status = std::move(moved);
        path_.clear();
        return false;
      }
      if (path_.back().page.is_leaf && taken_) return true;
    }
    return false;
  }

  bool is_bucket() const { return is_bucket_; }
  std::string_view key() const { return key_; }
  std::string_view value() const { return value_; }
  uint64_t page() const { return path_.empty() ? 0 : path_.back().page.id; }

 private:
  struct Step {
    Page page;
    size_t at;          // next element
    std::string below;  // all keys are below it, if bounded
    bool bounded;
    size_t used = kPageHeaderBytes;  // bytes of the page that rows took so far
  };

  Status check_elements(const Page& page) const {
    if (kPageHeaderBytes + page.count * kElementBytes > page.bytes.size()) {
      return reader_.damaged(page.id, std::to_string(page.count) + " elements do not fit the page");
    }
    return {};
  }

  // `size` bytes of the data that an element points to.
  static bool find_data(const Page& page, size_t at, uint64_t pos, uint64_t size, std::string_view* data) {
    const uint64_t begin = kPageHeaderBytes + at * kElementBytes + pos;
    if (begin < kPageHeaderBytes + page.count * kElementBytes || begin > page.bytes.size()) return false;
    if (size > page.bytes.size() - begin) return false;
    *data = std::string_view(page.bytes).substr(begin, size);
    return true;
  }

  Status push(uint64_t id, std::string below, bool bounded) {
    if (path_.size() == kDepthMax) return reader_.damaged(id, "the tree is deeper than " + std::to_string(kDepthMax));
    Result<Page> page = reader_.read_page(id);
    if (!page.ok()) return page.status();
    if (page->count == 0 && !(path_.empty() && page->is_leaf)) return reader_.damaged(id, "an empty page inside a tree");
    path_.push_back({std::move(*page), 0, std::move(below), bounded});
    return check_elements(path_.back().page);
  }

  static bool branch_key(const Page& page, size_t at, std::string_view* key) {
    const char* element = page.bytes.data() + kPageHeaderBytes + at * kElementBytes;
    return find_data(page, at, base::load_le32(element), base::load_le32(element + 4), key);
  }

  Status descend(Step& step) {
    taken_ = false;
    const Page& page = step.page;
    std::string_view first, next;
    if (!branch_key(page, step.at, &first)) return reader_.damaged(page.id, "a branch key outside the page");
    if ((any_ && first <= key_) || first < lowest_) return reader_.damaged(page.id, "branch keys out of order");
    std::string below = step.below;
    bool bounded = step.bounded;
    if (step.at + 1 < page.count) {
      if (!branch_key(page, step.at + 1, &next)) return reader_.damaged(page.id, "a branch key outside the page");
      below = next;
      bounded = true;
    }
    if (bounded && first >= below) return reader_.damaged(page.id, "branch keys out of order");
    lowest_ = first;
    const uint64_t child = base::load_le64(page.bytes.data() + kPageHeaderBytes + step.at * kElementBytes + 8);
    ++step.at;
    return push(child, std::move(below), bounded);
  }

  Status take_row(Step& step) {
    const Page& page = step.page;
    const char* element = page.bytes.data() + kPageHeaderBytes + step.at * kElementBytes;
    const uint32_t flags = base::load_le32(element), pos = base::load_le32(element + 4);
    const uint64_t key_bytes = base::load_le32(element + 8), value_bytes = base::load_le32(element + 12);
    std::string_view data;
    if (!find_data(page, step.at, pos, key_bytes + value_bytes, &data)) {
      return reader_.damaged(page.id, "a row outside the page");
    }
    step.used += kElementBytes + data.size();
    if (step.used > page.bytes.size()) return reader_.damaged(page.id, "rows overlap");
    if (flags > kBucketElement) return reader_.damaged(page.id, "a row with unknown flags");
    const std::string_view key = data.substr(0, key_bytes);
    if (key.empty() || key.size() > kKeyBytesMax)
      return reader_.damaged(page.id, "a key of " + std::to_string(key_bytes) + " bytes");
    if ((any_ && key <= key_) || key < lowest_ || (step.bounded && key >= step.below)) {
      return reader_.damaged(page.id, "keys out of order");
    }
    is_bucket_ = flags == kBucketElement;
    key_ = key;
    value_ = data.substr(key_bytes);
    any_ = taken_ = true;
    ++step.at;
    return {};
  }

  Reader& reader_;
  std::vector<Step> path_;
  std::string key_;         // of the last row
  std::string lowest_;      // the branch's key for the leaf that is read
  std::string_view value_;  // in the page on top of the path
  bool is_bucket_ = false;
  bool any_ = false;    // key_ is one
  bool taken_ = false;  // the last step gave a row
};

Reader::Reader(std::unique_ptr<io::File> file) : file_(std::move(file)) {}
Reader::~Reader() = default;

Result<std::unique_ptr<Reader>> Reader::open(std::unique_ptr<io::File> file) {
  std::unique_ptr<Reader> reader(new Reader(std::move(file)));
  Status done = reader->read_meta();
  if (done.ok()) done = reader->list_buckets();
  if (!done.ok()) return done;
  return reader;
}

Status Reader::damaged(uint64_t page, const std::string& what) const {
  return Status(Code::kDataLoss, "bolt: damaged database: page " + std::to_string(page) + " at offset " +
                                     std::to_string(page * page_bytes_) + ": " + what);
}

// The first meta tells where the second is; if the first is broken, the second is looked for at every page size there can be.
Status Reader::read_meta() {
  char buffer[kPageHeaderBytes + kMetaBytes];
  Meta best{}, meta{};
  bool found = false;
  const auto look = [&](uint64_t offset) -> Status {
    const Result<size_t> got = file_->read_at(offset, buffer, sizeof buffer);
    if (!got.ok()) return got.status();
    if (!parse_meta({buffer, *got}, &meta) || (found && meta.txid <= best.txid)) return {};
    if (offset != 0 && offset != meta.page_bytes) return {};
    best = meta;
    found = true;
    return {};
  };
  if (Status done = look(0); !done.ok()) return done;
  if (found) {
    if (Status done = look(best.page_bytes); !done.ok()) return done;
  } else {
    for (int log2 = kPageBytesLog2Min; log2 <= kPageBytesLog2Max && !found; ++log2) {
      if (Status done = look(uint64_t{1} << log2); !done.ok()) return done;
    }
  }
  if (!found) return Status(Code::kDataLoss, "bolt: no database: neither of the two metas is good");
  page_bytes_ = best.page_bytes;
  root_ = best.root;
  end_ = best.end;
  txid_ = best.txid;
  const Result<uint64_t> size = file_->size();
  if (!size.ok()) return size.status();
  if (end_ > *size / page_bytes_) {
    return Status(Code::kDataLoss, "bolt: the database is cut off: the file has " + std::to_string(*size) + " bytes, and " +
                                       std::to_string(end_) + " pages of " + std::to_string(page_bytes_) + " are in use");
  }
  return {};
}

Result<Reader::Page> Reader::read_page(uint64_t id) {
  if (id < kFirstPage || id >= end_) return damaged(id, "there are pages 2 to " + std::to_string(end_) + " only");
  Page page;
  page.id = id;
  const auto read = [&](uint64_t bytes) -> Status {
    const size_t have = page.bytes.size();
    page.bytes.resize(bytes);
    const Result<size_t> got = file_->read_at(id * page_bytes_ + have, page.bytes.data() + have, bytes - have);
    if (!got.ok()) return got.status();
    if (*got != bytes - have) return damaged(id, "the file ends inside the page");
    return {};
  };
  if (Status done = read(page_bytes_); !done.ok()) return done;
  const Header header = parse_header(page.bytes);
  if (header.id != id) return damaged(id, "it says it is page " + std::to_string(header.id));
  if (header.flags != kLeafPage && header.flags != kBranchPage) {
    return damaged(id, "flags " + std::to_string(header.flags) + " are neither a leaf's nor a branch's");
  }
  if (header.overflow >= end_ - id) return damaged(id, "it reaches beyond the pages in use");
  const uint64_t run = uint64_t{header.overflow} + 1;
  if (run * page_bytes_ > kPageRunBytesMax)
    return damaged(id, "it is larger than " + std::to_string(kPageRunBytesMax) + " bytes");
  // No page belongs to two: so a walk is over after as many pages as there are.
  pages_read_ += run;
  if (pages_read_ > end_) return damaged(id, "pages are used twice");
  if (Status done = read(run * page_bytes_); !done.ok()) return done;
  page.is_leaf = header.flags == kLeafPage;
  page.count = header.count;
  return page;
}

Status Reader::list_buckets() {
  Walk walk(*this);
  Bucket root;
  root.root = root_;
  if (root_ == 0) return damaged(0, "the root is a meta page");
  Status status = walk.begin(root);
  while (status.ok() && walk.next(&status)) {
    const std::string_view value = walk.value();
    if (!walk.is_bucket()) return damaged(walk.page(), "a row outside all buckets");
    if (value.size() < kBucketHeaderBytes) return damaged(walk.page(), "a bucket without its header");
    if (names_.size() == kBucketsMax) return damaged(walk.page(), "more than " + std::to_string(kBucketsMax) + " buckets");
    Bucket bucket;
    bucket.root = base::load_le64(value.data());
    if (bucket.root == 0) bucket.inline_page = value.substr(kBucketHeaderBytes);
    names_.emplace_back(walk.key());
    buckets_.push_back(std::move(bucket));
  }
  return status;
}

bool Reader::next() {
  while (status_.ok() && at_ < buckets_.size()) {
    if (walk_ == nullptr) {
      walk_ = std::make_unique<Walk>(*this);
      status_ = walk_->begin(buckets_[at_]);
      if (!status_.ok()) return false;
    }
    if (walk_->next(&status_)) {
      if (!walk_->is_bucket()) return true;
      status_ = damaged(walk_->page(), "a bucket inside bucket " + names_[at_] + ", which etcd never makes");
      return false;
    }
    if (!status_.ok()) return false;
    walk_.reset();
    ++at_;
  }
  return false;
}

std::string_view Reader::key() const { return walk_->key(); }
std::string_view Reader::value() const { return walk_->value(); }

}  // namespace storage::bolt
