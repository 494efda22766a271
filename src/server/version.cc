#include "server/version.h"

#include "server/config.h"

namespace server {

std::string git_sha() {
#ifdef ETCD_GIT_SHA
  return ETCD_GIT_SHA;
#else
  return "Not provided";
#endif
}

std::string compiler_text() {
#ifdef __clang__
  return "none (C++20, clang " + std::string(__clang_version__).substr(0, std::string(__clang_version__).find(' ')) + ")";
#else
  return "none (C++20, GCC " __VERSION__ ")";
#endif
}

std::string os_name() { return "linux"; }

std::string architecture() {
#if defined(__x86_64__)
  return "amd64";
#elif defined(__aarch64__)
  return "arm64";
#elif defined(__powerpc64__) && defined(__LITTLE_ENDIAN__)
  return "ppc64le";
#elif defined(__s390x__)
  return "s390x";
#elif defined(__i386__)
  return "386";
#elif defined(__arm__)
  return "arm";
#elif defined(__riscv)
  return "riscv64";
#else
  return "unknown";
#endif
}

std::string version_text() {
  return "etcd Version: " + std::string(kVersion) + "\nGit SHA: " + git_sha() + "\nGo Version: " + compiler_text() +
         "\nGo OS/Arch: " + os_name() + "/" + architecture() + "\n";
}

}  // namespace server
