#include <doctest/doctest.h>

#include <algorithm>
#include <set>

#include "base/flags.h"
#include "cli/server/flag_table.h"
#include "cli/server/flags.h"

using base::Result;
using base::Status;
using cli::CommandLine;
using Outcome = CommandLine::Outcome;

namespace {

CommandLine read(std::vector<std::string> arguments, std::vector<std::string> environment = {}) {
  return cli::read_command_line(arguments, environment);
}

// The file is handed over instead of read.
CommandLine read_text(const std::string& text, std::vector<std::string> more = {}, std::vector<std::string> environment = {}) {
  more.emplace_back("--config-file=x.yml");
  return cli::read_command_line(more, environment, [&](const std::string&) -> Result<std::string> { return text; });
}

std::vector<std::string> messages(const std::vector<cli::Note>& notes) {
  std::vector<std::string> out;
  for (const cli::Note& note : notes) {
    std::string line = note.msg;
    for (const base::log::Field& field : note.fields) line += " " + std::string(field.value_json());
    out.push_back(line);
  }
  return out;
}

}  // namespace

TEST_CASE("server flags: every row is read from flag and environment, and named once") {
  std::set<std::string_view> names;
  const auto look = [&](std::span<const cli::ServerFlag> flags) {
    for (const cli::ServerFlag& flag : flags) {
      CAPTURE(flag.name);
      CHECK(names.insert(flag.name).second);
      if (flag.name == "proxy" || flag.name == "initial-cluster-state" || flag.name == "discovery-fallback") continue;
      // One of these words fits every kind of value.
      const auto fits = [&](const std::string& word) {
        const CommandLine by_flag = read({"--" + std::string(flag.name) + "=" + word});
        const CommandLine by_variable = read({}, {base::flags::environment_name("ETCD", flag.name) + "=" + word});
        CHECK((by_flag.outcome == Outcome::kRun) == (by_variable.outcome == Outcome::kRun));
        if (by_flag.outcome == Outcome::kRun) CHECK(by_flag.config.set_explicitly.contains(std::string(flag.name)));
        return by_flag.outcome == Outcome::kRun;
      };
      const bool any = fits("1") || fits("5s") || fits("http://127.0.0.1:1") || fits("AllBeta=true") || fits("gone");
      CHECK(any);
    }
  };
  for (const cli::FlagSection& section : cli::flag_sections()) look(section.flags);
  look(cli::legacy_flags());
  for (const std::string_view name : cli::ignored_flags()) {
    CHECK(names.insert(name).second);
    const CommandLine line = read({"-" + std::string(name)});
    CHECK(line.outcome == Outcome::kRun);
    const std::string expected = "flag is no longer supported - ignoring \"" + std::string(name) + "\"";
    CHECK(messages(line.notes) == std::vector<std::string>{expected});
  }
}

TEST_CASE("server flags: values arrive") {
  const CommandLine line = read({"--name=m1", "--data-dir", "/d", "-heartbeat-interval=0x10", "--pre-vote=F", "--memory-mlock",
                                 "--quota-backend-bytes=-1", "--max-concurrent-streams=7", "--backend-batch-interval=5ms",
                                 "--listen-client-urls=http://b:2,http://a:1,http://b:2", "--advertise-client-urls=http://a:1",
                                 "--log-outputs=b,a,b", "--peer-cert-allowed-cn=x,,x", "--cors=http://a:1", "--cors=*",
                                 "--host-whitelist=b,a", "--initial-cluster-state=existing", "--cert-file=c",
                                 "--peer-key-file=k",
                                 "--discovery-dial-timeout=1s", "--feature-gates=CompactHashCheck=true", "--metrics=extensive",
                                 "--listen-metrics-urls="});
  REQUIRE(line.outcome == Outcome::kRun);
  const server::Config& config = line.config;
  CHECK(config.name == "m1");
  CHECK(config.data_dir == "/d");
  CHECK(config.heartbeat_ms == 16);
  CHECK(!config.pre_vote);
  CHECK(config.memory_mlock);
  CHECK(config.quota_backend_bytes == -1);
  CHECK(config.max_concurrent_streams == 7);
  CHECK(config.backend_batch_interval == std::chrono::milliseconds(5));
  CHECK(server::joined(config.listen_client_urls) == "http://a:1,http://b:2");
  CHECK(config.log.outputs == std::vector<std::string>{"a", "b"});
  CHECK(config.peer_tls.allowed_cns == std::vector<std::string>{"x", "", "x"});
  CHECK(config.cors == std::set<std::string>{"*", "http://a:1"});
  CHECK(config.host_whitelist == std::set<std::string>{"a", "b"});
  CHECK(config.initial_cluster_state == "existing");
  CHECK(config.client_tls.cert_file == "c");
  CHECK(config.peer_tls.key_file == "k");
  CHECK(config.discovery.dial_timeout == std::chrono::seconds(1));
  CHECK(config.feature_gates.enabled(server::Feature::kCompactHashCheck));
  CHECK(config.extensive_metrics());
  CHECK(config.listen_metrics_urls.empty());
}

TEST_CASE("server flags: what older versions had") {
  CHECK(read({"--debug"}).config.log.level == "debug");
  CHECK(read({"--debug=false"}).config.log.level == "info");
  const CommandLine ca = read({"--ca-file=x", "--peer-ca-file=y"});
  CHECK(ca.config.client_tls.trusted_ca_file == "x");
  CHECK(ca.config.client_tls.client_cert_auth);
  CHECK(ca.config.peer_tls.trusted_ca_file == "y");
  CHECK(read({"--proxy=off", "--proxy-failure-wait=1", "--log-package-levels=a=DEBUG"}).outcome == Outcome::kRun);
  CHECK(read({"--proxy=on"}).outcome == Outcome::kSyntax);
  CHECK(read({"--discovery=http://x/y"}).config.initial_cluster.empty());
  CHECK(read({"--experimental-memory-mlock"}).error == "flag provided but not defined: -experimental-memory-mlock");
}

TEST_CASE("server flags: ends that are no start") {
  struct Row {
    std::vector<std::string> words;
    Outcome outcome;
    const char* error;
  };
  for (const Row& row :
       {Row{{"--help"}, Outcome::kHelp, ""}, Row{{"--foo", "--help"}, Outcome::kSyntax, "flag provided but not defined: -foo"},
        Row{{"--version"}, Outcome::kVersion, ""}, Row{{"--version", "x"}, Outcome::kInvalid, "\"x\" is not a valid flag"},
        Row{{"foo"}, Outcome::kInvalid, "\"foo\" is not a valid flag"},
        Row{{"--heartbeat-interval=a"}, Outcome::kSyntax, "invalid value \"a\" for flag -heartbeat-interval: parse error"},
        Row{{"--max-concurrent-streams=4294967296"}, Outcome::kSyntax,
            "invalid value \"4294967296\" for flag -max-concurrent-streams: strconv.ParseUint: parsing \"4294967296\": value "
            "out of range"},
        Row{{"--corrupt-check-time=5"}, Outcome::kSyntax, "invalid value \"5\" for flag -corrupt-check-time: parse error"},
        Row{{"--initial-cluster-state=x"}, Outcome::kSyntax,
            "invalid value \"x\" for flag -initial-cluster-state: invalid value"},
        Row{{"--v2-deprecation=not-yet"}, Outcome::kSyntax,
            "invalid value \"not-yet\" for flag -v2-deprecation: invalid value \"not-yet\""},
        Row{{"--discovery-fallback=proxy"}, Outcome::kInvalid,
            "v2 proxy is deprecated, and --discovery-fallback can't be configured as \"proxy\""}}) {
    const CommandLine line = read(row.words);
    CHECK(line.outcome == row.outcome);
    CHECK(line.error == row.error);
  }
}

TEST_CASE("server flags: rules between flags") {
  CHECK(read({"--listen-client-urls=http://127.0.0.1:1"}).config.advertise_client_urls.empty());
  CHECK(read({}, {"ETCD_LISTEN_CLIENT_URLS=http://127.0.0.1:1"}).config.advertise_client_urls.empty());
  CHECK(!read({}).config.advertise_client_urls.empty());
  CHECK(read({"--discovery-srv=x"}).config.initial_cluster.empty());
  CHECK(read({"--discovery-srv=x", "--initial-cluster=a=http://a:1"}).config.initial_cluster == "a=http://a:1");
  const CommandLine line = read({"--raft-read-timeout=1s", "--raft-write-timeout=6s"});
  CHECK(line.config.raft_read_timeout == std::chrono::seconds(5));
  CHECK(line.config.raft_write_timeout == std::chrono::seconds(6));
  CHECK(messages(line.notes) == std::vector<std::string>{"raft-read-timeout increased to minimum value: 5s"});
  CHECK(read({"--warning-unary-request-duration=0"}).config.warning_unary_request_duration == std::chrono::milliseconds(300));
}

TEST_CASE("server flags: the environment") {
  const CommandLine used = read({"--name=a"}, {"ETCD_SNAPSHOT_COUNT=5", "ETCD_FOO=1", "PATH=/", "ETCD_PRE_VOTE=false",
                                               "ETCD_DATA_DIR=", "ETCDCTL_API=3"});
  CHECK(used.outcome == Outcome::kRun);
  CHECK(used.config.snapshot_count == 5);
  CHECK(!used.config.pre_vote);
  CHECK(messages(used.notes) ==
        std::vector<std::string>{"recognized and used environment variable \"ETCD_PRE_VOTE\" \"false\"",
                                 "recognized and used environment variable \"ETCD_SNAPSHOT_COUNT\" \"5\"",
                                 "unrecognized environment variable \"ETCD_FOO=1\"",
                                 "unrecognized environment variable \"ETCD_DATA_DIR=\""});
  const CommandLine conflict = read({"--name=a"}, {"ETCD_NAME=b"});
  CHECK(conflict.outcome == Outcome::kConflict);
  CHECK(conflict.error == "ETCD_NAME");
  const CommandLine bad = read({}, {"ETCD_SNAPSHOT_COUNT=five", "ETCD_HEARTBEAT_INTERVAL=x"});
  CHECK(bad.outcome == Outcome::kInvalid);
  CHECK(bad.error == "invalid value \"five\" for ETCD_SNAPSHOT_COUNT: parse error");
  CHECK(messages(read({}, {"ETCD_VERSION=3"}).notes) ==
        std::vector<std::string>{"cannot set special environment variable \"ETCD_VERSION\" \"3\""});
}

TEST_CASE("server flags: a configuration file counts alone") {
  const CommandLine line = read_text("name: m1\nsnapshot-count: 7\n", {"--name=other", "--pre-vote=false", "--force"},
                                     {"ETCD_SNAPSHOT_COUNT=x", "ETCD_FOO=1", "ETCD_NAME=b"});
  CHECK(line.outcome == Outcome::kRun);
  CHECK(line.config_file == "x.yml");
  CHECK(line.config.name == "m1");
  CHECK(line.config.snapshot_count == 7);
  CHECK(line.config.pre_vote);
  CHECK(line.notes.empty());
  CHECK(line.config.set_explicitly == std::set<std::string>{"name", "snapshot-count"});
  CHECK(read({}, {"ETCD_CONFIG_FILE=/nonexistent/f"}).error == "open /nonexistent/f: no such file or directory");
  CHECK(read({"--config-file=/"}).error == "read /: is a directory");
}

TEST_CASE("configuration file: blocks, lists, kinds of words") {
  const CommandLine line = read_text(R"(
Name: "5"
pre-vote: off
snapshot-count: 0x10
quota-backend-bytes: 8_000
max-txn-ops: 2e3
grpc-keepalive-interval: 1000000000
data-dir: ~
wal-dir: ""
listen-client-urls: http://b:1, http://a:1
log-outputs: [stderr, "x"]
cors: "http://c:1"
host-whitelist: a,b
feature-gates: CompactHashCheck=true
auto-compaction-retention: "5m"
initial-cluster-state: ''
client-transport-security: {cert-file: c, client-cert-auth: true, allowed-hostname: [h]}
peer-transport-security:
  key-file: k
  allowed-cn: [a, b]
socket-options:
  reuse-port: true
discovery-config:
  token: t
  client:
    endpoints: [e1, e2]
    dial-timeout: 5
    secure: {cacert: ca, insecure-transport: false}
    auth: {username: u}
unknown: {a: [b]}
)");
  REQUIRE(line.outcome == Outcome::kRun);
  const server::Config& config = line.config;
  CHECK(config.name == "5");
  CHECK(!config.pre_vote);
  CHECK(config.snapshot_count == 16);
  CHECK(config.quota_backend_bytes == 8000);
  CHECK(config.max_txn_ops == 2000);
  CHECK(config.grpc_keepalive_interval == std::chrono::seconds(1));
  CHECK(server::joined(config.listen_client_urls) == "http://a:1,http://b:1");
  CHECK(!config.advertise_client_urls.empty());
  CHECK(config.log.outputs == std::vector<std::string>{"stderr", "x"});
  CHECK(config.cors == std::set<std::string>{"http://c:1"});
  CHECK(config.host_whitelist == std::set<std::string>{"a", "b"});
  CHECK(config.feature_gates.text() == "CompactHashCheck=true");
  CHECK(config.initial_cluster_state == "new");
  CHECK(config.client_tls.cert_file == "c");
  CHECK(config.client_tls.client_cert_auth);
  CHECK(config.client_tls.allowed_hostnames == std::vector<std::string>{"h"});
  CHECK(config.peer_tls.allowed_cns == std::vector<std::string>{"a", "b"});
  CHECK(config.socket_reuse_port);
  CHECK(config.discovery.token == "t");
  CHECK(config.discovery.endpoints == std::vector<std::string>{"e1", "e2"});
  CHECK(config.discovery.dial_timeout.count() == 5);
  CHECK(config.discovery.cacert == "ca");
  CHECK(!config.discovery.insecure_transport);
  CHECK(config.discovery.user == "u");
  CHECK(config.initial_cluster.empty());
  CHECK(read_text("{\"name\": \"j\", \"pre-vote\": false}").config.name == "j");
  CHECK(read_text("").outcome == Outcome::kRun);
  CHECK(read_text("self-signed-cert-validity: 0").config.self_signed_cert_validity_years == 1);
}

TEST_CASE("configuration file: mistakes") {
  const std::string json = "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal ";
  struct Row {
    const char* text;
    Outcome outcome;
    std::string error;
  };
  for (const Row& row :
       {Row{"a: b: c", Outcome::kInvalid, "error converting YAML to JSON: yaml: line 1: "},
        Row{"\tname: a", Outcome::kInvalid, "error converting YAML to JSON: yaml: line 1: "},
        Row{"- a", Outcome::kInvalid, json + "array into Go value of type embed.configYAML"},
        Row{"foo", Outcome::kInvalid, json + "string into Go value of type embed.configYAML"},
        Row{"heartbeat-interval: abc", Outcome::kInvalid,
            json + "string into Go struct field configYAML.Config.heartbeat-interval of type uint"},
        Row{"heartbeat-interval: -1", Outcome::kInvalid,
            json + "number -1 into Go struct field configYAML.Config.heartbeat-interval of type uint"},
        Row{"heartbeat-interval: 1.5", Outcome::kInvalid,
            json + "number 1.5 into Go struct field configYAML.Config.heartbeat-interval of type uint"},
        Row{"name: 5", Outcome::kInvalid, json + "number into Go struct field configYAML.Config.name of type string"},
        Row{"name: [a]", Outcome::kInvalid, json + "array into Go struct field configYAML.Config.name of type string"},
        Row{"pre-vote: \"true\"", Outcome::kInvalid,
            json + "string into Go struct field configYAML.Config.pre-vote of type bool"},
        Row{"grpc-keepalive-interval: 10s", Outcome::kInvalid,
            json + "string into Go struct field configYAML.Config.grpc-keepalive-interval of type time.Duration"},
        Row{"log-outputs: stderr", Outcome::kInvalid,
            json + "string into Go struct field configYAML.Config.log-outputs of type []string"},
        Row{"peer-transport-security: foo", Outcome::kInvalid,
            json + "string into Go struct field configYAML.configJSON.peer-transport-security of type embed.securityConfig"},
        Row{"client-transport-security: {client-cert-auth: maybe}", Outcome::kInvalid,
            json + "string into Go struct field securityConfig.configJSON.client-transport-security.client-cert-auth "
                   "of type bool"},
        Row{"socket-options: {reuse-address: 3}", Outcome::kInvalid,
            json + "number into Go struct field SocketOpts.Config.socket-options.reuse-address of type bool"},
        Row{"name: 5\nheartbeat-interval: x\nlisten-peer-urls: foo", Outcome::kInvalid,
            json + "string into Go struct field configYAML.Config.heartbeat-interval of type uint"},
        Row{"listen-peer-urls: foo", Outcome::kPlain,
            "unexpected error setting up listen-peer-urls: URL scheme must be http, https, unix, or unixs: foo"},
        Row{"advertise-client-urls: foo\nlisten-client-urls: foo", Outcome::kPlain,
            "unexpected error setting up listen-client-urls: URL scheme must be http, https, unix, or unixs: foo"},
        Row{"advertise-client-urls: http://a", Outcome::kPlain,
            "unexpected error setting up advertise-peer-urls: URL address does not have the form \"host:port\": http://a"},
        Row{"feature-gates: Foo=true", Outcome::kInvalid, "unrecognized feature gate: Foo"}}) {
    CAPTURE(row.text);
    const CommandLine line = read_text(row.text);
    CHECK(line.outcome == row.outcome);
    CHECK(line.error.starts_with(row.error));
  }
  CHECK(read_text(std::string(cli::kConfigFileBytesMax + 1, ' ')).outcome == Outcome::kInvalid);
}

TEST_CASE("server flags: warnings about what is deprecated and what is not there yet") {
  CHECK(cli::warnings(read({}).config).empty());
  const std::vector<std::string> lines =
      messages(cli::warnings(read({"--max-snapshots=1", "--v2-deprecation=gone", "--discovery-token=x", "--name=a"}).config));
  REQUIRE(lines.size() >= 2);
  CHECK(lines[0] == "--max-snapshots is deprecated in 3.6 and will be decommissioned in 3.8.");
  CHECK(lines[1].starts_with("--v2-deprecation is deprecated"));
  size_t missing = 0;
  for (const cli::FlagSection& section : cli::flag_sections()) {
    for (const cli::ServerFlag& flag : section.flags) {
      server::Config config;
      config.set_explicitly = {std::string(flag.name)};
      const std::vector<std::string> said = messages(cli::warnings(config));
      const std::optional<std::string_view> part = cli::missing_part(flag.part);
      const std::string expected = "flag has no effect yet; its part comes with a later version \"--" + std::string(flag.name) +
                                   "\" \"" + std::string(part.value_or("")) + "\"";
      CHECK((std::find(said.begin(), said.end(), expected) != said.end()) == part.has_value());
      missing += part.has_value();
    }
  }
  CHECK(missing > 0);
}

TEST_CASE("server flags: features, and the timeouts between members, are switched on without a warning") {
  CHECK(messages(cli::warnings(read({"--feature-gates=LeaseCheckpoint=true,PriorityRequest=true,FastLeaseKeepAlive=false,"
                                     "StopGRPCServiceOnDefrag=true,TxnModeWriteWithSharedBuffer=false,SetMemberLocalAddr=true",
                                     "--raft-read-timeout=7s", "--raft-write-timeout=8s"})
                                   .config))
            .empty());
}

TEST_CASE("server flags: the help text names each flag once, in etcd's layout") {
  const std::string text = cli::flags_text();
  for (const char* part :
       {"\nMember:\n  --name 'default'\n    ", "\n  --memory-mlock\n    ", "\n  --bcrypt-cost 10\n    ",
        "\n    CompactHashCheck=true|false (ALPHA - default=false)\n", "\nUnsafe feature:\n  --force-new-cluster 'false'\n    ",
        "\n  --log-rotation-config-json '{\"maxsize\": 100, "}) {
    CAPTURE(part);
    CHECK(text.find(part) != std::string::npos);
  }
  for (const cli::FlagSection& section : cli::flag_sections()) {
    for (const cli::ServerFlag& flag : section.flags) {
      CAPTURE(flag.name);
      const std::string head = "\n  --" + std::string(flag.name) + std::string(flag.shown_default) + "\n";
      const size_t at = text.find(head);
      CHECK(at != std::string::npos);
      CHECK(text.find(head, at + 1) == std::string::npos);
      CHECK(!flag.help.empty());
    }
  }
}
