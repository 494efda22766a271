#include <optional>
#include <ostream>

#include "cli/benchmark/commands.h"
#include "cli/benchmark/load.h"
#include "cli/ctl/requests.h"
#include "net/spawn.h"
#include "rpc.pb.h"
#include "rpc/channel.h"

namespace cli::benchmark {
namespace {

constexpr int64_t kPageKeys = 10'000;
constexpr std::string_view kRange = "/etcdserverpb.KV/Range";

struct Options {
  LoadFlags load;
  std::string consistency = "l";
  int64_t limit = 0;
  bool count_only = false, keys_only = false, stream = false, paginate = false, prefix = false;
};

// The same request again and again.
class Ranges final : public Workload {
 public:
  explicit Ranges(const etcdserverpb::RangeRequest& request) : request_(request.SerializeAsString()) {}
  void start(uint32_t client, rpc::Channel& channel, Load& load) override {
    channel.unary(kRange, request_, load.call_options(),
                  [&load, client](base::Result<std::string> answer) { load.finished(client, answer.status()); });
  }

 private:
  std::string request_;
};

// A range read page by page, all pages at the revision of the first.
class PagedRanges final : public Workload {
 public:
  explicit PagedRanges(etcdserverpb::RangeRequest request) : request_(std::move(request)) { request_.set_limit(kPageKeys); }
  void start(uint32_t client, rpc::Channel& channel, Load& load) override {
    read_page(std::make_shared<etcdserverpb::RangeRequest>(request_), client, channel, load);
  }

 private:
  static void read_page(std::shared_ptr<etcdserverpb::RangeRequest> page, uint32_t client, rpc::Channel& channel, Load& load) {
    channel.unary(kRange, page->SerializeAsString(), load.call_options(),
                  [page, client, &channel, &load](base::Result<std::string> answer) {
                    etcdserverpb::RangeResponse response;
                    if (answer.ok() && !response.ParseFromString(*answer)) {
                      answer = base::Status(base::Code::kInternal, "bad answer");
                    }
                    const bool last = !answer.ok() || !response.more() || response.kvs().empty();
                    if (last) return load.finished(client, answer.status());
                    page->set_revision(response.header().revision());
                    page->set_key(response.kvs().rbegin()->key() + std::string(1, '\0'));
                    read_page(page, client, channel, load);
                  });
  }

  etcdserverpb::RangeRequest request_;
};

// A RangeStream each, read to its end.
class StreamedRanges final : public Workload {
 public:
  explicit StreamedRanges(const etcdserverpb::RangeRequest& request) : request_(request.SerializeAsString()) {}
  void start(uint32_t client, rpc::Channel& channel, Load& load) override {
    net::spawn(load.loop().get_executor(), "range stream", read(client, channel, load));
  }

 private:
  asio::awaitable<void> read(uint32_t client, rpc::Channel& channel, Load& load) {
    base::Result<std::unique_ptr<rpc::ClientStream>> stream =
        co_await channel.stream("/etcdserverpb.KV/RangeStream", load.call_options());
    base::Status status = stream.status();
    if (stream.ok()) {
      std::string request = request_;
      status = co_await (*stream)->write(std::move(request));
      (*stream)->half_close();
      while (status.ok()) {
        base::Result<std::optional<std::string>> piece = co_await (*stream)->read();
        status = piece.status();
        if (!status.ok() || !piece->has_value()) break;
      }
    }
    load.finished(client, status);
  }

  std::string request_;
};

etcdserverpb::RangeRequest make_request(const Options& options, const std::vector<std::string>& arguments) {
  etcdserverpb::RangeRequest request;
  if (!arguments.empty()) request.set_key(arguments[0]);
  if (arguments.size() > 1) request.set_range_end(arguments[1]);
  if (options.prefix) request.set_range_end(ctl::prefix_range_end(request.key()));
  if (options.prefix && request.key().empty()) request.set_key(std::string(1, '\0'));
  request.set_limit(options.limit);
  request.set_count_only(options.count_only);
  request.set_keys_only(options.keys_only);
  request.set_serializable(options.consistency == "s");
  return request;
}

Exit usage(const Invocation& invocation) {
  invocation.terminal.err << usage_text(invocation.command);
  return Exit{kExitError, ""};
}

Exit run_range(const Invocation& invocation, const Options& options) {
  const size_t count = invocation.arguments.size();
  if (count > 2 || (count == 0 && !options.prefix)) return usage(invocation);
  if (options.paginate && options.limit > 0) return fail(kExitError, "--paginate and --limit are mutually exclusive");
  if (options.count_only && options.keys_only) {
    return fail(kExitError, "`--keys-only` and `--count-only` cannot be set at the same time");
  }
  if (options.consistency != "l" && options.consistency != "s") return usage(invocation);
  const char* kind = options.consistency == "l" ? "linearizable" : "serializable";
  invocation.terminal.out << "bench with " << kind << " range\n" << std::flush;
  Load load(invocation, options.load);
  if (Exit exit = load.connect(); exit.code != kExitOk) return exit;
  Report report(load.report_options(), static_cast<size_t>(options.load.total));
  const etcdserverpb::RangeRequest request = make_request(options, invocation.arguments);
  std::unique_ptr<Workload> workload;
  if (options.stream) {
    workload = std::make_unique<StreamedRanges>(request);
  } else if (options.paginate) {
    workload = std::make_unique<PagedRanges>(request);
  } else {
    workload = std::make_unique<Ranges>(request);
  }
  load.run(*workload, {&report});
  print_report(invocation, load, report, "range", false);
  return Exit();
}

}  // namespace

std::unique_ptr<Command> make_range_command() {
  auto command = std::make_unique<Command>("range key [end-range]", "Reads a key or a range of keys");
  auto options = std::make_shared<Options>();
  FlagSet& flags = command->flags();
  flags.add("rate", &options->load.rate, "most requests a second (0: no limit)");
  flags.add("total", &options->load.total, "number of requests");
  flags.add("consistency", &options->consistency, "l: linearizable, s: serializable");
  flags.add("limit", &options->limit, "largest number of keys in an answer (0: no limit)");
  flags.add("count-only", &options->count_only, "only how many keys there are");
  flags.add("keys-only", &options->keys_only, "keys without values");
  flags.add("stream", &options->stream, "RangeStream instead of Range");
  flags.add("paginate", &options->paginate, "in pages of 10000 keys");
  flags.add("prefix", &options->prefix, "all keys that begin with the given key");
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_range(invocation, *options); };
  return command;
}

}  // namespace cli::benchmark
