#include "server/url.h"

#include <doctest/doctest.h>

using server::parse_url;
using server::parse_urls;
using server::Url;

TEST_CASE("url: printed as Go prints them") {
  struct Row {
    const char* in;
    const char* text;
    const char* host;
    const char* path;
  };
  for (const Row& row : {Row{"http://127.0.0.1:2380", "http://127.0.0.1:2380", "127.0.0.1:2380", ""},
                         Row{"HTTP://Host:1", "http://Host:1", "Host:1", ""},
                         Row{"http://[::1]:2380", "http://[::1]:2380", "[::1]:2380", ""},
                         Row{"http://[fe80::1%25eth0]:1", "http://[fe80::1%25eth0]:1", "[fe80::1%eth0]:1", ""},
                         Row{"http://a:1/", "http://a:1/", "a:1", "/"},
                         Row{"http://a:1/x%2fy z", "http://a:1/x/y%20z", "a:1", "/x/y z"},
                         Row{"http://a:1/x%2fy", "http://a:1/x%2fy", "a:1", "/x/y"},
                         Row{"http://a:1?q=1#f", "http://a:1?q=1#f", "a:1", ""},
                         Row{"http://a:1?", "http://a:1?", "a:1", ""},
                         Row{"http://us%65r:p%40ss@a:1", "http://user:p%40ss@a:1", "a:1", ""},
                         Row{"http://:2379", "http://:2379", ":2379", ""},
                         Row{"http://", "http:", "", ""},
                         Row{"unix://localhost:2379", "unix://localhost:2379", "localhost:2379", ""},
                         Row{"unix:///run/etcd", "unix:///run/etcd", "", "/run/etcd"},
                         Row{"unix:/run/etcd", "unix:/run/etcd", "", "/run/etcd"},
                         Row{"unix://a:b:1", "unix://a:b:1", "a:b:1", ""},
                         Row{"http:a", "http:a", "", ""},
                         Row{"http://b\xc3\xbc.de:1", "http://b%C3%BC.de:1", "b\xc3\xbc.de:1", ""},
                         Row{"foo", "foo", "", "foo"},
                         Row{"*", "*", "", "*"}}) {
    CAPTURE(row.in);
    const base::Result<Url> url = parse_url(row.in);
    REQUIRE(url.ok());
    CHECK(url->text == row.text);
    CHECK(url->host == row.host);
    CHECK(url->path == row.path);
  }
}

TEST_CASE("url: what Go refuses, in its words") {
  struct Row {
    const char* in;
    const char* error;
  };
  for (const Row& row : {Row{":1", R"(parse ":1": missing protocol scheme)"},
                         Row{"127.0.0.1:2380", R"(parse "127.0.0.1:2380": first path segment in URL cannot contain colon)"},
                         Row{"http://%zz", R"(parse "http://%zz": invalid URL escape "%zz")"},
                         Row{"http://%41", R"(parse "http://%41": invalid URL escape "%41")"},
                         Row{"http://a b:1", R"(parse "http://a b:1": invalid character " " in host name)"},
                         Row{"http://a:x", R"(parse "http://a:x": invalid port ":x" after host)"},
                         Row{"http://1:2:3", R"(parse "http://1:2:3": invalid port ":2:3" after host)"},
                         Row{"http://[::1", R"(parse "http://[::1": missing ']' in host)"},
                         Row{"http://[::1]x", R"(parse "http://[::1]x": invalid port "x" after host)"},
                         Row{"http://[1.2.3.4]:1", R"(parse "http://[1.2.3.4]:1": invalid IP-literal)"},
                         Row{"http://a[::1]:1", R"(parse "http://a[::1]:1": invalid IP-literal)"},
                         Row{"http://a\n:1", R"(parse "http://a\n:1": net/url: invalid control character in URL)"},
                         Row{"http://a\"@b:1", R"(parse "http://a\"@b:1": net/url: invalid userinfo)"},
                         Row{"http://a/%", R"(parse "http://a/%": invalid URL escape "%")"},
                         Row{"http://a:1#%zz", R"(parse "http://a:1#%zz": invalid URL escape "%zz")"}}) {
    CAPTURE(row.in);
    const base::Result<Url> url = parse_url(row.in);
    REQUIRE(!url.ok());
    CHECK(url.status().text() == row.error);
  }
}

TEST_CASE("url: parts") {
  const Url v6 = *parse_url("https://[::1]:2380");
  CHECK(v6.hostname() == "::1");
  CHECK(v6.port() == "2380");
  CHECK(v6.is_tls());
  CHECK(v6.address() == "[::1]:2380");
  CHECK(parse_url("http://a")->port().empty());
  CHECK(parse_url("unix://a:1/b")->address() == "a:1/b");
  CHECK(parse_url("unixs:///x")->is_tls());
  CHECK(!parse_url("unix:///x")->is_tls());
}

TEST_CASE("url lists: trimmed, checked, sorted as text, doubles kept") {
  const base::Result<server::Urls> urls = server::parse_url_list(" http://b:1,http://a:1\t,http://b:1,unix:///s/x");
  REQUIRE(urls.ok());
  CHECK(server::joined(*urls) == "http://a:1,http://b:1,http://b:1,unix:///s/x");
  struct Row {
    const char* in;
    const char* error;
  };
  for (const Row& row : {Row{"", "URL scheme must be http, https, unix, or unixs: "},
                         Row{"foo", "URL scheme must be http, https, unix, or unixs: foo"},
                         Row{"ftp://a:1", "URL scheme must be http, https, unix, or unixs: ftp://a:1"},
                         Row{"http://a:1,", "URL scheme must be http, https, unix, or unixs: "},
                         Row{"http://a", "URL address does not have the form \"host:port\": http://a"},
                         Row{"http:a:1", "URL address does not have the form \"host:port\": http:a:1"},
                         Row{" http://a:1/ ", "URL must not contain a path: http://a:1/"}}) {
    CAPTURE(row.in);
    const base::Result<server::Urls> bad = server::parse_url_list(row.in);
    REQUIRE(!bad.ok());
    CHECK(bad.status().text() == row.error);
  }
  CHECK(parse_urls({}).status().text() == "no valid URLs given");
}

TEST_CASE("url maps: names with their URLs") {
  const base::Result<server::UrlsMap> map = server::parse_urls_map("b=http://b:2,a=http://a:1,,b=http://b:1");
  REQUIRE(map.ok());
  CHECK(server::urls_map_text(*map) == "a=http://a:1,b=http://b:1,b=http://b:2");
  CHECK(server::parse_urls_map("a").status().text() == "URL scheme must be http, https, unix, or unixs: ");
  CHECK(server::parse_urls_map("")->empty());
}

TEST_CASE("host and port: as net.SplitHostPort") {
  struct Row {
    const char* in;
    const char* host;
    const char* port;
    const char* error;
  };
  for (const Row& row : {Row{"a:1", "a", "1", ""}, Row{":", "", "", ""}, Row{"[::1]:80", "::1", "80", ""},
                         Row{"[]:1", "", "1", ""},
                         Row{"a", "", "", "address a: missing port in address"},
                         Row{"", "", "", "missing port in address"},
                         Row{"::1:1", "", "", "address ::1:1: too many colons in address"},
                         Row{"[::1]", "", "", "address [::1]: missing port in address"},
                         Row{"[::1", "", "", "address [::1: missing ']' in address"},
                         Row{"[::1]:1:2", "", "", "address [::1]:1:2: too many colons in address"},
                         Row{"[::1]a:1", "", "", "address [::1]a:1: missing port in address"},
                         Row{"a[:1", "", "", "address a[:1: unexpected '[' in address"},
                         Row{"a]:1", "", "", "address a]:1: unexpected ']' in address"}}) {
    CAPTURE(row.in);
    const base::Result<server::HostPort> parts = server::split_host_port(row.in);
    CHECK(std::string(parts.status().text()) == row.error);
    if (!parts.ok()) continue;
    CHECK(parts->host == row.host);
    CHECK(parts->port == row.port);
  }
  for (const char* ip : {"127.0.0.1", "::1", "0.0.0.0", "fe80::1", "::ffff:1.2.3.4"}) CHECK(server::is_ip(ip));
  for (const char* no : {"", "localhost", "127.0.0.01", "127.1", "fe80::1%eth0", "::g", "1.2.3.4.5"}) CHECK(!server::is_ip(no));
}

TEST_CASE("url: port numbers") {
  CHECK(*parse_url("http://a:65535")->port_number() == 65535);
  CHECK(*parse_url("http://a:")->port_number() == 0);
  CHECK(*parse_url("http://a")->port_number() == 0);
  CHECK(parse_url("http://a:99999999999999")->port_number().status().text() ==
        "listen tcp: address 99999999999999: invalid port");
}
