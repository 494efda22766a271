// etcdutl: works on files of members that do not run.
#pragma once

namespace cli {

int utl_main(int argc, char** argv);

}  // namespace cli
