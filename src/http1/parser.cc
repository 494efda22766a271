#include "http1/parser.h"

#include <llhttp/llhttp.h>

#include <algorithm>

#include "base/verify.h"

namespace http1 {
namespace {

constexpr size_t kHeadEndBytes = 4;  // CR LF CR LF
constexpr const char* kHeaderTooLarge = "header too large";
constexpr int kBadRequest = 400;
constexpr int kPayloadTooLarge = 413;
constexpr int kFieldsTooLarge = 431;
constexpr int kNotImplemented = 501;
constexpr int kVersionNotSupported = 505;

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool equals_ignoring_case(std::string_view a, std::string_view lower_b) {
  return a.size() == lower_b.size() &&
         std::equal(a.begin(), a.end(), lower_b.begin(), [](char x, char y) { return lower(x) == y; });
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

// One to nineteen digits and nothing else.
std::optional<uint64_t> parse_length(std::string_view text) {
  constexpr size_t kDigitsMax = 19;  // below 2^64
  if (text.empty() || text.size() > kDigitsMax) return std::nullopt;
  uint64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + static_cast<uint64_t>(c - '0');
  }
  return value;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c = lower(c);
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// A chunk's size: one to fifteen hexadecimal digits, then the end or extensions.
std::optional<uint64_t> parse_chunk_size(std::string_view line) {
  constexpr size_t kDigitsMax = 15;
  uint64_t value = 0;
  size_t digits = 0;
  while (digits < line.size() && hex_digit(line[digits]) >= 0) {
    if (digits == kDigitsMax) return std::nullopt;
    value = value << 4 | static_cast<uint64_t>(hex_digit(line[digits++]));
  }
  if (digits == 0) return std::nullopt;
  const std::string_view rest = line.substr(digits);
  if (!rest.empty() && rest.front() != ';') return std::nullopt;  // Not even the space that some senders put here.
  return value;
}

bool is_token_char(char c) {
  constexpr std::string_view kMarks = "!#$%&'*+-.^_`|~";
  return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') || kMarks.find(c) != kMarks.npos;
}

bool has_control_char(std::string_view s) {
  return std::any_of(s.begin(), s.end(), [](char c) { return (static_cast<uint8_t>(c) < 0x20 && c != '\t') || c == 0x7f; });
}

}  // namespace

std::string_view Head::find(std::string_view name) const {
  for (const auto& [field, value] : fields) {
    if (field == name) return value;
  }
  return {};
}

bool Head::has_token(std::string_view name, std::string_view token) const {
  for (const auto& [field, value] : fields) {
    if (field != name) continue;
    for (std::string_view rest = value; !rest.empty();) {
      const size_t comma = std::min(rest.find(','), rest.size());
      if (equals_ignoring_case(trim(rest.substr(0, comma)), token)) return true;
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
  }
  return false;
}

// Collects what llhttp finds in one head. Bodies never reach llhttp: it is stopped at the end of the fields.
struct Parser::HeadReader {
  explicit HeadReader(Role role) {
    llhttp_settings_init(&settings);
    settings.on_method = [](llhttp_t* p, const char* at, size_t n) { return self(p)->add(self(p)->out->method, at, n); };
    settings.on_url = [](llhttp_t* p, const char* at, size_t n) { return self(p)->add(self(p)->out->target, at, n); };
    settings.on_status = [](llhttp_t* p, const char* at, size_t n) { return self(p)->add(self(p)->out->reason, at, n); };
    settings.on_header_field = [](llhttp_t* p, const char* at, size_t n) { return self(p)->add_name(at, n); };
    // Counted where a name ends, not where it begins: a bad one is the same fault however its bytes were cut.
    settings.on_header_field_complete = [](llhttp_t* p) {
      self(p)->too_many_fields = self(p)->out->fields.size() > self(p)->fields_max;
      return static_cast<int>(self(p)->too_many_fields ? HPE_USER : HPE_OK);
    };
    settings.on_header_value = [](llhttp_t* p, const char* at, size_t n) { return self(p)->add_value(at, n); };
    settings.on_headers_complete = [](llhttp_t* p) {
      self(p)->complete = true;
      return static_cast<int>(HPE_PAUSED);
    };
    llhttp_init(&parser, role == Role::kServer ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    parser.data = this;
  }

  void begin(Head* head, size_t fields_max_now) {
    llhttp_reset(&parser);
    out = head;
    fields_max = fields_max_now;
    complete = false;
    in_value = true;  // So that the first name opens a field.
    too_many_fields = false;
  }

  static HeadReader* self(llhttp_t* p) { return static_cast<HeadReader*>(p->data); }

  static int add(std::string& to, const char* at, size_t n) {
    to.append(at, n);
    return 0;
  }
  int add_name(const char* at, size_t n) {
    if (in_value) {
      out->fields.emplace_back();
      in_value = false;
    }
    std::string& name = out->fields.back().first;
    for (size_t i = 0; i < n; ++i) name.push_back(lower(at[i]));
    return 0;
  }
  int add_value(const char* at, size_t n) {
    in_value = true;
    return add(out->fields.back().second, at, n);
  }

  llhttp_settings_t settings;
  llhttp_t parser;
  Head* out = nullptr;
  size_t fields_max = 0;
  bool complete = false;
  bool in_value = true;
  bool too_many_fields = false;
};

Parser::Parser(Role role, Limits limits) : role_(role), limits_(limits), reader_(std::make_unique<HeadReader>(role)) {}

Parser::~Parser() = default;

Event Parser::next(std::string_view* input) {
  for (;;) {
    const State before = state_;
    const size_t size_before = input->size();
    const Event event = step(input);
    if (event != Event::kNeedMore) return event;
    // Nothing told: go on as long as bytes or states move.
    if (state_ == before && input->size() == size_before) return event;
  }
}

Event Parser::step(std::string_view* input) {
  switch (state_) {
    case State::kBetween:
      if (input->empty()) return Event::kNeedMore;
      head_ = Head();
      head_bytes_ = 0;
      head_end_matched_ = 0;
      body_taken_ = 0;
      reader_->begin(&head_, limits_.fields_max);
      state_ = State::kHead;
      return Event::kNeedMore;
    case State::kHead:
      return read_head(input);
    case State::kStartBody:
      state_ = after_head_;
      return Event::kNeedMore;
    case State::kBodyOfLength:
    case State::kBodyUntilClose:
    case State::kChunkData:
      return read_body(input);
    case State::kChunkSize:
      return read_chunk_size(input);
    case State::kChunkEnd:
      return read_chunk_end(input);
    case State::kTrailers:
      return read_trailers(input);
    case State::kMessageEnd:
      state_ = head_.keep_alive ? State::kBetween : State::kClosed;
      return Event::kEnd;
    case State::kClosed:
      input->remove_prefix(input->size());  // After "Connection: close" nothing counts any more.
      return Event::kNeedMore;
    case State::kFailed:
      return Event::kError;
  }
  VERIFY(false);
  return Event::kError;
}

// How many bytes of `input` belong to the head and are well-formed; `trouble` says what is wrong with the byte after them.
// Lines end with CR LF and nothing else, and none continues the one before. `head_end_matched_` counts how much of
// CR LF CR LF has just been seen.
size_t Parser::scan_head(std::string_view input, const char** trouble) {
  size_t taken = 0;
  for (; taken < input.size() && head_end_matched_ < kHeadEndBytes; ++taken) {
    const char c = input[taken];
    const bool after_cr = head_end_matched_ % 2 == 1;
    const bool at_start = head_bytes_ + taken == 0;
    if (head_bytes_ + taken == limits_.head_bytes_max) *trouble = kHeaderTooLarge;
    if (at_start && c == '\r') *trouble = "empty line before the message";
    if (head_end_matched_ == 2 && (c == ' ' || c == '\t')) *trouble = "folded header field";
    if (after_cr != (c == '\n')) *trouble = "line end other than CR LF in the header";
    if (*trouble != nullptr) return taken;
    head_end_matched_ = c == '\r' || c == '\n' ? head_end_matched_ + 1 : 0;
  }
  return taken;
}

// Gives llhttp the bytes up to the empty line that ends the head.
Event Parser::read_head(std::string_view* input) {
  const char* trouble = nullptr;
  const size_t taken = scan_head(*input, &trouble);
  head_bytes_ += taken;
  const bool ended = head_end_matched_ == kHeadEndBytes;
  const llhttp_errno_t result = llhttp_execute(&reader_->parser, input->data(), taken);
  input->remove_prefix(taken);
  if (reader_->too_many_fields) return fail(kFieldsTooLarge, "too many header fields");
  if (reader_->complete != ended || (!ended && result != HPE_OK)) return fail_head(result);
  if (trouble != nullptr) return fail(trouble == kHeaderTooLarge ? kFieldsTooLarge : kBadRequest, trouble);
  return ended ? finish_head() : Event::kNeedMore;
}

Event Parser::fail_head(int llhttp_result) {
  int status = kBadRequest;
  if (llhttp_result == HPE_INVALID_METHOD) status = kNotImplemented;
  if (llhttp_result == HPE_INVALID_VERSION) status = kVersionNotSupported;
  const char* reason = llhttp_get_error_reason(&reader_->parser);
  return fail(status, std::string("malformed header: ") + (reason != nullptr ? reason : "unexpected end"));
}

Event Parser::finish_head() {
  const llhttp_t& parsed = reader_->parser;
  if (parsed.http_major != 1 || parsed.http_minor > 1) return fail(kVersionNotSupported, "unsupported HTTP version");
  head_.version_minor = parsed.http_minor;
  head_.status = parsed.status_code;
  for (auto& [name, value] : head_.fields) {
    value = std::string(trim(value));
    if (has_control_char(value)) return fail(kBadRequest, "control character in a header field");
  }
  if (role_ == Role::kServer && head_.version_minor == 1) {
    const auto hosts = std::count_if(head_.fields.begin(), head_.fields.end(), [](const auto& f) { return f.first == "host"; });
    if (hosts == 0) return fail(kBadRequest, "missing required Host header");
    if (hosts > 1) return fail(kBadRequest, "too many Host headers");
  }
  head_.keep_alive =
      head_.version_minor == 1 ? !head_.has_token("connection", "close") : head_.has_token("connection", "keep-alive");
  const bool asks_upgrade = head_.has_token("connection", "upgrade") && !head_.find("upgrade").empty();
  head_.upgrade = role_ == Role::kServer ? asks_upgrade : head_.status == 101;
  head_.expect_continue = head_.version_minor == 1 && head_.has_token("expect", "100-continue");
  if (frame_body() == Event::kError) return Event::kError;
  const bool interim = role_ == Role::kClient && head_.status >= 100 && head_.status < 200 && head_.status != 101;
  if (interim) {
    if (++interim_responses_ > kInterimResponsesMax) return fail(kBadRequest, "too many interim responses");
    state_ = State::kBetween;
    return Event::kNeedMore;
  }
  interim_responses_ = 0;
  state_ = State::kStartBody;
  return Event::kHead;
}

// RFC 9112 6.3, with every doubtful case refused.
Event Parser::frame_body() {
  bool has_coding = false;
  for (const auto& [name, value] : head_.fields) {
    if (name == "content-length") {
      const std::optional<uint64_t> length = parse_length(value);
      if (!length) return fail(kBadRequest, "bad Content-Length");
      if (head_.content_length && *head_.content_length != *length) return fail(kBadRequest, "different Content-Lengths");
      head_.content_length = length;
    } else if (name == "transfer-encoding") {
      if (has_coding || !equals_ignoring_case(value, "chunked")) return fail(kNotImplemented, "unsupported transfer encoding");
      has_coding = true;
    }
  }
  if (has_coding && head_.content_length) return fail(kBadRequest, "both Content-Length and Transfer-Encoding");
  if (has_coding && head_.version_minor == 0) return fail(kBadRequest, "Transfer-Encoding in HTTP/1.0");
  head_.chunked = has_coding;
  body_left_ = head_.content_length.value_or(0);

  const bool answer_without_body =
      role_ == Role::kClient && (answers_head_ || head_.status < 200 || head_.status == 204 || head_.status == 304);
  if (answer_without_body) {
    after_head_ = State::kMessageEnd;
  } else if (has_coding) {
    after_head_ = State::kChunkSize;
  } else if (role_ == Role::kClient && !head_.content_length) {
    head_.keep_alive = false;
    after_head_ = State::kBodyUntilClose;
  } else {
    if (body_left_ > limits_.body_bytes_max) return fail(kPayloadTooLarge, "http: body too large");
    after_head_ = body_left_ > 0 ? State::kBodyOfLength : State::kMessageEnd;
  }
  return Event::kHead;
}

Event Parser::read_body(std::string_view* input) {
  const uint64_t allowed = limits_.body_bytes_max - body_taken_;
  const uint64_t wanted = state_ == State::kBodyUntilClose ? allowed : body_left_;
  const size_t size = static_cast<size_t>(std::min<uint64_t>(wanted, input->size()));
  if (size == 0) return input->empty() ? Event::kNeedMore : fail(kPayloadTooLarge, "http: body too large");
  body_taken_ += size;
  body_ = input->substr(0, size);
  input->remove_prefix(size);
  if (state_ != State::kBodyUntilClose) {
    body_left_ -= size;
    if (body_left_ == 0) state_ = state_ == State::kChunkData ? State::kChunkEnd : State::kMessageEnd;
  }
  return Event::kBody;
}

// True: `line_` holds a line without its CR LF. False: more bytes are needed, or the state is kFailed.
bool Parser::take_line(std::string_view* input, size_t bytes_max, int too_long_status) {
  while (!input->empty()) {
    const char c = input->front();
    input->remove_prefix(1);
    const bool after_cr = !line_.empty() && line_.back() == '\r';
    if (after_cr != (c == '\n')) {
      fail(kBadRequest, "line end other than CR LF in a chunked body");
      return false;
    }
    if (c == '\n') {
      line_.pop_back();
      return true;
    }
    if (line_.size() >= bytes_max) {
      fail(too_long_status, "line too long in a chunked body");
      return false;
    }
    line_.push_back(c);
  }
  return false;
}

Event Parser::read_chunk_size(std::string_view* input) {
  if (!take_line(input, limits_.chunk_line_bytes_max, kBadRequest)) return outcome();
  const std::optional<uint64_t> size = parse_chunk_size(line_);
  const bool clean = !has_control_char(line_);
  line_.clear();
  if (!size || !clean) return fail(kBadRequest, "malformed chunk size");
  if (*size > limits_.body_bytes_max - body_taken_) return fail(kPayloadTooLarge, "http: body too large");
  body_left_ = *size;
  trailer_bytes_ = 0;
  state_ = *size == 0 ? State::kTrailers : State::kChunkData;
  return Event::kNeedMore;
}

Event Parser::read_chunk_end(std::string_view* input) {
  if (!take_line(input, 1, kBadRequest)) return outcome();
  if (!line_.empty()) return fail(kBadRequest, "chunk longer than its size");
  state_ = State::kChunkSize;
  return Event::kNeedMore;
}

// Trailer fields are checked for form and dropped.
Event Parser::read_trailers(std::string_view* input) {
  if (!take_line(input, limits_.head_bytes_max, kFieldsTooLarge)) return outcome();
  const std::string line = std::exchange(line_, std::string());
  if (line.empty()) {
    state_ = State::kMessageEnd;
    return Event::kNeedMore;
  }
  trailer_bytes_ += line.size() + 2;
  if (trailer_bytes_ > limits_.head_bytes_max) return fail(kFieldsTooLarge, "trailers too large");
  const size_t colon = line.find(':');
  const bool named = colon != line.npos && colon > 0 && std::all_of(line.begin(), line.begin() + colon, is_token_char);
  if (!named || has_control_char(line)) return fail(kBadRequest, "malformed trailer");
  return Event::kNeedMore;
}

Event Parser::finish() {
  switch (state_) {
    case State::kBetween:
    case State::kClosed:
      return Event::kNeedMore;
    case State::kBodyUntilClose:
      state_ = State::kClosed;
      return Event::kEnd;
    case State::kStartBody:
    case State::kMessageEnd:
      if (state_ == State::kStartBody && after_head_ != State::kMessageEnd && after_head_ != State::kBodyUntilClose) break;
      state_ = State::kClosed;
      return Event::kEnd;
    case State::kFailed:
      return Event::kError;
    default:
      break;
  }
  return fail(kBadRequest, "unexpected EOF");
}

Event Parser::outcome() const { return state_ == State::kFailed ? Event::kError : Event::kNeedMore; }

Event Parser::fail(int http_status, std::string text) {
  const bool too_much = http_status == kPayloadTooLarge || http_status == kFieldsTooLarge;
  error_ = base::Status(too_much ? base::Code::kResourceExhausted : base::Code::kInvalidArgument, std::move(text));
  error_status_ = http_status;
  state_ = State::kFailed;
  line_.clear();
  return Event::kError;
}

}  // namespace http1
