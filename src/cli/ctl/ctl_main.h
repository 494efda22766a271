// etcdctl as a mode of the executable.
#pragma once

namespace cli {

// etcdctl. argv[0] is not looked at. Returns the exit code.
int ctl_main(int argc, char** argv);

}  // namespace cli
