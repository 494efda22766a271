#include "raft/log.h"

#include <algorithm>
#include <iterator>

#include "base/verify.h"

namespace raft {

namespace {

// Room for entries that an empty unstable part keeps for the next ones.
constexpr size_t kIdleCapacityMax = 4096;

}  // namespace

// --- Unstable ---------------------------------------------------------------------------------------------------------------

std::optional<Index> Unstable::first_index() const {
  if (snapshot_ == nullptr) return std::nullopt;
  return snapshot_->index + 1;
}

std::optional<Index> Unstable::last_index() const {
  if (!entries_.empty()) return offset_ + entries_.size() - 1;
  if (snapshot_ != nullptr) return snapshot_->index;
  return std::nullopt;
}

std::optional<Term> Unstable::term(Index index) const {
  if (index < offset_) {
    if (snapshot_ != nullptr && snapshot_->index == index) return snapshot_->term;
    return std::nullopt;
  }
  if (index - offset_ >= entries_.size()) return std::nullopt;
  return entries_[index - offset_].term;
}

std::span<const Entry> Unstable::slice(Index lo, Index hi) const {
  if (lo < offset_ || lo > hi || hi - offset_ > entries_.size()) {
    panic(*logger_, text_of("unstable.slice[", lo, ",", hi, ") out of bound [", offset_, ",", offset_ + entries_.size(), "]"));
  }
  return std::span(entries_).subspan(lo - offset_, hi - lo);
}

std::span<const Entry> Unstable::next_entries() const { return std::span(entries_).subspan(in_progress_ - offset_); }

void Unstable::accept() {
  in_progress_ = offset_ + entries_.size();
  snapshot_in_progress_ = snapshot_ != nullptr;
}

void Unstable::stable_to(EntryId id) {
  const std::optional<Term> ours = term(id.index);
  if (!ours.has_value()) {
    log(*logger_, LogLevel::kInfo, "entry at index ", id.index, " missing from unstable log; ignoring");
    return;
  }
  if (id.index < offset_) {
    log(*logger_, LogLevel::kInfo, "entry at index ", id.index, " matched unstable snapshot; ignoring");
    return;
  }
  if (*ours != id.term) {
    // Replaced by another leader's entry while the write was under way.
    log(*logger_, LogLevel::kInfo, "entry at (index,term)=(", id.index, ",", id.term, ") mismatched with entry at (", id.index,
        ",", *ours, ") in unstable log; ignoring");
    return;
  }
  const uint64_t count = id.index + 1 - offset_;
  entries_.erase(entries_.begin(), entries_.begin() + static_cast<ptrdiff_t>(count));
  if (entries_.empty() && entries_.capacity() > kIdleCapacityMax) entries_ = {};
  offset_ = id.index + 1;
  in_progress_ = std::max(in_progress_, offset_);
}

void Unstable::stable_snapshot_to(Index index) {
  if (snapshot_ == nullptr || snapshot_->index != index) return;
  snapshot_ = nullptr;
  snapshot_in_progress_ = false;
}

void Unstable::restore(SnapshotPtr snapshot) {
  offset_ = snapshot->index + 1;
  in_progress_ = offset_;
  entries_.clear();
  snapshot_ = std::move(snapshot);
  snapshot_in_progress_ = false;
}

void Unstable::truncate_and_append(std::vector<Entry> entries) {
  VERIFY(!entries.empty());
  const Index from = entries.front().index;
  if (from == offset_ + entries_.size()) {
    if (entries_.empty()) {
      entries_ = std::move(entries);
    } else {
      entries_.insert(entries_.end(), std::make_move_iterator(entries.begin()), std::make_move_iterator(entries.end()));
    }
    return;
  }
  if (from <= offset_) {
    log(*logger_, LogLevel::kInfo, "replace the unstable entries from index ", from);
    entries_ = std::move(entries);
    offset_ = from;
    in_progress_ = from;
    return;
  }
  log(*logger_, LogLevel::kInfo, "truncate the unstable entries before index ", from);
  VERIFY(from < offset_ + entries_.size());
  entries_.resize(from - offset_);
  entries_.insert(entries_.end(), std::make_move_iterator(entries.begin()), std::make_move_iterator(entries.end()));
  in_progress_ = std::min(in_progress_, from);
}

// --- Log --------------------------------------------------------------------------------------------------------------------

Log::Log(const LogStorage& storage, Logger& logger, uint64_t applying_bytes_max)
    : storage_(storage),
      logger_(logger),
      unstable_(storage.last_index() + 1, logger),
      committed_(storage.first_index() - 1),
      applying_(committed_),
      applied_(committed_),
      applying_bytes_max_(applying_bytes_max) {}

Index Log::first_index() const {
  if (const std::optional<Index> first = unstable_.first_index()) return *first;
  return storage_.first_index();
}

Index Log::last_index() const {
  if (const std::optional<Index> last = unstable_.last_index()) return *last;
  return storage_.last_index();
}

EntryId Log::last_entry_id() const {
  const Index last = last_index();
  const std::optional<Term> at = term(last);
  if (!at.has_value()) panic(logger_, text_of("unexpected error when getting the last term at ", last));
  return {*at, last};
}

std::optional<Term> Log::term(Index index) const {
  // What is unstable hides what is stored.
  if (const std::optional<Term> unstable = unstable_.term(index)) return unstable;
  // Of the last compacted entry the term is still known.
  if (index + 1 < first_index() || index > last_index()) return std::nullopt;
  return storage_.term(index);
}

bool Log::up_to_date(EntryId other) const {
  const EntryId ours = last_entry_id();
  return other.term > ours.term || (other.term == ours.term && other.index >= ours.index);
}

EntryId Log::find_conflict_by_term(Index index, Term limit) const {
  for (; index > Index{}; --index) {
    const std::optional<Term> ours = term(index);
    if (!ours.has_value()) return {Term{}, index};
    if (*ours <= limit) return {*ours, index};
  }
  return {};
}

Index Log::find_conflict(std::span<const Entry> entries) const {
  for (const Entry& entry : entries) {
    if (matches({entry.term, entry.index})) continue;
    if (entry.index <= last_index()) {
      log(logger_, LogLevel::kInfo, "found conflict at index ", entry.index, " [existing term: ", term_or_zero(entry.index),
          ", conflicting term: ", entry.term, "]");
    }
    return entry.index;
  }
  return {};
}

std::optional<Index> Log::maybe_append(EntryId prev, std::vector<Entry> entries, Index commit) {
  if (!matches(prev)) return std::nullopt;
  const Index last_new = prev.index + entries.size();
  const Index conflict = find_conflict(entries);
  if (conflict != Index{}) {
    if (conflict <= committed_) {
      panic(logger_, text_of("entry ", conflict, " conflict with committed entry [committed(", committed_, ")]"));
    }
    VERIFY(conflict > prev.index && conflict <= last_new);
    entries.erase(entries.begin(), entries.begin() + static_cast<ptrdiff_t>(conflict - prev.index - 1));
    append(std::move(entries));
  }
  commit_to(std::min(commit, last_new));
  return last_new;
}

Index Log::append(std::vector<Entry> entries) {
  if (entries.empty()) return last_index();
  const Index after = entries.front().index - 1;
  if (after < committed_) {
    panic(logger_, text_of("after(", after, ") is out of range [committed(", committed_, ")]"));
  }
  unstable_.truncate_and_append(std::move(entries));
  return last_index();
}

void Log::commit_to(Index index) {
  if (index <= committed_) return;
  if (index > last_index()) {
    panic(logger_, text_of("tocommit(", index, ") is out of range [lastIndex(", last_index(),
                           ")]. Was the raft log corrupted, truncated, or lost?"));
  }
  committed_ = index;
}

bool Log::maybe_commit(EntryId at) {
  if (at.term == Term{} || at.index <= committed_ || !matches(at)) return false;
  commit_to(at.index);
  return true;
}

void Log::restore(SnapshotPtr snapshot) {
  log(logger_, LogLevel::kInfo, "log [", to_string(), "] starts to restore snapshot [index: ", snapshot->index,
      ", term: ", snapshot->term, "]");
  committed_ = snapshot->index;
  unstable_.restore(std::move(snapshot));
}

// False: compacted. Other bounds are our own mistakes.
bool Log::in_bounds(Index lo, Index hi) const {
  if (lo > hi) panic(logger_, text_of("invalid slice ", lo, " > ", hi));
  const Index first = first_index();
  if (lo < first) return false;
  if (hi > last_index() + 1) {
    panic(logger_, text_of("slice[", lo, ",", hi, ") out of bound [", first, ",", last_index(), "]"));
  }
  return true;
}

bool Log::slice(Index lo, Index hi, uint64_t bytes_max, std::vector<Entry>& out) const {
  if (!in_bounds(lo, hi)) return false;
  if (lo == hi) return true;
  const auto add = [&out](std::span<const Entry> some) { out.insert(out.end(), some.begin(), some.end()); };
  if (lo >= unstable_.offset()) {
    const std::span<const Entry> found = unstable_.slice(lo, hi);
    add(found.first(count_within(found, bytes_max)));
    return true;
  }

  const Index cut = std::min(hi, unstable_.offset());
  const size_t before = out.size();
  if (!storage_.entries(lo, cut, bytes_max, out)) return false;
  const std::span<const Entry> stored = std::span(out).subspan(before);
  if (hi <= unstable_.offset() || stored.size() < cut - lo) return true;
  // The rest of the allowance goes to the unstable part; its first entry has no right to go over it here.
  const uint64_t size = encoded_size(stored);
  if (size >= bytes_max) return true;
  const std::span<const Entry> found = unstable_.slice(unstable_.offset(), hi);
  const size_t count = count_within(found, bytes_max - size);
  if (count == 1 && size + encoded_size(found.front()) > bytes_max) return true;
  add(found.first(count));
  return true;
}

bool Log::entries_from(Index lo, uint64_t bytes_max, std::vector<Entry>& out) const {
  const Index last = last_index();
  if (lo > last) return true;
  return slice(lo, last + 1, bytes_max, out);
}

SnapshotPtr Log::snapshot() const { return unstable_.snapshot() != nullptr ? unstable_.snapshot() : storage_.snapshot(); }

Index Log::appliable(bool allow_unstable) const {
  return allow_unstable ? committed_ : std::min(committed_, unstable_.offset() - 1);
}

bool Log::has_next_committed(bool allow_unstable) const {
  // A snapshot that waits to be installed goes first, and alone.
  if (applying_paused_ || has_snapshot()) return false;
  return applying_ < appliable(allow_unstable);
}

std::vector<Entry> Log::next_committed(bool allow_unstable) const {
  std::vector<Entry> out;
  if (!has_next_committed(allow_unstable)) return out;
  VERIFY(applying_bytes_ < applying_bytes_max_);
  const bool found = slice(applying_ + 1, appliable(allow_unstable) + 1, applying_bytes_max_ - applying_bytes_, out);
  if (!found) panic(logger_, "unexpected error when getting unapplied entries (compacted)");
  return out;
}

void Log::accept_applying(Index index, uint64_t bytes, bool allow_unstable) {
  if (committed_ < index) {
    panic(logger_,
          text_of("applying(", index, ") is out of range [prevApplying(", applying_, "), committed(", committed_, ")]"));
  }
  applying_ = index;
  applying_bytes_ += bytes;
  // Either the limit is reached, or the next entry was left out because it would have crossed it.
  applying_paused_ = applying_bytes_ >= applying_bytes_max_ || index < appliable(allow_unstable);
}

void Log::applied_to(Index index, uint64_t bytes) {
  if (committed_ < index || index < applied_) {
    panic(logger_, text_of("applied(", index, ") is out of range [prevApplied(", applied_, "), committed(", committed_, ")]"));
  }
  applied_ = index;
  applying_ = std::max(applying_, index);
  applying_bytes_ -= std::min(applying_bytes_, bytes);
  applying_paused_ = applying_bytes_ >= applying_bytes_max_;
}

std::string Log::to_string() const {
  return text_of("committed=", committed_, ", applied=", applied_, ", applying=", applying_,
                 ", unstable.offset=", unstable_.offset(), ", unstable.offsetInProgress=", unstable_.offset_in_progress(),
                 ", len(unstable.Entries)=", unstable_.entries().size());
}

}  // namespace raft
