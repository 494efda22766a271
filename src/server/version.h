// What this program says it is. Constants of the build; any thread.
#pragma once

#include <string>

namespace server {

std::string git_sha();        // short hex, or "Not provided"
std::string compiler_text();  // "none (C++20, GCC 12.2.0)": where etcd names its Go version
std::string os_name();        // "linux"
std::string architecture();   // Go's names: "amd64", "arm64", ...
// Four lines as `etcd --version` prints them.
std::string version_text();

}  // namespace server
