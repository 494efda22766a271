// Any bytes into a server session: no crash, bounded output and bounded streams. First byte: how the input is cut.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <unordered_map>

#include "http2/session.h"

namespace {

using http2::ErrorCode;
using http2::Header;
using http2::StreamId;

class Answer final : public http2::Body {
 public:
  Ready ready() override {
    Ready r;
    r.bytes = left_;
    r.end = true;
    return r;
  }
  void take(char* to, size_t size) override {
    if (size > left_) std::abort();
    std::fill(to, to + size, 'a');
    left_ -= size;
  }
  std::span<const Header> trailers() override { return fields_; }

 private:
  size_t left_ = 50000;
  Header fields_[1] = {{"grpc-status", "0", true}};
};

struct Stream {
  StreamId id;
  Answer answer;
};

class Echo final : public http2::Events {
 public:
  Echo() : session(http2::Role::kServer, *this, http2::SessionOptions()) {}
  void* on_stream_begin(StreamId id) override {
    auto [at, added] = streams.emplace(id, Stream{id, Answer()});
    if (!added) std::abort();
    return &at->second;
  }
  void on_header(void* s, std::string_view name, std::string_view value) override {
    check(s);
    for (char c : name) {
      if (c >= 'A' && c <= 'Z') std::abort();
    }
    if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string_view::npos) std::abort();
  }
  void on_headers_end(void* s, http2::HeadersKind kind, bool) override {
    const Header fields[] = {{":status", "200", true}};
    auto* stream = check(s);
    if (kind == http2::HeadersKind::kRequest) (void)session.submit_response(stream->id, fields, &stream->answer);
  }
  void on_data(void* s, std::string_view data) override { session.consumed(check(s)->id, data.size()); }
  void on_end_stream(void* s) override { check(s); }
  void on_stream_close(void* s, ErrorCode) override {
    if (streams.erase(check(s)->id) != 1) std::abort();
  }
  Stream* check(void* s) {
    auto* stream = static_cast<Stream*>(s);
    if (streams.count(stream->id) == 0) std::abort();
    return stream;
  }

  std::unordered_map<StreamId, Stream> streams;
  http2::Session session;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const size_t step = data[0] == 0 ? size : data[0];
  std::string bytes(http2::kClientPreface);
  bytes.append("\0\0\0\4\0\0\0\0\0", 9);
  bytes.append(reinterpret_cast<const char*>(data + 1), size - 1);
  Echo server;
  base::Instant now{};
  for (size_t at = 0; at < bytes.size(); at += step) {
    now += std::chrono::milliseconds(1);
    const base::Status fed = server.session.feed(std::string_view(bytes).substr(at, step), now);
    std::string out;
    server.session.drain(out, 100000);
    if (out.size() > 100000 + 2 * http2::kFrameBytesMax) std::abort();
    if (!fed.ok() || server.session.finished()) break;
    if (server.session.open_streams() != server.streams.size()) std::abort();
  }
  return 0;
}
