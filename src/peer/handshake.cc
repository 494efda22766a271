#include "peer/handshake.h"

#include <algorithm>
#include <charconv>

#include "base/bytes.h"

namespace peer {
namespace {

using base::NodeId;

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : ",") + part;
  return out;
}

bool take_number(std::string_view* text, int* number) {
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), *number);
  if (error != std::errc() || end == text->data() || *number < 0) return false;
  text->remove_prefix(static_cast<size_t>(end - text->data()));
  return true;
}

struct Minor {
  int major = 0, minor = 0;
  auto operator<=>(const Minor&) const = default;
};
std::optional<Minor> parse_version(std::string_view text) {
  if (text.empty()) return Minor{2, 0};
  Minor version;
  int patch = 0;
  if (!take_number(&text, &version.major) || !text.starts_with('.')) return std::nullopt;
  text.remove_prefix(1);
  if (!take_number(&text, &version.minor) || !text.starts_with('.')) return std::nullopt;
  text.remove_prefix(1);
  if (!take_number(&text, &patch) || (!text.empty() && text[0] != '-' && text[0] != '+')) return std::nullopt;
  return version;
}

std::optional<Refusal> refuse_method(const Request& request, std::string_view wanted) {
  if (request.method == wanted) return std::nullopt;
  return Refusal{405, "Method Not Allowed", std::string(wanted), "method"};
}

}  // namespace

http1::Fields request_fields(const Identity& us, std::optional<NodeId> to, std::string_view content_type) {
  http1::Fields fields;
  fields.emplace_back("User-Agent", "etcd/" + us.version);
  if (!content_type.empty()) fields.emplace_back("Content-Type", content_type);
  fields.emplace_back("X-Server-From", base::hex(us.self.value()));
  fields.emplace_back("X-Server-Version", us.version);
  fields.emplace_back("X-Min-Cluster-Version", kMinClusterVersion);
  fields.emplace_back("X-Etcd-Cluster-ID", base::hex(us.cluster_id));
  if (to) fields.emplace_back("X-Raft-To", base::hex(to->value()));
  fields.emplace_back("X-PeerURLs", joined(us.peer_urls));
  return fields;
}

std::optional<int> compare_minor(std::string_view a, std::string_view b) {
  const std::optional<Minor> left = parse_version(a), right = parse_version(b);
  if (!left || !right) return std::nullopt;
  return *left < *right ? -1 : *left == *right ? 0 : 1;
}

std::optional<Refusal> check_sender(const Identity& us, const Request& request) {
  const std::string_view version = request.header("x-server-version"), min_version = request.header("x-min-cluster-version");
  const std::optional<int> too_old = compare_minor(version, kMinClusterVersion),
                           too_new = compare_minor(min_version, us.version);
  if (!too_old || !too_new || *too_old < 0 || *too_new > 0) {
    return Refusal{412,
                   "incompatible version",
                   {},
                   "remote server version " + std::string(version.substr(0, 64)) + ", minimum cluster version " +
                       std::string(min_version.substr(0, 64))};
  }
  const std::string_view cluster = request.header("x-etcd-cluster-id");
  if (cluster != base::hex(us.cluster_id)) {
    return Refusal{412, "cluster ID mismatch", {}, "remote cluster ID " + std::string(cluster.substr(0, 64))};
  }
  return std::nullopt;
}

std::optional<Refusal> check_post(const Identity& us, const Request& request) {
  std::optional<Refusal> refusal = refuse_method(request, "POST");
  return refusal ? refusal : check_sender(us, request);
}

std::optional<Refusal> check_stream(const Identity& us, const Request& request, Channel* channel, NodeId* from) {
  if (std::optional<Refusal> refusal = refuse_method(request, "GET")) return refusal;
  if (std::optional<Refusal> refusal = check_sender(us, request)) return refusal;
  std::string_view rest = request.path;
  rest.remove_prefix(std::min(rest.size(), kStreamPrefix.size()));
  const size_t slash = rest.find('/');
  const std::string_view kind = rest.substr(0, slash);
  if (kind == path_of(Channel::kAppend))
    *channel = Channel::kAppend;
  else if (kind == path_of(Channel::kMessage))
    *channel = Channel::kMessage;
  else
    return Refusal{404, "invalid path", {}, "path"};
  const std::optional<uint64_t> id =
      slash == std::string_view::npos ? std::nullopt : base::parse_hex(rest.substr(rest.rfind('/') + 1));
  if (!id) return Refusal{404, "invalid from", {}, "from"};
  *from = NodeId(*id);
  return std::nullopt;
}

Sender sender_of(const Request& request) {
  Sender sender;
  sender.id = NodeId(base::parse_hex(request.header("x-server-from")).value_or(0));
  std::string_view urls = request.header("x-peerurls");
  while (!urls.empty()) {
    const size_t comma = urls.find(',');
    const std::string_view url = urls.substr(0, comma);
    if (parse_peer_url(url)) sender.urls.emplace_back(url);
    urls.remove_prefix(comma == std::string_view::npos ? urls.size() : comma + 1);
  }
  return sender;
}

StreamAnswer judge_stream_answer(int status) {
  return status == 200 ? StreamAnswer::kOpen : status == 410 ? StreamAnswer::kRemoved : StreamAnswer::kNo;
}

std::optional<PeerUrl> parse_peer_url(std::string_view url) {
  const size_t scheme_end = url.find("://");
  if (scheme_end == std::string_view::npos) return std::nullopt;
  PeerUrl out;
  out.scheme = url.substr(0, scheme_end);
  url.remove_prefix(scheme_end + 3);
  if (out.is_unix()) {
    if (url.empty()) return std::nullopt;
    out.authority = url;
    out.host = url.substr(0, url.rfind(':'));
    return out;
  }
  const std::string_view authority = url.substr(0, url.find('/'));
  const size_t colon = authority.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  std::string_view host = authority.substr(0, colon), port = authority.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  int number = 0;
  if (host.empty() || !take_number(&port, &number) || !port.empty() || number > 65535) return std::nullopt;
  out.host = host;
  out.port = static_cast<uint16_t>(number);
  out.authority = authority;
  return out;
}

}  // namespace peer
