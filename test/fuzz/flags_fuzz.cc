// Command lines and environments of any bytes: words end at '\n', variables follow an empty word. Whatever comes, it is an
// outcome with its text, and what runs can be judged and printed.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "cli/server/flags.h"
#include "server/config.h"
#include "server/url.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::vector<std::string> arguments, environment;
  bool in_environment = false;
  std::string word;
  for (size_t i = 0; i <= size; ++i) {
    if (i < size && data[i] != '\n') {
      word += static_cast<char>(data[i]);
      continue;
    }
    if (!in_environment && word.empty()) in_environment = true;
    else (in_environment ? environment : arguments).push_back(word);
    word.clear();
  }
  const auto no_file = [](const std::string&) -> base::Result<std::string> {
    return base::Status(base::Code::kNotFound, "no file");
  };
  const cli::CommandLine line = cli::read_command_line(arguments, environment, no_file);
  using Outcome = cli::CommandLine::Outcome;
  const bool has_error = line.outcome != Outcome::kRun && line.outcome != Outcome::kHelp && line.outcome != Outcome::kVersion;
  require(line.error.empty() != has_error);
  if (line.outcome != Outcome::kRun) return 0;
  // What is printed reads back as the same.
  for (const server::Url& url : line.config.listen_peer_urls) {
    const base::Result<server::Url> again = server::parse_url(url.text);
    require(again.ok() && again->text == url.text);
  }
  server::FeatureGates gates;
  require(gates.set(line.config.feature_gates.text()).ok());
  (void)cli::warnings(line.config);
  server::Config config = line.config;
  (void)server::check_start(config);
  return 0;
}
