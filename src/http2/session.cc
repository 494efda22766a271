// nghttp2 behind our face. Receive windows are ours to give back (no_auto_window_update): the connection's at once, as grpc-go
// does, so that one unread stream never starves the others; a stream's when its reader has used the bytes.
#include "http2/session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "base/verify.h"
#include "http2/block_pool.h"
#include "http2/field_check.h"

namespace http2 {

using base::Code;
using base::Status;

namespace {

// Enough for what rpc sends (a handful of fields); longer lists go to the heap.
constexpr size_t kInlineFields = 16;
constexpr StreamId kNoStream = -1;

class FieldList {
 public:
  explicit FieldList(std::span<const Header> headers) : size_(headers.size()) {
    nghttp2_nv* to = inline_.data();
    if (size_ > kInlineFields) {
      heap_ = std::make_unique<nghttp2_nv[]>(size_);
      to = heap_.get();
    }
    data_ = to;
    for (const Header& h : headers) {
      to->name = reinterpret_cast<uint8_t*>(const_cast<char*>(h.name.data()));
      to->value = reinterpret_cast<uint8_t*>(const_cast<char*>(h.value.data()));
      to->namelen = h.name.size();
      to->valuelen = h.value.size();
      to->flags = h.literal ? NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE : NGHTTP2_NV_FLAG_NONE;
      ++to;
    }
  }
  const nghttp2_nv* data() const { return data_; }
  size_t size() const { return size_; }

 private:
  size_t size_;
  const nghttp2_nv* data_;
  std::array<nghttp2_nv, kInlineFields> inline_;
  std::unique_ptr<nghttp2_nv[]> heap_;
};

// An allowance that time gives back.
class TokenBucket {
 public:
  TokenBucket(size_t burst, size_t per_second) : burst_(burst), per_second_(per_second), left_(burst) {}
  void refill(base::Instant now) {
    if (left_ >= burst_) {
      since_ = now;
      return;
    }
    const auto ns = static_cast<uint64_t>(std::max<int64_t>(0, (now - since_).count()));
    const uint64_t back = ns >= kSecond * 3600 ? burst_ : ns * per_second_ / kSecond;
    if (back == 0) return;
    left_ = std::min<size_t>(burst_, left_ + static_cast<size_t>(back));
    since_ = now;
  }
  void give(size_t tokens) { left_ = std::min(burst_, left_ + tokens); }
  bool take() {
    if (left_ == 0) return false;
    --left_;
    return true;
  }

 private:
  static constexpr uint64_t kSecond = 1000000000;
  size_t burst_, per_second_, left_;
  base::Instant since_{};
};

HeadersKind kind_of(nghttp2_headers_category category) {
  switch (category) {
    case NGHTTP2_HCAT_REQUEST:
      return HeadersKind::kRequest;
    case NGHTTP2_HCAT_RESPONSE:
      return HeadersKind::kResponse;
    default:
      return HeadersKind::kTrailers;
  }
}

}  // namespace

class Session::Impl {
 public:
  Impl(Role r, Events& e, const SessionOptions& o)
      : role(r),
        events(e),
        options(o),
        control(kControlFramesBurstMax, kControlFramesPerSecond),
        resets(kResetsBurstMax, kResetsPerSecond) {}

  // Null: nobody wants to hear of it.
  void* stream_of(StreamId id) {
    if (id == last_id) return last_stream;
    if (std::find(malformed.begin(), malformed.end(), id) != malformed.end()) return nullptr;
    void* found = nghttp2_session_get_stream_user_data(session, id);
    if (found != nullptr) {
      last_id = id;
      last_stream = found;
    }
    return found;
  }
  void remember(StreamId id, void* stream) {
    last_id = id;
    last_stream = stream;
  }

  // What came on the stream is not HTTP/2: it is reset, and hears of nothing more but its end.
  void refuse(StreamId id) {
    malformed.push_back(id);
    if (last_id == id) remember(kNoStream, nullptr);
    (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_PROTOCOL_ERROR);
  }

  FieldCheck::Block block_of(nghttp2_headers_category category) const {
    if (role == Role::kServer) {
      return category == NGHTTP2_HCAT_REQUEST ? FieldCheck::Block::kRequest : FieldCheck::Block::kTrailers;
    }
    return category == NGHTTP2_HCAT_RESPONSE ? FieldCheck::Block::kResponse : FieldCheck::Block::kLater;
  }
  bool block_complete(StreamId id, bool end) {
    if (!fields.complete(end)) return false;
    if (end) return !fields.content_length().value_or(0) && body_within_promise(id, 0, true);
    if (fields.content_length()) promise(id, *fields.content_length());
    return true;
  }
  // Bytes of a body still to come. Ids of new streams rise, and most bodies end soon, so the list is short and in order.
  struct Promise {
    StreamId id;
    uint64_t left;
  };
  void promise(StreamId id, uint64_t bytes) {
    release(id);
    promised.insert(promise_of(id), Promise{id, bytes});
  }
  std::vector<Promise>::iterator promise_of(StreamId id) {
    return std::lower_bound(promised.begin(), promised.end(), id,
                            [](const Promise& one, StreamId other) { return one.id < other; });
  }
  void release(StreamId id) {
    if (promised.empty()) return;
    if (const auto found = promise_of(id); found != promised.end() && found->id == id) promised.erase(found);
  }
  // Counts bytes of a body against its content-length. False: more came, or at the end less.
  bool body_within_promise(StreamId id, size_t size, bool end) {
    if (promised.empty()) return true;
    const auto found = promise_of(id);
    if (found == promised.end() || found->id != id) return true;
    if (size > found->left) return false;
    found->left -= size;
    if (!end) return true;
    const bool whole = found->left == 0;
    promised.erase(found);
    return whole;
  }
  void forget(StreamId id) {
    if (last_id == id) remember(kNoStream, nullptr);
    release(id);
    if (!malformed.empty()) std::erase(malformed, id);
  }

  // The connection ends as soon as this has been drained.
  int break_off(uint32_t error, const char* why) {
    if (broken) return 0;
    broken = true;
    broken_why = why;
    (void)nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(session), error,
                                reinterpret_cast<const uint8_t*>(why), std::strlen(why));
    return 0;
  }

  const Role role;
  Events& events;
  const SessionOptions options;
  nghttp2_session* session = nullptr;
  TokenBucket control;
  TokenBucket resets;
  size_t open_streams = 0;
  bool inside = false;  // feed or drain is running
  bool broken = false;
  bool terminated = false;
  bool goaway_received = false;
  const char* broken_why = "";
  std::string* out = nullptr;
  size_t out_max = 0;
  StreamId last_id = kNoStream;  // the stream of the last event, so that most callbacks need no lookup
  void* last_stream = nullptr;
  size_t header_list_bytes = 0;
  FieldCheck fields;                // of the block under way
  std::vector<Promise> promised;    // of streams with a content-length
  std::vector<StreamId> malformed;  // being reset for it
};

struct Callbacks {
  static Session::Impl& impl(void* user) { return *static_cast<Session::Impl*>(user); }

  static int on_begin_frame(nghttp2_session*, const nghttp2_frame_hd* frame, void* user) {
    Session::Impl& me = impl(user);
    bool allowed = true;
    switch (frame->type) {
      case NGHTTP2_HEADERS:
        me.control.give(kControlFramesPerMessage);
        break;
      case NGHTTP2_WINDOW_UPDATE:
      case NGHTTP2_CONTINUATION:  // nghttp2 bounds these two itself.
      case NGHTTP2_GOAWAY:
        break;
      case NGHTTP2_RST_STREAM:
        if (me.role == Role::kServer && !me.resets.take()) return me.break_off(NGHTTP2_ENHANCE_YOUR_CALM, "too many resets");
        break;
      case NGHTTP2_DATA:
        if (frame->length > 0)
          me.control.give(kControlFramesPerMessage);
        else if ((frame->flags & NGHTTP2_FLAG_END_STREAM) == 0)
          allowed = me.control.take();
        break;
      default:
        allowed = me.control.take();
    }
    // nghttp2 ignores all of PRIORITY, as it may but for this.
    if (frame->type == NGHTTP2_PRIORITY && frame->stream_id == 0) {
      return me.break_off(NGHTTP2_PROTOCOL_ERROR, "PRIORITY on stream 0");
    }
    return allowed ? 0 : me.break_off(NGHTTP2_ENHANCE_YOUR_CALM, "too many control frames");
  }

  static int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Session::Impl& me = impl(user);
    me.header_list_bytes = 0;
    me.fields.begin(me.block_of(frame->headers.cat));
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) return 0;
    const StreamId id = frame->hd.stream_id;
    void* stream = nullptr;
    if (!me.broken && me.open_streams < me.options.streams_max) stream = me.events.on_stream_begin(id);
    if (stream == nullptr) {
      (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
      return 0;
    }
    ++me.open_streams;
    (void)nghttp2_session_set_stream_user_data(session, id, stream);
    me.remember(id, stream);
    // All streams alike, in turn: a long answer must not hold up the short ones behind it.
    nghttp2_extpri turns{NGHTTP2_EXTPRI_DEFAULT_URGENCY, 1};
    (void)nghttp2_session_change_extpri_stream_priority(session, id, &turns, /*ignore_client_signal=*/1);
    return 0;
  }

  static int on_header(nghttp2_session*, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                       const uint8_t* value, size_t value_size, uint8_t, void* user) {
    Session::Impl& me = impl(user);
    void* stream = me.stream_of(frame->hd.stream_id);
    if (stream == nullptr) return 0;
    me.header_list_bytes += name_size + value_size + 32;
    if (me.header_list_bytes > kHeaderListBytesMax) return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    const std::string_view field(reinterpret_cast<const char*>(name), name_size);
    const std::string_view text(reinterpret_cast<const char*>(value), value_size);
    if (!me.fields.add(field, text)) {
      me.refuse(frame->hd.stream_id);
      return 0;
    }
    me.events.on_header(stream, field, text);
    return 0;
  }

  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Session::Impl& me = impl(user);
    const bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    switch (frame->hd.type) {
      case NGHTTP2_HEADERS: {
        void* stream = me.stream_of(frame->hd.stream_id);
        if (stream == nullptr) break;
        if (!me.block_complete(frame->hd.stream_id, end)) {
          me.refuse(frame->hd.stream_id);
          break;
        }
        HeadersKind kind = kind_of(frame->headers.cat);
        // A client sees a 1xx block and then the real response under the category HEADERS.
        if (me.role == Role::kClient && !end && kind == HeadersKind::kTrailers) kind = HeadersKind::kResponse;
        me.events.on_headers_end(stream, kind, end);
        break;
      }
      case NGHTTP2_DATA:
        if (!end) break;
        if (!me.body_within_promise(frame->hd.stream_id, 0, true)) {
          me.refuse(frame->hd.stream_id);
        } else if (void* stream = me.stream_of(frame->hd.stream_id)) {
          me.events.on_end_stream(stream);
        }
        break;
      case NGHTTP2_PING:
        me.events.on_ping({reinterpret_cast<const char*>(frame->ping.opaque_data), 8},
                          (frame->hd.flags & NGHTTP2_FLAG_ACK) != 0);
        break;
      case NGHTTP2_GOAWAY:
        me.goaway_received = true;
        me.events.on_goaway(frame->goaway.last_stream_id, static_cast<ErrorCode>(frame->goaway.error_code),
                            {reinterpret_cast<const char*>(frame->goaway.opaque_data), frame->goaway.opaque_data_len});
        break;
      case NGHTTP2_SETTINGS:
        if ((frame->hd.flags & NGHTTP2_FLAG_ACK) == 0) {
          me.events.on_settings(nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS));
        }
        break;
      default:
        break;
    }
    return 0;
  }

  static int on_data_chunk(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size, void* user) {
    Session::Impl& me = impl(user);
    (void)nghttp2_session_consume_connection(session, size);
    if (!me.body_within_promise(id, size, false)) {
      me.refuse(id);
    } else if (void* stream = me.stream_of(id))
      me.events.on_data(stream, {reinterpret_cast<const char*>(data), size});
    return 0;
  }

  static int on_close(nghttp2_session* session, int32_t id, uint32_t error, void* user) {
    Session::Impl& me = impl(user);
    void* stream = nghttp2_session_get_stream_user_data(session, id);
    me.forget(id);
    if (stream == nullptr) return 0;
    --me.open_streams;
    (void)nghttp2_session_set_stream_user_data(session, id, nullptr);
    me.events.on_stream_close(stream, static_cast<ErrorCode>(error));
    return 0;
  }

  static int on_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Session::Impl& me = impl(user);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA) return 0;
    me.control.give(kControlFramesPerMessage);
    if (frame->hd.type == NGHTTP2_HEADERS) me.resets.give(1);
    me.events.on_progress_sent();
    // RFC 9113 8.1: a server that has said everything asks a client that still sends to stop.
    if (me.role == Role::kServer && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0 &&
        nghttp2_session_get_stream_remote_close(session, frame->hd.stream_id) == 0) {
      (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    }
    return 0;
  }

  static ssize_t on_read(nghttp2_session* session, int32_t id, uint8_t*, size_t room, uint32_t* flags,
                         nghttp2_data_source* source, void*) {
    auto* body = static_cast<Body*>(source->ptr);
    const Body::Ready ready = body->ready();
    const size_t size = std::min(ready.bytes, room);
    if (size == 0 && !ready.end) return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (ready.end && size == ready.bytes) {
      *flags |= NGHTTP2_DATA_FLAG_EOF;
      const std::span<const Header> trailers = body->trailers();
      if (!trailers.empty()) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        const FieldList fields(trailers);
        (void)nghttp2_submit_trailer(session, id, fields.data(), fields.size());
      }
    }
    return static_cast<ssize_t>(size);
  }

  static int on_send_data(nghttp2_session*, nghttp2_frame* frame, const uint8_t* header, size_t size,
                          nghttp2_data_source* source, void* user) {
    Session::Impl& me = impl(user);
    VERIFY(frame->data.padlen == 0);
    if (me.out->size() >= me.out_max) return NGHTTP2_ERR_WOULDBLOCK;  // The next drain() goes on here.
    const size_t at = me.out->size();
    me.out->append(reinterpret_cast<const char*>(header), kFrameHeaderBytes);
    me.out->resize(at + kFrameHeaderBytes + size);
    if (size > 0) static_cast<Body*>(source->ptr)->take(me.out->data() + at + kFrameHeaderBytes, size);
    return 0;
  }

  static const nghttp2_session_callbacks* table() {
    static const nghttp2_session_callbacks* const made = [] {
      nghttp2_session_callbacks* c = nullptr;
      VERIFY(nghttp2_session_callbacks_new(&c) == 0);
      nghttp2_session_callbacks_set_on_begin_frame_callback(c, on_begin_frame);
      nghttp2_session_callbacks_set_on_begin_headers_callback(c, on_begin_headers);
      nghttp2_session_callbacks_set_on_header_callback(c, on_header);
      nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
      nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data_chunk);
      nghttp2_session_callbacks_set_on_stream_close_callback(c, on_close);
      nghttp2_session_callbacks_set_on_frame_send_callback(c, on_sent);
      nghttp2_session_callbacks_set_send_data_callback(c, on_send_data);
      return c;
    }();
    return made;
  }

  static const nghttp2_option* options() {
    static const nghttp2_option* const made = [] {
      nghttp2_option* o = nullptr;
      VERIFY(nghttp2_option_new(&o) == 0);
      nghttp2_option_set_no_auto_window_update(o, 1);
      nghttp2_option_set_no_closed_streams(o, 1);
      nghttp2_option_set_no_http_messaging(o, 1);  // FieldCheck does it, in a quarter of the instructions
      nghttp2_option_set_max_outbound_ack(o, kQueuedAcksMax);
      nghttp2_option_set_stream_reset_rate_limit(o, UINT32_MAX, UINT32_MAX);  // `resets` counts better
      // Trailers of a gRPC status may be long: nghttp2 must not refuse to send them.
      nghttp2_option_set_max_send_header_block_length(o, kHeaderListBytesMax * 2);
      return o;
    }();
    return made;
  }
};

namespace {

nghttp2_data_provider provider_of(Body* body) {
  nghttp2_data_provider provider{};
  provider.source.ptr = body;
  provider.read_callback = Callbacks::on_read;
  return provider;
}

}  // namespace

Session::Session(Role role, Events& events, const SessionOptions& options)
    : impl_(std::make_unique<Impl>(role, events, options)) {
  const int rc =
      role == Role::kServer
          ? nghttp2_session_server_new3(&impl_->session, Callbacks::table(), impl_.get(), Callbacks::options(), block_pool())
          : nghttp2_session_client_new3(&impl_->session, Callbacks::table(), impl_.get(), Callbacks::options(), block_pool());
  VERIFY(rc == 0);
  std::array<nghttp2_settings_entry, 6> entries;
  size_t n = 0;
  entries[n++] = {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, kFrameBytesMax};
  if (options.streams_max_advertised != 0xffffffff && role == Role::kServer) {
    entries[n++] = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, options.streams_max_advertised};
  }
  if (role == Role::kServer) entries[n++] = {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1};
  if (role == Role::kClient) entries[n++] = {NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
  entries[n++] = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, options.stream_window_bytes};
  entries[n++] = {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, kHeaderListBytesMax};
  VERIFY(nghttp2_submit_settings(impl_->session, NGHTTP2_FLAG_NONE, entries.data(), n) == 0);
  VERIFY(nghttp2_session_set_local_window_size(impl_->session, NGHTTP2_FLAG_NONE, 0,
                                               static_cast<int32_t>(options.connection_window_bytes)) == 0);
}

Session::~Session() { nghttp2_session_del(impl_->session); }

Status Session::feed(std::string_view bytes, base::Instant now) {
  Impl& me = *impl_;
  VERIFY(!me.inside);
  if (me.broken) return Status(Code::kUnavailable, me.broken_why);
  me.control.refill(now);
  me.resets.refill(now);
  me.inside = true;
  const ssize_t taken = nghttp2_session_mem_recv(me.session, reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  me.inside = false;
  if (me.broken) return Status(Code::kUnavailable, me.broken_why);
  if (taken < 0) {
    me.broken = true;
    me.broken_why = nghttp2_strerror(static_cast<int>(taken));
    if (taken == NGHTTP2_ERR_FLOODED || taken == NGHTTP2_ERR_BAD_CLIENT_MAGIC) {
      (void)nghttp2_submit_goaway(me.session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(me.session),
                                  taken == NGHTTP2_ERR_FLOODED ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR, nullptr,
                                  0);
    }
    return Status(Code::kUnavailable, me.broken_why);
  }
  return Status();
}

void Session::drain(std::string& out, size_t size_max) {
  Impl& me = *impl_;
  VERIFY(!me.inside);
  me.inside = true;
  me.out = &out;
  me.out_max = size_max;
  while (out.size() < size_max) {
    const uint8_t* bytes = nullptr;
    const ssize_t size = nghttp2_session_mem_send(me.session, &bytes);
    if (size < 0) {
      me.broken = true;
      me.broken_why = nghttp2_strerror(static_cast<int>(size));
      break;
    }
    if (size == 0) break;
    out.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(size));
  }
  me.out = nullptr;
  me.inside = false;
}

bool Session::wants_write() const { return nghttp2_session_want_write(impl_->session) != 0; }

bool Session::finished() const {
  if (nghttp2_session_want_write(impl_->session) != 0) return false;
  return impl_->broken || impl_->terminated || nghttp2_session_want_read(impl_->session) == 0;
}

bool Session::submit_response(StreamId id, std::span<const Header> headers, Body* body) {
  const FieldList fields(headers);
  const nghttp2_data_provider provider = provider_of(body);
  return nghttp2_submit_response(impl_->session, id, fields.data(), fields.size(), body != nullptr ? &provider : nullptr) == 0;
}

StreamId Session::submit_request(std::span<const Header> headers, Body* body, void* stream) {
  if (impl_->broken || impl_->goaway_received) return -1;
  const FieldList fields(headers);
  const nghttp2_data_provider provider = provider_of(body);
  const StreamId id = nghttp2_submit_request(impl_->session, nullptr, fields.data(), fields.size(),
                                             body != nullptr ? &provider : nullptr, stream);
  if (id > 0) ++impl_->open_streams;
  return id;
}

void Session::resume(StreamId id) { (void)nghttp2_session_resume_data(impl_->session, id); }

void Session::consumed(StreamId id, size_t bytes) {
  if (bytes > 0) (void)nghttp2_session_consume_stream(impl_->session, id, bytes);
}

void Session::reset(StreamId id, ErrorCode error) {
  (void)nghttp2_submit_rst_stream(impl_->session, NGHTTP2_FLAG_NONE, id, static_cast<uint32_t>(error));
}

void Session::ping(std::string_view eight_bytes) {
  VERIFY(eight_bytes.size() == 8);
  (void)nghttp2_submit_ping(impl_->session, NGHTTP2_FLAG_NONE, reinterpret_cast<const uint8_t*>(eight_bytes.data()));
}

void Session::goaway_notice() { (void)nghttp2_submit_shutdown_notice(impl_->session); }

void Session::goaway(ErrorCode error, std::string_view debug) {
  (void)nghttp2_submit_goaway(impl_->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(impl_->session),
                              static_cast<uint32_t>(error), reinterpret_cast<const uint8_t*>(debug.data()), debug.size());
}

void Session::terminate(ErrorCode error, std::string_view debug) {
  goaway(error, debug);
  impl_->terminated = true;
}

size_t Session::open_streams() const { return impl_->open_streams; }

uint32_t Session::peer_streams_max() const {
  return nghttp2_session_get_remote_settings(impl_->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
}

}  // namespace http2
