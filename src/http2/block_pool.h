// Small blocks for nghttp2, which makes and frees about twenty of them for a call: free lists by size, one set a thread, so
// that they cost a few instructions. Sanitizer builds use malloc itself.
#pragma once

#include <nghttp2/nghttp2.h>

namespace http2 {

// For nghttp2_session_server_new3 and nghttp2_session_client_new3. A session must be used and freed by one thread.
nghttp2_mem* block_pool();

}  // namespace http2
