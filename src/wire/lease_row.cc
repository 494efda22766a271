#include "wire/lease_row.h"

#include "lease.pb.h"

namespace wire {

std::string encode(const LeaseRow& row) {
  leasepb::Lease message;
  message.set_id(row.id);
  message.set_ttl(row.ttl_s);
  message.set_remainingttl(row.remaining_ttl_s);
  return message.SerializeAsString();
}

bool parse(std::string_view bytes, LeaseRow& out) {
  leasepb::Lease message;
  if (!message.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return false;
  out = {message.id(), message.ttl(), message.remainingttl()};
  return true;
}

}  // namespace wire
