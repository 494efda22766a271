#include "base/failpoint.h"

#include <unistd.h>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <thread>
#include <utility>

#include "base/flags.h"

namespace base::failpoint {

namespace {

constexpr const char* kNoExist = "failpoint: failpoint does not exist";
constexpr const char* kDisabled = "failpoint: failpoint is disabled";
constexpr const char* kBadTerms = "failpoint: could not parse terms";
constexpr std::string_view kCount = "/count";

void say(const std::string& line) {
  std::fwrite((line + "\n").data(), 1, line.size() + 1, stdout);
  std::fflush(stdout);
}

std::string_view go_type(const Value& value) {
  static constexpr std::string_view kTypes[] = {"<nil>", "struct {}", "string", "int", "bool"};
  return kTypes[value.index()];
}

Registry::Answer error(int status, std::string_view what, std::string_view which = "", std::string_view more = "") {
  std::string text(what);
  text.append(which).append("\n").append(more);
  return {status, std::move(text), false};
}

// name=terms;...; false: *bad is the part that is not.
bool split(std::string_view list, std::map<std::string, std::string>* out, std::string* bad) {
  while (!list.empty()) {
    const size_t end = std::min(list.find(';'), list.size());
    const std::string_view one = list.substr(0, end);
    list.remove_prefix(std::min(end + 1, list.size()));
    if (one.empty()) continue;
    const size_t equals = one.find('=');
    if (equals == std::string_view::npos || one.find('=', equals + 1) != std::string_view::npos) {
      *bad = "bad failpoint " + flags::quote(one);
      return false;
    }
    (*out)[std::string(one.substr(0, equals))] = one.substr(equals + 1);
  }
  return true;
}

}  // namespace

struct Point::State {
  std::string name;
  Registry* registry = nullptr;
  mutable std::mutex mutex;
  std::unique_ptr<Terms> terms;  // null: disabled
};

struct Registry::State {
  std::mutex mutex;
  std::map<std::string, std::shared_ptr<Point::State>, std::less<>> points;
  std::map<std::string, std::string> presets;
  std::mutex panics;
  std::mutex rng_mutex;
  Rng rng{static_cast<uint64_t>(RealClock().unix_ns())};

  std::shared_ptr<Point::State> find(std::string_view name) {
    const std::lock_guard lock(mutex);
    const auto found = points.find(name);
    return found == points.end() ? nullptr : found->second;
  }

  // What gofail says of it; empty: done.
  static Answer enable(const std::shared_ptr<Point::State>& point, std::string_view text) {
    if (point == nullptr) return error(400, "fail to set failpoint: ", kNoExist);
    ParsedTerms parsed = parse_terms(text);
    if (parsed.beyond_end) return {200, "", false};
    if (parsed.terms == nullptr) {
      if (!parsed.complaint.empty()) say(parsed.complaint);
      say("failed to enable \"" + point->name + "=" + std::string(text) + "\" (" + kBadTerms + ")");
      return error(400, "fail to set failpoint: ", kBadTerms);
    }
    const std::lock_guard lock(point->mutex);
    point->terms = std::move(parsed.terms);
    return {204, "", false};
  }

  Answer put(std::string_view name, std::string_view body) {
    std::map<std::string, std::string> all;
    std::string bad;
    std::string lower(name);
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (lower != "failpoints") {
      all[std::string(name)] = body;
    } else if (!split(body, &all, &bad)) {
      return error(400, "fail to parse failpoint: " + bad);
    }
    for (const auto& [one, text] : all) {
      Answer answer = enable(find(one), text);
      if (answer.status != 204) return answer;
    }
    return {204, "", false};
  }

  Answer get(std::string_view name) {
    if (name.empty()) {
      std::string lines;
      const std::lock_guard lock(mutex);
      for (const auto& [one, point] : points) {
        const std::lock_guard point_lock(point->mutex);
        lines += (lines.empty() ? "" : "\n") + one + "=" + (point->terms == nullptr ? "" : point->terms->text());
      }
      return {200, lines + "\n", false};
    }
    const bool count = name.ends_with(kCount);
    if (count) name.remove_suffix(kCount.size());
    const std::shared_ptr<Point::State> point = find(name);
    const char* again = count ? "" : "\n";  // gofail goes on after an error.
    if (point == nullptr) return error(404, "failed to GET: ", kNoExist, again);
    const std::lock_guard lock(point->mutex);
    if (point->terms == nullptr) {
      return error(count ? 500 : 404, "failed to GET: ", kDisabled, again);
    }
    if (count) return {200, std::to_string(point->terms->count()), false};
    return {200, point->terms->text() + "\n", false};
  }

  Answer remove(std::string_view name) {
    const std::shared_ptr<Point::State> point = find(name);
    if (point == nullptr) return error(400, "failed to delete failpoint ", kNoExist);
    const std::lock_guard lock(point->mutex);
    if (point->terms == nullptr) return error(400, "failed to delete failpoint ", kDisabled);
    point->terms.reset();
    return {204, "", false};
  }
};

// --- the points of a process

Registry::Registry() : state_(std::make_unique<State>()) {}
Registry::~Registry() = default;

bool Registry::preset(std::string_view list, std::string* error) { return split(list, &state_->presets, error); }

void Registry::add(std::string_view name, Point* point) {
  point->state_->name = name;
  point->state_->registry = this;
  {
    const std::lock_guard lock(state_->mutex);
    state_->points[std::string(name)] = point->state_;
  }
  const auto preset = state_->presets.find(std::string(name));
  if (preset != state_->presets.end()) (void)State::enable(point->state_, preset->second);
}

Registry::Answer Registry::answer(std::string_view method, std::string_view target, std::string_view body) {
  if (target.empty() || target.front() != '/') return error(400, "malformed request URI");
  target.remove_prefix(1);
  if (method == "PUT") return state_->put(target, body);
  if (method == "GET") return state_->get(target);
  if (method == "DELETE") return state_->remove(target);
  return {405, "Method not allowed\n", true};
}

std::unique_lock<std::mutex> Registry::hold_panics() { return std::unique_lock(state_->panics); }

double Registry::chance() {
  const std::lock_guard lock(state_->rng_mutex);
  return static_cast<double>(state_->rng.next() >> 11) / static_cast<double>(uint64_t{1} << 53);
}

Registry& registry() {
  static Registry* const one = [] {
    auto* made = new Registry;
    const char* list = std::getenv("GOFAIL_FAILPOINTS");
    std::string error;
    if (list != nullptr && !made->preset(list, &error)) {
      say("fail to parse failpoint: " + error);
      std::_Exit(1);
    }
    return made;
  }();
  return *one;
}

// --- a point

Point::Point(std::string_view name, Registry& in) : state_(std::make_shared<State>()) { in.add(name, this); }

bool Point::armed() const {
  const std::lock_guard lock(state_->mutex);
  return state_->terms != nullptr;
}

Action Point::take() {
  const std::lock_guard lock(state_->mutex);
  if (state_->terms == nullptr) return {};
  return state_->terms->evaluate([this] { return state_->registry->chance(); });
}

void Point::act(const Action& action) {
  switch (action.act) {
    case Act::kOff:
    case Act::kReturn:
    case Act::kSleep:
      return;
    case Act::kPrint:
      return say("failpoint print: " + state_->name);
    case Act::kBreak:
      std::raise(SIGSTOP);  // For a debugger.
      return;
    case Act::kMissing:
    case Act::kPanic:
      break;
  }
  // Held for ever: nobody else is to say anything more.
  std::unique_lock<std::mutex> held = state_->registry->hold_panics();
  const bool has_value = !std::holds_alternative<NoValue>(action.value);
  const std::string why = action.act == Act::kMissing
                              ? "panic: runtime error: invalid memory address or nil pointer dereference\n"
                              : "panic: failpoint panic: " + (has_value ? to_text(action.value) : state_->name) + "\n";
  (void)!::write(STDERR_FILENO, why.data(), why.size());
  ::_exit(2);
}

std::optional<Value> Point::hit() {
  const Action action = take();
  act(action);
  if (action.act == Act::kSleep) {
    if (action.sleep > Duration(0)) std::this_thread::sleep_for(action.sleep);
    return std::nullopt;
  }
  if (action.act == Act::kReturn && !std::holds_alternative<NoValue>(action.value)) return action.value;
  return std::nullopt;
}

Duration Point::hit_but_sleep() {
  const Action action = take();
  act(action);
  return action.sleep;
}

std::optional<std::string> Point::hit_for_text() {
  std::optional<Value> value = hit();
  if (!value) return std::nullopt;
  if (auto* text = std::get_if<std::string>(&*value)) return std::move(*text);
  say("failpoint: " + flags::quote(state_->name) + " got value " + to_text(*value) + " of type \"" +
      std::string(go_type(*value)) + "\" but expected type \"string\"");
  return std::nullopt;
}

bool LoopGate::pass(Point& point, Loop& loop, std::function<void()> resume) {
  if (state_ == nullptr) state_ = std::make_shared<State>();
  if (state_->closed) return false;
  if (std::exchange(state_->reopened, false)) return true;
  const Duration sleep = point.hit_but_sleep();
  if (sleep <= Duration(0)) return true;
  state_->closed = true;
  loop.after(sleep, [state = state_, resume = std::move(resume)] {
    state->closed = false;
    state->reopened = true;
    resume();
  });
  return false;
}

}  // namespace base::failpoint
