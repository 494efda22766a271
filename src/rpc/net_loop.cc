#include "rpc/net_loop.h"

#include "base/verify.h"
#include "rpc/call.h"
#include "rpc/connection.h"

namespace rpc {

NetLoop::NetLoop(asio::io_context& io, asio::io_context& home, const base::Clock& clock, std::shared_ptr<ServerCore> core)
    : io_(io),
      home_(home),
      clock_(clock),
      core_(std::move(core)),
      timers_(io, clock),
      read_buffer_(new char[kReadBufferBytes]) {}

NetLoop::~NetLoop() = default;

void NetLoop::to_home(CallMessage message) {
  if (is_home()) {
    message.call->receive_at_home(std::move(message));
    return;
  }
  home_batch_.push_back(std::move(message));
  if (home_posted_) return;
  home_posted_ = true;
  asio::post(io_, [self = shared_from_this()] {  // At the end of this turn: one wake-up for all of it.
    self->home_posted_ = false;
    asio::post(self->home_, [batch = std::make_shared<std::vector<CallMessage>>(std::exchange(self->home_batch_, {})), self] {
      for (CallMessage& m : *batch) {
        Call* call = m.call;
        call->receive_at_home(std::move(m));
      }
    });
  });
}

void NetLoop::to_owner(CallMessage message) {
  if (is_home()) {
    message.call->receive_at_owner(std::move(message));
    return;
  }
  owner_batch_.push_back(std::move(message));
  if (owner_posted_) return;
  owner_posted_ = true;
  asio::post(home_, [self = shared_from_this()] {
    self->owner_posted_ = false;
    asio::post(self->io_, [batch = std::make_shared<std::vector<CallMessage>>(std::exchange(self->owner_batch_, {})), self] {
      for (CallMessage& m : *batch) {
        Call* call = m.call;
        call->receive_at_owner(std::move(m));
      }
    });
  });
}

void NetLoop::mark_dirty(std::shared_ptr<Connection> connection) {
  if (std::exchange(connection->dirty, true)) return;
  dirty_.push_back(std::move(connection));
  if (std::exchange(flush_posted_, true)) return;
  asio::post(io_, [self = shared_from_this()] { self->flush_dirty(); });
}

void NetLoop::flush_dirty() {
  flush_posted_ = false;
  std::vector<std::shared_ptr<Connection>> now = std::exchange(dirty_, {});
  for (const std::shared_ptr<Connection>& connection : now) {
    connection->dirty = false;
    connection->flush();
  }
  now.clear();
  if (dirty_.empty()) dirty_ = std::move(now);  // Keep the capacity.
}

Call* NetLoop::take_call() {
  if (idle_calls_.empty()) return new Call(shared_from_this(), core_);
  Call* call = idle_calls_.back().release();
  idle_calls_.pop_back();
  return call;
}

void NetLoop::recycle(Call* call) {
  std::unique_ptr<Call> owned(call);
  if (stopped_ || idle_calls_.size() >= kCallsPooledMax) return;
  call->clear();
  idle_calls_.push_back(std::move(owned));
}

std::vector<std::shared_ptr<Connection>> NetLoop::connections() const {
  std::vector<std::shared_ptr<Connection>> all;
  all.reserve(connections_.size());
  for (Connection* connection : connections_) all.push_back(connection->shared_from_this());
  return all;
}

void NetLoop::stop() {
  stopped_ = true;
  timers_.stop();
  idle_calls_.clear();
}

}  // namespace rpc
