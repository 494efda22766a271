// Work in the background in small steps: physical compaction and hashing. One at a time, in the order they were asked for:
//
//   for (;;) {
//     if (task.wants_read()) helper thread: task.read();   // touches a pinned View and the task, nothing else
//     core loop: if (task.step()) break;                   // bounded: about a millisecond
//     (between steps: other work; compactions also wait --compaction-sleep-interval)
//   }
//   look at task.status()
//
// A task may be destroyed at any moment when read() is not running; a compaction then runs again after the next start.
#pragma once

#include "base/status.h"

namespace mvcc {

class Task {
 public:
  virtual ~Task() = default;
  virtual bool wants_read() const = 0;
  virtual void read() = 0;
  // True: finished, well or badly.
  virtual bool step() = 0;
  virtual const base::Status& status() const = 0;
};

}  // namespace mvcc
