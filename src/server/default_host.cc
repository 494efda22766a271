#include "server/default_host.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>

#include <fstream>
#include <sstream>

namespace server {
namespace {

using base::Code;
using base::Result;
using base::Status;

// Columns: interface, destination, gateway, flags, ...; numbers in hex.
std::string default_interface(const std::string& route_file) {
  std::ifstream file(route_file);
  std::string line;
  std::getline(file, line);  // heading
  while (std::getline(file, line)) {
    std::istringstream columns(line);
    std::string name, destination, gateway;
    if (columns >> name >> destination >> gateway && destination == "00000000") return name;
  }
  return {};
}

}  // namespace

Result<std::string> default_host(const std::string& route_file) {
  const std::string interface = default_interface(route_file);
  if (interface.empty()) return Status(Code::kNotFound, "could not find default route");
  ifaddrs* all = nullptr;
  if (getifaddrs(&all) != 0) return Status(Code::kNotFound, "could not find default host");
  std::string found;
  for (const ifaddrs* one = all; one != nullptr && found.empty(); one = one->ifa_next) {
    const bool usable = one->ifa_addr != nullptr && one->ifa_addr->sa_family == AF_INET && interface == one->ifa_name &&
                        (one->ifa_flags & IFF_LOOPBACK) == 0;
    if (!usable) continue;
    char text[INET_ADDRSTRLEN];
    const auto* address = reinterpret_cast<const sockaddr_in*>(one->ifa_addr);
    if (inet_ntop(AF_INET, &address->sin_addr, text, sizeof text) != nullptr) found = text;
  }
  freeifaddrs(all);
  if (found.empty()) return Status(Code::kNotFound, "could not find default host");
  return found;
}

}  // namespace server
