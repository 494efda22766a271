// Named places where a test makes the process stop, wait or fail: etcd's failpoints, for `make FAILPOINTS=1`. In a normal build
// every macro below is nothing and Gate is empty. Names and places are etcd's (README.md lists what differs).
// Any thread. Told by GOFAIL_FAILPOINTS (name=terms;...) and, served by a thread of its own, on GOFAIL_HTTP:
// GET / lists, GET /NAME shows, GET /NAME/count, PUT /NAME takes terms, DELETE /NAME. Source: gofail 0.2.0.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/failpoint_terms.h"
#include "base/loop.h"
#include "base/rng.h"

namespace base::failpoint {

class Point;

// All points of a process, by name. Any thread.
class Registry {
 public:
  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // name=terms;name=terms: for points that come. False: *error says what is wrong.
  bool preset(std::string_view list, std::string* error);
  void add(std::string_view name, Point* point);

  struct Answer {  // to a request
    int status = 200;
    std::string body;
    bool allow = false;  // with the field `Allow: PUT`
  };
  Answer answer(std::string_view method, std::string_view target, std::string_view body);

  // While held no point ends the process: an answer under way gets out.
  std::unique_lock<std::mutex> hold_panics();

  double chance();

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

// The process's own, with what GOFAIL_FAILPOINTS says. Never destroyed.
Registry& registry();
// Serves it on GOFAIL_HTTP, if that is set, until the process ends. Exits with 1 if the address cannot be had.
void serve_if_asked();

class Point {
 public:
  explicit Point(std::string_view name, Registry& in = registry());
  Point(const Point&) = delete;
  Point& operator=(const Point&) = delete;

  // Does what it is told: ends the process, sleeps in place, prints. The value of a `return`.
  std::optional<Value> hit();
  // The same, but a sleep is left to the caller.
  Duration hit_but_sleep();
  // hit() where a text is wanted; a value of another kind is told on standard output and is none.
  std::optional<std::string> hit_for_text();
  bool armed() const;

 private:
  friend class Registry;
  struct State;
  Action take();
  void act(const Action& action);

  const std::shared_ptr<State> state_;
};

// Lets work through or holds it up for as long as a sleep says, while its thread goes on. Owner: the loop it is used with.
class LoopGate {
 public:
  // False: held up; `resume` runs when the sleep is over, even if the gate is gone, and the next pass() goes through.
  bool pass(Point& point, Loop& loop, std::function<void()> resume);
  bool closed() const { return state_ != nullptr && state_->closed; }
  bool reopened() const { return state_ != nullptr && state_->reopened; }

 private:
  struct State {
    bool closed = false, reopened = false;
  };
  std::shared_ptr<State> state_;
};

// A name as a template's argument, so that a point exists from the start of the process on, wherever its place is.
template <size_t kSize>
struct Name {
  char text[kSize] = {};
  consteval Name(const char (&from)[kSize]) {  // NOLINT: implicit, from a literal
    for (size_t i = 0; i < kSize; ++i) text[i] = from[i];
  }
};
template <Name kName>
inline Point point{std::string_view(kName.text, sizeof(kName.text) - 1)};

}  // namespace base::failpoint

#ifdef ETCD_FAILPOINTS
namespace base::failpoint {
using Gate = LoopGate;
}
// Panics, or sleeps in place.
#define FAILPOINT(name) ((void)::base::failpoint::point<#name>.hit())
// An optional text, of return("text").
#define FAILPOINT_TEXT(name) (::base::failpoint::point<#name>.hit_for_text())
// Whether it is told anything now.
#define FAILPOINT_ARMED(name) (::base::failpoint::point<#name>.armed())
// Whether a `return` acted.
#define FAILPOINT_RETURNS(name) (::base::failpoint::point<#name>.hit().has_value())
// False: a sleep holds up what goes through `gate`; the last argument runs when it is over.
#define FAILPOINT_PASS(name, gate, loop, ...) ((gate).pass(::base::failpoint::point<#name>, loop, __VA_ARGS__))
#else
namespace base::failpoint {
struct Gate {
  static constexpr bool closed() { return false; }
  static constexpr bool reopened() { return false; }
};
}  // namespace base::failpoint
#define FAILPOINT(name) ((void)0)
#define FAILPOINT_TEXT(name) (std::optional<std::string>())
#define FAILPOINT_ARMED(name) (false)
#define FAILPOINT_RETURNS(name) (false)
#define FAILPOINT_PASS(name, gate, loop, ...) ((void)(gate), (void)(loop), true)
#endif
