#include "base/bytes.h"

#include <doctest/doctest.h>

#include "base/crc32c.h"
#include "base/log.h"

TEST_CASE("bytes: hexadecimal ids are written without leading zeros and read strictly") {
  CHECK(base::hex(0) == "0");
  CHECK(base::hex(0xa151723cf6d7778) == "a151723cf6d7778");
  CHECK(base::parse_hex("A151723cf6d7778") == 0xa151723cf6d7778);
  for (const char* bad : {"", "g", " 1", "11112222333344445", "0x1"}) {
    CAPTURE(bad);
    CHECK_FALSE(base::parse_hex(bad).has_value());
  }
}

TEST_CASE("bytes: base64 of every length comes back, and damage is refused") {
  std::string bytes;
  for (int i = 0; i < 20; ++i) {
    CHECK(base::base64_decode(base::base64_encode(bytes)) == bytes);
    bytes += static_cast<char>(i * 37);
  }
  CHECK(base::base64_encode("foo1") == "Zm9vMQ==");
  CHECK(base::base64_decode("Zm9vMQ") == "foo1");
  CHECK(base::base64_decode("__-_") == base::base64_decode("//+/"));
  CHECK_FALSE(base::base64_decode("Zm9v*").has_value());
  CHECK_FALSE(base::base64_decode("Z").has_value());
}

TEST_CASE("crc32c: known answers, both implementations, split anywhere") {
  CHECK(base::crc32c("123456789") == 0xe3069283);
  CHECK(base::crc32c("key") == 1084519789);
  const std::string text(1000, 'x');
  for (size_t cut : {0, 1, 7, 8, 9, 500, 1000}) {
    CAPTURE(cut);
    const std::string_view all(text);
    CHECK(base::crc32c_extend(base::crc32c(all.substr(0, cut)), all.substr(cut)) == base::crc32c(all));
    CHECK(base::crc32c_extend_by_table(base::crc32c(all.substr(0, cut)), all.substr(cut)) == base::crc32c(all));
  }
}

TEST_CASE("log: durations print as Go prints them") {
  struct Row {
    int64_t ns;
    const char* text;
  };
  for (const Row& row : {Row{0, "0s"}, Row{1, "1ns"}, Row{1500, "1.5µs"}, Row{100000000, "100ms"}, Row{1500000000, "1.5s"},
                         Row{90000000000, "1m30s"}, Row{3600000000000, "1h0m0s"}, Row{-2000000, "-2ms"}}) {
    CHECK(base::log::duration_text(row.ns) == row.text);
  }
}
