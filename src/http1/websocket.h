// WebSocket without I/O (RFC 6455), the server's side: the opening answer, frames in, frames out. No extensions. Texts and
// codes of protocol errors are gorilla/websocket's, which etcd uses. Bounded by `message_bytes_max`. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace http1 {

// Sec-WebSocket-Accept for a Sec-WebSocket-Key; nullopt when the key is not 16 bytes in base64.
std::optional<std::string> websocket_accept(std::string_view key);

enum class WebSocketOpcode : uint8_t { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

inline constexpr uint16_t kWebSocketNormal = 1000;
inline constexpr uint16_t kWebSocketProtocolError = 1002;
inline constexpr uint16_t kWebSocketNoStatus = 1005;  // never sent: a close frame without a code
inline constexpr uint16_t kWebSocketTooBig = 1009;
inline constexpr size_t kWebSocketControlBytesMax = 125;

class WebSocketParser {
 public:
  enum class Event {
    kNeedMore,  // `input` is used up
    kMessage,   // payload(): a whole text or binary message
    kPing,      // payload()
    kPong,      // payload()
    kClose,     // code(), payload(): the reason; nothing is read after it
    kError,     // code() and payload() to close with; final
  };
  explicit WebSocketParser(size_t message_bytes_max) : message_bytes_max_(message_bytes_max) {}

  Event next(std::string_view* input);
  // Valid until the next call of next(); may be moved away.
  std::string& payload() { return payload_; }
  uint16_t code() const { return code_; }

 private:
  enum class State { kHead, kBody, kClosed };
  Event begin_frame();
  Event end_frame();
  Event end_close();
  Event fail(uint16_t code, std::string_view text);

  const size_t message_bytes_max_;
  State state_ = State::kHead;
  std::string head_;  // of the frame, as far as it has come
  uint8_t opcode_ = 0;
  bool fin_ = false;
  uint64_t left_ = 0;  // of the frame's body
  uint64_t at_ = 0;    // in the frame's body, for the mask
  char mask_[4] = {};
  bool in_message_ = false;  // a fragmented one
  std::string message_, control_, payload_;
  uint16_t code_ = 0;
  bool failed_ = false;
};

// One unmasked frame that is a whole message.
void append_websocket_frame(WebSocketOpcode opcode, std::string_view payload, std::string* out);
// kWebSocketNoStatus: an empty close frame. `reason` is cut to what fits.
void append_websocket_close(uint16_t code, std::string_view reason, std::string* out);

}  // namespace http1
