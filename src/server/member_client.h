// Questions to other members on their peer ports: version, hash, promotion. The seam that lets the simulator and tests answer
// them. Owner: core loop.
#pragma once

#include <asio.hpp>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "peer/fetch.h"
#include "server/membership.h"

namespace server {

// Questions under way at once; more are refused with kResourceExhausted.
inline constexpr size_t kMemberQuestionsMax = 256;

class MemberClient {
 public:
  using Done = std::function<void(base::Result<peer::Answer>)>;
  virtual ~MemberClient() = default;
  // Asks the member's peer URLs in turn until one answers, whatever the HTTP status; the last error if none does. The address
  // of `question` is filled in. `done` runs on the core loop, once, later; not at all after this object is gone.
  virtual void ask(const Member& member, peer::Question question, base::Duration timeout, Done done) = 0;
};

// Over HTTP/1.1, a connection a question.
class HttpMemberClient final : public MemberClient {
 public:
  HttpMemberClient(asio::io_context& loop, const base::Clock& clock);
  // Before the first question.
  void set_dialling(peer::DialOptions how) { how_ = std::move(how); }
  ~HttpMemberClient() override;
  void ask(const Member& member, peer::Question question, base::Duration timeout, Done done) override;

 private:
  struct Shared;
  static asio::awaitable<void> ask_and_tell(asio::io_context* loop, peer::DialOptions how, std::vector<std::string> urls,
                                            peer::Question question, base::Instant deadline, std::shared_ptr<Shared> shared,
                                            Done done);

  asio::io_context& loop_;
  const base::Clock& clock_;
  peer::DialOptions how_;
  std::shared_ptr<Shared> shared_;
};

}  // namespace server
