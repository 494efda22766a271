#pragma once

namespace cli {

// etcd, the member. argv[0] is not looked at. Returns the exit code.
int server_main(int argc, char** argv);

}  // namespace cli
