// What an HTTP request of the client port must pass before it is looked at: the whitelist of hosts, and what browsers are told
// about other origins (feature map 5.3). Also what Go's net/http and its ServeMux do on the way: paths made clean, errors as
// text. Pure. Source: etcd server/embed/serve.go, Go net/http.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rpc/server.h"

namespace server {

// One target: path and the decoded query pairs in order.
struct Target {
  std::string path;      // decoded
  std::string raw_path;  // as sent
  std::string raw_query;
  bool bad_escape = false;  // the path has a % that is no escape
  std::vector<std::pair<std::string, std::string>> query;
  bool has(std::string_view name) const;
  // The first value; empty without.
  std::string_view value(std::string_view name) const;
};
// Go's net/url for a request line: percent-decoding, '+' as space in the query; pairs that do not decode are left out.
Target parse_target(std::string_view target);

// "/a//b/../c/" -> "/a/c/"; Go's ServeMux sends clients to the clean path.
std::string clean_path(std::string_view path);

// What a URL may not hold as it is, as %XX.
std::string escape_path(std::string_view path);

// The host without its port: "[::1]:2379" -> "::1".
std::string host_name(std::string_view host_header);
bool host_allowed(const std::set<std::string>& whitelist, const std::string& host);
std::string refused_host_text(const std::string& host);

// The headers for answers to a request from `origin`; none when it is not allowed.
rpc::Metadata cors_headers(const std::set<std::string>& allowed, std::string_view origin);

// As Go's http.Error: text with a line end, never guessed at by a browser.
rpc::HttpResponse plain_error(int status, std::string text);
// 400 for a request that Go's net/http refuses before anybody sees it.
rpc::HttpResponse bad_request(std::string text);
rpc::HttpResponse not_found();
rpc::HttpResponse method_not_allowed(std::string allowed);
// 307 to a clean path.
rpc::HttpResponse redirect(std::string_view method, const std::string& location);
rpc::HttpResponse with_body(std::string type, std::string body);

// `first` before the headers of `response`, and its answer.
void finish_with(rpc::HttpCall& call, const rpc::Metadata& first, rpc::HttpResponse response);

}  // namespace server
