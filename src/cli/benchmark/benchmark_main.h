// The load generator as a mode of the executable.
#pragma once

namespace cli {

// benchmark, the load generator. argv[0] is not looked at. Returns the exit code.
int benchmark_main(int argc, char** argv);

}  // namespace cli
