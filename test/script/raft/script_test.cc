// Stories about groups of Raft members: ours in this folder, and etcd's (etcd-io/raft testdata) where RAFT_TESTDATA says.
#include <doctest/doctest.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "script/raft/interaction.h"

namespace {

namespace fs = std::filesystem;

const char* etcd_stories() { return std::getenv("RAFT_TESTDATA"); }

bool run_story(const fs::path& path) {
  raft::test::Interaction interaction;
  const auto mismatches = script::run_file(path, [&](const script::Command& command) { return interaction.handle(command); });
  // One wrong step makes all later ones wrong.
  if (!mismatches.empty()) {
    MESSAGE(path.filename().string(), ": ", mismatches.size(), " commands differ; the first:\n",
            mismatches.front().to_string());
  }
  return mismatches.empty();
}

// Says the result as the last line of the program, after doctest's own.
struct LastLine {
  int passed = 0, failed = 0;
  ~LastLine() {
    if (passed + failed > 0) std::printf("%d passed, %d failed\n", passed, failed);
  }
} last_line;

}  // namespace

TEST_CASE("raft: the stories of this folder") {
  const auto paths = script::files_in(fs::path(__FILE__).parent_path());
  REQUIRE(paths.size() >= 8);
  for (const fs::path& path : paths) CHECK_MESSAGE(run_story(path), path.filename().string());
}

TEST_CASE("raft: the stories of etcd-io/raft" * doctest::skip(etcd_stories() == nullptr)) {
  const auto paths = script::files_in(etcd_stories());
  REQUIRE(!paths.empty());
  for (const fs::path& path : paths) {
    const bool same = run_story(path);
    ++(same ? last_line.passed : last_line.failed);
    CHECK_MESSAGE(same, path.filename().string());
  }
}
