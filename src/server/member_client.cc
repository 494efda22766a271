#include "server/member_client.h"

#include "net/spawn.h"

namespace server {
namespace {

using base::Code;
using base::Result;
using base::Status;

}  // namespace

struct HttpMemberClient::Shared {
  size_t under_way = 0;
  bool gone = false;
};

HttpMemberClient::HttpMemberClient(asio::io_context& loop, const base::Clock& clock)
    : loop_(loop), clock_(clock), shared_(std::make_shared<Shared>()) {}

HttpMemberClient::~HttpMemberClient() { shared_->gone = true; }

namespace {

asio::awaitable<Result<peer::Answer>> ask_in_turn(asio::io_context* loop, peer::DialOptions how, std::vector<std::string> urls,
                                                  peer::Question question, base::Instant deadline) {
  Status last(Code::kUnavailable, "the member has no peer URL");
  for (const std::string& url : urls) {
    std::optional<peer::PeerUrl> where = peer::parse_peer_url(url);
    if (!where) {
      last = Status(Code::kInvalidArgument, "no URL of a member: " + url);
      continue;
    }
    peer::Question one = question;
    one.address = std::move(*where);
    Result<peer::Answer> answer = co_await peer::fetch(*loop, how, std::move(one), deadline);
    if (answer.ok()) co_return answer;
    last = Status(answer.status().code(), "Get \"" + url + question.target + "\": " + std::string(answer.status().text()));
  }
  co_return last;
}

}  // namespace

void HttpMemberClient::ask(const Member& member, peer::Question question, base::Duration timeout, Done done) {
  if (shared_->under_way >= kMemberQuestionsMax) {
    return asio::post(loop_, [shared = shared_, done = std::move(done)] {
      if (!shared->gone) done(Status(Code::kResourceExhausted, "too many questions to other members are under way"));
    });
  }
  ++shared_->under_way;
  net::spawn(
      loop_.get_executor(), "ask a member",
      ask_and_tell(&loop_, how_, member.peer_urls, std::move(question), clock_.now() + timeout, shared_, std::move(done)));
}

// Static and with all it needs in its frame: it may end after the client is gone.
asio::awaitable<void> HttpMemberClient::ask_and_tell(asio::io_context* loop, peer::DialOptions how,
                                                     std::vector<std::string> urls, peer::Question question,
                                                     base::Instant deadline, std::shared_ptr<Shared> shared, Done done) {
  Result<peer::Answer> answer = co_await ask_in_turn(loop, std::move(how), std::move(urls), std::move(question), deadline);
  --shared->under_way;
  if (!shared->gone) done(std::move(answer));
}

}  // namespace server
