#include "base/log.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/log_sinks.h"

using base::log::Field;
using base::log::Level;
using base::log::Line;

namespace {

constexpr int64_t kSomeTime = 1136214245678901234;  // 2006-01-02T15:04:05.678901Z

struct Folder {
  std::string path;
  Folder() {
    char name[] = "/tmp/etcd_log_test.XXXXXX";
    path = mkdtemp(name);
  }
  ~Folder() { std::filesystem::remove_all(path); }
};

std::string content(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Logs into a file for the time of a test, then to stderr at level fatal, so that test output stays clean.
struct LogToFile {
  explicit LogToFile(base::log::Options options) { CHECK(base::log::configure(options).ok()); }
  ~LogToFile() {
    base::log::Options quiet;
    quiet.outputs = {"/dev/null"};
    (void)base::log::configure(quiet);
  }
};

struct InUtc {
  InUtc() { set("UTC"); }
  ~InUtc() { unsetenv("TZ"); tzset(); }
  static void set(const char* zone) { setenv("TZ", zone, 1); tzset(); }
};

}  // namespace

TEST_CASE("log: a JSON line is zap's") {
  const InUtc utc;
  const Field fields[] = {{"n", 7}, {"big", uint64_t{18446744073709551615u}}, {"yes", true}, {"text", "a\"b\n"},
                          {"list", std::vector<std::string>{"x", "y"}}, Field::duration("took", 1500000), {"ratio", 0.25},
                          Field::json("raw", "{\"a\":1}"), {"error", base::Status(base::Code::kNotFound, "gone")}};
  CHECK(base::log::json_line(Line{Level::kWarn, kSomeTime, "", "server/a.cc:12", "hello"}, fields, 9) ==
        R"({"level":"warn","ts":"2006-01-02T15:04:05.678901Z","caller":"server/a.cc:12","msg":"hello","n":7,)"
        R"("big":18446744073709551615,"yes":true,"text":"a\"b\n","list":["x","y"],"took":"1.5ms","ratio":0.25,"raw":{"a":1},)"
        R"("error":"gone"})");
  CHECK(base::log::json_line(Line{Level::kInfo, kSomeTime, "raft", "raft/raft.cc:1", ""}, nullptr, 0) ==
        R"({"level":"info","ts":"2006-01-02T15:04:05.678901Z","logger":"raft","caller":"raft/raft.cc:1","msg":""})");
}

TEST_CASE("log: a console line is zap's") {
  const InUtc utc;
  const Field fields[] = {{"list", std::vector<std::string>{"a,b", "c:\"d"}}, {"n", 1}};
  CHECK(base::log::console_line(Line{Level::kError, kSomeTime, "raft", "a/b.cc:3", "x \"y\""}, fields, 2) ==
        "2006-01-02T15:04:05.678901Z\terror\traft\ta/b.cc:3\tx \"y\"\t{\"list\": [\"a,b\", \"c:\\\"d\"], \"n\": 1}");
  CHECK(base::log::console_line(Line{Level::kInfo, kSomeTime, "", "a/b.cc:3", "x"}, fields, 0) ==
        "2006-01-02T15:04:05.678901Z\tinfo\ta/b.cc:3\tx");
}

TEST_CASE("log: time zones and times before 1970") {
  const InUtc utc;
  const auto stamp = [](int64_t ns) {
    const std::string line = base::log::json_line(Line{Level::kInfo, ns, "", "", ""}, nullptr, 0);
    return nlohmann::json::parse(line)["ts"].get<std::string>();
  };
  CHECK(stamp(-1000) == "1969-12-31T23:59:59.999999Z");
  InUtc::set("XXX-05:30");
  CHECK(stamp(kSomeTime) == "2006-01-02T20:34:05.678901+0530");
}

TEST_CASE("log: every byte comes out as valid JSON") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const Field field("bytes", all);
  const std::string line = base::log::json_line(Line{Level::kInfo, 0, "", "", all}, &field, 1);
  const nlohmann::json parsed = nlohmann::json::parse(line, nullptr, false);
  REQUIRE(!parsed.is_discarded());
  CHECK(parsed["msg"] == parsed["bytes"]);
  CHECK(Field("k", "<>&\x7f").value_json() == "\"<>&\x7f\"");
  CHECK(Field("k", "\xff\xfe").value_json() == R"("\ufffd\ufffd")");
  CHECK(Field("k", "\x01").value_json() == R"("\u0001")");
}

TEST_CASE("log: huge texts are cut") {
  const Field field("k", std::string(base::log::kTextBytesMax + 5, 'x'));
  CHECK(field.value_json().size() < base::log::kTextBytesMax + 64);
  CHECK(field.value_json().ends_with("... (32773 bytes)\""));
}

TEST_CASE("log: numbers") {
  CHECK(Field("k", 1.5e300).value_json().size() > 300);
  CHECK(Field("k", 0.0).value_json() == "0");
  CHECK(Field("k", std::numeric_limits<double>::infinity()).value_json() == "\"+Inf\"");
  CHECK(Field("k", int64_t{INT64_MIN}).value_json() == "-9223372036854775808");
}

TEST_CASE("log: durations as Go's String()") {
  struct Row {
    int64_t ns;
    const char* text;
  };
  for (const Row& row : {Row{0, "0s"}, Row{1, "1ns"}, Row{1100, "1.1µs"}, Row{2200000, "2.2ms"}, Row{3300000000, "3.3s"},
                         Row{60000000000, "1m0s"}, Row{245000000000, "4m5s"}, Row{7200000000000, "2h0m0s"},
                         Row{3600000000001, "1h0m0.000000001s"}, Row{-1500000000, "-1.5s"},
                         Row{INT64_MIN, "-2562047h47m16.854775808s"}, Row{INT64_MAX, "2562047h47m16.854775807s"}}) {
    CHECK(base::log::duration_text(row.ns) == row.text);
  }
}

TEST_CASE("log: level names") {
  CHECK(*base::log::parse_level("debug") == Level::kDebug);
  CHECK(*base::log::parse_level("FATAL") == Level::kFatal);
  CHECK(*base::log::parse_level("") == Level::kInfo);
  CHECK(base::log::parse_level("foo").status().text() == "unrecognized level: \"foo\"");
  CHECK(!base::log::parse_level("Info").ok());
}

TEST_CASE("log: lines reach several files, in order, at the level of the moment") {
  const Folder folder;
  const std::string a = folder.path + "/a.log", b = folder.path + "/b.log";
  base::log::Options options;
  options.outputs = {a, b, a};
  const LogToFile log(options);
  base::log::info("one", {{"n", 1}});
  base::log::debug("hidden");
  base::log::set_level(Level::kDebug);
  base::log::debug("two");
  base::log::write_named("raft", Level::kInfo, "three");
  base::log::set_level(Level::kError);
  base::log::warn("hidden");
  base::log::error("four");
  base::log::set_level(Level::kInfo);
  base::log::flush();
  std::istringstream lines(content(a));
  std::vector<std::string> messages;
  for (std::string line; std::getline(lines, line);) {
    const nlohmann::json parsed = nlohmann::json::parse(line);
    messages.push_back(parsed["msg"]);
    CHECK(parsed["caller"].get<std::string>().starts_with("base/log_test.cc:"));
  }
  CHECK(messages == std::vector<std::string>{"one", "two", "three", "four"});
  CHECK(content(a) == content(b));
}

TEST_CASE("log: outputs that cannot be opened") {
  base::log::Options options;
  options.outputs = {"/nonexistent/a/b", "foo://a", "/nonexistent/c"};
  CHECK(base::log::configure(options).text() ==
        "open sink \"/nonexistent/a/b\": open /nonexistent/a/b: no such file or directory; "
        "open sink \"/nonexistent/c\": open /nonexistent/c: no such file or directory; "
        "open sink \"foo://a\": no sink found for scheme \"foo\"");
}

TEST_CASE("log: the same line over and over is sampled") {
  const Folder folder;
  base::log::Options options;
  options.outputs = {folder.path + "/a.log"};
  const LogToFile log(options);
  for (int i = 0; i < 450; ++i) base::log::info("again and again", {{"i", i}});
  base::log::flush();
  std::istringstream lines(content(options.outputs[0]));
  int count = 0;
  for (std::string line; std::getline(lines, line);) ++count;
  // 100, then the 200th, 300th and 400th; twice that if the clock's second ended meanwhile.
  CHECK(count >= 103);
  CHECK(count <= 206);
}

TEST_CASE("log: an output that takes nothing holds nobody up and loses the oldest") {
  int pipe_ends[2];
  REQUIRE(::pipe(pipe_ends) == 0);
  base::log::Options options;
  options.outputs = {"/proc/self/fd/" + std::to_string(pipe_ends[1])};
  REQUIRE(base::log::configure(options).ok());
  const auto start = std::chrono::steady_clock::now();
  const std::string filler(1000, 'x');
  for (size_t i = 0; i < base::log::kQueueLinesMax + 500; ++i) {
    base::log::info("line " + std::to_string(i), {{"filler", filler}});
  }
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
  CHECK(base::log::lines_dropped() > 0);
  // Free the writer: nothing may hang at the end.
  ::close(pipe_ends[1]);
  std::string sink(1 << 20, '\0');
  base::log::Options quiet;
  quiet.outputs = {"/dev/null"};
  ssize_t n = ::read(pipe_ends[0], sink.data(), sink.size());
  CHECK(n > 0);
  ::close(pipe_ends[0]);
  CHECK(base::log::configure(quiet).ok());
}

TEST_CASE("log rotation: settings") {
  const base::Result<base::log::Rotation> parsed =
      base::log::parse_rotation(R"({"MaxSize": 7, "maxage": 1, "maxbackups": 2, "localtime": true, "compress": true, "x": 1})");
  REQUIRE(parsed.ok());
  CHECK(parsed->size_mb == 7);
  CHECK(parsed->age_days == 1);
  CHECK(parsed->backups == 2);
  CHECK(parsed->local_time);
  CHECK(parsed->compress);
  struct Row {
    const char* json;
    const char* error;
  };
  for (const Row& row : {Row{"{", "improperly formatted log rotation config: unexpected end of JSON input"},
                         Row{"", "improperly formatted log rotation config: unexpected end of JSON input"},
                         Row{"foo", "improperly formatted log rotation config: invalid character"},
                         Row{"{\"maxsize\":\"a\"}",
                             "invalid log rotation config: json: cannot unmarshal string into Go struct field "
                             "logRotationConfig.Logger.maxsize of type int"},
                         Row{"{\"maxsize\":1.5}",
                             "invalid log rotation config: json: cannot unmarshal number 1.5 into Go struct field "
                             "logRotationConfig.Logger.maxsize of type int"},
                         Row{"{\"compress\":1}",
                             "invalid log rotation config: json: cannot unmarshal number"},
                         Row{"[]", "invalid log rotation config: json: cannot unmarshal array into Go value"}}) {
    CAPTURE(row.json);
    CHECK(std::string(base::log::parse_rotation(row.json).status().text()).starts_with(row.error));
  }
}

TEST_CASE("log rotation: full files move aside, are compressed and removed") {
  const Folder folder;
  base::log::Rotation rotation;
  rotation.size_mb = 1;
  rotation.backups = 2;
  rotation.compress = true;
  const std::string path = folder.path + "/deep/etcd.log";
  std::string line(300 << 10, 'x');
  line += '\n';
  {
    const std::unique_ptr<base::log::Sink> sink = base::log::rotating_sink(path, rotation);
    for (int i = 0; i < 14; ++i) {
      sink->write(Level::kInfo, line);
      // Backups are named by milliseconds.
      if (i % 3 == 2) {
        const auto until = std::chrono::system_clock::now() + std::chrono::milliseconds(3);
        while (std::chrono::system_clock::now() < until) {
        }
      }
    }
  }
  int compressed = 0, others = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path + "/deep")) {
    const std::string name = entry.path().filename();
    if (name == "etcd.log") continue;
    (name.starts_with("etcd-20") && name.ends_with(".log.gz") ? compressed : others) += 1;
    CHECK(entry.file_size() < 100000);
  }
  CHECK(compressed == 2);
  CHECK(others == 0);
  CHECK(std::filesystem::file_size(path) == 2 * line.size());
  // A restart goes on in the same file, also when it is someone else's mode.
  std::filesystem::permissions(path, std::filesystem::perms(0640));
  base::log::rotating_sink(path, rotation)->write(Level::kInfo, "end\n");
  CHECK(std::filesystem::file_size(path) == 2 * line.size() + 4);
}

TEST_CASE("log: the systemd journal gets priority, identifier and the line") {
  const Folder folder;
  const std::string path = folder.path + "/socket";
  const int journal = ::socket(AF_UNIX, SOCK_DGRAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  REQUIRE(::bind(journal, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  base::Result<std::unique_ptr<base::log::Sink>> sink = base::log::journal_sink(path.c_str());
  REQUIRE(sink.ok());
  const std::string line = R"({"level":"warn","caller":"server/node.cc:7","msg":"x"})";
  (*sink)->write(Level::kWarn, line + "\n");
  char buffer[4096];
  const ssize_t n = ::recv(journal, buffer, sizeof buffer, MSG_DONTWAIT);
  ::close(journal);
  REQUIRE(n > 0);
  const std::string datagram(buffer, static_cast<size_t>(n));
  CHECK(datagram.find("PRIORITY=4\n") != std::string::npos);
  CHECK(datagram.find("SYSLOG_IDENTIFIER=") != std::string::npos);
  CHECK(datagram.find("PACKAGE=server\n") != std::string::npos);
  const size_t message = datagram.find("MESSAGE\n");
  REQUIRE(message != std::string::npos);
  CHECK(static_cast<uint8_t>(datagram[message + 8]) == line.size());
  CHECK(datagram.substr(message + 16) == line + "\n");
  CHECK(base::log::journal_sink((folder.path + "/none").c_str()).status().text() ==
        "can't find journal (dial unixgram " + folder.path + "/none: connect: no such file or directory)");
}
