// The real base::Loop and base::Worker: an io_context's thread, and a thread of its own for blocking work.
#pragma once

#include <asio.hpp>
#include <functional>
#include <map>
#include <memory>
#include <thread>

#include "base/loop.h"

namespace net {

// Tasks and timers on an io_context that somebody else runs. One Asio timer serves all of them: it is set for the earliest.
class AsioLoop final : public base::Loop {
 public:
  explicit AsioLoop(asio::io_context& context, const base::Clock& clock);
  void post(std::function<void()> task) override;
  base::TimerId at(base::Instant when, std::function<void()> task) override;
  void cancel(base::TimerId id) override;
  const base::Clock& clock() const override { return clock_; }

 private:
  void arm();
  void fire();

  asio::io_context& context_;
  const base::Clock& clock_;
  asio::steady_timer timer_;
  base::Instant armed_for_ = base::Instant::max();
  base::TimerId last_id_ = 0;
  std::map<std::pair<base::Instant, base::TimerId>, std::function<void()>> due_;
  std::map<base::TimerId, base::Instant> when_;
};

// An io_context with a thread that runs it until stop(); what is queued then is dropped.
class LoopThread {
 public:
  explicit LoopThread(const char* name);
  ~LoopThread();
  LoopThread(const LoopThread&) = delete;
  LoopThread& operator=(const LoopThread&) = delete;
  asio::io_context& context() { return context_; }
  // Ends the thread; the context stays for those who still point to it. Once is enough; the destructor does it too.
  void stop();

 private:
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
  std::thread thread_;
};

// One thread; stops after the work already submitted when destroyed (results of that work are not reported any more if the
// home context no longer runs).
class WorkerThread final : public base::Worker {
 public:
  WorkerThread(asio::io_context& home, const char* name);
  ~WorkerThread() override;
  void submit(std::function<void()> work, std::function<void()> done) override;

 private:
  asio::io_context& home_;
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> guard_;
  std::thread thread_;
};

}  // namespace net
