#include "rpc/endpoint.h"

#include <optional>

namespace rpc {

using base::Code;
using base::Result;
using base::Status;

namespace {

bool take_prefix(std::string_view* text, std::string_view prefix) {
  if (text->substr(0, prefix.size()) != prefix) return false;
  text->remove_prefix(prefix.size());
  return true;
}

std::optional<uint16_t> parse_port(std::string_view text) {
  uint32_t port = 0;
  if (text.empty() || text.size() > 5) return std::nullopt;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    port = port * 10 + static_cast<uint32_t>(c - '0');
  }
  if (port > 65535) return std::nullopt;
  return static_cast<uint16_t>(port);
}

}  // namespace

Result<Endpoint> parse_endpoint(std::string_view text) {
  Endpoint out;
  std::string_view rest = text;
  if (take_prefix(&rest, "unixs://") || take_prefix(&rest, "unixs:")) {
    out.unix_socket = true;
    out.tls = Endpoint::Tls::kAlways;
  } else if (take_prefix(&rest, "unix://") || take_prefix(&rest, "unix:")) {
    out.unix_socket = true;
    out.tls = Endpoint::Tls::kNever;
  } else if (take_prefix(&rest, "https://")) {
    out.tls = Endpoint::Tls::kAlways;
  } else if (take_prefix(&rest, "http://")) {
    out.tls = Endpoint::Tls::kNever;
  }
  out.authority = std::string(rest);
  if (out.unix_socket) {
    if (rest.empty()) return Status(Code::kInvalidArgument, "dial unix: missing path");
    out.path = std::string(rest);
    return out;
  }
  rest = rest.substr(0, rest.find('/'));
  const size_t colon = rest.rfind(':');
  std::string_view host = rest.substr(0, colon);
  const std::optional<uint16_t> port = colon == rest.npos ? std::nullopt : parse_port(rest.substr(colon + 1));
  if (colon == rest.npos) return Status(Code::kInvalidArgument, "address " + std::string(rest) + ": missing port in address");
  if (!port) return Status(Code::kInvalidArgument, "address " + std::string(rest.substr(colon + 1)) + ": invalid port");
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  out.host = host.empty() ? "localhost" : std::string(host);
  out.port = *port;
  return out;
}

}  // namespace rpc
