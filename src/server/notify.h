// Tells the service manager (systemd, Type=notify) how far the process is.
#pragma once

#include <string_view>

namespace server {

// Sends `state` ("READY=1", "STOPPING=1") to $NOTIFY_SOCKET; false if there is none or it cannot be reached.
bool notify_service_manager(std::string_view state);

}  // namespace server
