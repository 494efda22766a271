// Runs one fuzz target without libFuzzer: every saved input of test/fuzz/corpus/NAME, where NAME comes from the program's
// own name (replay_NAME), then a fixed number of mutations of them from a fixed seed. So a target that a change breaks is
// seen by `make test`, with the normal compiler. A failing input stops the process, as it does under libFuzzer; its number is
// the last line printed.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" __attribute__((weak)) int LLVMFuzzerInitialize(int* argc, char*** argv);

namespace {

constexpr size_t kMutationsMax = 4000;
constexpr size_t kInputBytesMax = 64 * 1024;
constexpr const char* kCorpus = "test/fuzz/corpus/";

// splitmix64: the same inputs on every machine.
uint64_t next_random(uint64_t& state) {
  uint64_t z = (state += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::vector<std::string> saved_inputs(const std::string& target) {
  std::vector<std::filesystem::path> paths;
  std::error_code absent;
  for (const auto& entry : std::filesystem::directory_iterator(kCorpus + target, absent)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<std::string> inputs;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    inputs.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return inputs;
}

// One to eight small changes: a flipped bit, a byte of interest, a byte inserted or removed, a cut, a piece repeated.
std::string mutate(std::string input, uint64_t& state) {
  constexpr unsigned char kInteresting[] = {0x00, 0x01, 0x0a, 0x0d, 0x20, 0x7f, 0x80, 0xff};
  for (uint64_t changes = 1 + next_random(state) % 8; changes > 0; --changes) {
    const size_t at = input.empty() ? 0 : next_random(state) % input.size();
    switch (input.empty() ? 2 : next_random(state) % 6) {
      case 0: input[at] = static_cast<char>(input[at] ^ (1 << next_random(state) % 8)); break;
      case 1: input[at] = static_cast<char>(kInteresting[next_random(state) % sizeof kInteresting]); break;
      case 2: input.insert(input.begin() + static_cast<ptrdiff_t>(at), static_cast<char>(next_random(state))); break;
      case 3: input.erase(at, 1 + next_random(state) % 4); break;
      case 4: input.resize(at); break;
      default: input.insert(at, input.substr(at, 1 + next_random(state) % 32)); break;
    }
  }
  if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
  return input;
}

void run_one(const std::string& input) { LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(input.data()), input.size()); }

}  // namespace

int main(int argc, char** argv) {
  if (LLVMFuzzerInitialize) LLVMFuzzerInitialize(&argc, &argv);
  const std::string program = std::filesystem::path(argv[0]).filename();
  const std::string target = program.substr(program.find('_') + 1);
  std::vector<std::string> inputs = saved_inputs(target);
  setvbuf(stdout, nullptr, _IOLBF, 0);
  for (size_t i = 0; i < inputs.size(); ++i) {
    printf("\rsaved input %zu of %s", i, target.c_str());
    run_one(inputs[i]);
  }
  if (inputs.empty()) inputs.emplace_back();
  uint64_t state = 1;
  for (size_t i = 0; i < kMutationsMax; ++i) {
    printf("\rmutation %zu of %s", i, target.c_str());
    run_one(mutate(inputs[next_random(state) % inputs.size()], state));
  }
  printf("\n%zu passed, 0 failed\n", inputs.size() + 1);
}
