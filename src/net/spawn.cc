#include "net/spawn.h"

#include <string>

#include "base/verify.h"

namespace net {

void coroutine_failed(const char* name, std::exception_ptr error) {
  std::string why = "an exception left the coroutine ";
  why += name;
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    why += ": ";
    why += e.what();
  } catch (...) {
    why += ": of unknown type";
  }
  base::fatal(why);
}

}  // namespace net
