// The load: `clients` closed loops over `conns` connections on one thread, each sending its next request when the last one is
// answered, at most `rate` a second altogether. What a request is, a Workload says. Owner: the loop inside.
#pragma once

#include <asio.hpp>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "cli/benchmark/progress_bar.h"
#include "cli/benchmark/report.h"
#include "cli/client.h"
#include "cli/command.h"

namespace rpc {
class Channel;
struct CallOptions;
}

namespace cli::benchmark {

class Load;

class Workload {
 public:
  virtual ~Workload() = default;
  // Begins the next request of `client` on `channel`; ends with load.finished(client, status) exactly once, later.
  // Costs what the generator can do: nothing here may allocate more than the request itself.
  virtual void start(uint32_t client, rpc::Channel& channel, Load& load) = 0;
};

struct GlobalFlags {
  std::vector<std::string> endpoints{"127.0.0.1:2379"};
  uint64_t conns = 1, clients = 1;
  bool precise = false, sample = false;
  TlsFiles tls;
  std::string user;
  base::Duration dial_timeout{0}, auto_sync_interval{0};
  bool report_perfdash = false;
};
void add_global_flags(FlagSet& flags, GlobalFlags& values);
const GlobalFlags& global_flags(const Command& command);

// What every load command has besides.
struct LoadFlags {
  int64_t total = 10000;
  int64_t rate = 0;      // 0: no limit
  bool has_bar = true;   // else something beside the load is what the user waits for
};

class Load {
 public:
  Load(const Invocation& invocation, LoadFlags flags);
  ~Load();

  // Logs in and makes the connections.
  Exit connect();
  // Runs to the end, the bar on standard error. Results go to reports[0] unless a workload names another.
  void run(Workload& workload, std::vector<Report*> reports);
  base::Duration elapsed() const { return elapsed_; }

  void finished(uint32_t client, const base::Status& status, size_t report = 0);
  // What calls need: the token, if any.
  const rpc::CallOptions& call_options() const { return *call_options_; }
  ReportOptions report_options() const { return {flags_.precise, flags_.sample}; }
  asio::io_context& loop() { return loop_; }
  const base::Clock& clock() const { return clock_; }
  Client& first_client() { return *clients_.front(); }
  // Of the connection that client number `client` uses.
  rpc::Channel& channel(uint64_t client) { return clients_[client % clients_.size()]->channel(); }
  // One more connection, for what must not share one with the load.
  base::Result<std::unique_ptr<Client>> open_client() { return Client::open(loop_, clock_, config_); }
  const GlobalFlags& flags() const { return flags_; }
  bool over() const { return done_ == total_; }

 private:
  void launch(uint32_t client);
  void send(uint32_t client);
  void wait_for_slot(uint32_t client);
  void arm_slot_timer();
  void redraw();
  void sync_endpoints();
  void take_endpoints(const std::string& answer);

  Terminal& terminal_;
  const GlobalFlags& flags_;
  uint64_t total_;
  bool has_bar_;
  base::Duration slot_{0};  // between two requests; 0: no limit
  asio::io_context loop_{1};
  base::RealClock clock_;
  ClientConfig config_;
  std::vector<std::unique_ptr<Client>> clients_;  // one a connection
  std::unique_ptr<rpc::CallOptions> call_options_;

  Workload* workload_ = nullptr;
  std::vector<Report*> reports_;
  std::vector<base::Instant> began_;  // by client
  uint64_t started_ = 0, done_ = 0;
  base::Instant run_began_{}, next_slot_{};
  int64_t unix_offset_ns_ = 0;  // from the monotonic clock to 1970
  base::Duration elapsed_{0};
  struct Slot {
    base::Instant when;
    uint32_t client;
  };
  std::deque<Slot> waiting_;  // earliest first; at most all clients
  asio::steady_timer slot_timer_{loop_}, redraw_timer_{loop_}, sync_timer_{loop_};
  ProgressBar bar_;
  bool in_send_ = false;
};

// Writes the report to standard output, `title` before it, and for --report-perfdash the file beside. The whole took `elapsed`.
void print_report(const Invocation& invocation, const Load& load, Report& report, const std::string& operation,
                  base::Duration elapsed, const char* title);
// Of the load itself.
void print_report(const Invocation& invocation, const Load& load, Report& report, const std::string& operation, bool newline);

}  // namespace cli::benchmark
