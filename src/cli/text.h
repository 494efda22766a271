// Texts as etcd's tools print and read them. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace cli {

// "\x66\x6f" for "fo": what --hex makes of keys and values.
std::string hex_escaped(std::string_view bytes);

// "512 B", "18 kB", "2.1 GB": powers of 1000, one digit after the point below 10.
std::string humanize_bytes(uint64_t bytes);

// The inside of a Go string literal in double quotes or back quotes (strconv.Unquote). Error: "invalid syntax".
base::Result<std::string> unquote(std::string_view literal);

// Go's %g: the fewest digits that read back as the same number, an exponent below 1e-4 and from 1e+06 on.
std::string float_text(double value);

// Without white space at both ends.
std::string_view trimmed(std::string_view text);

// An id in hexadecimal, as Go's strconv.ParseUint reads it: `strconv.ParseUint: parsing "x": invalid syntax`.
base::Result<uint64_t> parse_hex_id(std::string_view text);

// printf into a string; for numbers of bounded width.
std::string formatted(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace cli
