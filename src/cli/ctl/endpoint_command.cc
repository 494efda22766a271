#include <ostream>

#include "base/log.h"
#include "cli/ctl/commands.h"
#include "cli/ctl/session.h"

namespace cli::ctl {
namespace {

using base::Result;
using base::Status;

constexpr const char* kStatusDetails =
    "Shows how the members behind --endpoints are. With --write-out=simple a line has, with commas between: endpoint, id,\n"
    "version, storage version, size of the data, size in use, percentage not in use, quota, whether it leads, whether it is a\n"
    "learner, raft term, raft index, applied index, errors, downgrade target, whether a downgrade is enabled.\n";

struct EndpointOptions {
  bool cluster = false;
};
struct HashOptions {
  int64_t revision = 0;
};

const EndpointOptions& endpoint_options(const Invocation& invocation) {
  return *static_cast<EndpointOptions*>(invocation.command.parent()->state.get());
}

// One endpoint's health: a linearizable read of any key, then its alarms. All endpoints at once, each on its own client.
class HealthCheck {
 public:
  HealthCheck(Client& client, const base::Clock& clock, base::Duration timeout, std::string endpoint,
              std::vector<EndpointHealth>& results)
      : client_(client), clock_(clock), started_(clock.now()), deadline_(started_ + timeout), results_(results) {
    health_.endpoint = std::move(endpoint);
  }

  void start() {
    etcdserverpb::RangeRequest request;
    request.set_key("health");
    client_.unary("/etcdserverpb.KV/Range", request.SerializeAsString(), Retry::kRead, deadline_,
                  [this](Result<std::string> answer) { on_range(answer.status()); });
  }

 private:
  void on_range(const Status& status) {
    health_.took = base::log::duration_text((clock_.now() - started_).count());
    // A refused read has been through consensus all the same.
    if (!status.ok() && status.text() != "etcdserver: permission denied") {
      health_.error = status.text();
      results_.push_back(health_);
      return;
    }
    health_.healthy = true;
    etcdserverpb::AlarmRequest request;
    request.set_action(etcdserverpb::AlarmRequest::GET);
    client_.unary("/etcdserverpb.Maintenance/Alarm", request.SerializeAsString(), Retry::kRead, deadline_,
                  [this](Result<std::string> answer) { on_alarms(std::move(answer)); });
  }

  void on_alarms(Result<std::string> answer) {
    etcdserverpb::AlarmResponse response;
    if (!answer.ok() || !response.ParseFromString(*answer)) {
      health_.healthy = false;
      health_.error = "Unable to fetch the alarm list";
    } else if (response.alarms_size() > 0) {
      health_.healthy = false;
      health_.error = "Active Alarm(s): ";
      for (const etcdserverpb::AlarmMember& alarm : response.alarms()) {
        const bool known = alarm.alarm() == etcdserverpb::NOSPACE || alarm.alarm() == etcdserverpb::CORRUPT;
        health_.error += (known ? etcdserverpb::AlarmType_Name(alarm.alarm()) : "UNKNOWN") + " ";
      }
    }
    results_.push_back(health_);
  }

  Client& client_;
  const base::Clock& clock_;
  const base::Instant started_, deadline_;
  std::vector<EndpointHealth>& results_;
  EndpointHealth health_;
};

Exit run_health(const Invocation& invocation) {
  Setup setup;
  std::vector<std::string> endpoints;
  Exit exit = prepare(invocation, setup);
  if (exit.code == kExitOk) exit = list_endpoints(setup, endpoint_options(invocation).cluster, endpoints);
  if (exit.code != kExitOk) return exit;
  asio::io_context loop{1};
  const base::RealClock clock;
  std::vector<EndpointHealth> results;  // in the order they come in
  std::vector<std::unique_ptr<Client>> clients;
  std::vector<std::unique_ptr<HealthCheck>> checks;
  for (const std::string& endpoint : endpoints) {
    ClientConfig config = config_for(setup, endpoint);
    config.logger = "client";
    Result<std::unique_ptr<Client>> client = Client::open(loop, clock, std::move(config));
    if (client.ok()) {
      clients.push_back(std::move(*client));
      checks.push_back(std::make_unique<HealthCheck>(*clients.back(), clock, setup.command_timeout, endpoint, results));
      checks.back()->start();
    } else if (client.status().code() == base::Code::kInvalidArgument) {
      return fail(kExitBadArguments, std::string(client.status().text()));
    } else {
      results.push_back({endpoint, false, "", std::string(client.status().text())});
    }
  }
  while (results.size() < endpoints.size()) {
    if (loop.stopped()) loop.restart();
    loop.run_one();
  }
  exit = setup.printer->endpoint_health(results);
  if (exit.code != kExitOk) return exit;
  for (const EndpointHealth& health : results) {
    if (!health.error.empty()) return fail(kExitError, "unhealthy cluster");
  }
  return exit;
}

// Asks every endpoint the same, one after the other, and reports those that fail as they do. `last`: the last failure.
template <class Answer>
Exit ask_each(const Invocation& invocation, Setup& setup, const char* what, std::string_view method,
              const google::protobuf::MessageLite& request, std::vector<std::pair<std::string, Answer>>& answers,
              Status& last) {
  std::vector<std::string> endpoints;
  Exit exit = prepare(invocation, setup);
  if (exit.code == kExitOk) exit = list_endpoints(setup, endpoint_options(invocation).cluster, endpoints);
  if (exit.code != kExitOk) return exit;
  for (const std::string& endpoint : endpoints) {
    Connection connection;
    exit = connect(config_for(setup, endpoint), connection);
    if (exit.code != kExitOk) return exit;
    Answer answer;
    const Status status = connection.client->call(method, request, Retry::kRead, connection.deadline(setup), answer);
    if (status.ok()) {
      answers.emplace_back(endpoint, std::move(answer));
    } else {
      last = status;
      invocation.terminal.err << "Failed to get the " << what << " of endpoint " << endpoint << " (" << status.text() << ")\n";
    }
  }
  return Exit();
}

Exit run_status(const Invocation& invocation) {
  Setup setup;
  Status last;
  std::vector<std::pair<std::string, etcdserverpb::StatusResponse>> answers;
  const etcdserverpb::StatusRequest request;
  Exit exit = ask_each(invocation, setup, "status", "/etcdserverpb.Maintenance/Status", request, answers, last);
  if (exit.code != kExitOk) return exit;
  std::vector<EndpointStatus> list;
  for (auto& [endpoint, status] : answers) list.push_back({endpoint, std::move(status)});
  exit = setup.printer->endpoint_status(list);
  if (exit.code == kExitOk && !last.ok()) exit.code = kExitError;  // the text was printed above
  return exit;
}

Exit run_hash(const Invocation& invocation, const HashOptions& options) {
  etcdserverpb::HashKVRequest request;
  request.set_revision(options.revision);
  Setup setup;
  Status last;
  std::vector<std::pair<std::string, etcdserverpb::HashKVResponse>> answers;
  Exit exit = ask_each(invocation, setup, "hash", "/etcdserverpb.Maintenance/HashKV", request, answers, last);
  if (exit.code != kExitOk) return exit;
  std::vector<EndpointHash> list;
  for (auto& [endpoint, hash] : answers) list.push_back({endpoint, std::move(hash)});
  exit = setup.printer->endpoint_hash(list);
  return exit.code == kExitOk && !last.ok() ? failed(last) : exit;
}

}  // namespace

std::unique_ptr<Command> make_endpoint_command() {
  auto command = std::make_unique<Command>("endpoint <subcommand>",
                                           "State of single members. `etcdctl endpoint --help` lists the subcommands");
  command->details = "State of single members";
  auto options = std::make_shared<EndpointOptions>();
  command->handed_down().add("cluster", &options->cluster, "ask all members that the member list names");
  command->state = options;

  auto health = std::make_unique<Command>("health", "Whether the members behind `--endpoints` can serve");
  health->run = run_health;
  command->add(std::move(health));

  auto status = std::make_unique<Command>("status", "State of the members behind `--endpoints`");
  status->details = kStatusDetails;
  status->run = run_status;
  command->add(std::move(status));

  auto hash = std::make_unique<Command>("hashkv", "Hash over the key history of each member behind --endpoints");
  auto hash_options = std::make_shared<HashOptions>();
  hash->handed_down().add("rev", &hash_options->revision, "last revision that goes into the hash (0: the newest)");
  hash->state = hash_options;
  hash->run = [options = hash_options.get()](const Invocation& invocation) { return run_hash(invocation, *options); };
  command->add(std::move(hash));
  return command;
}

}  // namespace cli::ctl
