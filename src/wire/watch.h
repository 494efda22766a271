// WatchResponse by hand: events are encoded once and shared by all who get them, each response has a head of its own in front
// (rpc::ServerStream::try_write). Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "wire/codec.h"

namespace wire {

// A WatchResponse but for its events.
struct WatchHead {
  ResponseHeader header;
  int64_t watch_id = 0;
  bool created = false;
  bool canceled = false;
  int64_t compact_revision = 0;
  std::string_view cancel_reason;
  bool fragment = false;
};
void append(const WatchHead& head, std::string& out);
// The head in two parts, for many responses of one revision: the field with the header, and what comes behind it.
void append_watch_header(const ResponseHeader& header, std::string& out);
void append_watch_fields(const WatchHead& head, std::string& out);

// One event as the field of a WatchResponse. `pair`, `prev_pair`: encoded KeyValue messages; null: the event has no prev_kv.
void append_watch_event(bool is_delete, std::string_view pair, const std::string_view* prev_pair, std::string& out);
// The bytes of the first event's field in `events`, which append_watch_event made. REQUIRES: not empty.
std::string_view first_watch_event(std::string_view events);

}  // namespace wire
