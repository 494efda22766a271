#include <openssl/evp.h>

#include <ostream>

#include "base/log.h"
#include "cli/ctl/commands.h"
#include "cli/ctl/session.h"
#include "cli/text.h"
#include "cli/utl/commands.h"
#include "io/real_disk.h"
#include "net/spawn.h"
#include "rpc/channel.h"

namespace cli::ctl {
namespace {

using base::Code;
using base::Result;
using base::Status;

constexpr size_t kHashBytes = 32;
constexpr std::chrono::milliseconds kRetryPause(25);
constexpr std::string_view kClientLogger = "client";

constexpr const char* kExamples =
    "  # Into a file\n"
    "  etcdctl snapshot save /backup/etcd.db\n"
    "  \n"
    "  # Of a member that listens elsewhere, with TLS\n"
    "  etcdctl --endpoints=https://10.0.0.1:2379 --cacert=ca.crt --cert=client.crt --key=client.key snapshot save etcd.db\n"
    "  \n"
    "  # As a user, with a limit of time\n"
    "  etcdctl --user=root:secret --command-timeout=10m snapshot save etcd.db";

// The end of a snapshot is the SHA-256 of all before it; what comes in is hashed but for its last 32 bytes.
class Digest {
 public:
  Digest() { (void)EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr); }
  void add(std::string_view bytes) {
    tail_.append(bytes);
    if (tail_.size() <= kHashBytes) return;
    (void)EVP_DigestUpdate(context_.get(), tail_.data(), tail_.size() - kHashBytes);
    tail_.erase(0, tail_.size() - kHashBytes);
  }
  bool matches() {
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    (void)EVP_DigestFinal_ex(context_.get(), hash, &size);
    return tail_ == std::string_view(reinterpret_cast<const char*>(hash), size);
  }

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_{EVP_MD_CTX_new()};
  std::string tail_;
};

// One download. Errors are worded as the Go client words them.
class Download {
 public:
  Download(Connection& connection, const std::string& endpoint, io::File& file, Client::Deadline deadline)
      : connection_(connection), endpoint_(endpoint), file_(file), deadline_(deadline) {}

  // Runs the loop until all is in the file.
  Status run() {
    net::spawn(connection_.loop.get_executor(), "snapshot", receive());
    while (!done_) {
      if (connection_.loop.stopped()) connection_.loop.restart();
      connection_.loop.run_one();
    }
    return status_;
  }
  uint64_t size_bytes() const { return size_; }
  const std::string& version() const { return version_; }
  bool hash_matches() { return digest_.matches(); }

 private:
  asio::awaitable<void> receive() {
    Status status = co_await read_stream();
    // While nothing has come it is safe to ask again.
    while (status.code() == Code::kUnavailable && !began_) {
      base::log::write_named(kClientLogger, base::log::Level::kWarn, "retrying RecvMsg", {{"error", words(status)}});
      asio::steady_timer pause(connection_.loop, kRetryPause);
      co_await pause.async_wait(asio::use_awaitable);
      status = co_await read_stream();
    }
    status_ = std::move(status);
    done_ = true;
  }

  static std::string words(const Status& status) {
    return "rpc error: code = " + std::string(base::code_name(status.code())) + " desc = " + std::string(status.text());
  }

  asio::awaitable<Status> read_stream() {
    rpc::CallOptions options = connection_.client->stream_options(false);
    options.deadline = deadline_;
    Result<std::unique_ptr<rpc::ClientStream>> stream =
        co_await connection_.client->channel().stream("/etcdserverpb.Maintenance/Snapshot", std::move(options));
    if (!stream.ok()) {
      base::log::write_named(kClientLogger, base::log::Level::kError, "streamer failed to create ClientStream",
                             {{"error", words(stream.status())}});
      co_return in_words(stream.status(), deadline_.has_value());
    }
    const Status sent = co_await (*stream)->write(std::string());  // a SnapshotRequest has no fields
    (*stream)->half_close();
    if (!began_ && sent.ok()) {
      base::log::write_named(kClientLogger, base::log::Level::kInfo, "opened snapshot stream; downloading");
    }
    for (;;) {
      Result<std::optional<std::string>> message = co_await (*stream)->read();
      if (!message.ok()) {
        if (!began_ && message.status().code() == Code::kUnavailable) co_return message.status();
        base::log::write_named(kClientLogger, base::log::Level::kWarn, "failed to receive from snapshot stream; closing",
                               {{"error", words(message.status())}});
        if (!began_) co_return Status(message.status().code(), words(message.status()));
        const Status worded = in_words(message.status(), deadline_.has_value());
        co_return Status(worded.code(), "could not write snapshot: " + std::string(worded.text()));
      }
      if (!message->has_value()) break;
      const Status taken = take(**message);
      if (!taken.ok()) co_return taken;
    }
    base::log::write_named(kClientLogger, base::log::Level::kInfo, "completed snapshot read; closing");
    co_return began_ ? Status() : Status(Code::kUnknown, "EOF");
  }

  Status take(const std::string& message) {
    etcdserverpb::SnapshotResponse response;
    if (!response.ParseFromString(message)) {
      return Status(Code::kDataLoss, "rpc error: code = Internal desc = grpc: failed to unmarshal the received message");
    }
    if (!began_) {
      began_ = true;
      version_ = response.version();
      base::log::info("fetching snapshot", {{"endpoint", endpoint_}});
    }
    const Status written = file_.write_at(size_, response.blob());
    if (!written.ok()) return Status(Code::kDataLoss, "could not write snapshot: " + std::string(written.text()));
    size_ += response.blob().size();
    digest_.add(response.blob());
    return Status();
  }

  Connection& connection_;
  const std::string& endpoint_;
  io::File& file_;
  const Client::Deadline deadline_;
  Digest digest_;
  std::string version_;
  uint64_t size_ = 0;
  bool began_ = false, done_ = false;
  Status status_;
};

// Downloads into `part`, which is whole and durable when the answer is ok.
Status download(Connection& connection, const std::string& endpoint, Client::Deadline deadline, io::Disk& disk,
                const std::string& part, std::string& version) {
  Result<std::unique_ptr<io::File>> file = disk.open(part, io::OpenMode::kTruncate);
  if (!file.ok()) {
    return Status(Code::kInternal, "could not open " + part + " (" + std::string(file.status().text()) + ")");
  }
  base::log::info("created temporary db file", {{"path", part}});
  const base::Instant began = connection.clock.now();
  Download download(connection, endpoint, **file, deadline);
  if (Status status = download.run(); !status.ok()) return status;
  version = download.version();
  if (download.size_bytes() % io::kSectorBytes != kHashBytes) {
    return Status(Code::kDataLoss, "sha256 checksum not found [bytes: " + std::to_string(download.size_bytes()) + "]");
  }
  // More than etcdctl looks at, which leaves it to the restore.
  if (!download.hash_matches()) return Status(Code::kDataLoss, "sha256 checksum does not match the snapshot's content");
  if (const Status synced = (*file)->sync(); !synced.ok()) {
    return Status(Code::kInternal, "could not fsync snapshot: " + std::string(synced.text()));
  }
  base::log::info("fetched snapshot", {{"endpoint", endpoint},
                                       {"size", humanize_bytes(download.size_bytes())},
                                       base::log::Field::duration("took", (connection.clock.now() - began).count()),
                                       {"etcd-version", version}});
  return Status();
}

Status save(Connection& connection, const std::string& endpoint, Client::Deadline deadline, const std::string& path,
            std::string& version) {
  io::RealDisk disk;
  const std::string part = path + ".part";
  Status status = download(connection, endpoint, deadline, disk, part, version);
  if (status.ok()) {
    const Status renamed = disk.rename(part, path);
    if (renamed.ok()) {
      const size_t slash = path.rfind('/');
      const std::string folder = slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
      status = disk.sync_dir(folder);
      base::log::info("saved", {{"path", path}});
      return status;
    }
    status = Status(Code::kInternal, "could not rename " + part + " to " + path + " (" + std::string(renamed.text()) + ")");
  }
  const Status removed = disk.unlink(part);
  if (!removed.ok() && removed.code() != Code::kNotFound) {
    base::log::error("Failed to cleanup .part file", {{"error", removed}});
  }
  return status;
}

std::string joined(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : " ") + word;
  return out;
}

Exit run_save(const Invocation& invocation) {
  if (invocation.arguments.size() != 1) return fail(kExitBadArguments, "snapshot save expects one argument <filename>");
  Setup setup;
  Connection connection;
  Exit exit = prepare(invocation, setup);
  if (exit.code != kExitOk) return exit;
  // Without --command-timeout there is no limit: a snapshot may be large.
  const FlagSet& global = const_cast<Command&>(invocation.command.root()).handed_down();
  Client::Deadline deadline;
  if (global.changed("command-timeout")) deadline = connection.deadline(setup);
  const std::vector<std::string>& endpoints = setup.config.endpoints;
  if (endpoints.size() != 1) {
    return fail(kExitInterrupted, "snapshot must be requested to one selected node, not multiple [" + joined(endpoints) + "]");
  }
  exit = connect(setup.config, connection);
  if (exit.code != kExitOk) return exit.code == kExitBadConnection ? fail(kExitInterrupted, exit.error) : exit;
  std::string version;
  const Status status = save(connection, endpoints[0], deadline, invocation.arguments[0], version);
  if (!status.ok()) return fail(kExitInterrupted, std::string(status.text()));
  invocation.terminal.out << "Snapshot saved at " << invocation.arguments[0] << "\n";
  if (!version.empty()) invocation.terminal.out << "Server version " << version << "\n";
  return Exit();
}

}  // namespace

std::unique_ptr<Command> make_snapshot_command() {
  auto command = std::make_unique<Command>("snapshot <subcommand>", "Snapshots of members");
  command->examples = kExamples;
  auto save = std::make_unique<Command>("save <filename>", "Saves a member's data as of now to a file");
  save->examples = kExamples;
  save->run = run_save;
  command->add(std::move(save));
  // etcdctl had these before there was an etcdutl; scripts of then go on.
  for (auto make : {utl::make_snapshot_restore_command, utl::make_snapshot_status_command}) {
    std::unique_ptr<Command> file_command = make();
    file_command->hidden = true;
    command->add(std::move(file_command));
  }
  return command;
}

}  // namespace cli::ctl
