// Makes the store of a stopped member differ from what its log says: the value of one key, as silent damage would.
//
//   alter_store_client STORE_DIR KEY VALUE     every row of KEY gets VALUE, revisions and versions stay; prints how many
#include <cstdio>
#include <string>
#include <vector>

#include "io/real_disk.h"
#include "storage/keyspace.h"
#include "storage/leveldb_engine.h"
#include "wire/codec.h"

namespace {

int fail(const base::Status& status) {
  std::fprintf(stderr, "%s\n", status.to_string().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  io::RealDisk disk;
  base::Result<std::unique_ptr<storage::LevelDbEngine>> engine = storage::LevelDbEngine::open(disk, argv[1]);
  if (!engine.ok()) return fail(engine.status());
  storage::WriteBatch batch;
  int altered = 0;
  const std::string end = storage::bucket_end(storage::Bucket::kKey);
  const std::unique_ptr<storage::EngineIterator> row = (*engine)->iterate();
  for (row->seek(storage::row_key(storage::Bucket::kKey, "")); row->valid() && row->key() < end; row->next()) {
    wire::KeyValue pair;
    if (!wire::parse(row->value(), pair) || pair.key != argv[2] || pair.version == 0) continue;
    pair.value = argv[3];
    batch.put(row->key(), wire::encode(pair));
    ++altered;
  }
  if (!row->status().ok()) return fail(row->status());
  if (base::Status written = (*engine)->write(batch, /*sync=*/true); !written.ok()) return fail(written);
  std::printf("%d\n", altered);
  return altered > 0 ? 0 : 1;
}
