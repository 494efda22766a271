#include "server/gateway.h"

#include <google/protobuf/descriptor.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/verify.h"
#include "net/spawn.h"
#include "rpc.pb.h"
#include "rpc/grpc_text.h"
#include "v3election.pb.h"
#include "v3lock.pb.h"

namespace server {

using base::Code;
using base::Result;
using base::Status;
using rpc::HttpCall;
using rpc::HttpResponse;
using rpc::Metadata;

namespace {

constexpr std::string_view kMetadataPrefix = "grpc-metadata-";
constexpr std::string_view kPermanentHeaders[] = {"accept",
                                                  "accept-charset",
                                                  "accept-language",
                                                  "accept-ranges",
                                                  "authorization",
                                                  "cache-control",
                                                  "cookie",
                                                  "content-type",
                                                  "date",
                                                  "expect",
                                                  "from",
                                                  "host",
                                                  "if-match",
                                                  "if-modified-since",
                                                  "if-none-match",
                                                  "if-schedule-tag-match",
                                                  "if-unmodified-since",
                                                  "max-forwards",
                                                  "origin",
                                                  "pragma",
                                                  "referer",
                                                  "user-agent",
                                                  "via",
                                                  "warning"};

struct RouteName {
  std::string_view path;  // below /v3/
  std::string_view service, method;
};
constexpr RouteName kRoutes[] = {{"kv/range", "KV", "Range"},
                                 {"kv/put", "KV", "Put"},
                                 {"kv/deleterange", "KV", "DeleteRange"},
                                 {"kv/txn", "KV", "Txn"},
                                 {"kv/compaction", "KV", "Compact"},
                                 {"watch", "Watch", "Watch"},
                                 {"lease/grant", "Lease", "LeaseGrant"},
                                 {"lease/revoke", "Lease", "LeaseRevoke"},
                                 {"kv/lease/revoke", "Lease", "LeaseRevoke"},
                                 {"lease/keepalive", "Lease", "LeaseKeepAlive"},
                                 {"lease/timetolive", "Lease", "LeaseTimeToLive"},
                                 {"kv/lease/timetolive", "Lease", "LeaseTimeToLive"},
                                 {"lease/leases", "Lease", "LeaseLeases"},
                                 {"kv/lease/leases", "Lease", "LeaseLeases"},
                                 {"cluster/member/add", "Cluster", "MemberAdd"},
                                 {"cluster/member/remove", "Cluster", "MemberRemove"},
                                 {"cluster/member/update", "Cluster", "MemberUpdate"},
                                 {"cluster/member/list", "Cluster", "MemberList"},
                                 {"cluster/member/promote", "Cluster", "MemberPromote"},
                                 {"maintenance/alarm", "Maintenance", "Alarm"},
                                 {"maintenance/status", "Maintenance", "Status"},
                                 {"maintenance/defragment", "Maintenance", "Defragment"},
                                 {"maintenance/hash", "Maintenance", "Hash"},
                                 {"maintenance/hashkv", "Maintenance", "HashKV"},
                                 {"maintenance/snapshot", "Maintenance", "Snapshot"},
                                 {"maintenance/transfer-leadership", "Maintenance", "MoveLeader"},
                                 {"maintenance/downgrade", "Maintenance", "Downgrade"},
                                 {"auth/enable", "Auth", "AuthEnable"},
                                 {"auth/disable", "Auth", "AuthDisable"},
                                 {"auth/status", "Auth", "AuthStatus"},
                                 {"auth/authenticate", "Auth", "Authenticate"},
                                 {"auth/user/add", "Auth", "UserAdd"},
                                 {"auth/user/get", "Auth", "UserGet"},
                                 {"auth/user/list", "Auth", "UserList"},
                                 {"auth/user/delete", "Auth", "UserDelete"},
                                 {"auth/user/changepw", "Auth", "UserChangePassword"},
                                 {"auth/user/grant", "Auth", "UserGrantRole"},
                                 {"auth/user/revoke", "Auth", "UserRevokeRole"},
                                 {"auth/role/add", "Auth", "RoleAdd"},
                                 {"auth/role/get", "Auth", "RoleGet"},
                                 {"auth/role/list", "Auth", "RoleList"},
                                 {"auth/role/delete", "Auth", "RoleDelete"},
                                 {"auth/role/grant", "Auth", "RoleGrantPermission"},
                                 {"auth/role/revoke", "Auth", "RoleRevokePermission"},
                                 {"lock/lock", "Lock", "Lock"},
                                 {"lock/unlock", "Lock", "Unlock"},
                                 {"election/campaign", "Election", "Campaign"},
                                 {"election/proclaim", "Election", "Proclaim"},
                                 {"election/leader", "Election", "Leader"},
                                 {"election/observe", "Election", "Observe"},
                                 {"election/resign", "Election", "Resign"}};

const google::protobuf::ServiceDescriptor* find_service(std::string_view name) {
  const std::string service(name);
  const google::protobuf::FileDescriptor* file = etcdserverpb::RangeRequest::descriptor()->file();
  if (name == "Lock") file = v3lockpb::LockRequest::descriptor()->file();
  if (name == "Election") file = v3electionpb::LeaderRequest::descriptor()->file();
  return file->FindServiceByName(service);
}

bool is_printable(std::string_view value) {
  return std::all_of(value.begin(), value.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

bool is_metadata_key(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
  });
}

// "grpc-metadata-x" -> "Grpc-Metadata-X".
std::string canonical(std::string_view name) {
  std::string out(name);
  bool first = true;
  for (char& c : out) {
    if (first && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    first = c == '-';
  }
  return out;
}

// "100m": number and one of H M S m u n.
Result<base::Duration> parse_timeout(std::string_view text) {
  const Status invalid(Code::kInvalidArgument, "invalid grpc-timeout: " + std::string(text));
  constexpr std::string_view kUnits = "HMSmun";
  constexpr int64_t kUnitNs[] = {3'600'000'000'000, 60'000'000'000, 1'000'000'000, 1'000'000, 1'000, 1};
  const size_t unit = text.size() < 2 ? std::string_view::npos : kUnits.find(text.back());
  if (unit == std::string_view::npos) return invalid;
  std::string_view digits = text.substr(0, text.size() - 1);
  if (digits.size() > 1 && digits[0] == '+' && digits[1] != '-') digits.remove_prefix(1);
  int64_t count = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  if (read.ec != std::errc() || read.ptr != digits.data() + digits.size()) return invalid;
  if (count > INT64_MAX / kUnitNs[unit]) return base::Duration::max();
  return base::Duration(std::max<int64_t>(count, -1) * kUnitNs[unit]);
}

// What takes headers to metadata, in grpc-gateway's order of checks.
Status add_header(std::string_view name, std::string_view value, Metadata& out) {
  if (name == "authorization") out.add("authorization", std::string(value));
  std::string key;
  if (std::find(std::begin(kPermanentHeaders), std::end(kPermanentHeaders), name) != std::end(kPermanentHeaders)) {
    if (name == "host") return {};  // Go keeps it apart from the headers.
    key = "grpcgateway-" + std::string(name);
  } else if (name.starts_with(kMetadataPrefix)) {
    key = name.substr(kMetadataPrefix.size());
  }
  if (!is_metadata_key(key) || key.starts_with("grpc-") || key == "connection") return {};
  if (!name.ends_with("-bin")) {
    if (is_printable(value)) out.add(std::move(key), std::string(value));
    return {};
  }
  size_t bad_at = 0;
  std::optional<std::string> decoded = rpc::decode_binary(value, &bad_at);
  if (!decoded) {
    return Status(Code::kInvalidArgument,
                  "invalid binary header " + canonical(name) + ": illegal base64 data at input byte " + std::to_string(bad_at));
  }
  out.add(std::move(key), std::move(*decoded));
  return {};
}

std::string_view without_port(std::string_view peer) {
  const size_t colon = peer.rfind(':');
  if (colon == std::string_view::npos) return {};
  std::string_view host = peer.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  return host;
}

bool accepts_trailers(const rpc::HttpRequest& request) {
  std::string te(request.headers.find("te"));
  std::transform(te.begin(), te.end(), te.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  return te.find("trailers") != std::string::npos;
}

// One request and what its answers begin with.
struct Exchange : std::enable_shared_from_this<Exchange> {
  Exchange(std::shared_ptr<HttpCall> c, const GatewayRoute& r, Metadata m) : call(std::move(c)), route(r), cors(std::move(m)) {}

  void fail(const Status& status, bool from_handler) {
    HttpResponse response;
    response.status = http_status(status.code());
    if (!append_status_json(status, {}, &response.body)) {
      response.status = 500;
      response.body = R"({"code": 13, "message": "failed to marshal error message"})";
    }
    response.headers.add("Content-Type", "application/json");
    if (from_handler && call->request().secure) add_relayed(response.headers);
    if (from_handler && accepts_trailers(call->request())) {
      response.chunked = true;
      response.headers.add("Trailer", "Grpc-Trailer-Content-Type");
      response.trailers.add("Grpc-Trailer-Content-Type", "application/grpc");
    }
    if (status.code() == Code::kUnauthenticated) response.headers.add("Www-Authenticate", std::string(status.text()));
    finish_with(*call, cors, std::move(response));
  }

  Metadata answer_headers() const {
    Metadata headers = cors;
    headers.add("Content-Type", "application/json");
    add_relayed(headers);
    return headers;
  }

  // What etcd's gateway has as headers from the gRPC server behind it, which over TLS is Go's HTTP server with its own ways.
  void add_relayed(Metadata& headers) const {
    headers.add("Grpc-Metadata-Content-Type", "application/grpc");
    if (!call->request().secure) return;
    headers.add("Grpc-Metadata-Trailer", "Grpc-Status");
    headers.add("Grpc-Metadata-Trailer", "Grpc-Message");
    headers.add("Grpc-Metadata-Trailer", "Grpc-Status-Details-Bin");
  }

  void answer(std::string_view message) {
    HttpResponse response;
    const Status printed = wire::message_to_json(message, *route.response, {}, &response.body);
    if (!printed.ok()) return fail(printed, false);
    response.headers = answer_headers();
    response.chunked = accepts_trailers(call->request());
    call->finish(std::move(response));
  }

  const std::shared_ptr<HttpCall> call;
  const GatewayRoute& route;
  const Metadata cors;
};

// The next piece of a source, as something a coroutine can wait for.
class SourceReader {
 public:
  SourceReader(asio::any_io_executor executor, std::unique_ptr<rpc::ChunkSource> source)
      : timer_(std::move(executor), asio::steady_timer::time_point::max()),
        source_(std::move(source)),
        left_(source_->size()) {}
  uint64_t left() const { return left_; }
  // REQUIRES: `self` is this object, which a late answer must still find.
  static asio::awaitable<Result<std::string>> read(std::shared_ptr<SourceReader> self, size_t max) {
    self->piece_.reset();
    self->source_->next(std::min<uint64_t>(max, self->left_), [self](Result<std::string> piece) {
      self->piece_ = std::move(piece);
      self->timer_.cancel();
    });
    while (!self->piece_) {
      asio::error_code ignored;
      co_await self->timer_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
    }
    if (self->piece_->ok()) self->left_ -= (**self->piece_).size();
    co_return std::move(*self->piece_);
  }

 private:
  asio::steady_timer timer_;
  std::unique_ptr<rpc::ChunkSource> source_;
  uint64_t left_;
  std::optional<Result<std::string>> piece_;
};

constexpr size_t kSourcePieceBytes = 64 * 1024;

// An answer that does not fit into memory at once: printed as it is read. When it breaks off, so does the connection.
asio::awaitable<void> send_source(std::shared_ptr<Exchange> exchange, std::shared_ptr<SourceReader> source) {
  exchange->call->begin(200, exchange->answer_headers());
  wire::JsonWriter writer(*exchange->route.response);
  while (source->left() > 0) {
    const Result<std::string> piece = co_await SourceReader::read(source, kSourcePieceBytes);
    if (!piece.ok()) co_return;
    std::string json;
    if (!writer.write(*piece, &json).ok()) co_return;
    const Status written = co_await exchange->call->write(std::move(json));
    if (!written.ok()) co_return;
  }
  std::string json;
  if (!writer.finish(&json).ok()) co_return;
  const Status written = co_await exchange->call->write(std::move(json));
  if (written.ok()) exchange->call->end();
}

// The request's documents to the handler. What is no document ends the requests, not the stream.
asio::awaitable<void> send_documents(std::shared_ptr<Exchange> exchange, std::shared_ptr<rpc::LocalStream> stream) {
  wire::JsonDocuments documents(exchange->call->request().body.size());
  documents.append(exchange->call->request().body);
  documents.end();
  std::string_view document;
  while (documents.next(&document) == wire::JsonDocuments::Got::kDocument) {
    std::string message;
    if (!wire::json_to_message(document, *exchange->route.request, &message).ok()) break;
    const Status sent = co_await stream->send(std::move(message));
    if (!sent.ok()) break;
  }
  stream->close_send();
}

asio::awaitable<void> send_answers(std::shared_ptr<Exchange> exchange, std::shared_ptr<rpc::LocalStream> stream) {
  bool begun = false;
  for (;;) {
    const std::optional<std::string> message = co_await stream->receive();
    if (!message) break;
    std::string json = "{\"result\":";
    wire::JsonStyle style;
    style.escape_html = true;
    const Status printed = wire::message_to_json(*message, *exchange->route.response, style, &json);
    if (!printed.ok()) {
      stream->cancel(printed);
      break;
    }
    json += "}\n";
    if (!begun) exchange->call->begin(200, exchange->answer_headers());
    begun = true;
    const Status written = co_await exchange->call->write(std::move(json));
    if (!written.ok()) {
      stream->cancel(Status(Code::kCancelled, "context canceled"));
      co_return;
    }
  }
  const Status& status = stream->status();
  if (!status.ok()) {
    std::string json = "{\"error\":";
    wire::JsonStyle style;
    style.escape_html = true;
    if (!append_status_json(status, style, &json)) json = R"({"error":{"code":13)";
    json += "}\n";
    Metadata headers = exchange->cors;
    headers.add("Content-Type", "application/json");
    if (!begun) exchange->call->begin(http_status(status.code()), std::move(headers));
    (void)co_await exchange->call->write(std::move(json));
  } else if (!begun) {
    exchange->call->begin(200, exchange->cors);
  }
  exchange->call->end();
}

}  // namespace

int http_status(Code code) {
  switch (code) {
    case Code::kOk:
      return 200;
    case Code::kCancelled:
      return 499;
    case Code::kInvalidArgument:
    case Code::kFailedPrecondition:
    case Code::kOutOfRange:
      return 400;
    case Code::kDeadlineExceeded:
      return 504;
    case Code::kNotFound:
      return 404;
    case Code::kAlreadyExists:
    case Code::kAborted:
      return 409;
    case Code::kPermissionDenied:
      return 403;
    case Code::kUnauthenticated:
      return 401;
    case Code::kResourceExhausted:
      return 429;
    case Code::kUnimplemented:
      return 501;
    case Code::kUnavailable:
      return 503;
    default:
      return 500;
  }
}

bool append_status_json(const Status& status, wire::JsonStyle style, std::string* json) {
  *json += '{';
  if (!status.ok()) *json += "\"code\":" + std::to_string(static_cast<int>(status.code()));
  if (!status.text().empty()) {
    *json += status.ok() ? "\"message\":" : ",\"message\":";
    if (!wire::append_json_string(status.text(), style, json)) return false;
  }
  *json += '}';
  return true;
}

Result<rpc::LocalCaller> gateway_caller(const rpc::HttpRequest& request) {
  rpc::LocalCaller caller;
  const std::string_view timeout = request.headers.find("grpc-timeout");
  if (!timeout.empty()) {
    const Result<base::Duration> parsed = parse_timeout(timeout);
    if (!parsed.ok()) return parsed.status();
    if (parsed->count() != 0) caller.timeout = *parsed;
  }
  std::string forwarded_for;
  for (const auto& [name, value] : request.headers.fields()) {
    if (name == "x-forwarded-for") {
      forwarded_for += (forwarded_for.empty() ? "" : ", ") + value;
    } else if (name != "x-forwarded-host") {
      const Status added = add_header(name, value, caller.metadata);
      if (!added.ok()) return added;
    }
  }
  std::string_view host = request.headers.find("x-forwarded-host");
  if (host.empty()) host = request.headers.find("host");
  if (!host.empty()) caller.metadata.add("x-forwarded-host", std::string(host));
  const std::string_view address = without_port(request.peer);
  if (!address.empty()) forwarded_for.append(forwarded_for.empty() ? "" : ", ").append(address);
  if (!forwarded_for.empty()) caller.metadata.add("x-forwarded-for", std::move(forwarded_for));
  caller.peer = request.peer;
  caller.tls_common_name = request.tls_common_name;
  return caller;
}

GatewayRoutes::GatewayRoutes() {
  for (const RouteName& name : kRoutes) {
    const google::protobuf::ServiceDescriptor* service = find_service(name.service);
    VERIFY(service != nullptr);
    const google::protobuf::MethodDescriptor* method = service->FindMethodByName(std::string(name.method));
    VERIFY(method != nullptr);
    GatewayRoute& route = routes_["/v3/" + std::string(name.path)];
    route.method = "/" + service->full_name() + "/" + method->name();
    route.request = &types_.get(*method->input_type());
    route.response = &types_.get(*method->output_type());
    route.client_streams = method->client_streaming();
    route.server_streams = method->server_streaming();
  }
}

const GatewayRoute* GatewayRoutes::find(std::string_view path) const {
  const auto found = routes_.find(std::string(path));
  return found == routes_.end() ? nullptr : &found->second;
}

Gateway::Gateway(asio::any_io_executor executor, rpc::LocalCalls& calls, size_t body_bytes_max)
    : executor_(std::move(executor)),
      calls_(calls),
      body_bytes_max_(body_bytes_max),
      routes_(std::make_shared<const GatewayRoutes>()) {}

void Gateway::serve(std::shared_ptr<HttpCall> call, const Target& target, Metadata cors) {
  const GatewayRoute* const route = routes_->find(target.path);
  const rpc::HttpRequest& request = call->request();
  if (request.upgrade) return serve_gateway_socket(executor_, calls_, routes_, route, std::move(call), body_bytes_max_);
  static const GatewayRoute kNowhere;
  const auto exchange = std::make_shared<Exchange>(std::move(call), route == nullptr ? kNowhere : *route, std::move(cors));
  if (route == nullptr) return exchange->fail(Status(Code::kNotFound, "Not Found"), false);
  if (request.method != "POST") return exchange->fail(Status(Code::kUnimplemented, "Method Not Allowed"), false);
  Result<rpc::LocalCaller> caller = gateway_caller(request);
  if (!caller.ok()) return exchange->fail(caller.status(), false);

  std::string message;
  if (!route->client_streams) {
    wire::JsonScanner scanner;
    std::string_view rest = request.body;
    wire::JsonScanner::Got got = scanner.scan(&rest);
    if (got == wire::JsonScanner::Got::kMore) got = scanner.finish();
    Status read;
    if (got == wire::JsonScanner::Got::kError) read = Status(Code::kInvalidArgument, scanner.error());
    if (got == wire::JsonScanner::Got::kDocument) {
      std::string_view document = std::string_view(request.body).substr(0, request.body.size() - rest.size());
      document.remove_prefix(document.find_first_not_of(" \t\r\n"));
      read = wire::json_to_message(document, *route->request, &message);
    }
    if (!read.ok()) return exchange->fail(read, false);
  }
  if (route->client_streams || route->server_streams) {
    const std::shared_ptr<rpc::LocalStream> stream = calls_.open(route->method, std::move(*caller));
    exchange->call->on_closed([stream] { stream->cancel(Status(Code::kCancelled, "context canceled")); });
    if (route->client_streams) {
      net::spawn(executor_, "gateway requests", send_documents(exchange, stream));
    } else {
      stream->send_one(std::move(message));
    }
    return net::spawn(executor_, "gateway answers", send_answers(exchange, stream));
  }
  auto done = [exchange, executor = executor_](rpc::LocalAnswer answer) {
    if (!answer.status.ok()) return exchange->fail(answer.status, true);
    if (!answer.source) return exchange->answer(answer.message);
    auto source = std::make_shared<SourceReader>(executor, std::move(answer.source));
    net::spawn(executor, "gateway answer", send_source(exchange, std::move(source)));
  };
  const std::shared_ptr<rpc::LocalUnary> unary =
      calls_.call(route->method, std::move(*caller), std::move(message), std::move(done));
  if (unary) exchange->call->on_closed([unary] { unary->cancel(); });
}

}  // namespace server
