#include "net/relay.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "base/verify.h"
#include "net/sys.h"

namespace net {

using base::Code;
using base::Status;

// One direction of a pair.
struct Relay::Flow {
  Pair* pair = nullptr;
  int from = -1, to = -1;
  bool readable = true, writable = true;  // as far as we know
  bool last_read = false;                 // an end or an error was announced: read until it shows
  bool ended = false;                     // read; told to `to` once all is written
  bool queued = false;                    // in pumped_
  size_t full_reads = 0;                  // in a row
  std::string kept;                       // read and not written yet
  size_t kept_at = 0;
  std::unique_ptr<Pipe> pipe;

  bool holds_bytes() const { return kept_at < kept.size() || (pipe != nullptr && pipe->bytes > 0); }
};

struct Relay::Pair {
  Socket client, backend;
  Flow to_backend, to_client;
  size_t slot = 0;  // in pairs_
  bool ended = false;
  base::Instant moved_at{};
};

Relay::Relay(asio::io_context& loop, const base::Clock& clock)
    : clock_(clock), events_(loop), sweeper_(loop), buffer_(std::make_unique<std::array<char, kBufferBytes>>()) {
  std::signal(SIGPIPE, SIG_IGN);  // splice() to a socket nobody reads knows no MSG_NOSIGNAL.
  const int epoll = ::epoll_create1(EPOLL_CLOEXEC);
  VERIFY(epoll >= 0);
  events_.assign(epoll);
  wait();
  sweep();
}

Relay::~Relay() {
  on_empty_ = nullptr;
  for (const auto& pair : pairs_) {  // The pipes go with the flows.
    pair->client.close();
    pair->backend.close();
  }
}

Status Relay::join(Socket client, Socket backend) {
  auto pair = std::make_unique<Pair>();
  pair->client = std::move(client);
  pair->backend = std::move(backend);
  pair->moved_at = clock_.now();
  pair->slot = pairs_.size();
  const int client_fd = pair->client.fd(), backend_fd = pair->backend.fd();
  for (Flow* flow : {&pair->to_backend, &pair->to_client}) {
    flow->pair = pair.get();
    flow->from = flow == &pair->to_backend ? client_fd : backend_fd;
    flow->to = flow == &pair->to_backend ? backend_fd : client_fd;
  }
  for (Flow* flow : {&pair->to_backend, &pair->to_client}) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
    event.data.ptr = flow;  // the one that reads this socket
    if (::epoll_ctl(events_.native_handle(), EPOLL_CTL_ADD, flow->from, &event) != 0) {
      return Status(Code::kResourceExhausted, "epoll_ctl: " + errno_text(errno));
    }
  }
  pairs_.push_back(std::move(pair));
  return Status();
}

void Relay::wait() {
  events_.async_wait(asio::posix::descriptor_base::wait_read, [this](const asio::error_code& error) {
    if (error) return;  // This relay is gone.
    take_events();
    wait();
  });
}

void Relay::take_events() {
  now_ = clock_.now();
  for (size_t turn = 0; turn < kTurnsMax; ++turn) {  // What is left then is announced to the loop again.
    const int count = ::epoll_wait(events_.native_handle(), batch_.data(), static_cast<int>(batch_.size()), 0);
    for (int i = 0; i < count; ++i) take(batch_[static_cast<size_t>(i)]);
    ended_.clear();
    if (count < static_cast<int>(batch_.size())) break;
  }
}

void Relay::take(const epoll_event& event) {
  Flow& reader = *static_cast<Flow*>(event.data.ptr);
  Pair& pair = *reader.pair;
  if (pair.ended) return;
  if ((event.events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    reader.readable = true;
    if ((event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) reader.last_read = true;
    pump(reader);
  }
  Flow& writer = &reader == &pair.to_backend ? pair.to_client : pair.to_backend;
  if (!pair.ended && (event.events & EPOLLOUT) != 0 && !std::exchange(writer.writable, true)) pump(writer);
}

void Relay::pump(Flow& flow) {
  Pair& pair = *flow.pair;
  const Moved moved = move(flow);
  pair.moved_at = now_;
  if (moved == Moved::kBroken ||
      (pair.to_backend.ended && pair.to_client.ended && !pair.to_backend.holds_bytes() && !pair.to_client.holds_bytes())) {
    end(pair);
    return;
  }
  if (moved == Moved::kAll || std::exchange(flow.queued, true)) return;
  pumped_.push_back(&flow);
  if (pumped_.size() == 1) asio::post(events_.get_executor(), [this] { run_pumped(); });
}

void Relay::run_pumped() {
  now_ = clock_.now();
  std::vector<Flow*> flows;
  flows.swap(pumped_);
  for (Flow* flow : flows) {
    flow->queued = false;
    if (!flow->pair->ended) pump(*flow);
  }
  ended_.clear();
}

// Until one side has no more to give or to take, or the flow has had its turns.
Relay::Moved Relay::move(Flow& flow) {
  for (size_t turn = 0; turn < kTurnsMax; ++turn) {
    if (flow.holds_bytes()) {
      if (!flush(flow)) return Moved::kBroken;
      if (flow.holds_bytes()) return Moved::kAll;
    }
    if (flow.ended || !flow.readable) return Moved::kAll;
    if (!(flow.pipe != nullptr ? fill_pipe(flow) : fill(flow))) return Moved::kBroken;
    if (flow.ended && !flow.holds_bytes()) (void)::shutdown(flow.to, SHUT_WR);
  }
  return Moved::kMore;
}

// Writes what is kept; false if nobody takes it any more.
bool Relay::flush(Flow& flow) {
  while (flow.holds_bytes() && flow.writable) {
    ssize_t n = 0;
    if (flow.pipe != nullptr && flow.pipe->bytes > 0) {
      n = ::splice(flow.pipe->out.fd(), nullptr, flow.to, nullptr, flow.pipe->bytes, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (n > 0) flow.pipe->bytes -= static_cast<size_t>(n);
    } else {
      n = ::send(flow.to, flow.kept.data() + flow.kept_at, flow.kept.size() - flow.kept_at, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (n > 0) flow.kept_at += static_cast<size_t>(n);
    }
    if (n > 0) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
      flow.writable = false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  if (flow.holds_bytes()) return true;
  if (!flow.kept.empty()) std::string().swap(flow.kept);
  flow.kept_at = 0;
  if (flow.ended) (void)::shutdown(flow.to, SHUT_WR);
  return true;
}

// Reads once and writes what came.
bool Relay::fill(Flow& flow) {
  const ssize_t n = ::recv(flow.from, buffer_->data(), kBufferBytes, MSG_DONTWAIT);
  if (n == 0) {
    flow.ended = true;
    return true;
  }
  if (n < 0) {
    if (errno == EINTR) return true;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return false;
    flow.readable = false;
    return true;
  }
  const auto bytes = static_cast<size_t>(n);
  // Less than asked for: there is no more, and more will be announced (epoll(7)), unless its announcement has been.
  if (bytes < kBufferBytes && !flow.last_read) flow.readable = false;
  flow.full_reads = bytes == kBufferBytes ? flow.full_reads + 1 : 0;
  bytes_moved_ += bytes;
  if (!send_from_buffer(flow, bytes)) return false;
  if (flow.full_reads >= kBulkReads && !flow.holds_bytes()) flow.pipe = get_pipe();
  return true;
}

bool Relay::send_from_buffer(Flow& flow, size_t bytes) {
  size_t sent = 0;
  while (sent < bytes && flow.writable) {
    const ssize_t n = ::send(flow.to, buffer_->data() + sent, bytes - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n > 0) {
      sent += static_cast<size_t>(n);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      flow.writable = false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  if (sent < bytes) flow.kept.assign(buffer_->data() + sent, bytes - sent);
  return true;
}

bool Relay::fill_pipe(Flow& flow) {
  constexpr size_t kAsked = 1 << 20;
  const ssize_t n = ::splice(flow.from, nullptr, flow.pipe->in.fd(), nullptr, kAsked, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
  if (n > 0) {
    flow.pipe->bytes += static_cast<size_t>(n);
    bytes_moved_ += static_cast<size_t>(n);
    bytes_spliced_ += static_cast<size_t>(n);
    return true;
  }
  if (n == 0) {
    flow.ended = true;
  } else if (errno == EAGAIN || errno == EWOULDBLOCK) {  // Of the socket: the pipe is empty.
    flow.readable = false;
  } else if (errno != EINTR) {
    return false;
  }
  // A pause: others may have the pipe.
  put_pipe(std::move(flow.pipe));
  flow.full_reads = 0;
  return true;
}

std::unique_ptr<Relay::Pipe> Relay::get_pipe() {
  if (!idle_pipes_.empty()) {
    std::unique_ptr<Pipe> pipe = std::move(idle_pipes_.back());
    idle_pipes_.pop_back();
    return pipe;
  }
  int ends[2];
  if (pipes_ >= kPipesMax || ::pipe2(ends, O_NONBLOCK | O_CLOEXEC) != 0) return nullptr;
  ++pipes_;
  (void)::fcntl(ends[1], F_SETPIPE_SZ, kPipeBytes);  // Less will do: a user's pipes share a limit.
  auto pipe = std::make_unique<Pipe>();
  pipe->out = Socket(ends[0]);
  pipe->in = Socket(ends[1]);
  return pipe;
}

void Relay::put_pipe(std::unique_ptr<Pipe> pipe) {
  if (pipe == nullptr) return;
  if (pipe->bytes == 0 && idle_pipes_.size() < kPipesKept) {
    idle_pipes_.push_back(std::move(pipe));
  } else {
    --pipes_;
  }
}

void Relay::end(Pair& pair) {
  pair.ended = true;
  pair.client.close();
  pair.backend.close();
  put_pipe(std::move(pair.to_backend.pipe));
  put_pipe(std::move(pair.to_client.pipe));
  std::erase_if(pumped_, [&pair](const Flow* flow) { return flow->pair == &pair; });
  const size_t slot = pair.slot;
  ended_.push_back(std::move(pairs_[slot]));
  if (slot + 1 < pairs_.size()) {
    pairs_[slot] = std::move(pairs_.back());
    pairs_[slot]->slot = slot;
  }
  pairs_.pop_back();
  if (pairs_.empty() && on_empty_) on_empty_();
}

void Relay::close_quiet(base::Instant since) {
  for (size_t i = pairs_.size(); i-- > 0;) {
    if (pairs_[i]->moved_at <= since) end(*pairs_[i]);
  }
  ended_.clear();
}

void Relay::sweep() {
  const base::Instant quiet_since = clock_.now() - kHalfClosedMax;
  for (size_t i = pairs_.size(); i-- > 0;) {
    Pair& pair = *pairs_[i];
    if ((pair.to_backend.ended || pair.to_client.ended) && pair.moved_at <= quiet_since) end(pair);
  }
  ended_.clear();
  sweeper_.expires_after(kSweepInterval);
  sweeper_.async_wait([this](const asio::error_code& error) {
    if (!error) sweep();
  });
}

}  // namespace net
