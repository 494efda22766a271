// What other members say besides raft's messages: answers about members, versions and hashes, JSON in conf changes and rows,
// who sends a request. First byte: which; a line each where there are several texts. No crash, and what is taken is written and
// read again as the same.
#include <cstdint>
#include <string>
#include <string_view>

#include "base/verify.h"
#include "peer/handshake.h"
#include "server/bootstrap.h"
#include "server/conf_state_json.h"
#include "server/corruption_checker.h"
#include "server/membership.h"

namespace {

std::string_view take_line(std::string_view* in) {
  const std::string_view line = in->substr(0, in->find('\n'));
  in->remove_prefix(std::min(line.size() + 1, in->size()));
  return line;
}

void fuzz_answer(uint8_t which, std::string_view in) {
  peer::Answer answer;
  answer.status = which & 0x80 ? 400 : 200;
  answer.fields.emplace_back("x-etcd-cluster-id", take_line(&in));
  answer.body = in;
  (void)server::parse_members_answer(answer);
  (void)server::parse_version_answer(answer);
  (void)server::parse_hash_answer(answer);
}

void fuzz_json(std::string_view in) {
  if (const auto state = server::parse_conf_state(in); state.ok()) {
    const auto again = server::parse_conf_state(server::conf_state_json(*state));
    VERIFY(again.ok() && server::conf_state_json(*again) == server::conf_state_json(*state));
  }
  if (const auto context = server::parse_conf_change_context(in); context.ok()) {
    const auto again = server::parse_conf_change_context(server::member_json(context->member));
    VERIFY(again.ok() && server::member_json(again->member) == server::member_json(context->member));
  }
  (void)server::parse_attributes(in);
}

void fuzz_request(std::string_view in) {
  const peer::Identity us{base::NodeId(1), 2, "3.7.1", {"http://a:1"}};
  peer::Request request;
  request.method = take_line(&in);
  request.path = take_line(&in);
  request.header = [in](std::string_view name) {
    std::string_view rest = in;
    while (!rest.empty()) {
      const std::string_view line = take_line(&rest);
      if (line.size() > name.size() && line.starts_with(name) && line[name.size()] == ':') return line.substr(name.size() + 1);
    }
    return std::string_view();
  };
  peer::Channel channel = peer::Channel::kMessage;
  base::NodeId from;
  (void)peer::check_post(us, request);
  (void)peer::check_stream(us, request, &channel, &from);
  (void)peer::sender_of(request);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view in(reinterpret_cast<const char*>(data + 1), size - 1);
  switch (data[0] % 4) {
    case 0:
      fuzz_answer(data[0], in);
      break;
    case 1:
      fuzz_json(in);
      break;
    case 2:
      fuzz_request(in);
      break;
    default:
      (void)peer::parse_peer_url(in);
      (void)server::parse_minor_version(in);
      (void)peer::compare_minor(in, "3.7.1");
  }
  return 0;
}
