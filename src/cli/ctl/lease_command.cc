#include <algorithm>
#include <ostream>

#include "base/log.h"
#include "cli/ctl/commands.h"
#include "cli/ctl/session.h"
#include "net/spawn.h"
#include "rpc/channel.h"

namespace cli::ctl {
namespace {

using base::Result;
using base::Status;
using etcdserverpb::LeaseKeepAliveResponse;

constexpr std::string_view kKeepAlive = "/etcdserverpb.Lease/LeaseKeepAlive";
constexpr std::chrono::milliseconds kLookInterval(500);  // between two looks at what is due, and after a broken stream
constexpr base::Duration kFirstAnswerDefault = std::chrono::seconds(5);  // without --dial-timeout
constexpr base::Duration kBesideDialTimeout = std::chrono::seconds(1);
constexpr int kKeepAlivesPerTtl = 3;

// Exit code 128 if `argument` is no id.
Exit read_lease_id(const std::string& argument, int64_t& id) {
  const Result<int64_t> parsed = parse_int(argument, 16);
  if (!parsed.ok()) {
    return fail(kExitBadArguments, "bad lease ID arg (" + std::string(parsed.status().text()) + "), expecting ID in Hex");
  }
  id = *parsed;
  return Exit();
}

// The one argument as an id, then the environment and the connection.
Exit open(const Invocation& invocation, const char* missing, int64_t& id, Setup& setup, Connection& connection) {
  if (invocation.arguments.size() != 1) return fail(kExitBadArguments, missing);
  Exit exit = read_lease_id(invocation.arguments[0], id);
  if (exit.code == kExitOk) exit = prepare(invocation, setup);
  return exit.code == kExitOk ? connect(setup.config, connection) : exit;
}

Exit run_grant(const Invocation& invocation) {
  if (invocation.arguments.size() != 1) return fail(kExitBadArguments, "lease grant command needs TTL argument");
  const Result<int64_t> ttl = parse_int(invocation.arguments[0], 10);
  if (!ttl.ok()) return fail(kExitBadArguments, "bad TTL (" + std::string(ttl.status().text()) + ")");
  Setup setup;
  Connection connection;
  Exit exit = prepare(invocation, setup);
  const Client::Deadline deadline = connection.deadline(setup);
  if (exit.code == kExitOk) exit = connect(setup.config, connection);
  if (exit.code != kExitOk) return exit;
  etcdserverpb::LeaseGrantRequest request;
  request.set_ttl(*ttl);
  etcdserverpb::LeaseGrantResponse response;
  const Status status = connection.client->call("/etcdserverpb.Lease/LeaseGrant", request, Retry::kRead, deadline, response);
  if (!status.ok()) return fail(kExitError, "failed to grant lease (" + std::string(status.text()) + ")");
  return setup.printer->lease_grant(response);
}

Exit run_revoke(const Invocation& invocation) {
  Setup setup;
  Connection connection;
  int64_t id = 0;
  Exit exit = open(invocation, "lease revoke command needs 1 argument", id, setup, connection);
  if (exit.code != kExitOk) return exit;
  etcdserverpb::LeaseRevokeRequest request;
  request.set_id(id);
  etcdserverpb::LeaseRevokeResponse response;
  const Status status =
      connection.client->call("/etcdserverpb.Lease/LeaseRevoke", request, Retry::kRead, connection.deadline(setup), response);
  if (!status.ok()) return fail(kExitError, "failed to revoke lease (" + std::string(status.text()) + ")");
  return setup.printer->lease_revoke(id, response);
}

struct TimeToLiveOptions {
  bool keys = false;
};

Exit run_time_to_live(const Invocation& invocation, const TimeToLiveOptions& options) {
  // Here etcdctl connects before it reads the id.
  if (invocation.arguments.size() != 1) {
    return fail(kExitBadArguments, "lease timetolive command needs lease ID as argument");
  }
  Setup setup;
  Connection connection;
  Exit exit = prepare(invocation, setup);
  if (exit.code == kExitOk) exit = connect(setup.config, connection);
  int64_t id = 0;
  if (exit.code == kExitOk) exit = read_lease_id(invocation.arguments[0], id);
  if (exit.code != kExitOk) return exit;
  etcdserverpb::LeaseTimeToLiveRequest request;
  request.set_id(id);
  request.set_keys(options.keys);
  etcdserverpb::LeaseTimeToLiveResponse response;
  // --command-timeout does not count for this one, nor for the list and keep-alive.
  const Status status =
      connection.client->call("/etcdserverpb.Lease/LeaseTimeToLive", request, Retry::kRead, std::nullopt, response);
  if (!status.ok()) return fail(kExitBadConnection, std::string(status.text()));
  return setup.printer->lease_time_to_live(response, options.keys);
}

Exit run_list(const Invocation& invocation) {
  Setup setup;
  Connection connection;
  Exit exit = prepare(invocation, setup);
  if (exit.code == kExitOk) exit = connect(setup.config, connection);
  if (exit.code != kExitOk) return exit;
  etcdserverpb::LeaseLeasesResponse response;
  const Status status = connection.client->call("/etcdserverpb.Lease/LeaseLeases", etcdserverpb::LeaseLeasesRequest(),
                                                Retry::kRead, std::nullopt, response);
  if (!status.ok()) return fail(kExitBadConnection, std::string(status.text()));
  return setup.printer->lease_list(response);
}

// Renews one lease until it is gone: a request when a third of its time has passed, a new stream when the old one breaks.
class KeepAlive {
 public:
  KeepAlive(Setup& setup, Connection& connection, Terminal& terminal, int64_t id)
      : printer_(*setup.printer), connection_(connection), terminal_(terminal), id_(id), next_(connection.clock.now()) {
    const base::Duration dial = setup.config.dial_timeout;
    deadline_ = next_ + (dial.count() == 0 ? kFirstAnswerDefault : dial + kBesideDialTimeout);
  }

  Exit run() {
    net::spawn(connection_.loop.get_executor(), "keep-alive", receive());
    look();
    while (!over_) {
      if (connection_.loop.stopped()) connection_.loop.restart();
      connection_.loop.run_one();
    }
    return exit_;
  }

 private:
  // Sends what is due; gives up when no answer came within the lease's time.
  void look() {
    const base::Instant now = connection_.clock.now();
    if (now > deadline_) over_ = true;
    if (!over_ && stream_ != nullptr && !writing_ && now >= next_) {
      writing_ = true;
      net::spawn(connection_.loop.get_executor(), "keep-alive request", send(stream_));
    }
    timer_.expires_after(kLookInterval);
    timer_.async_wait([this](const std::error_code& error) {
      if (!error && !over_) look();
    });
  }

  asio::awaitable<void> send(std::shared_ptr<rpc::ClientStream> stream) {
    etcdserverpb::LeaseKeepAliveRequest request;
    request.set_id(id_);
    std::string bytes = request.SerializeAsString();
    const Status sent = co_await stream->write(std::move(bytes));
    writing_ = false;
    if (!sent.ok()) {
      base::log::write_named("etcd-client", base::log::Level::kWarn, "error occurred during lease keep alive request sending",
                             {{"error", sent}});
    }
  }

  asio::awaitable<void> receive() {
    asio::steady_timer pause(connection_.loop);
    while (!over_) {
      rpc::CallOptions options = connection_.client->stream_options(true);
      options.wait_for_ready = false;
      Result<std::unique_ptr<rpc::ClientStream>> opened = co_await connection_.client->channel().stream(kKeepAlive, options);
      if (opened.ok()) {
        stream_ = std::move(*opened);
        if (!writing_) {
          writing_ = true;
          net::spawn(connection_.loop.get_executor(), "keep-alive request", send(stream_));
        }
        co_await read_all();
        stream_->cancel();
        stream_.reset();
      } else {
        const std::string error(in_words(opened.status(), false).text());
        base::log::write_named("etcd-client", base::log::Level::kWarn, "error occurred during lease keep alive loop",
                               {{"error", error}});
      }
      if (over_) break;
      pause.expires_after(kLookInterval);
      co_await pause.async_wait(asio::use_awaitable);
    }
  }

  asio::awaitable<void> read_all() {
    while (!over_) {
      Result<std::optional<std::string>> message = co_await stream_->read();
      LeaseKeepAliveResponse response;
      if (!message.ok() || !message->has_value() || !response.ParseFromString(**message)) co_return;
      if (response.id() == id_) take(response);
    }
  }

  void take(const LeaseKeepAliveResponse& response) {
    if (response.ttl() <= 0) {
      over_ = true;
      return;
    }
    const base::Instant now = connection_.clock.now();
    const base::Duration ttl = std::chrono::seconds(std::min<int64_t>(response.ttl(), kTtlSecondsMax));
    next_ = now + ttl / kKeepAlivesPerTtl;
    deadline_ = now + ttl;
    exit_ = printer_.lease_keep_alive(response);
    terminal_.out << std::flush;
    if (exit_.code != kExitOk) over_ = true;
  }

  static constexpr int64_t kTtlSecondsMax = 9'000'000'000;  // etcd's largest, which fits into nanoseconds

  Printer& printer_;
  Connection& connection_;
  Terminal& terminal_;
  const int64_t id_;
  base::Instant next_, deadline_;
  std::shared_ptr<rpc::ClientStream> stream_;
  asio::steady_timer timer_{connection_.loop};
  bool writing_ = false, over_ = false;
  Exit exit_;
};

struct OnceAnswer {
  Status status;
  LeaseKeepAliveResponse response;
  bool done = false;
};

asio::awaitable<void> keep_alive_once(Client& client, int64_t id, OnceAnswer& answer) {
  Result<std::unique_ptr<rpc::ClientStream>> stream =
      co_await client.channel().stream(kKeepAlive, client.stream_options(false));
  answer.status = stream.status();
  if (stream.ok()) {
    etcdserverpb::LeaseKeepAliveRequest request;
    request.set_id(id);
    std::string bytes = request.SerializeAsString();
    answer.status = co_await (*stream)->write(std::move(bytes));
    Result<std::optional<std::string>> message = co_await (*stream)->read();
    if (!message.ok()) {
      answer.status = message.status();
    } else if (!message->has_value()) {
      answer.status = Status(base::Code::kUnknown, "EOF");
    } else if (!answer.response.ParseFromString(**message)) {
      answer.status = Status(base::Code::kInternal, "grpc: failed to unmarshal the received message");
    }
  }
  answer.done = true;
}

// Again and again while the server is away, as the Go client does.
OnceAnswer keep_alive_once(Connection& connection, int64_t id) {
  for (;;) {
    OnceAnswer answer;
    net::spawn(connection.loop.get_executor(), "keep-alive once", keep_alive_once(*connection.client, id, answer));
    while (!answer.done) {
      if (connection.loop.stopped()) connection.loop.restart();
      connection.loop.run_one();
    }
    const base::Code code = answer.status.code();
    if (answer.status.ok() || (code != base::Code::kUnavailable && code != base::Code::kInternal)) return answer;
  }
}

struct KeepAliveOptions {
  bool once = false;
};

Exit run_keep_alive(const Invocation& invocation, const KeepAliveOptions& options) {
  Setup setup;
  Connection connection;
  int64_t id = 0;
  Exit exit = open(invocation, "lease keep-alive command needs lease ID as argument", id, setup, connection);
  if (exit.code != kExitOk) return exit;
  if (options.once) {
    const OnceAnswer answer = keep_alive_once(connection, id);
    if (!answer.status.ok()) return fail(kExitBadConnection, std::string(in_words(answer.status, false).text()));
    if (answer.response.ttl() <= 0) return fail(kExitBadConnection, "etcdserver: requested lease not found");
    return setup.printer->lease_keep_alive(answer.response);
  }
  KeepAlive keep_alive(setup, connection, invocation.terminal, id);
  exit = keep_alive.run();
  invocation.terminal.out << std::flush;
  if (exit.code == kExitOk && setup.printer->format() == Format::kSimple) {
    invocation.terminal.out << "lease " << lease_text(id) << " expired or revoked.\n" << std::flush;
  }
  if (!exit.error.empty()) invocation.terminal.err << "Error: " << exit.error << "\n" << std::flush;
  base::log::flush_and_exit(exit.code);  // its coroutines may be in the middle of something: no destructors
}

std::unique_ptr<Command> make_keep_alive_command() {
  auto command = std::make_unique<Command>("keep-alive [options] <leaseID>", "Renews a lease until it is gone");
  auto options = std::make_shared<KeepAliveOptions>();
  command->flags().add("once", &options->once, "renew it once and end");
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_keep_alive(invocation, *options); };
  return command;
}

std::unique_ptr<Command> make_time_to_live_command() {
  auto command = std::make_unique<Command>("timetolive <leaseID> [options]", "Shows how long a lease has left");
  auto options = std::make_shared<TimeToLiveOptions>();
  command->flags().add("keys", &options->keys, "also the keys that are attached to it");
  command->state = options;
  command->run = [options = options.get()](const Invocation& invocation) { return run_time_to_live(invocation, *options); };
  return command;
}

}  // namespace

std::unique_ptr<Command> make_lease_command() {
  auto command = std::make_unique<Command>("lease <subcommand>", "Leases. `etcdctl lease --help` lists the subcommands");
  command->details = "Leases";
  auto grant = std::make_unique<Command>("grant <ttl>", "Makes a lease of so many seconds");
  grant->run = run_grant;
  command->add(std::move(grant));
  auto revoke = std::make_unique<Command>("revoke <leaseID>", "Ends a lease and deletes its keys");
  revoke->run = run_revoke;
  command->add(std::move(revoke));
  command->add(make_time_to_live_command());
  auto list = std::make_unique<Command>("list", "Lists the leases that are alive");
  list->run = run_list;
  command->add(std::move(list));
  command->add(make_keep_alive_command());
  return command;
}

}  // namespace cli::ctl
