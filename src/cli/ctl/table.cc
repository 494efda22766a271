#include "cli/ctl/table.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstdint>
#include <string_view>

#include "base/utf8.h"
#include "base/verify.h"
#include "cli/text.h"

namespace cli::ctl {
namespace {

struct Range {
  uint32_t first, last;
};

// East Asian wide characters and emoji take two columns; combining marks none.
constexpr std::array kWide{Range{0x1100, 0x115f},   Range{0x2e80, 0x303e},   Range{0x3041, 0x33ff},  Range{0x3400, 0x4dbf},
                           Range{0x4e00, 0x9fff},   Range{0xa000, 0xa4cf},   Range{0xac00, 0xd7a3},  Range{0xf900, 0xfaff},
                           Range{0xfe30, 0xfe6f},   Range{0xff00, 0xff60},   Range{0xffe0, 0xffe6},  Range{0x1f300, 0x1f64f},
                           Range{0x1f900, 0x1f9ff}, Range{0x20000, 0x3fffd}};
constexpr std::array kCombining{Range{0x300, 0x36f}, Range{0x200b, 0x200f}, Range{0x20d0, 0x20ff}, Range{0xfe00, 0xfe0f}};

template <size_t N>
bool in(const std::array<Range, N>& ranges, uint32_t rune) {
  return std::any_of(ranges.begin(), ranges.end(), [&](Range r) { return r.first <= rune && rune <= r.last; });
}

size_t columns(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    const base::Rune rune = base::decode_rune(text);
    if (in(kWide, rune.value)) {
      width += 2;
    } else if (rune.value >= 0x20 && !in(kCombining, rune.value)) {
      width += 1;
    }
    text.remove_prefix(rune.bytes);
  }
  return width;
}

// "hash_revision" -> "HASH REVISION"
std::string title_text(std::string_view name) {
  std::string out;
  for (const char c : name) out += c == '_' ? ' ' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return out;
}

enum class Align { kCentre, kRight };

std::string aligned(const std::string& text, size_t width, Align align) {
  const size_t room = width - columns(text);
  const size_t left = align == Align::kRight ? room : room / 2;
  return std::string(left, ' ') + text + std::string(room - left, ' ');
}

std::string border(const std::vector<size_t>& widths, std::string_view left, std::string_view middle, std::string_view right) {
  std::string out(left);
  for (size_t i = 0; i < widths.size(); ++i) {
    if (i > 0) out += middle;
    for (size_t n = 0; n < widths[i] + 2; ++n) out += "─";
  }
  return out.append(right) + "\n";
}

std::string line(const Row& cells, const std::vector<size_t>& widths, Align align) {
  std::string out;
  for (size_t i = 0; i < widths.size(); ++i) out += "│ " + aligned(cells[i], widths[i], align) + " ";
  return out + "│\n";
}

}  // namespace

std::string draw_table(const Row& titles, const std::vector<Row>& rows) {
  Row head;
  std::vector<size_t> widths;
  for (const std::string& title : titles) {
    head.push_back(title_text(title));
    widths.push_back(columns(head.back()));
  }
  std::vector<Row> body;
  for (const Row& row : rows) {
    VERIFY(row.size() == widths.size());
    Row& cells = body.emplace_back();
    for (size_t i = 0; i < widths.size(); ++i) {
      cells.emplace_back(trimmed(row[i]));
      widths[i] = std::max(widths[i], columns(cells[i]));
    }
  }
  std::string out = border(widths, "┌", "┬", "┐") + line(head, widths, Align::kCentre);
  if (!body.empty()) out += border(widths, "├", "┼", "┤");
  for (const Row& cells : body) out += line(cells, widths, Align::kRight);
  return out + border(widths, "└", "┴", "┘");
}

}  // namespace cli::ctl
