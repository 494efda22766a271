#include "server/transport_security.h"

#include <doctest/doctest.h>

#include "base/log.h"

TEST_CASE("dialling members: from the first address of ours that others can know us by, if SetMemberLocalAddr asks for it") {
  base::log::set_level(base::log::Level::kFatal);
  struct Row {
    const char* rule;
    const char* gates;
    const char* advertised;
    const char* address;
  };
  for (const Row& row : {
           Row{"not asked for", "", "http://192.0.2.1:2380", ""},
           Row{"asked not to", "SetMemberLocalAddr=false", "http://192.0.2.1:2380", ""},
           Row{"the only address", "SetMemberLocalAddr=true", "http://192.0.2.1:2380", "192.0.2.1"},
           Row{"by the stage", "AllAlpha=true", "http://192.0.2.1:2380", "192.0.2.1"},
           Row{"a name and loopback are passed over; addresses are sorted", "SetMemberLocalAddr=true",
               "http://a.invalid:2380,http://127.0.0.1:2380,http://192.0.2.9:2380,http://192.0.2.1:2380", "192.0.2.1"},
           Row{"loopback is no prefix alone", "SetMemberLocalAddr=true", "http://127.1.2.3:1,http://[::1]:1", ""},
           Row{"any address is none", "SetMemberLocalAddr=true", "http://0.0.0.0:1,http://[::]:1", ""},
           Row{"version 6", "SetMemberLocalAddr=true", "https://[2001:db8::7]:2380", "2001:db8::7"},
           Row{"names alone", "SetMemberLocalAddr=true", "http://localhost:2380", ""},
       }) {
    CAPTURE(std::string(row.rule));
    server::Config config = server::Config::defaults();
    REQUIRE(config.feature_gates.set(row.gates).ok());
    config.advertise_peer_urls = server::parse_url_list(row.advertised).value();
    const auto options = server::dial_options(config, nullptr);
    REQUIRE(options.ok());
    CHECK(options->local_address == std::string(row.address));
  }
}
