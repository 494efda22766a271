#include "net/asio_loop.h"

#include <pthread.h>

#include "base/verify.h"

namespace net {

AsioLoop::AsioLoop(asio::io_context& context, const base::Clock& clock) : context_(context), clock_(clock), timer_(context) {}

void AsioLoop::post(std::function<void()> task) { asio::post(context_, std::move(task)); }

base::TimerId AsioLoop::at(base::Instant when, std::function<void()> task) {
  const base::TimerId id = ++last_id_;
  due_.emplace(std::pair(when, id), std::move(task));
  when_.emplace(id, when);
  if (when < armed_for_) arm();
  return id;
}

void AsioLoop::cancel(base::TimerId id) {
  const auto found = when_.find(id);
  if (found == when_.end()) return;
  due_.erase({found->second, id});
  when_.erase(found);
}

void AsioLoop::arm() {
  armed_for_ = due_.empty() ? base::Instant::max() : due_.begin()->first.first;
  if (due_.empty()) return;
  timer_.expires_at(armed_for_);
  timer_.async_wait([this](const asio::error_code& error) {
    if (!error) fire();  // A cancelled wait was replaced by an earlier one.
  });
}

void AsioLoop::fire() {
  armed_for_ = base::Instant::max();
  const base::Instant now = clock_.now();
  while (!due_.empty() && due_.begin()->first.first <= now) {
    auto node = due_.extract(due_.begin());
    when_.erase(node.key().second);
    node.mapped()();
  }
  if (armed_for_ == base::Instant::max()) arm();
}

LoopThread::LoopThread(const char* name) : guard_(context_.get_executor()), thread_([this] { context_.run(); }) {
  pthread_setname_np(thread_.native_handle(), name);
}

LoopThread::~LoopThread() { stop(); }

void LoopThread::stop() {
  if (!thread_.joinable()) return;
  context_.stop();
  thread_.join();
}

WorkerThread::WorkerThread(asio::io_context& home, const char* name)
    : home_(home), guard_(context_.get_executor()), thread_([this] { context_.run(); }) {
  pthread_setname_np(thread_.native_handle(), name);
}

WorkerThread::~WorkerThread() {
  guard_.reset();
  thread_.join();
}

void WorkerThread::submit(std::function<void()> work, std::function<void()> done) {
  asio::post(context_, [this, work = std::move(work), done = std::move(done)]() mutable {
    work();
    asio::post(home_, std::move(done));
  });
}

}  // namespace net
