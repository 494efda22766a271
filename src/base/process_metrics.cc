#include "base/process_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace base::metrics {
namespace {

std::vector<std::string> words(const std::string& line) {
  std::istringstream in(line);
  std::vector<std::string> out;
  for (std::string word; in >> word;) out.push_back(word);
  return out;
}

uint64_t number(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 10); }

uint64_t limit(__rlimit_resource resource) {
  rlimit now{};
  return getrlimit(resource, &now) == 0 ? now.rlim_cur : 0;  // RLIM_INFINITY is 2^64-1, as Go shows it
}

uint64_t count_entries(const char* folder) {
  uint64_t count = 0;
  DIR* dir = opendir(folder);
  if (dir == nullptr) return 0;
  while (const dirent* entry = readdir(dir)) count += entry->d_name[0] != '.';
  closedir(dir);
  return count > 0 ? count - 1 : 0;  // without the one for this look
}

void read_stat(ProcessFigures& out) {
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  // The second field is the name in parentheses and may hold spaces.
  const size_t name_end = line.rfind(')');
  if (name_end == std::string::npos) return;
  const std::vector<std::string> fields = words(line.substr(name_end + 1));  // [0] is field 3
  if (fields.size() < 22) return;
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  out.cpu_seconds = static_cast<double>(number(fields[11]) + number(fields[12])) / ticks;
  out.threads = number(fields[17]);
  out.virtual_bytes = number(fields[20]);
  out.resident_bytes = number(fields[21]) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  std::ifstream system("/proc/stat");
  while (std::getline(system, line)) {
    if (line.starts_with("btime ")) {
      out.start_time_seconds = static_cast<double>(number(line.substr(6))) + static_cast<double>(number(fields[19])) / ticks;
    }
  }
}

// Memory without a file behind it: what there is of it, and what of that was written to. No allocator has to be asked.
void read_heap(ProcessFigures& out) {
  std::ifstream file("/proc/self/statm");
  std::string line;
  std::getline(file, line);
  const std::vector<std::string> pages = words(line);  // size resident shared text 0 data 0
  if (pages.size() < 6) return;
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  out.heap_mapped_bytes = number(pages[5]) * page;
  out.heap_used_bytes = std::min(out.heap_mapped_bytes, (number(pages[1]) - number(pages[2])) * page);
  out.heap_free_bytes = out.heap_mapped_bytes - out.heap_used_bytes;
}

// Two lines, names and values: IpExt: ... InOctets OutOctets ...
void read_network(ProcessFigures& out) {
  std::ifstream file("/proc/self/net/netstat");
  std::string names_line, values_line;
  while (std::getline(file, names_line) && std::getline(file, values_line)) {
    if (!names_line.starts_with("IpExt:")) continue;
    const std::vector<std::string> names = words(names_line), values = words(values_line);
    for (size_t i = 0; i < names.size() && i < values.size(); ++i) {
      if (names[i] == "InOctets") out.network_received_bytes = number(values[i]);
      if (names[i] == "OutOctets") out.network_sent_bytes = number(values[i]);
    }
  }
}

double to_double(uint64_t value) { return static_cast<double>(value); }

}  // namespace

ProcessFigures read_process_figures() {
  ProcessFigures out;
  read_stat(out);
  read_heap(out);
  read_network(out);
  out.open_fds = count_entries("/proc/self/fd");
  out.max_fds = limit(RLIMIT_NOFILE);
  out.virtual_bytes_max = limit(RLIMIT_AS);
  return out;
}

ProcessMetrics::ProcessMetrics(Registry& r)
    : cpu_(r, "process_cpu_seconds_total", "CPU time used, user and system, in seconds.", "counter"),
      start_(r, "process_start_time_seconds", "When the process started, in seconds since 1970.", "gauge"),
      open_fds_(r, "process_open_fds", "File descriptors open now.", "gauge"),
      max_fds_(r, "process_max_fds", "File descriptors that may be open.", "gauge"),
      resident_(r, "process_resident_memory_bytes", "Memory held in RAM, in bytes.", "gauge"),
      virtual_(r, "process_virtual_memory_bytes", "Address space in use, in bytes.", "gauge"),
      virtual_max_(r, "process_virtual_memory_max_bytes", "Address space that may be used, in bytes.", "gauge"),
      received_(r, "process_network_receive_bytes_total", "Bytes that came in over the process's network.", "counter"),
      sent_(r, "process_network_transmit_bytes_total", "Bytes that went out over the process's network.", "counter"),
      os_fd_used_(r, "os_fd_used", "File descriptors in use.", "gauge"),
      os_fd_limit_(r, "os_fd_limit", "Limit of file descriptors.", "gauge"),
      threads_(r, "go_threads", "Threads of the process (there is no Go in it).", "gauge"),
      alloc_(r, "go_memstats_alloc_bytes", "Anonymous memory that is resident, in bytes.", "gauge"),
      heap_alloc_(r, "go_memstats_heap_alloc_bytes", "The same as go_memstats_alloc_bytes.", "gauge"),
      heap_inuse_(r, "go_memstats_heap_inuse_bytes", "The same as go_memstats_alloc_bytes.", "gauge"),
      heap_idle_(r, "go_memstats_heap_idle_bytes", "Anonymous memory that is mapped and not resident, in bytes.", "gauge"),
      heap_sys_(r, "go_memstats_heap_sys_bytes", "Anonymous memory that is mapped, in bytes.", "gauge"),
      sys_(r, "go_memstats_sys_bytes", "The same as go_memstats_heap_sys_bytes.", "gauge") {
  r.before_expose([this] { refresh(); });
}

void ProcessMetrics::refresh() {
  const ProcessFigures now = read_process_figures();
  cpu_.set(now.cpu_seconds);
  start_.set(now.start_time_seconds);
  open_fds_.set(to_double(now.open_fds));
  max_fds_.set(to_double(now.max_fds));
  resident_.set(to_double(now.resident_bytes));
  virtual_.set(to_double(now.virtual_bytes));
  virtual_max_.set(to_double(now.virtual_bytes_max));
  received_.set(to_double(now.network_received_bytes));
  sent_.set(to_double(now.network_sent_bytes));
  os_fd_used_.set(to_double(now.open_fds));
  os_fd_limit_.set(to_double(now.max_fds));
  threads_.set(to_double(now.threads));
  alloc_.set(to_double(now.heap_used_bytes));
  heap_alloc_.set(to_double(now.heap_used_bytes));
  heap_inuse_.set(to_double(now.heap_used_bytes));
  heap_idle_.set(to_double(now.heap_free_bytes));
  heap_sys_.set(to_double(now.heap_mapped_bytes));
  sys_.set(to_double(now.heap_mapped_bytes));
}

}  // namespace base::metrics
