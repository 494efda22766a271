#include "http1/websocket.h"

#include <openssl/sha.h>

#include <algorithm>
#include <utility>

#include "base/bytes.h"
#include "base/utf8.h"

namespace http1 {
namespace {

constexpr std::string_view kAcceptSuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
constexpr size_t kKeyBytes = 16;

bool is_control(uint8_t opcode) { return opcode >= 8; }

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const base::Rune rune = base::decode_rune(text.substr(i));
    if (!rune.valid) return false;
    i += rune.bytes;
  }
  return true;
}

bool may_be_sent(uint16_t code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1013) || (code >= 3000 && code <= 4999);
}

uint64_t load_big_endian(std::string_view bytes) {
  uint64_t value = 0;
  for (const char c : bytes) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

void append_big_endian(uint64_t value, size_t bytes, std::string* out) {
  while (bytes-- > 0) out->push_back(static_cast<char>(value >> (8 * bytes)));
}

}  // namespace

std::optional<std::string> websocket_accept(std::string_view key) {
  const std::optional<std::string> decoded = base::base64_decode(key);
  if (!decoded || decoded->size() != kKeyBytes || key.size() % 4 != 0) return std::nullopt;
  std::string text(key);
  text += kAcceptSuffix;
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return base::base64_encode(std::string_view(reinterpret_cast<const char*>(digest), sizeof digest));
}

WebSocketParser::Event WebSocketParser::fail(uint16_t code, std::string_view text) {
  failed_ = true;
  state_ = State::kClosed;
  code_ = code;
  payload_ = text;
  return Event::kError;
}

WebSocketParser::Event WebSocketParser::next(std::string_view* input) {
  if (state_ == State::kClosed) {
    input->remove_prefix(input->size());
    return failed_ ? Event::kError : Event::kNeedMore;
  }
  for (;;) {
    if (state_ == State::kHead) {
      // Two bytes tell how long the rest of the head is.
      const auto wanted = [this]() -> size_t {
        if (head_.size() < 2) return 2;
        const auto second = static_cast<uint8_t>(head_[1]);
        const size_t length_bytes = (second & 0x7f) == 127 ? 8 : (second & 0x7f) == 126 ? 2 : 0;
        return 2 + length_bytes + (second & 0x80 ? 4 : 0);
      };
      while (head_.size() < wanted() && !input->empty()) {
        const size_t n = std::min(wanted() - head_.size(), input->size());
        head_ += input->substr(0, n);
        input->remove_prefix(n);
      }
      if (head_.size() < wanted()) return Event::kNeedMore;
      const Event begun = begin_frame();
      if (begun == Event::kError) return begun;
    }
    std::string& to = is_control(opcode_) ? control_ : message_;
    const size_t n = static_cast<size_t>(std::min<uint64_t>(left_, input->size()));
    const size_t from = to.size();
    to += input->substr(0, n);
    input->remove_prefix(n);
    for (size_t i = from; i < to.size(); ++i, ++at_) to[i] = static_cast<char>(to[i] ^ mask_[at_ & 3]);
    left_ -= n;
    if (left_ > 0) return Event::kNeedMore;
    const Event event = end_frame();
    if (event != Event::kNeedMore) return event;
  }
}

WebSocketParser::Event WebSocketParser::begin_frame() {
  const auto first = static_cast<uint8_t>(head_[0]), second = static_cast<uint8_t>(head_[1]);
  fin_ = first & 0x80;
  opcode_ = first & 0x0f;
  left_ = second & 0x7f;
  if (first & 0x40) return fail(kWebSocketProtocolError, "RSV1 set");
  if (first & 0x20) return fail(kWebSocketProtocolError, "RSV2 set");
  if (first & 0x10) return fail(kWebSocketProtocolError, "RSV3 set");
  if (is_control(opcode_)) {
    if (opcode_ > 10) return fail(kWebSocketProtocolError, "bad opcode " + std::to_string(opcode_));
    if (left_ > kWebSocketControlBytesMax) return fail(kWebSocketProtocolError, "len > 125 for control");
    if (!fin_) return fail(kWebSocketProtocolError, "FIN not set on control");
  } else if (opcode_ == 0) {
    if (!in_message_) return fail(kWebSocketProtocolError, "continuation after FIN");
  } else {
    if (opcode_ > 2) return fail(kWebSocketProtocolError, "bad opcode " + std::to_string(opcode_));
    if (in_message_) return fail(kWebSocketProtocolError, "data before FIN");
  }
  if (!(second & 0x80)) return fail(kWebSocketProtocolError, "bad MASK");
  const std::string_view head = head_;
  const uint64_t short_length = left_;
  if (short_length == 126) left_ = load_big_endian(head.substr(2, 2));
  if (short_length == 127) left_ = load_big_endian(head.substr(2, 8));
  head.substr(head.size() - 4).copy(mask_, 4);
  at_ = 0;
  head_.clear();
  state_ = State::kBody;
  if (is_control(opcode_)) {
    control_.clear();
  } else if (left_ > message_bytes_max_ - std::min(message_.size(), message_bytes_max_)) {
    return fail(kWebSocketTooBig, "");
  }
  return Event::kNeedMore;
}

WebSocketParser::Event WebSocketParser::end_frame() {
  state_ = State::kHead;
  switch (static_cast<WebSocketOpcode>(opcode_)) {
    case WebSocketOpcode::kClose:
      return end_close();
    case WebSocketOpcode::kPing:
      payload_.swap(control_);
      return Event::kPing;
    case WebSocketOpcode::kPong:
      payload_.swap(control_);
      return Event::kPong;
    default:
      in_message_ = !fin_;
      if (!fin_) return Event::kNeedMore;
      payload_ = std::exchange(message_, std::string());
      return Event::kMessage;
  }
}

WebSocketParser::Event WebSocketParser::end_close() {
  code_ = kWebSocketNoStatus;
  payload_.clear();
  if (control_.size() >= 2) {
    code_ = static_cast<uint16_t>(load_big_endian(std::string_view(control_).substr(0, 2)));
    if (!may_be_sent(code_)) return fail(kWebSocketProtocolError, "bad close code " + std::to_string(code_));
    payload_ = control_.substr(2);
    if (!is_utf8(payload_)) return fail(kWebSocketProtocolError, "invalid utf8 payload in close frame");
  } else if (control_.size() == 1) {
    return fail(kWebSocketProtocolError, "bad close code " + std::to_string(static_cast<uint8_t>(control_[0])));
  }
  state_ = State::kClosed;
  return Event::kClose;
}

void append_websocket_frame(WebSocketOpcode opcode, std::string_view payload, std::string* out) {
  out->push_back(static_cast<char>(0x80 | static_cast<uint8_t>(opcode)));
  if (payload.size() <= kWebSocketControlBytesMax) {
    out->push_back(static_cast<char>(payload.size()));
  } else if (payload.size() <= 0xffff) {
    out->push_back(126);
    append_big_endian(payload.size(), 2, out);
  } else {
    out->push_back(127);
    append_big_endian(payload.size(), 8, out);
  }
  *out += payload;
}

void append_websocket_close(uint16_t code, std::string_view reason, std::string* out) {
  std::string payload;
  if (code != kWebSocketNoStatus) {
    append_big_endian(code, 2, &payload);
    payload += reason.substr(0, kWebSocketControlBytesMax - 2);
  }
  append_websocket_frame(WebSocketOpcode::kClose, payload, out);
}

}  // namespace http1
