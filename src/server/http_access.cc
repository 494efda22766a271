#include "server/http_access.h"

#include <algorithm>

#include "base/bytes.h"
#include "base/flags.h"

namespace server {

using rpc::HttpResponse;

namespace {

constexpr size_t kQueryPairsMax = 256;

// Decodes %XX, and '+' in a query; false when an escape is malformed.
bool unescape(std::string_view text, bool query, std::string* out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (query && text[i] == '+') {
      *out += ' ';
    } else if (text[i] == '%') {
      const std::optional<uint64_t> byte = i + 2 < text.size() ? base::parse_hex(text.substr(i + 1, 2)) : std::nullopt;
      if (!byte) return false;
      *out += static_cast<char>(*byte);
      i += 2;
    } else {
      *out += text[i];
    }
  }
  return true;
}

std::string html_escape(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '&':
        out += "&amp;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace

bool Target::has(std::string_view name) const {
  return std::any_of(query.begin(), query.end(), [&](const auto& pair) { return pair.first == name; });
}

std::string_view Target::value(std::string_view name) const {
  for (const auto& [key, text] : query) {
    if (key == name) return text;
  }
  return {};
}

Target parse_target(std::string_view target) {
  Target out;
  const size_t mark = target.find('?');
  out.raw_path = target.substr(0, mark);
  out.bad_escape = !unescape(out.raw_path, false, &out.path);
  std::string_view rest = mark == std::string_view::npos ? std::string_view() : target.substr(mark + 1);
  out.raw_query = rest;
  while (!rest.empty() && out.query.size() < kQueryPairsMax) {
    const size_t end = rest.find('&');
    const std::string_view pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const size_t equals = pair.find('=');
    std::string name, value;
    if (pair.empty() || pair.find(';') != std::string_view::npos) continue;
    if (!unescape(pair.substr(0, equals), true, &name)) continue;
    if (equals != std::string_view::npos && !unescape(pair.substr(equals + 1), true, &value)) continue;
    out.query.emplace_back(std::move(name), std::move(value));
  }
  return out;
}

std::string clean_path(std::string_view path) {
  std::vector<std::string_view> parts;
  std::string_view rest = path;
  while (!rest.empty()) {
    const size_t slash = rest.find('/');
    const std::string_view part = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
  }
  std::string out;
  for (const std::string_view part : parts) out.append("/").append(part);
  if (out.empty() || path.ends_with('/')) out += '/';
  return out;
}

std::string escape_path(std::string_view path) {
  constexpr std::string_view kPlain = "$&+,/:;=@-_.~!*'()";
  constexpr std::string_view kHexDigits = "0123456789ABCDEF";
  std::string out;
  for (const char c : path) {
    const bool plain =
        (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || kPlain.find(c) != kPlain.npos;
    const auto byte = static_cast<uint8_t>(c);
    if (plain) {
      out += c;
    } else {
      out += {'%', kHexDigits[byte >> 4], kHexDigits[byte & 15]};
    }
  }
  return out;
}

std::string host_name(std::string_view host) {
  const size_t colon = host.rfind(':');
  if (colon == std::string_view::npos) return std::string(host);
  const std::string_view name = host.substr(0, colon);
  if (name.starts_with('[') && name.ends_with(']')) return std::string(name.substr(1, name.size() - 2));
  // More colons are no host and port: then all of it is the host, as Go has it.
  if (name.find_first_of(":[]") != std::string_view::npos) return std::string(host);
  return std::string(name);
}

bool host_allowed(const std::set<std::string>& whitelist, const std::string& host) {
  return whitelist.empty() || whitelist.contains("*") || whitelist.contains(host);
}

std::string refused_host_text(const std::string& host) {
  return R"(
etcd received your request, but the Host header was unrecognized.

To fix this, choose one of the following options:
- Enable TLS, then any HTTPS request will be allowed.
- Add the hostname you want to use to the whitelist in settings.
  - e.g. etcd --host-whitelist )" +
         base::flags::quote(host) + R"(

This requirement has been added to help prevent "DNS Rebinding" attacks (CVE-2018-5702).
)";
}

rpc::Metadata cors_headers(const std::set<std::string>& allowed, std::string_view origin) {
  rpc::Metadata out;
  const bool everyone = allowed.empty() || allowed.contains("*");
  if (!everyone && !allowed.contains(std::string(origin))) return out;
  out.add("Access-Control-Allow-Headers", "accept, content-type, authorization");
  out.add("Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE");
  out.add("Access-Control-Allow-Origin", everyone ? "*" : std::string(origin));
  return out;
}

HttpResponse plain_error(int status, std::string text) {
  text += '\n';
  HttpResponse response;
  response.status = status;
  response.headers.append("Content-Type", "text/plain; charset=utf-8");
  response.headers.append("X-Content-Type-Options", "nosniff");
  response.body = std::move(text);
  return response;
}

HttpResponse bad_request(std::string text) {
  HttpResponse response = with_body("text/plain; charset=utf-8", std::move(text));
  response.status = 400;
  return response;
}

HttpResponse not_found() { return plain_error(404, "404 page not found"); }

HttpResponse method_not_allowed(std::string allowed) {
  HttpResponse response = plain_error(405, "Method Not Allowed");
  response.headers.add("Allow", std::move(allowed));
  return response;
}

HttpResponse redirect(std::string_view method, const std::string& location) {
  HttpResponse response;
  response.status = 307;
  if (method == "GET" || method == "HEAD") {
    response.headers.add("Content-Type", "text/html; charset=utf-8");
    response.body = "<a href=\"" + html_escape(location) + "\">Temporary Redirect</a>.\n\n";
  }
  response.headers.add("Location", location);
  return response;
}

HttpResponse with_body(std::string type, std::string body) {
  HttpResponse response;
  response.headers.add("Content-Type", std::move(type));
  response.body = std::move(body);
  return response;
}

void finish_with(rpc::HttpCall& call, const rpc::Metadata& first, HttpResponse response) {
  if (first.empty()) return call.finish(std::move(response));
  rpc::Metadata headers = first;
  for (const auto& [name, value] : response.headers.fields()) headers.add(name, value);
  response.headers = std::move(headers);
  call.finish(std::move(response));
}

}  // namespace server
