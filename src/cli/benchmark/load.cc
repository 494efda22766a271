#include "cli/benchmark/load.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <ostream>

#include "cli/password.h"
#include "cli/text.h"
#include "rpc.pb.h"
#include "rpc/channel.h"

namespace cli::benchmark {
namespace {

constexpr size_t kConnsMax = 100'000;
constexpr size_t kClientsMax = 10'000'000;
constexpr base::Duration kSyncTimeout = std::chrono::seconds(5);

}  // namespace

void add_global_flags(FlagSet& flags, GlobalFlags& values) {
  flags.add("endpoints", &values.endpoints, "where the members listen, comma separated");
  flags.add("conns", &values.conns, "number of connections");
  flags.add("clients", &values.clients, "number of clients, each with one request under way");
  flags.add("precise", &values.precise, "print all digits");
  flags.add("sample", &values.sample, "also print a line for each second");
  flags.add("cert", &values.tls.certificate, "file of the client's TLS certificate");
  flags.add("key", &values.tls.key, "file of the client's TLS key");
  flags.add("cacert", &values.tls.trusted_ca, "file of the CA certificates that the servers' certificates are checked against");
  flags.add("insecure-skip-tls-verify", &values.tls.insecure_skip_verify, "do not check the server's certificate");
  flags.add("user", &values.user, "name[:password] to authenticate with (asks for the password if it is missing)");
  flags.add("dial-timeout", &values.dial_timeout, "how long connecting may take");
  flags.add("auto-sync-interval", &values.auto_sync_interval, "how often to ask the members where they listen");
  flags.add("report-perfdash", &values.report_perfdash, "also write the result as a file for perfdash");
}

const GlobalFlags& global_flags(const Command& command) { return *static_cast<GlobalFlags*>(command.root().state.get()); }

Load::Load(const Invocation& invocation, LoadFlags flags)
    : terminal_(invocation.terminal),
      flags_(global_flags(invocation.command)),
      total_(static_cast<uint64_t>(std::max<int64_t>(flags.total, 0))),
      has_bar_(flags.has_bar),
      call_options_(std::make_unique<rpc::CallOptions>()),
      bar_(invocation.terminal.err, total_) {
  if (flags.rate > 0) slot_ = std::chrono::nanoseconds(1'000'000'000) / flags.rate;
}

Load::~Load() = default;

Exit Load::connect() {
  if (flags_.conns == 0 || flags_.conns > kConnsMax) {
    return fail(kExitError, formatted("expected --conns from 1 to %zu", kConnsMax));
  }
  if (flags_.clients == 0 || flags_.clients > kClientsMax) {
    return fail(kExitError, formatted("expected --clients from 1 to %zu", kClientsMax));
  }
  if (flags_.endpoints.empty()) return fail(kExitError, "dial error: etcdclient: no available endpoints");
  ClientConfig& config = config_;
  for (const std::string& endpoint : flags_.endpoints) config.endpoints.emplace_back(trimmed(endpoint));
  config.dial_timeout = flags_.dial_timeout;
  config.tls = flags_.tls;
  config.tls.insecure_skip_verify &= !(flags_.tls.certificate.empty() && flags_.tls.trusted_ca.empty());
  config.quiet = true;
  if (!flags_.user.empty()) {
    const size_t colon = flags_.user.find(':');
    config.user = flags_.user.substr(0, colon);
    config.password = colon == std::string::npos ? ask_password(terminal_) : flags_.user.substr(colon + 1);
  }
  for (uint64_t i = 0; i < flags_.conns; ++i) {
    base::Result<std::unique_ptr<Client>> client = Client::open(loop_, clock_, config);
    if (!client.ok()) {
      const bool bad_files = client.status().code() == base::Code::kInvalidArgument;
      return fail(kExitError, (bad_files ? "bad tls config: " : "dial error: ") + std::string(client.status().text()));
    }
    clients_.push_back(std::move(*client));
  }
  call_options_->wait_for_ready = true;
  if (const std::string& token = first_client().token(); !token.empty()) call_options_->metadata.add("token", token);
  return Exit();
}

void Load::run(Workload& workload, std::vector<Report*> reports) {
  workload_ = &workload;
  reports_ = std::move(reports);
  began_.resize(flags_.clients);
  run_began_ = clock_.now();
  next_slot_ = run_began_ - slot_;
  unix_offset_ns_ = clock_.unix_ns() - run_began_.time_since_epoch().count();
  redraw();
  if (flags_.auto_sync_interval.count() > 0) sync_endpoints();
  for (uint64_t client = 0; client < flags_.clients && client < total_; ++client) launch(static_cast<uint32_t>(client));
  while (done_ < total_) {
    if (loop_.stopped()) loop_.restart();
    loop_.run_one();
  }
  elapsed_ = clock_.now() - run_began_;
  redraw_timer_.cancel();
  sync_timer_.cancel();
  if (has_bar_) bar_.finish(done_, elapsed_);
}

void Load::launch(uint32_t client) {
  if (started_ == total_) return;
  ++started_;
  if (slot_.count() > 0) {
    wait_for_slot(client);
  } else {
    send(client);
  }
}

void Load::send(uint32_t client) {
  began_[client] = clock_.now();
  in_send_ = true;
  workload_->start(client, clients_[client % clients_.size()]->channel(), *this);
  in_send_ = false;
}

void Load::finished(uint32_t client, const base::Status& status, size_t report) {
  if (in_send_) {  // answered before it was sent: not from in here, the stack would grow
    asio::post(loop_, [this, client, status, report] { finished(client, status, report); });
    return;
  }
  const base::Instant began = began_[client];
  if (status.ok()) {
    reports_[report]->add(began.time_since_epoch().count() + unix_offset_ns_, clock_.now() - began);
  } else {
    reports_[report]->add_error(std::string(in_words(status, false).text()));
  }
  ++done_;
  launch(client);
}

// A slot is taken when it is asked for, so that a late timer costs no throughput while several clients wait.
void Load::wait_for_slot(uint32_t client) {
  next_slot_ = std::max(next_slot_ + slot_, clock_.now());
  waiting_.push_back({next_slot_, client});
  if (waiting_.size() == 1) arm_slot_timer();
}

void Load::arm_slot_timer() {
  slot_timer_.expires_at(waiting_.front().when);
  slot_timer_.async_wait([this](const std::error_code& error) {
    if (error) return;
    const base::Instant now = clock_.now();
    while (!waiting_.empty() && waiting_.front().when <= now) {
      const uint32_t client = waiting_.front().client;
      waiting_.pop_front();
      send(client);
    }
    if (!waiting_.empty()) arm_slot_timer();
  });
}

void Load::redraw() {
  if (!has_bar_) return;
  bar_.draw(done_, clock_.now() - run_began_);
  redraw_timer_.expires_after(kRedrawInterval);
  redraw_timer_.async_wait([this](const std::error_code& error) {
    if (!error && !over()) redraw();
  });
}

// Asks the cluster where its members listen and tells the connections.
void Load::sync_endpoints() {
  sync_timer_.expires_after(flags_.auto_sync_interval);
  sync_timer_.async_wait([this](const std::error_code& error) {
    if (error || over()) return;
    etcdserverpb::MemberListRequest request;
    request.set_linearizable(true);
    first_client().unary("/etcdserverpb.Cluster/MemberList", request.SerializeAsString(), Retry::kRead,
                         clock_.now() + kSyncTimeout, [this](base::Result<std::string> answer) {
                           if (answer.ok()) take_endpoints(*answer);
                           if (!over()) sync_endpoints();
                         });
  });
}

void Load::take_endpoints(const std::string& answer) {
  etcdserverpb::MemberListResponse response;
  if (!response.ParseFromString(answer)) return;
  std::vector<std::string> endpoints;
  for (const etcdserverpb::Member& member : response.members()) {
    if (member.name().empty() || member.islearner()) continue;
    endpoints.insert(endpoints.end(), member.clienturls().begin(), member.clienturls().end());
  }
  if (endpoints.empty()) return;
  for (const auto& client : clients_) client->channel().set_endpoints(endpoints);
}

void print_report(const Invocation& invocation, const Load& load, Report& report, const std::string& operation, bool newline) {
  print_report(invocation, load, report, operation, load.elapsed(), "");
  if (newline) invocation.terminal.out << "\n" << std::flush;
}

void print_report(const Invocation& invocation, const Load& load, Report& report, const std::string& operation,
                  base::Duration elapsed, const char* title) {
  std::ostream& out = invocation.terminal.out;
  const std::string text = report.text(elapsed);
  if (load.flags().report_perfdash) {
    const char* folder = std::getenv("ARTIFACTS");
    const std::time_t now = static_cast<std::time_t>(load.clock().unix_ns() / 1'000'000'000);
    std::tm utc{};
    ::gmtime_r(&now, &utc);
    char stamp[32];
    std::strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
    const std::filesystem::path path = std::filesystem::path(folder != nullptr && *folder != '\0' ? folder : "./_artifacts") /
                                       ("EtcdAPI_benchmark_" + operation + "_" + stamp + ".json");
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    std::ofstream file(path, std::ios::binary);
    file << report.perfdash(operation);
    file.close();
    if (file) {
      out << "Successfully created a JSON perf report at " << path.string() << "\n";
    } else {
      out << "Error writing to file: " << path.string() << "\n";
    }
  }
  out << title << text << std::flush;
}

}  // namespace cli::benchmark
