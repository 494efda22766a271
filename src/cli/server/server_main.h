// `etcd [flags]`: runs a member.
#pragma once

namespace cli {

// argv[0] is the program's name. Returns the exit code: 2 for flags that cannot be read, 1 for a start that fails.
int server_main(int argc, char** argv);

}  // namespace cli
