// Virtual time for many machines on one thread: one queue of events, one random number generator, one seed. An event belongs to
// a machine or to nobody; a machine that dies takes its events along, one that is paused gets them later, in their order.
// The trace hash covers every event that ran: the same seed gives the same hash.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "base/loop.h"
#include "base/rng.h"

namespace sim {

// A member has stopped itself: fatal(), or VERIFY (`broken`: our bug, whatever the world did).
struct MemberStopped : std::runtime_error {
  explicit MemberStopped(const std::string& text) : std::runtime_error(text), broken(text.starts_with("invariant broken")) {}
  bool broken;
};

class World {
 public:
  using EventId = uint64_t;
  using Owner = const void*;

  explicit World(uint64_t seed) : rng_(seed) {}

  base::Instant now() const { return now_; }
  base::Rng& rng() { return rng_; }
  base::Duration random(base::Duration limit) {
    return base::Duration(1 + static_cast<int64_t>(rng_.below(static_cast<uint64_t>(limit.count()))));
  }

  EventId at(base::Instant when, Owner owner, std::function<void()> task) {
    const EventId id = ++last_id_;
    when = std::max(when, now_);
    events_.emplace(std::pair(when, id), Event{owner, std::move(task)});
    when_.emplace(id, when);
    return id;
  }
  EventId after(base::Duration delay, std::function<void()> task) { return at(now_ + delay, nullptr, std::move(task)); }
  EventId after(base::Duration delay, Owner owner, std::function<void()> task) {
    return at(now_ + delay, owner, std::move(task));
  }
  void cancel(EventId id) {
    const auto found = when_.find(id);
    if (found != when_.end()) {
      events_.erase({found->second, id});
      when_.erase(found);
      return;
    }
    for (auto& [owner, held] : paused_) std::erase_if(held, [id](const auto& event) { return event.first == id; });
  }
  // What it was going to do does not happen.
  void drop(Owner owner) {
    paused_.erase(owner);
    for (auto it = events_.begin(); it != events_.end();) {
      if (it->second.owner != owner) {
        ++it;
        continue;
      }
      when_.erase(it->first.second);
      it = events_.erase(it);
    }
  }
  void pause(Owner owner) { paused_.try_emplace(owner); }
  void resume(Owner owner) {
    const auto found = paused_.find(owner);
    if (found == paused_.end()) return;
    auto held = std::move(found->second);
    paused_.erase(found);
    for (auto& [id, task] : held) {
      events_.emplace(std::pair(now_, id), Event{owner, std::move(task)});
      when_.emplace(id, now_);
    }
  }
  bool is_paused(Owner owner) const { return paused_.contains(owner); }

  // Called when an event's machine stopped itself.
  void set_on_stopped(std::function<void(Owner, const MemberStopped&)> callback) { on_stopped_ = std::move(callback); }

  // Runs the next event; false: there is none.
  bool step() {
    if (events_.empty()) return false;
    auto event = events_.extract(events_.begin());
    const auto [when, id] = event.key();
    when_.erase(id);
    now_ = when;
    const Owner owner = event.mapped().owner;
    if (!paused_.empty()) {
      const auto held = paused_.find(owner);
      if (held != paused_.end()) {
        held->second.emplace_back(id, std::move(event.mapped().task));
        return true;
      }
    }
    trace(static_cast<uint64_t>(when.time_since_epoch().count()));
    trace(id);
    ++steps_;
    try {
      event.mapped().task();
    } catch (const MemberStopped& stopped) {
      on_stopped_(owner, stopped);
    }
    return true;
  }
  void run_until(base::Instant end) {
    while (!events_.empty() && events_.begin()->first.first <= end) (void)step();
    now_ = std::max(now_, end);
  }
  void run_for(base::Duration span) { run_until(now_ + span); }
  // False: `limit` passed before.
  template <class Condition>
  bool run_while_not(base::Duration limit, Condition condition) {
    const base::Instant end = now_ + limit;
    while (!condition()) {
      if (now_ >= end || events_.empty()) return false;
      run_until(std::min(end, now_ + std::chrono::milliseconds(10)));
    }
    return true;
  }

  void trace(uint64_t what) { trace_ = (trace_ ^ what) * 0x100000001b3; }
  uint64_t trace_hash() const { return trace_; }
  uint64_t steps() const { return steps_; }

 private:
  struct Event {
    Owner owner;
    std::function<void()> task;
  };
  base::Rng rng_;
  base::Instant now_{std::chrono::seconds(1)};
  EventId last_id_ = 0;
  std::map<std::pair<base::Instant, EventId>, Event> events_;
  std::unordered_map<EventId, base::Instant> when_;
  std::map<Owner, std::deque<std::pair<EventId, std::function<void()>>>> paused_;
  std::function<void(Owner, const MemberStopped&)> on_stopped_;
  uint64_t trace_ = 0xcbf29ce484222325;
  uint64_t steps_ = 0;
};

// A machine's clocks run fast or slow by `rate` (1: right), and its date may be anywhere.
class MachineLoop final : public base::Loop, public base::Clock {
 public:
  MachineLoop(World& world, double rate, int64_t date_ns)
      : world_(world), rate_(rate), date_ns_(date_ns), began_(world.now()) {}

  base::Instant now() const override { return began_ + scaled(world_.now() - began_, rate_); }
  int64_t unix_ns() const override { return date_ns_ + (world_.now() - base::Instant()).count(); }
  void set_date(int64_t date_ns) { date_ns_ = date_ns; }

  void post(std::function<void()> task) override { (void)world_.at(world_.now(), this, std::move(task)); }
  base::TimerId at(base::Instant when, std::function<void()> task) override {
    // A nanosecond more: rounding must not make a timer early.
    const base::Duration wait = when - now();
    if (wait <= base::Duration(0)) return world_.at(world_.now(), this, std::move(task));
    return world_.at(world_.now() + scaled(wait, 1 / rate_) + base::Duration(1), this, std::move(task));
  }
  void cancel(base::TimerId id) override {
    if (id != base::kNoTimer) world_.cancel(id);
  }
  const base::Clock& clock() const override { return *this; }

 private:
  static base::Duration scaled(base::Duration span, double by) {
    return base::Duration(static_cast<int64_t>(static_cast<double>(span.count()) * by));
  }
  World& world_;
  const double rate_;
  int64_t date_ns_;
  const base::Instant began_;
};

// Work takes a random time and happens at its end: a cut between any two events finds it done or not begun.
class MachineWorker final : public base::Worker {
 public:
  MachineWorker(World& world, World::Owner owner, base::Duration longest) : world_(world), owner_(owner), longest_(longest) {}
  void submit(std::function<void()> work, std::function<void()> done) override {
    free_at_ = std::max(free_at_, world_.now()) + world_.random(longest_ * slowness_);
    (void)world_.at(free_at_, owner_, [this, work = std::move(work), done = std::move(done)]() mutable {
      if (before_work_) before_work_();
      work();
      if (after_work_) after_work_();
      (void)world_.at(world_.now(), owner_, std::move(done));
    });
  }
  void set_slowness(int64_t times) { slowness_ = times; }
  void stall(base::Duration span) { free_at_ = std::max(free_at_, world_.now()) + span; }
  // Around each piece of work: faults are planned and taken back here.
  void set_around(std::function<void()> before, std::function<void()> after) {
    before_work_ = std::move(before);
    after_work_ = std::move(after);
  }

 private:
  World& world_;
  const World::Owner owner_;
  const base::Duration longest_;
  int64_t slowness_ = 1;
  base::Instant free_at_{};
  std::function<void()> before_work_, after_work_;
};

}  // namespace sim
