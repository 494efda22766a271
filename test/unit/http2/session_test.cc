#include "http2/session.h"

#include <doctest/doctest.h>

#include <map>
#include <vector>

namespace {

using http2::ErrorCode;
using http2::Header;
using http2::StreamId;

// Sends `text` in one piece, then trailers if there are any.
class TextBody final : public http2::Body {
 public:
  explicit TextBody(std::string text, bool with_trailers = false) : text_(std::move(text)), with_trailers_(with_trailers) {}
  Ready ready() override {
    Ready r;
    r.bytes = held_ ? 0 : text_.size() - at_;
    r.end = !held_;
    return r;
  }
  void take(char* to, size_t size) override {
    text_.copy(to, size, at_);
    at_ += size;
  }
  std::span<const Header> trailers() override {
    return with_trailers_ ? std::span<const Header>(fields_) : std::span<const Header>();
  }
  void hold(bool held) { held_ = held; }
  size_t taken() const { return at_; }

 private:
  std::string text_;
  size_t at_ = 0;
  bool with_trailers_;
  bool held_ = false;
  Header fields_[1] = {{"grpc-status", "0", true}};
};

struct Peer : http2::Events {
  struct Stream {
    StreamId id = 0;
    std::vector<std::pair<std::string, std::string>> fields;
    std::string data;
    int blocks = 0;
    bool ended = false;
    bool closed = false;
    ErrorCode error = ErrorCode::kNoError;
    std::unique_ptr<TextBody> body;
  };
  explicit Peer(http2::Role role, const http2::SessionOptions& options = {}) : session(role, *this, options) {}

  Stream& add(StreamId id) {
    streams[id].id = id;
    return streams[id];
  }
  void* on_stream_begin(StreamId id) override { return refuse ? nullptr : &add(id); }
  void on_header(void* s, std::string_view name, std::string_view value) override {
    static_cast<Stream*>(s)->fields.emplace_back(name, value);
  }
  void on_headers_end(void* s, http2::HeadersKind, bool end) override {
    ++static_cast<Stream*>(s)->blocks;
    if (end) on_end_stream(s);
  }
  void on_data(void* s, std::string_view data) override {
    static_cast<Stream*>(s)->data.append(data);
    if (ping_at_data) session.ping("measured");
    if (give_credit) session.consumed(static_cast<Stream*>(s)->id, data.size());
  }
  void on_end_stream(void* s) override {
    auto* stream = static_cast<Stream*>(s);
    stream->ended = true;
    if (answer.empty()) return;
    stream->body = std::make_unique<TextBody>(answer, true);
    const Header fields[] = {{":status", "200", true}, {"content-type", "application/grpc", true}};
    CHECK(session.submit_response(stream->id, fields, stream->body.get()));
  }
  void on_stream_close(void* s, ErrorCode error) override {
    static_cast<Stream*>(s)->closed = true;
    static_cast<Stream*>(s)->error = error;
  }
  void on_ping(std::string_view, bool ack) override { ack ? ++pongs : ++pings; }
  void on_goaway(StreamId last, ErrorCode error, std::string_view debug) override {
    goaway_last = last;
    goaway_error = error;
    goaway_debug = debug;
  }

  std::map<StreamId, Stream> streams;
  std::string answer;
  bool refuse = false;
  bool give_credit = true;
  bool ping_at_data = false;
  int pings = 0, pongs = 0;
  StreamId goaway_last = -1;
  ErrorCode goaway_error = ErrorCode::kNoError;
  std::string goaway_debug;
  http2::Session session;
};

// Moves bytes both ways, `step` at a time, until nobody has anything to say. The last status of the server's feed.
base::Status talk(Peer& client, Peer& server, size_t step = 1 << 20) {
  base::Status last;
  for (int quiet = 0; quiet < 2;) {
    std::string up, down;
    client.session.drain(up, 1 << 16);
    server.session.drain(down, 1 << 16);
    quiet = up.empty() && down.empty() ? quiet + 1 : 0;
    for (size_t at = 0; at < up.size(); at += step) {
      last = server.session.feed(std::string_view(up).substr(at, step), base::Instant{});
    }
    for (size_t at = 0; at < down.size(); at += step) {
      const base::Status fed = client.session.feed(std::string_view(down).substr(at, step), base::Instant{});
      CHECK_MESSAGE(fed.ok(), fed.to_string());
    }
  }
  return last;
}

const Header kRequest[] = {
    {":method", "POST"}, {":scheme", "http"}, {":path", "/a/b"}, {":authority", "x"}, {"te", "trailers"}};

std::string frame(uint8_t type, uint8_t flags, StreamId id, const std::string& payload) {
  std::string out;
  out += static_cast<char>(payload.size() >> 16);
  out += static_cast<char>(payload.size() >> 8);
  out += static_cast<char>(payload.size());
  out += static_cast<char>(type);
  out += static_cast<char>(flags);
  for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(id >> shift);
  return out + payload;
}

// What a client says first: preface and an empty SETTINGS.
std::string hello() { return std::string(http2::kClientPreface) + frame(4, 0, 0, ""); }

// :method POST, :scheme http, :path /, without Huffman.
const std::string kTinyHeaders("\x83\x86\x84\x41\x01x", 6);

std::string reset(StreamId id) { return frame(3, 0, id, std::string("\0\0\0\x08", 4)); }
std::string opened_and_reset(StreamId id) { return frame(1, 4, id, kTinyHeaders) + reset(id); }

}  // namespace

TEST_CASE("http2: a call and its answer cross in one piece and in single bytes") {
  for (const size_t step : {size_t{1}, size_t{1} << 20}) {
    CAPTURE(step);
    Peer client(http2::Role::kClient), server(http2::Role::kServer);
    server.answer = "pong";
    Peer::Stream& stream = client.add(1);
    stream.body = std::make_unique<TextBody>("ping");
    REQUIRE(client.session.submit_request(kRequest, stream.body.get(), &stream) == 1);
    CHECK(talk(client, server, step).ok());
    CHECK(server.streams[1].data == "ping");
    CHECK(server.streams[1].fields.size() == 5);
    CHECK(stream.data == "pong");
    CHECK(stream.blocks == 2);
    CHECK(stream.fields.back() == std::pair<std::string, std::string>("grpc-status", "0"));
    CHECK(stream.closed);
    CHECK(stream.error == ErrorCode::kNoError);
    CHECK(server.streams[1].closed);
    CHECK(server.session.open_streams() == 0);
    CHECK(client.session.open_streams() == 0);
  }
}

TEST_CASE("http2: an answer larger than every window flows as credit comes back") {
  Peer client(http2::Role::kClient), server(http2::Role::kServer);
  server.answer = std::string(3000000, 'z');
  Peer::Stream& stream = client.add(1);
  REQUIRE(client.session.submit_request(kRequest, nullptr, &stream) == 1);
  SUBCASE("credit at once") {
    CHECK(talk(client, server).ok());
    CHECK(stream.data.size() == 3000000);
    CHECK(stream.closed);
  }
  SUBCASE("no credit: the sender stops at the stream's window") {
    client.give_credit = false;
    CHECK(talk(client, server).ok());
    CHECK(stream.data.size() == http2::kStreamWindowBytes);
    CHECK(server.streams[1].body->taken() == http2::kStreamWindowBytes);
    client.session.consumed(1, http2::kStreamWindowBytes);
    CHECK(talk(client, server).ok());
    CHECK(stream.data.size() == 2 * http2::kStreamWindowBytes);
  }
}

// As a Go client does with each keepalive of a lease that it asks for once.
TEST_CASE("http2: calls that were answered may be reset at whatever rate") {
  Peer server(http2::Role::kServer);
  REQUIRE(server.session.feed(hello(), base::Instant{}).ok());
  const Header fields[] = {{":status", "200", true}};
  std::string out;
  base::Status fed;
  for (StreamId id = 1; fed.ok() && id < static_cast<StreamId>(4 * http2::kResetsBurstMax); id += 2) {
    fed = server.session.feed(frame(1, 4, id, kTinyHeaders), base::Instant{});
    if (!fed.ok()) break;
    TextBody endless("");
    endless.hold(true);
    REQUIRE(server.session.submit_response(id, fields, &endless));
    out.clear();
    server.session.drain(out, 1 << 16);
    fed = server.session.feed(reset(id), base::Instant{});
    server.streams.clear();
  }
  CHECK_MESSAGE(fed.ok(), fed.to_string());
}

// As a Go client does, to measure its window.
TEST_CASE("http2: who is sent much may ping for each piece, at whatever rate") {
  http2::SessionOptions small;
  small.stream_window_bytes = 64;
  Peer client(http2::Role::kClient, small), server(http2::Role::kServer);
  client.ping_at_data = true;
  server.answer = std::string(64 * 3 * http2::kControlFramesBurstMax, 'z');
  Peer::Stream& stream = client.add(1);
  REQUIRE(client.session.submit_request(kRequest, nullptr, &stream) == 1);
  const base::Status fed = talk(client, server);
  CHECK_MESSAGE(fed.ok(), fed.to_string());
  CHECK(stream.data.size() == server.answer.size());
  CHECK(client.pongs > static_cast<int>(2 * http2::kControlFramesBurstMax));
}

TEST_CASE("http2: drain stops near its bound while a body has more") {
  Peer client(http2::Role::kClient), server(http2::Role::kServer);
  server.answer = std::string(1000000, 'z');
  Peer::Stream& stream = client.add(1);
  REQUIRE(client.session.submit_request(kRequest, nullptr, &stream) == 1);
  std::string up;
  client.session.drain(up, 1 << 16);
  REQUIRE(server.session.feed(up, base::Instant{}).ok());
  for (int i = 0; i < 5; ++i) {
    std::string down;
    server.session.drain(down, 20000);
    CHECK(down.size() < 20000 + http2::kFrameBytesMax + 100);
    CHECK(client.session.feed(down, base::Instant{}).ok());
  }
  CHECK(talk(client, server).ok());
  CHECK(stream.data.size() == 1000000);
}

TEST_CASE("http2: a long answer does not hold up a short one behind it") {
  Peer client(http2::Role::kClient), server(http2::Role::kServer);
  server.answer = std::string(200000, 'z');
  Peer::Stream& longer = client.add(1);
  REQUIRE(client.session.submit_request(kRequest, nullptr, &longer) == 1);
  std::string up, down;
  client.session.drain(up, 1 << 16);
  REQUIRE(server.session.feed(up, base::Instant{}).ok());
  server.session.drain(down, 20000);
  server.answer = "short";
  Peer::Stream& shorter = client.add(3);
  REQUIRE(client.session.submit_request(kRequest, nullptr, &shorter) == 3);
  up.clear();
  client.session.drain(up, 1 << 16);
  REQUIRE(server.session.feed(up, base::Instant{}).ok());
  server.session.drain(down, down.size() + 40000);
  REQUIRE(client.session.feed(down, base::Instant{}).ok());
  CHECK(shorter.data == "short");
  CHECK_FALSE(longer.ended);
}

TEST_CASE("http2: a body with nothing to say waits for resume") {
  Peer client(http2::Role::kClient), server(http2::Role::kServer);
  Peer::Stream& stream = client.add(1);
  stream.body = std::make_unique<TextBody>("late");
  stream.body->hold(true);
  REQUIRE(client.session.submit_request(kRequest, stream.body.get(), &stream) == 1);
  CHECK(talk(client, server).ok());
  CHECK(server.streams[1].blocks == 1);
  CHECK_FALSE(server.streams[1].ended);
  stream.body->hold(false);
  client.session.resume(1);
  CHECK(talk(client, server).ok());
  CHECK(server.streams[1].data == "late");
  CHECK(server.streams[1].ended);
}

TEST_CASE("http2: refused, reset, ping and goaway reach the other side") {
  Peer client(http2::Role::kClient), server(http2::Role::kServer);
  Peer::Stream& first = client.add(1);
  server.refuse = true;
  REQUIRE(client.session.submit_request(kRequest, nullptr, &first) == 1);
  CHECK(talk(client, server).ok());
  CHECK(first.error == ErrorCode::kRefusedStream);
  server.refuse = false;
  Peer::Stream& second = client.add(3);
  REQUIRE(client.session.submit_request(kRequest, nullptr, &second) == 3);
  CHECK(talk(client, server).ok());
  client.session.reset(3, ErrorCode::kCancel);
  client.session.ping("12345678");
  CHECK(talk(client, server).ok());
  CHECK(server.streams[3].error == ErrorCode::kCancel);
  CHECK(server.pings == 1);
  CHECK(client.pongs == 1);
  Peer::Stream& third = client.add(5);  // Stays open: a client without streams is done at the first GOAWAY.
  REQUIRE(client.session.submit_request(kRequest, nullptr, &third) == 5);
  CHECK(talk(client, server).ok());
  server.session.goaway_notice();
  CHECK(talk(client, server).ok());
  CHECK(client.goaway_last == 0x7fffffff);
  CHECK_FALSE(server.session.finished());
  server.session.goaway(ErrorCode::kNoError, "bye");
  CHECK(talk(client, server).ok());
  CHECK(client.goaway_last == 5);
  CHECK(client.goaway_debug == "bye");
  Peer::Stream& late = client.add(7);
  CHECK(client.session.submit_request(kRequest, nullptr, &late) < 0);
  CHECK_FALSE(server.session.finished());
  client.session.reset(5, ErrorCode::kCancel);
  CHECK(talk(client, server).ok());
  CHECK(server.session.finished());
}

TEST_CASE("http2: floods and malformed frames end the connection or the stream") {
  struct Row {
    const char* what;
    std::string bytes;
    bool fatal;
  };
  std::string settings, resets, empty_data = frame(1, 4, 1, kTinyHeaders), priorities;
  for (int i = 0; i < 6000; ++i) {
    settings += frame(4, 0, 0, "");
    empty_data += frame(0, 0, 1, "");
    priorities += frame(2, 0, 1, std::string("\0\0\0\0\x10", 5));
  }
  for (StreamId id = 1; id < static_cast<StreamId>(2 * http2::kResetsBurstMax + 10); id += 2) resets += opened_and_reset(id);
  std::string continuation = frame(1, 0, 1, kTinyHeaders);
  for (int i = 0; i < 100; ++i) continuation += frame(9, 0, 1, "");
  // A 4 KB value put into the table once, then named 1000 times in 1 byte each.
  std::string bomb =
      std::string(kTinyHeaders) + "\x40\x01" + "b" + "\x7f\xa1\x1e" + std::string(4000, 'v') + std::string(1000, '\xbe');
  for (const Row& row :
       {Row{"not HTTP/2", std::string("GET / HTTP/1.1\r\n\r\n") + std::string(20, ' '), true},
        Row{"SETTINGS flood", hello() + settings, true}, Row{"rapid reset", hello() + resets, true},
        Row{"empty DATA flood", hello() + empty_data, true}, Row{"PRIORITY flood", hello() + priorities, true},
        Row{"CONTINUATION flood", hello() + continuation, true}, Row{"header bomb", hello() + frame(1, 4, 1, bomb), false},
        Row{"frame too large", hello() + std::string("\xff\xff\xff\0\0\0\0\0\1", 9), true},
        Row{"DATA on stream 0", hello() + frame(0, 0, 0, "x"), true},
        Row{"PRIORITY on stream 0", hello() + frame(2, 0, 0, std::string("\0\0\0\0\x10", 5)), true},
        Row{"even stream id", hello() + frame(1, 4, 2, kTinyHeaders), true},
        Row{"bad HPACK index", hello() + frame(1, 4, 1, "\xff\xff\xff\x7f"), true}}) {
    CAPTURE(row.what);
    Peer server(http2::Role::kServer);
    std::string out;
    bool ok = true;
    for (size_t at = 0; ok && at < row.bytes.size(); at += 1000) {
      ok = server.session.feed(std::string_view(row.bytes).substr(at, 1000), base::Instant{}).ok();
      server.session.drain(out, 1 << 20);
      ok = ok && !server.session.finished();
    }
    CHECK(ok == !row.fatal);
    size_t held = 0;
    for (const auto& [id, stream] : server.streams) {
      for (const auto& [name, value] : stream.fields) held += name.size() + value.size();
    }
    CHECK(held < 1000000);
    server.session.drain(out, 1 << 20);
    if (!row.fatal) CHECK(server.session.open_streams() == 0);  // Only the stream was reset.
  }
}

TEST_CASE("http2: what is not HTTP/2 resets its stream with PROTOCOL_ERROR, and nothing else") {
  const std::string length = "\x0f\x0d\x01";  // content-length, a value of one byte
  const std::string late = frame(0, 1, 1, "late");
  struct Row {
    const char* what;
    std::string frames;
  };
  for (const Row& row : {Row{"an upper-case name", frame(1, 4, 1, kTinyHeaders + std::string("\0\x01X\x01y", 5)) + late},
                         Row{"no path", frame(1, 4, 1, "\x83\x86") + late},
                         Row{"less than promised", frame(1, 4, 1, kTinyHeaders + length + "5") + frame(0, 1, 1, "four")},
                         Row{"more than promised", frame(1, 4, 1, kTinyHeaders + length + "3") + frame(0, 0, 1, "four") + late},
                         Row{"a promise and no body", frame(1, 5, 1, kTinyHeaders + length + "3")},
                         Row{"trailers in the middle", frame(1, 4, 1, kTinyHeaders) + frame(1, 4, 1, "\x40\x01x\x01y") + late},
                         Row{"a path in the trailers", frame(1, 4, 1, kTinyHeaders) + frame(1, 5, 1, "\x84")}}) {
    CAPTURE(row.what);
    Peer server(http2::Role::kServer);
    server.answer = "an answer";
    const std::string good = frame(1, 4, 3, kTinyHeaders + length + "4") + frame(0, 1, 3, "four");
    REQUIRE(server.session.feed(hello() + row.frames + good, base::Instant{}).ok());
    std::string out;
    server.session.drain(out, 1 << 20);
    CHECK(out.find(frame(3, 0, 1, std::string("\0\0\0\x01", 4))) != std::string::npos);
    CHECK(server.streams[1].closed);
    CHECK(server.streams[1].error == ErrorCode::kProtocolError);
    CHECK_FALSE(server.streams[1].ended);
    CHECK(server.streams[3].ended);
    CHECK(server.streams[3].data == "four");
    CHECK(server.streams[3].error == ErrorCode::kNoError);
    CHECK(server.session.open_streams() == 0);
  }
}

TEST_CASE("http2: no more streams at once than the bound, whatever is advertised") {
  Peer server(http2::Role::kServer);
  std::string bytes = hello(), out;
  for (size_t i = 0; i < http2::kStreamsPerConnectionMax + 100; ++i) {
    bytes += frame(1, 4, static_cast<StreamId>(2 * i + 1), kTinyHeaders);
  }
  CHECK(server.session.feed(bytes, base::Instant{}).ok());
  CHECK(server.session.open_streams() == http2::kStreamsPerConnectionMax);
}
