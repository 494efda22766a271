#include "server/profiles.h"

#include <cxxabi.h>
#include <dirent.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <gperftools/profiler.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/heap_profile.h"
#include "base/process_metrics.h"

namespace server {

using rpc::HttpCall;
using rpc::HttpResponse;

namespace {

constexpr size_t kSymbolBytesMax = 1 << 20;  // of a request for names
constexpr size_t kSymbolsMax = 100'000;
constexpr int kStackFramesMax = 64;
constexpr size_t kThreadsMax = 512;                              // whose stacks are told
constexpr auto kStackPatience = std::chrono::milliseconds(100);  // for threads to tell theirs

struct Named {
  const char* name;
  const char* what;
};
constexpr Named kProfiles[] = {
    {"allocs", "Where memory was asked for, all of it; a sample, of what is in C++"},
    {"block", "Where threads waited for locks; no such waits are recorded"},
    {"cmdline", "The command line of this process"},
    {"goroutine", "The stacks of all threads now"},
    {"heap", "Where the memory was asked for that is in use now; for go tool pprof, as allocs"},
    {"mutex", "Who held locks that others waited for; no such waits are recorded"},
    {"profile", "Where the CPU is spent, over `seconds` (30); for go tool pprof"},
    {"symbol", "The names of addresses, given in the query or the body of a POST, with '+' between them"},
    {"threadcreate", "How many threads there are"},
};

std::string read_file(const char* path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return std::move(out).str();
}

std::string command_line() {
  std::string text = read_file("/proc/self/cmdline");
  if (text.ends_with('\0')) text.pop_back();
  return text;
}

HttpResponse text_page(std::string text) {
  HttpResponse response = with_body("text/plain; charset=utf-8", std::move(text));
  response.headers.add("X-Content-Type-Options", "nosniff");
  return response;
}

std::string index_page() {
  std::string rows, descriptions;
  for (const Named& profile : kProfiles) {
    const std::string name = profile.name;
    rows += "<tr><td><a href='" + name + "?debug=1'>" + name + "</a></td></tr>\n";
    descriptions += "<li><b>" + name + "</b>: " + profile.what + "</li>\n";
  }
  return "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n/debug/pprof/\n<br>\n<p>Types of profiles "
         "available:</p>\n"
         "<table>\n<thead><td>Profile</td></thead>\n" +
         rows + "</table>\n<p>\nProfile descriptions:\n<ul>\n" + descriptions + "</ul>\n</p>\n</body>\n</html>\n";
}

// --- stacks of all threads: each is sent a signal and writes its own
// ------------------------------------------------------------

struct ThreadStack {
  std::atomic<pid_t> thread{0};
  void* frames[kStackFramesMax] = {};
  std::atomic<int> depth{0};  // 0: has not told yet; frames are written once, before
};
// For ever: a thread may take its signal long after we have stopped waiting for it.
ThreadStack stack_slots[kThreadsMax];
std::atomic<size_t> stack_slots_used{0};

extern "C" void tell_stack(int) {
  const int saved = errno;
  const auto self = static_cast<pid_t>(syscall(SYS_gettid));
  const size_t used = stack_slots_used.load(std::memory_order_acquire);
  for (size_t i = 0; i < used; ++i) {
    ThreadStack& slot = stack_slots[i];
    if (slot.thread.load(std::memory_order_relaxed) != self) continue;
    if (slot.depth.load(std::memory_order_relaxed) == 0) {
      slot.depth.store(backtrace(slot.frames, kStackFramesMax), std::memory_order_release);
    }
    break;
  }
  errno = saved;
}

std::vector<pid_t> threads() {
  std::vector<pid_t> out;
  DIR* directory = opendir("/proc/self/task");
  if (directory == nullptr) return out;
  while (const dirent* entry = readdir(directory)) {
    const pid_t thread = atoi(entry->d_name);
    if (thread > 0 && out.size() < kThreadsMax) out.push_back(thread);
  }
  closedir(directory);
  return out;
}

std::string name_of(const void* address) {
  Dl_info info;
  if (dladdr(address, &info) == 0) return {};
  if (info.dli_sname == nullptr) {
    std::ostringstream place;
    place << (info.dli_fname == nullptr ? "?" : info.dli_fname) << "+0x" << std::hex
          << static_cast<const char*>(address) - static_cast<const char*>(info.dli_fbase);
    return std::move(place).str();
  }
  int status = 0;
  char* demangled = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
  std::string name = status == 0 && demangled != nullptr ? demangled : info.dli_sname;
  std::free(demangled);
  return name;
}

std::string hex_address(const void* address) {
  char text[24];
  (void)std::snprintf(text, sizeof text, "0x%zx", reinterpret_cast<size_t>(address));
  return text;
}

void ask_for_stacks() {
  static bool installed = false;
  const int signal_number = SIGRTMIN + 6;
  if (!std::exchange(installed, true)) {
    void* frame = nullptr;
    (void)backtrace(&frame, 1);  // Loads what it needs now: not allowed in a signal handler.
    struct sigaction action = {};
    action.sa_handler = tell_stack;
    action.sa_flags = SA_RESTART;
    (void)sigaction(signal_number, &action, nullptr);
  }
  const std::vector<pid_t> all = threads();
  for (size_t i = 0; i < all.size(); ++i) {
    stack_slots[i].thread.store(all[i], std::memory_order_relaxed);
    stack_slots[i].depth.store(0, std::memory_order_relaxed);
  }
  stack_slots_used.store(all.size(), std::memory_order_release);
  for (const pid_t thread : all) (void)syscall(SYS_tgkill, getpid(), thread, signal_number);
}

// Go's text form of a goroutine profile, a thread for a goroutine.
std::string stacks_page() {
  const size_t used = stack_slots_used.load(std::memory_order_relaxed);
  std::string out = "goroutine profile: total " + std::to_string(used) + "\n";
  for (size_t i = 0; i < used; ++i) {
    const std::string thread = std::to_string(stack_slots[i].thread.load(std::memory_order_relaxed));
    std::string name = read_file(("/proc/self/task/" + thread + "/comm").c_str());
    if (name.ends_with('\n')) name.pop_back();
    const int depth = stack_slots[i].depth.load(std::memory_order_acquire);
    out += "1 @";
    for (int k = 0; k < depth; ++k) out += " " + hex_address(stack_slots[i].frames[k]);
    out += "\n# thread " + thread + " " + name + "\n";
    for (int k = 0; k < depth; ++k)
      out += "#\t" + hex_address(stack_slots[i].frames[k]) + "\t" + name_of(stack_slots[i].frames[k]) + "\n";
    out += "\n";
  }
  return out + "\nMAPPED_LIBRARIES:\n" + read_file("/proc/self/maps");
}

std::string symbols_page(std::string_view addresses) {
  std::string out = "num_symbols: 1\n";
  for (size_t count = 0; !addresses.empty() && count < kSymbolsMax; ++count) {
    const size_t plus = addresses.find('+');
    std::string_view word = addresses.substr(0, plus);
    addresses = plus == std::string_view::npos ? std::string_view() : addresses.substr(plus + 1);
    if (word.starts_with("0x")) word.remove_prefix(2);
    uint64_t address = 0;
    const auto read = std::from_chars(word.data(), word.data() + word.size(), address, 16);
    if (read.ec != std::errc() || address == 0) continue;
    const auto* at = reinterpret_cast<const void*>(static_cast<uintptr_t>(address));
    const std::string name = name_of(at);
    if (!name.empty()) out += hex_address(at) + " " + name + "\n";
  }
  return out;
}

}  // namespace

void Profiles::serve(std::shared_ptr<HttpCall> call, const Target& target, const std::string& name, const rpc::Metadata& cors) {
  const auto finish = [&](HttpResponse response) { finish_with(*call, cors, std::move(response)); };
  if (name == "profile") return serve_cpu(std::move(call), target, cors);
  if (name.empty()) {
    HttpResponse response = with_body("text/html; charset=utf-8", index_page());
    response.headers.add("X-Content-Type-Options", "nosniff");
    return finish(std::move(response));
  }
  if (name == "cmdline") return finish(text_page(command_line()));
  if (name == "symbol") {
    const std::string& body = call->request().body;
    const bool post = call->request().method == "POST";
    return finish(text_page(symbols_page(std::string_view(post ? body : target.raw_query).substr(0, kSymbolBytesMax))));
  }
  if (name == "heap" || name == "allocs") {
    std::string profile = base::heap_profile::text() + "\nMAPPED_LIBRARIES:\n" + read_file("/proc/self/maps");
    if (target.value("debug") != "" && target.value("debug") != "0") return finish(text_page(std::move(profile)));
    HttpResponse response = with_body("application/octet-stream", std::move(profile));
    response.headers.add("Content-Disposition", "attachment; filename=\"" + name + "\"");
    response.headers.add("X-Content-Type-Options", "nosniff");
    return finish(std::move(response));
  }
  if (name == "goroutine") return serve_stacks(std::move(call), cors);
  if (name == "threadcreate") {
    const std::string total = std::to_string(threads().size());
    return finish(text_page("threadcreate profile: total " + total + "\n" + total + " @ 0x0\n\n"));
  }
  if (name == "block" || name == "mutex") {
    return finish(text_page("--- contention:\ncycles/second=1000000000\nsampling period=1\n"));
  }
  HttpResponse response = plain_error(404, "Unknown profile");
  response.headers.add("X-Go-Pprof", "1");
  finish(std::move(response));
}

void Profiles::serve_stacks(std::shared_ptr<HttpCall> call, const rpc::Metadata& cors) {
  ask_for_stacks();
  const auto timer = std::make_shared<asio::steady_timer>(home_, kStackPatience);
  timer->async_wait([timer, call, cors](const asio::error_code&) { finish_with(*call, cors, text_page(stacks_page())); });
}

void Profiles::serve_cpu(std::shared_ptr<HttpCall> call, const Target& target, const rpc::Metadata& cors) {
  int64_t seconds = 0;
  const std::string_view wanted = target.value("seconds");
  (void)std::from_chars(wanted.data(), wanted.data() + wanted.size(), seconds);
  if (seconds <= 0) seconds = kProfileSecondsDefault;
  seconds = std::min(seconds, kProfileSecondsMax);
  const auto refuse = [&](const std::string& why) {
    HttpResponse response = plain_error(500, "Could not enable CPU profiling: " + why);
    response.headers.add("X-Go-Pprof", "1");
    finish_with(*call, cors, std::move(response));
  };
  if (cpu_busy_) return refuse("cpu profiling already in use");
  char path[] = "/tmp/etcd-profile-XXXXXX";
  const int fd = mkstemp(path);
  if (fd < 0) return refuse("no temporary file");
  close(fd);
  if (ProfilerStart(path) == 0) {
    unlink(path);
    return refuse("the profiler did not start");
  }
  cpu_busy_ = true;
  const auto timer = std::make_shared<asio::steady_timer>(home_, std::chrono::seconds(seconds));
  call->on_closed([timer] { timer->cancel(); });
  timer->async_wait([this, timer, call, cors, file = std::string(path)](const asio::error_code&) {
    ProfilerStop();
    cpu_busy_ = false;
    HttpResponse response = with_body("application/octet-stream", read_file(file.c_str()));
    unlink(file.c_str());
    response.headers.add("Content-Disposition", "attachment; filename=\"profile\"");
    response.headers.add("X-Content-Type-Options", "nosniff");
    finish_with(*call, cors, std::move(response));
  });
}

std::string variables_json(const std::string& raft_status) {
  nlohmann::ordered_json arguments = nlohmann::ordered_json::array();
  const std::string line = command_line();
  for (size_t from = 0; from <= line.size();) {
    const size_t end = std::min(line.find('\0', from), line.size());
    arguments.push_back(line.substr(from, end - from));
    from = end + 1;
  }
  const base::metrics::ProcessFigures figures = base::metrics::read_process_figures();
  const uint64_t in_use = figures.heap_used_bytes, mapped = figures.heap_mapped_bytes;
  // What a heap without a collector has of Go's runtime.MemStats; the rest is 0, so that readers of those fields find them.
  nlohmann::ordered_json memory;
  memory["Alloc"] = in_use;
  for (const char* name : {"TotalAlloc"}) memory[name] = 0;
  memory["Sys"] = mapped;
  for (const char* name : {"Lookups", "Mallocs", "Frees"}) memory[name] = 0;
  memory["HeapAlloc"] = in_use;
  memory["HeapSys"] = mapped;
  memory["HeapIdle"] = figures.heap_free_bytes;
  memory["HeapInuse"] = in_use;
  for (const char* name :
       {"HeapReleased", "HeapObjects", "StackInuse", "StackSys", "MSpanInuse", "MSpanSys", "MCacheInuse", "MCacheSys",
        "BuckHashSys", "GCSys", "OtherSys", "NextGC", "LastGC", "PauseTotalNs", "NumGC", "NumForcedGC", "GCCPUFraction"}) {
    memory[name] = 0;
  }
  constexpr size_t kPausesKept = 256;
  memory["PauseNs"] = std::vector<int>(kPausesKept, 0);
  memory["PauseEnd"] = std::vector<int>(kPausesKept, 0);
  memory["EnableGC"] = memory["DebugGC"] = false;
  memory["BySize"] = nlohmann::ordered_json::array();
  rlimit files = {};
  (void)getrlimit(RLIMIT_NOFILE, &files);
  const auto text = [](const nlohmann::ordered_json& json) {
    return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  };
  return "{\n\"cmdline\": " + text(arguments) + ",\n\"file_descriptor_limit\": " + std::to_string(files.rlim_cur) +
         ",\n\"memstats\": " + text(memory) + ",\n\"raft.status\": " + raft_status + "\n}\n";
}

}  // namespace server
