#include "server/url.h"

#include <arpa/inet.h>

#include <algorithm>

#include "base/flags.h"

namespace server {
namespace {

using base::Code;
using base::Result;
using base::Status;
using base::flags::quote;

// The part of a URL a byte stands in: what may stand there as it is differs.
enum class Part { kHost, kZone, kPath, kUserPassword, kFragment };

Status invalid(std::string text) { return Status(Code::kInvalidArgument, std::move(text)); }

bool is_one_of(char c, std::string_view set) { return set.find(c) != std::string_view::npos; }

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

bool must_escape(char c, Part part) {
  if (is_alphanumeric(c) || is_one_of(c, "-_.~")) return false;
  switch (part) {
    case Part::kHost:
    case Part::kZone: return !is_one_of(c, "!$&'()*+,;=:[]<>\"");
    case Part::kPath: return !is_one_of(c, "$&+,/:;=@");
    case Part::kUserPassword: return !is_one_of(c, "$&+,;=");
    case Part::kFragment: return !is_one_of(c, "$&+,/:;=?@!()*");
  }
  return true;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Result<std::string> unescape(std::string_view text, Part part) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '%') {
      const bool in_host = part == Part::kHost || part == Part::kZone;
      if (in_host && static_cast<uint8_t>(c) < 0x80 && must_escape(c, part)) {
        return invalid("invalid character " + quote(text.substr(i, 1)) + " in host name");
      }
      out += c;
      continue;
    }
    const std::string_view escape = text.substr(i, 3);
    const Status bad = invalid("invalid URL escape " + quote(escape));
    if (escape.size() < 3 || hex_value(escape[1]) < 0 || hex_value(escape[2]) < 0) return bad;
    const char value = static_cast<char>(hex_value(escape[1]) << 4 | hex_value(escape[2]));
    // In a host only bytes that are not ASCII may be escaped; %25 stands before a zone (RFC 6874).
    if (part == Part::kHost && hex_value(escape[1]) < 8 && escape != "%25") return bad;
    if (part == Part::kZone && escape != "%25" && value != ' ' && must_escape(value, Part::kHost)) return bad;
    out += value;
    i += 2;
  }
  return out;
}

std::string escape(std::string_view text, Part part) {
  std::string out;
  for (const char c : text) {
    if (!must_escape(c, part)) {
      out += c;
      continue;
    }
    const auto byte = static_cast<uint8_t>(c);
    out += '%';
    out += "0123456789ABCDEF"[byte >> 4];
    out += "0123456789ABCDEF"[byte & 15];
  }
  return out;
}

// The text as it was, where it is a legal spelling of what it means; else our own spelling.
std::string canonical(std::string_view raw, std::string_view decoded, Part part) {
  const bool legal = std::none_of(raw.begin(), raw.end(), [&](char c) {
    return !is_one_of(c, "!$&'()*+,;=:@[]%") && must_escape(c, part);
  });
  if (legal) return std::string(raw);
  return decoded == "*" ? "*" : escape(decoded, part);
}

bool is_optional_port(std::string_view text) {
  if (text.empty()) return true;
  return text[0] == ':' && text.find_first_not_of("0123456789", 1) == std::string_view::npos;
}

bool is_ipv6(std::string_view text) {
  const size_t zone = text.find('%');
  if (zone != std::string_view::npos && zone + 1 == text.size()) return false;
  in6_addr address;
  return inet_pton(AF_INET6, std::string(text.substr(0, zone)).c_str(), &address) == 1;
}

bool is_ipv4(std::string_view text) {
  in_addr address;
  return inet_pton(AF_INET, std::string(text).c_str(), &address) == 1;
}

Result<std::string> parse_bracketed_host(std::string_view host) {
  const size_t close = host.rfind(']');
  if (close == std::string_view::npos) return invalid("missing ']' in host");
  const std::string_view port = host.substr(close + 1);
  if (!is_optional_port(port)) return invalid("invalid port " + quote(port) + " after host");
  const std::string_view inner = host.substr(1, close - 1);
  const size_t zone = inner.find("%25");
  Result<std::string> name = unescape(inner.substr(0, zone), Part::kHost);
  if (!name.ok()) return name.status();
  if (zone != std::string_view::npos) {
    Result<std::string> zone_name = unescape(inner.substr(zone), Part::kZone);
    if (!zone_name.ok()) return zone_name.status();
    *name += *zone_name;
  }
  if (is_ipv4(*name)) return invalid("invalid IP-literal");
  if (!is_ipv6(*name)) return invalid("invalid host: ParseAddr(" + quote(*name) + "): unable to parse IP");
  return "[" + *name + "]" + std::string(port);
}

Result<std::string> parse_host(std::string_view scheme, std::string_view host) {
  const size_t open = host.rfind('[');
  if (open == 0) return parse_bracketed_host(host);
  if (open != std::string_view::npos) return invalid("invalid IP-literal");
  const bool strict = scheme == "http" || scheme == "https";
  if (const size_t colon = strict ? host.find(':') : host.rfind(':'); colon != std::string_view::npos) {
    const std::string_view port = host.substr(colon);
    if (!is_optional_port(port)) return invalid("invalid port " + quote(port) + " after host");
  }
  return unescape(host, Part::kHost);
}

bool is_valid_userinfo(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return is_alphanumeric(c) || is_one_of(c, "-._:~!$&'()*+,;=%@"); });
}

// As Go prints it: both halves decoded and escaped again.
Result<std::string> parse_userinfo(std::string_view text) {
  if (!is_valid_userinfo(text)) return invalid("net/url: invalid userinfo");
  const size_t colon = text.find(':');
  Result<std::string> name = unescape(text.substr(0, colon), Part::kUserPassword);
  if (!name.ok()) return name.status();
  std::string out = escape(*name, Part::kUserPassword);
  if (colon == std::string_view::npos) return out;
  Result<std::string> password = unescape(text.substr(colon + 1), Part::kUserPassword);
  if (!password.ok()) return password.status();
  return out + ":" + escape(*password, Part::kUserPassword);
}

// "" if there is none; nullopt-like error for ":...".
Result<std::string> take_scheme(std::string_view& text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) continue;
    if ((c >= '0' && c <= '9') || is_one_of(c, "+-.")) {
      if (i == 0) return std::string();
      continue;
    }
    if (c != ':') return std::string();
    if (i == 0) return invalid("missing protocol scheme");
    std::string scheme(text.substr(0, i));
    std::transform(scheme.begin(), scheme.end(), scheme.begin(),
                   [](char upper) { return upper >= 'A' && upper <= 'Z' ? static_cast<char>(upper + 32) : upper; });
    text.remove_prefix(i + 1);
    return scheme;
  }
  return std::string();
}

// Splits "?query" off, with its mark: even a lone '?' at the end is printed again.
std::string take_query(std::string_view& text) {
  const size_t mark = text.find('?');
  if (mark == std::string_view::npos) return {};
  std::string query(text.substr(mark));
  text = text.substr(0, mark);
  return query;
}

Result<Url> parse_without_fragment(std::string_view text, const std::string& fragment) {
  for (const char c : text) {
    if (static_cast<uint8_t>(c) < 0x20 || c == 0x7f) return invalid("net/url: invalid control character in URL");
  }
  Url url;
  if (text == "*") {
    url.path = url.text = "*";
    url.text += fragment;
    return url;
  }
  std::string_view rest = text;
  Result<std::string> scheme = take_scheme(rest);
  if (!scheme.ok()) return scheme.status();
  url.scheme = *scheme;
  const std::string query = take_query(rest);
  const std::string prefix = url.scheme.empty() ? "" : url.scheme + ":";
  if (!rest.starts_with('/')) {
    if (!url.scheme.empty()) {
      url.opaque = rest;
      url.text = prefix + url.opaque + query + fragment;
      return url;
    }
    if (rest.substr(0, rest.find('/')).find(':') != std::string_view::npos) {
      return invalid("first path segment in URL cannot contain colon");
    }
  }
  bool has_user = false, omit_host = false;
  if ((!url.scheme.empty() || !rest.starts_with("///")) && rest.starts_with("//")) {
    std::string_view authority = rest.substr(2);
    const size_t slash = authority.find('/');
    rest = slash == std::string_view::npos ? std::string_view{} : authority.substr(slash);
    authority = authority.substr(0, slash);
    const size_t at = authority.rfind('@');
    Result<std::string> host = parse_host(url.scheme, at == std::string_view::npos ? authority : authority.substr(at + 1));
    if (!host.ok()) return host.status();
    url.host = *host;
    if (at != std::string_view::npos) {
      Result<std::string> user = parse_userinfo(authority.substr(0, at));
      if (!user.ok()) return user.status();
      url.userinfo = *user;
      has_user = true;
    }
  } else {
    omit_host = !url.scheme.empty() && rest.starts_with('/');
  }
  Result<std::string> path = unescape(rest, Part::kPath);
  if (!path.ok()) return path.status();
  url.path = *path;

  std::string printed = prefix;
  const bool has_authority = !url.host.empty() || has_user;
  if (has_authority || (!url.scheme.empty() && !omit_host && !url.path.empty())) printed += "//";
  if (has_user) printed += url.userinfo + "@";
  printed += escape(url.host, Part::kHost);
  printed += canonical(rest, url.path, Part::kPath);
  url.text = printed + query + fragment;
  return url;
}

}  // namespace

std::string Url::hostname() const {
  std::string_view name = host;
  if (const size_t colon = name.rfind(':'); colon != std::string_view::npos && is_optional_port(name.substr(colon))) {
    name = name.substr(0, colon);
  }
  if (name.size() >= 2 && name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
  return std::string(name);
}

std::string Url::port() const {
  const size_t colon = host.rfind(':');
  if (colon == std::string::npos || !is_optional_port(std::string_view(host).substr(colon))) return {};
  return host.substr(colon + 1);
}

Result<uint16_t> Url::port_number() const {
  const std::string digits = port();
  constexpr uint32_t kPortMax = 65535;
  uint32_t number = 0;
  for (const char c : digits) number = std::min(kPortMax + 1, number * 10 + static_cast<uint32_t>(c - '0'));
  if (number > kPortMax) return invalid("listen tcp: address " + digits + ": invalid port");
  return static_cast<uint16_t>(number);
}

Result<Url> parse_url(std::string_view text) {
  const size_t hash = text.find('#');
  const std::string_view before = text.substr(0, hash);
  std::string fragment;
  if (hash != std::string_view::npos && hash + 1 < text.size()) {
    const std::string_view raw = text.substr(hash + 1);
    Result<std::string> decoded = unescape(raw, Part::kFragment);
    // Go looks at what stands before the '#' first.
    if (!decoded.ok() && parse_without_fragment(before, "").ok()) {
      return invalid("parse " + quote(text) + ": " + std::string(decoded.status().text()));
    }
    if (decoded.ok()) fragment = "#" + canonical(raw, *decoded, Part::kFragment);
  }
  Result<Url> url = parse_without_fragment(before, fragment);
  if (!url.ok()) return invalid("parse " + quote(before) + ": " + std::string(url.status().text()));
  return url;
}

Result<Urls> parse_urls(const std::vector<std::string>& list) {
  if (list.empty()) return invalid("no valid URLs given");
  Urls urls;
  for (std::string_view text : list) {
    constexpr std::string_view kSpace = " \t\n\v\f\r";
    const size_t first = text.find_first_not_of(kSpace);
    text = first == std::string_view::npos ? std::string_view{} : text.substr(first, text.find_last_not_of(kSpace) + 1 - first);
    Result<Url> url = parse_url(text);
    if (!url.ok()) return url.status();
    const std::string shown(text);
    if (url->scheme == "http" || url->scheme == "https") {
      if (!split_host_port(url->host).ok()) return invalid("URL address does not have the form \"host:port\": " + shown);
      if (!url->path.empty()) return invalid("URL must not contain a path: " + shown);
    } else if (!url->is_unix()) {
      return invalid("URL scheme must be http, https, unix, or unixs: " + shown);
    }
    urls.push_back(std::move(url).value());
  }
  std::sort(urls.begin(), urls.end());
  return urls;
}

Result<Urls> parse_url_list(std::string_view text) {
  std::vector<std::string> list;
  for (;;) {
    const size_t comma = text.find(',');
    list.emplace_back(text.substr(0, comma));
    if (comma == std::string_view::npos) return parse_urls(list);
    text.remove_prefix(comma + 1);
  }
}

Result<UrlsMap> parse_urls_map(std::string_view text) {
  std::map<std::string, std::vector<std::string>> named;
  while (!text.empty()) {
    const size_t comma = text.find(',');
    const std::string_view pair = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    if (pair.empty()) continue;
    const size_t equals = pair.find('=');
    const std::string_view value = equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1);
    named[std::string(pair.substr(0, equals))].emplace_back(value);
  }
  UrlsMap map;
  for (const auto& [name, list] : named) {
    Result<Urls> urls = parse_urls(list);
    if (!urls.ok()) return urls.status();
    map.emplace(name, std::move(urls).value());
  }
  return map;
}

std::string urls_map_text(const UrlsMap& map) {
  std::vector<std::string> pairs;
  for (const auto& [name, urls] : map) {
    for (const Url& url : urls) pairs.push_back(name + "=" + url.text);
  }
  std::sort(pairs.begin(), pairs.end());
  std::string out;
  for (const std::string& pair : pairs) out += (out.empty() ? "" : ",") + pair;
  return out;
}

std::vector<std::string> texts(const Urls& urls) {
  std::vector<std::string> out;
  for (const Url& url : urls) out.push_back(url.text);
  return out;
}

std::string joined(const Urls& urls) {
  std::string out;
  for (const Url& url : urls) out += (out.empty() ? "" : ",") + url.text;
  return out;
}

Result<HostPort> split_host_port(std::string_view text) {
  const auto bad = [&](std::string_view why) { return invalid("address " + std::string(text) + ": " + std::string(why)); };
  constexpr std::string_view kMissingPort = "missing port in address", kTooManyColons = "too many colons in address";
  const size_t colon = text.rfind(':');
  // Go prints an address error without an address as the bare reason.
  if (text.empty()) return invalid(std::string(kMissingPort));
  if (colon == std::string_view::npos) return bad(kMissingPort);
  HostPort out;
  size_t open_from = 0, close_from = 0;
  if (text[0] == '[') {
    const size_t end = text.find(']');
    if (end == std::string_view::npos) return bad("missing ']' in address");
    if (end + 1 == text.size()) return bad(kMissingPort);
    if (end + 1 != colon) return bad(text[end + 1] == ':' ? kTooManyColons : kMissingPort);
    out.host = text.substr(1, end - 1);
    open_from = 1;
    close_from = end + 1;
  } else {
    out.host = text.substr(0, colon);
    if (out.host.find(':') != std::string::npos) return bad(kTooManyColons);
  }
  if (text.find('[', open_from) != std::string_view::npos) return bad("unexpected '[' in address");
  if (text.find(']', close_from) != std::string_view::npos) return bad("unexpected ']' in address");
  out.port = text.substr(colon + 1);
  return out;
}

bool is_ip(std::string_view host) { return is_ipv4(host) || (host.find('%') == std::string_view::npos && is_ipv6(host)); }

}  // namespace server
