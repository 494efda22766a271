#include "lease/lessor.h"

#include <algorithm>
#include <functional>

#include "base/bytes.h"
#include "base/verify.h"
#include "storage/backend.h"
#include "storage/keyspace.h"
#include "wire/lease_row.h"

namespace lease {
namespace {

using base::Code;
using base::Result;
using base::Status;
using storage::Bucket;

std::string row_key(LeaseId id) {
  std::string key;
  base::append_be64(key, static_cast<uint64_t>(id.value()));
  return key;
}

Status not_found() { return Status(Code::kNotFound, "etcdserver: requested lease not found"); }

Duration seconds(int64_t count) { return std::chrono::seconds(count); }

}  // namespace

Lessor::Lessor(storage::Backend& backend, Options options) : backend_(backend), options_(options) {}
Lessor::~Lessor() = default;

Result<std::unique_ptr<LessorImage>> LessorImage::read(const storage::View& view, int64_t ttl_seconds_min) {
  auto image = std::make_unique<LessorImage>();
  const std::unique_ptr<storage::EngineIterator> rows = view.iterate();
  const std::string end = storage::bucket_end(Bucket::kLease);
  for (rows->seek(storage::row_key(Bucket::kLease, "")); rows->valid() && rows->key() < end; rows->next()) {
    wire::LeaseRow row;
    const std::string_view key = rows->key().substr(1);
    if (key.size() != 8 || !wire::parse(rows->value(), row)) {
      return Status(Code::kDataLoss, "lease: backend row " + base::hex_bytes(key) + " does not parse as a lease");
    }
    auto lease = std::make_unique<Lessor::Lease>();
    lease->ttl_s = std::max(row.ttl_s, ttl_seconds_min);
    lease->remaining_ttl_s = row.remaining_ttl_s;
    image->leases_[LeaseId(row.id)] = std::move(lease);
  }
  if (!rows->status().ok()) return rows->status();
  return image;
}

void LessorImage::attach(LeaseId id, std::string_view key) { Lessor::attach_in(leases_, id, key); }

Status Lessor::recover() {
  Result<std::unique_ptr<LessorImage>> image = LessorImage::read(*backend_.view(), options_.ttl_seconds_min);
  if (!image.ok()) return image.status();
  restart(std::move(*image));
  return {};
}

std::unique_ptr<LessorImage> Lessor::restart(std::unique_ptr<LessorImage> image) {
  leases_.swap(image->leases_);
  deadlines_.clear();
  checkpoints_.clear();
  primary_ = false;
  return image;
}

base::Result<int64_t> Lessor::grant(LeaseId id, int64_t ttl_s, Instant now) {
  if (id == base::kNoLease) return not_found();
  if (ttl_s > kTtlSecondsMax) return Status(Code::kOutOfRange, "etcdserver: too large lease TTL");
  if (leases_.contains(id)) return Status(Code::kFailedPrecondition, "etcdserver: lease already exists");
  auto lease = std::make_unique<Lease>();
  lease->ttl_s = std::max(ttl_s, options_.ttl_seconds_min);
  Lease& granted = *lease;
  leases_.emplace(id, std::move(lease));
  if (primary_) start(id, granted, now, Duration(0));
  write(id, granted);
  return granted.ttl_s;
}

base::Result<std::vector<std::string>> Lessor::keys(LeaseId id) const {
  const auto found = leases_.find(id);
  if (found == leases_.end()) return not_found();
  return std::vector<std::string>(found->second->keys.begin(), found->second->keys.end());
}

void Lessor::erase(LeaseId id) {
  leases_.erase(id);  // Its marks in the heaps no longer agree with anything.
  storage::erase_row(backend_, Bucket::kLease, row_key(id));
}

void Lessor::checkpoint(LeaseId id, int64_t remaining_ttl_s, Instant now) {
  const auto found = leases_.find(id);
  if (found == leases_.end()) return;
  found->second->remaining_ttl_s = remaining_ttl_s;
  if (options_.persist_checkpoints) write(id, *found->second);
  if (primary_) schedule_checkpoint(id, *found->second, now);
}

void Lessor::attach_in(LeaseMap& leases, LeaseId id, std::string_view key) {
  const auto found = leases.find(id);
  if (found != leases.end()) found->second->keys.emplace(key);
}

void Lessor::attach(LeaseId id, std::string_view key) { attach_in(leases_, id, key); }

void Lessor::detach(LeaseId id, std::string_view key) {
  const auto found = leases_.find(id);
  if (found != leases_.end()) found->second->keys.erase(std::string(key));
}

void Lessor::promote(Instant now, Duration extend) {
  primary_ = true;
  deadlines_.clear();
  checkpoints_.clear();
  for (auto& [id, lease] : leases_) start(id, *lease, now, extend);
  if (leases_.size() >= kRevokesPerSecond) spread_pile_up(now, extend);
}

// Leases that would end within one second of each other, beyond three quarters of what a second of revokes takes, are moved
// back one after the other, so that a restart does not bring all ends down on the same instant.
void Lessor::spread_pile_up(Instant now, Duration extend) {
  constexpr size_t kPerSecond = kRevokesPerSecond * 3 / 4;
  std::vector<Mark> by_expiry;
  by_expiry.reserve(leases_.size());
  for (const auto& [id, lease] : leases_) by_expiry.push_back({lease->expiry, id});
  std::sort(by_expiry.begin(), by_expiry.end(), [](const Mark& a, const Mark& b) { return b > a; });

  Duration base = by_expiry.front().at - now, window_end = base + seconds(1);
  size_t in_window = 0;
  for (const Mark& mark : by_expiry) {
    const Duration remaining = mark.at - now;
    if (remaining > window_end) {
      base = remaining;
      window_end = base + seconds(1);
      in_window = 1;
      continue;
    }
    if (++in_window <= kPerSecond) continue;
    const auto rate_delay = Duration(static_cast<int64_t>(1e9 * static_cast<double>(in_window) / kPerSecond));
    const Duration delay = rate_delay - (remaining - base);
    window_end = base + delay;
    start(mark.id, *leases_.at(mark.id), now, std::max(delay, Duration(0)) + extend);
  }
}

void Lessor::demote() {
  primary_ = false;
  deadlines_.clear();
  checkpoints_.clear();
  for (auto& [id, lease] : leases_) lease->expiry = lease->checkpoint_at = Instant::max();
}

base::Result<int64_t> Lessor::renew(LeaseId id, Instant now) {
  if (!primary_) return Status(Code::kFailedPrecondition, "not a primary lessor");
  const auto found = leases_.find(id);
  if (found == leases_.end()) return not_found();
  Lease& lease = *found->second;
  if (lease.expiry <= now) return Status(Code::kAborted, "lease is over, its revoke is on the way");
  lease.remaining_ttl_s = 0;
  start(id, lease, now, Duration(0));
  return lease.ttl_s;
}

bool Lessor::renewal_needs_checkpoint(LeaseId id) const {
  const auto found = leases_.find(id);
  return options_.checkpoints && found != leases_.end() && found->second->remaining_ttl_s > 0;
}

std::vector<LeaseId> Lessor::expired(Instant now, size_t count_max) {
  std::vector<LeaseId> over;
  if (!primary_) return over;
  while (over.size() < count_max && !deadlines_.empty() && deadlines_.front().at <= now) {
    const Mark mark = pop(deadlines_);
    const auto found = leases_.find(mark.id);
    if (found == leases_.end() || found->second->expiry > now || found->second->expiry > mark.at) continue;
    over.push_back(mark.id);
    push(deadlines_, {now + kExpiredRetry, mark.id});
  }
  return over;
}

std::vector<Checkpoint> Lessor::due_checkpoints(Instant now, size_t count_max) {
  std::vector<Checkpoint> due;
  if (!primary_) return due;
  while (due.size() < count_max && !checkpoints_.empty() && checkpoints_.front().at <= now) {
    const Mark mark = pop(checkpoints_);
    const auto found = leases_.find(mark.id);
    if (found == leases_.end() || found->second->checkpoint_at != mark.at || found->second->expiry <= now) continue;
    found->second->checkpoint_at = Instant::max();
    const Duration remaining = found->second->expiry - now;
    const int64_t remaining_s = (remaining.count() + 999'999'999) / 1'000'000'000;
    if (remaining_s < found->second->ttl_s) due.push_back({mark.id, remaining_s});
  }
  return due;
}

Instant Lessor::next_deadline() const { return deadlines_.empty() ? Instant::max() : deadlines_.front().at; }
Instant Lessor::next_checkpoint() const { return checkpoints_.empty() ? Instant::max() : checkpoints_.front().at; }

base::Result<Info> Lessor::find(LeaseId id, Instant now) const {
  const auto found = leases_.find(id);
  if (found == leases_.end()) return not_found();
  const Lease& lease = *found->second;
  return Info{id, lease.ttl_s, lease.expiry == Instant::max() ? Duration::max() : lease.expiry - now};
}

std::vector<Info> Lessor::unsorted(Instant now) const {
  std::vector<Info> all;
  all.reserve(leases_.size());
  for (const auto& [id, lease] : leases_) {
    all.push_back({id, lease->ttl_s, lease->expiry == Instant::max() ? Duration::max() : lease->expiry - now});
  }
  return all;
}

std::vector<Info> Lessor::list(Instant now) const {
  std::vector<Info> all = unsorted(now);
  sort_by_end(all);
  return all;
}

void sort_by_end(std::vector<Info>& leases) {
  std::sort(leases.begin(), leases.end(), [](const Info& a, const Info& b) {
    return a.remaining < b.remaining || (a.remaining == b.remaining && a.id < b.id);
  });
}

void Lessor::start(LeaseId id, Lease& lease, Instant now, Duration extend) {
  const int64_t ttl_s = lease.remaining_ttl_s > 0 ? lease.remaining_ttl_s : lease.ttl_s;
  const Duration room = Instant::max() - now - std::chrono::hours(1);  // 9e9 s fit an Instant; their sum may not
  lease.expiry = now + std::min(seconds(std::min<int64_t>(ttl_s, room.count() / 1'000'000'000)) + extend, room);
  push(deadlines_, {lease.expiry, id});
  schedule_checkpoint(id, lease, now);
}

void Lessor::schedule_checkpoint(LeaseId id, Lease& lease, Instant now) {
  const int64_t ttl_s = lease.remaining_ttl_s > 0 ? lease.remaining_ttl_s : lease.ttl_s;
  if (!options_.checkpoints || seconds(std::min<int64_t>(ttl_s, 1'000'000'000)) <= options_.checkpoint_interval) return;
  lease.checkpoint_at = now + options_.checkpoint_interval;
  push(checkpoints_, {lease.checkpoint_at, id});
}

void Lessor::write(LeaseId id, const Lease& lease) {
  storage::put_row(backend_, Bucket::kLease, row_key(id),
                   wire::encode(wire::LeaseRow{id.value(), lease.ttl_s, lease.remaining_ttl_s}));
}

// Renewals leave old marks behind; once they outnumber the leases four to one the heap is built anew, so memory stays bounded.
void Lessor::push(std::vector<Mark>& heap, Mark mark) {
  if (heap.size() > 4 * leases_.size() + 64) {
    const bool of_checkpoints = &heap == &checkpoints_;
    std::erase_if(heap, [&](const Mark& old) {
      const auto found = leases_.find(old.id);
      if (found == leases_.end()) return true;
      return of_checkpoints ? found->second->checkpoint_at != old.at : found->second->expiry > old.at;
    });
    std::make_heap(heap.begin(), heap.end(), std::greater<>());
  }
  heap.push_back(mark);
  std::push_heap(heap.begin(), heap.end(), std::greater<>());
}

Lessor::Mark Lessor::pop(std::vector<Mark>& heap) {
  std::pop_heap(heap.begin(), heap.end(), std::greater<>());
  const Mark mark = heap.back();
  heap.pop_back();
  return mark;
}

}  // namespace lease
