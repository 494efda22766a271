#include "cli/ctl/commands.h"
#include "cli/ctl/requests.h"
#include "cli/ctl/session.h"

namespace cli::ctl {
namespace {

using etcdserverpb::RangeRequest;
using etcdserverpb::RangeResponse;

// The pieces of a RangeStream put together.
base::Status read_pieces(Client& client, const RangeRequest& request, Client::Deadline deadline, RangeResponse& whole) {
  return client.read_stream("/etcdserverpb.KV/RangeStream", request, deadline, [&whole](std::string bytes) {
    etcdserverpb::RangeStreamResponse piece;
    if (!piece.ParseFromString(bytes)) return base::Status(base::Code::kInternal, "bad piece of a RangeStream");
    whole.MergeFrom(piece.range_response());
    return base::Status();
  });
}

Exit run_get(const Invocation& invocation, const GetOptions& options) {
  RangeRequest request;
  Exit exit = make_range_request(options, invocation.arguments, request);
  if (exit.code != kExitOk) return exit;
  Setup setup;
  Connection connection;
  exit = prepare(invocation, setup);
  const Client::Deadline deadline = connection.deadline(setup);
  if (exit.code == kExitOk) exit = connect(setup.config, connection);
  if (exit.code != kExitOk) return exit;
  RangeResponse response;
  const base::Status status =
      options.stream ? read_pieces(*connection.client, request, deadline, response)
                     : connection.client->call("/etcdserverpb.KV/Range", request, Retry::kRead, deadline, response);
  if (!status.ok()) return failed(status);
  // Looked at only now, as etcdctl does: a wrong revision is reported before a wrong format.
  if (options.count_only && setup.printer->format() != Format::kFields) {
    return fail(kExitBadArguments, "--count-only is only for `--write-out=fields`");
  }
  if (options.values_only) {
    if (setup.printer->format() != Format::kSimple) {
      return fail(kExitBadArguments, "print-value-only is only for `--write-out=simple`");
    }
    setup.printer->set_values_only();
  }
  return setup.printer->range(response);
}

}  // namespace

std::unique_ptr<Command> make_get_command() {
  auto command = std::make_unique<Command>("get [options] <key> [range_end]", "Reads a key or a range of keys");
  auto options = std::make_shared<GetOptions>();
  add_get_flags(command->flags(), *options);
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_get(invocation, *options); };
  return command;
}

}  // namespace cli::ctl
