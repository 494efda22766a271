// A loop and workers in virtual time: production code runs on them unchanged, one thread, one seed. Work for a disk or helper
// thread takes a random time and happens at its end, so a cut between any two events finds it done or not begun.
#pragma once

#include <functional>
#include <map>
#include <utility>

#include "base/loop.h"
#include "base/rng.h"

namespace sim {

class SimClock final : public base::Clock {
 public:
  base::Instant now() const override { return now_; }
  int64_t unix_ns() const override { return 1'700'000'000'000'000'000 + now_.time_since_epoch().count(); }
  void set(base::Instant now) { now_ = now; }

 private:
  base::Instant now_{std::chrono::seconds(1)};
};

class SimLoop final : public base::Loop {
 public:
  explicit SimLoop(SimClock& clock) : clock_(clock) {}
  void post(std::function<void()> task) override { (void)at(clock_.now(), std::move(task)); }
  base::TimerId at(base::Instant when, std::function<void()> task) override {
    const base::TimerId id = ++last_id_;
    events_.emplace(std::pair(std::max(when, clock_.now()), id), std::move(task));
    when_.emplace(id, std::max(when, clock_.now()));
    return id;
  }
  void cancel(base::TimerId id) override {
    const auto found = when_.find(id);
    if (found == when_.end()) return;
    events_.erase({found->second, id});
    when_.erase(found);
  }
  const base::Clock& clock() const override { return clock_; }

  // Runs the next event; false: there is none.
  bool step() {
    if (events_.empty()) return false;
    auto event = events_.extract(events_.begin());
    when_.erase(event.key().second);
    clock_.set(event.key().first);
    event.mapped()();
    return true;
  }
  // Power is gone: what was going to happen does not.
  void clear() {
    events_.clear();
    when_.clear();
  }

 private:
  SimClock& clock_;
  base::TimerId last_id_ = 0;
  std::map<std::pair<base::Instant, base::TimerId>, std::function<void()>> events_;
  std::map<base::TimerId, base::Instant> when_;
};

class SimWorker final : public base::Worker {
 public:
  SimWorker(SimLoop& loop, base::Rng& rng, base::Duration longest) : loop_(loop), rng_(rng), longest_(longest) {}
  void submit(std::function<void()> work, std::function<void()> done) override {
    const base::Instant start = std::max(free_at_, loop_.clock().now());
    free_at_ = start + base::Duration(1 + static_cast<int64_t>(rng_.below(static_cast<uint64_t>(longest_.count()))));
    (void)loop_.at(free_at_, [this, work = std::move(work), done = std::move(done)] {
      work();
      loop_.post(done);
    });
  }

 private:
  SimLoop& loop_;
  base::Rng& rng_;
  const base::Duration longest_;
  base::Instant free_at_{};
};

}  // namespace sim
