#include <algorithm>

#include "cli/benchmark/commands.h"
#include "cli/benchmark/load.h"
#include "net/spawn.h"
#include "rpc.pb.h"
#include "rpc/channel.h"

namespace cli::benchmark {
namespace {

constexpr int64_t kTtlSeconds = 100;

// Each client renews its own lease, a stream for each renewal.
class KeepAlives final : public Workload {
 public:
  explicit KeepAlives(std::vector<std::string> requests) : requests_(std::move(requests)) {}
  void start(uint32_t client, rpc::Channel& channel, Load& load) override {
    net::spawn(load.loop().get_executor(), "keepalive", renew(client, channel, load));
  }

 private:
  asio::awaitable<void> renew(uint32_t client, rpc::Channel& channel, Load& load) {
    base::Result<std::unique_ptr<rpc::ClientStream>> stream =
        co_await channel.stream("/etcdserverpb.Lease/LeaseKeepAlive", load.call_options());
    base::Status status = stream.status();
    if (stream.ok()) {
      std::string request = requests_[client];
      status = co_await (*stream)->write(std::move(request));
      if (status.ok()) {
        base::Result<std::optional<std::string>> answer = co_await (*stream)->read();
        status = answer.status();
        if (status.ok()) status = judge(*answer);
      }
    }
    load.finished(client, status);
  }

  static base::Status judge(const std::optional<std::string>& answer) {
    etcdserverpb::LeaseKeepAliveResponse response;
    if (!answer || !response.ParseFromString(*answer)) return base::Status(base::Code::kUnknown, "EOF");
    if (response.ttl() > 0) return base::Status();
    return base::Status(base::Code::kNotFound, "etcdserver: requested lease not found");
  }

  std::vector<std::string> requests_;
};

// A lease for each client, as the request that renews it.
base::Status grant_all(Load& load, uint64_t count, std::vector<std::string>& requests) {
  for (uint64_t i = 0; i < count; ++i) {
    etcdserverpb::LeaseGrantRequest request;
    request.set_ttl(kTtlSeconds);
    etcdserverpb::LeaseGrantResponse response;
    const base::Status status =
        load.first_client().call("/etcdserverpb.Lease/LeaseGrant", request, Retry::kRead, std::nullopt, response);
    if (!status.ok()) return status;
    etcdserverpb::LeaseKeepAliveRequest renewal;
    renewal.set_id(response.id());
    requests.push_back(renewal.SerializeAsString());
  }
  return base::Status();
}

Exit run_lease_keepalive(const Invocation& invocation, const LoadFlags& flags) {
  Load load(invocation, flags);
  if (Exit exit = load.connect(); exit.code != kExitOk) return exit;
  const auto total = static_cast<uint64_t>(std::max<int64_t>(flags.total, 0));
  std::vector<std::string> requests;
  const base::Status granted = grant_all(load, std::min(load.flags().clients, total), requests);
  if (!granted.ok()) return fail(kExitError, std::string(granted.text()));
  Report report(load.report_options(), total);
  KeepAlives keep_alives(std::move(requests));
  load.run(keep_alives, {&report});
  print_report(invocation, load, report, "lease-keepalive", false);
  return Exit();
}

}  // namespace

std::unique_ptr<Command> make_lease_keepalive_command() {
  auto command = std::make_unique<Command>("lease-keepalive", "Renews leases");
  auto options = std::make_shared<LoadFlags>();
  command->flags().add("total", &options->total, "number of renewals");
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_lease_keepalive(invocation, *options); };
  return command;
}

}  // namespace cli::benchmark
