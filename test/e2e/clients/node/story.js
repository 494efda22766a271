// The npm library etcd3, unmodified, against one member: prints what it sees, line by line, without anything that differs from
// run to run, so that two servers can be compared. Usage: node story.js URL
'use strict';

const {Etcd3, EtcdLeaseInvalidError} = require('etcd3');

const WAIT_MS = 10000;
const say = (name, value) => console.log(name + ' ' + JSON.stringify(value));
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

function within(promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('timed out: ' + what)), WAIT_MS);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function keyValues(client) {
  await client.put('kv/a').value('1');
  await client.put('kv/b').value('zwei');
  await client.put('kv/c').value(Buffer.from([0, 255, 10]));
  say('get', await client.get('kv/a').string());
  say('get missing', await client.get('kv/none').string());
  say('number', await client.get('kv/a').number());
  say('buffer', (await client.get('kv/c').buffer()).toString('hex'));
  say('all', await client.getAll().prefix('kv/').strings());
  say('keys', await client.getAll().prefix('kv/').sort('Key', 'Descend').keys());
  say('limited', await client.getAll().prefix('kv/').limit(2).keys());
  say('count', await client.getAll().prefix('kv/').count());
  const previous = await client.put('kv/a').value('2').getPrevious();
  say('previous', [previous.value.toString(), previous.version, previous.create_revision]);
  say('exists', [await client.get('kv/a').exists(), await client.get('kv/none').exists()]);
  const old = await client.get('kv/a').revision(previous.mod_revision).string();
  say('old', old);
  say('deleted', (await client.delete().key('kv/b')).deleted);
  say('deleted range', (await client.delete().prefix('kv/')).deleted);
}

async function transactions(client) {
  await client.put('txn/a').value('1');
  const yes = await client.if('txn/a', 'Value', '==', '1')
                  .and('txn/none', 'Create', '==', 0)
                  .then(client.put('txn/a').value('2'), client.get('txn/a'))
                  .else(client.get('txn/b'))
                  .commit();
  say('txn', [yes.succeeded, yes.responses.map((r) => r.response), yes.responses[1].response_range.kvs[0].value.toString()]);
  const no = await client.if('txn/a', 'Version', '>', 9).then(client.put('txn/a').value('3')).commit();
  say('txn failed', [no.succeeded, no.responses.length]);
  const counted = await client.stm({retries: 3}).transact(async (tx) => {
    const value = Number(await tx.get('txn/a').string());
    await tx.put('txn/a').value(String(value + 40));
    return value;
  });
  say('stm', [counted, await client.get('txn/a').string()]);
}

async function watches(client) {
  const seen = [];
  const watcher = await client.watch().prefix('w/').withPreviousKV().create();
  const event = (response) => response.events.forEach(
      (e) => seen.push(
          [e.type, e.kv.key.toString(), e.kv.value.toString(), e.kv.version, e.prev_kv ? e.prev_kv.value.toString() : null]));
  watcher.on('data', event);
  const first = (await client.put('w/a').value('1')).header.revision;
  await client.put('w/a').value('2');
  await client.put('other').value('x');
  await client.delete().key('w/a');
  await client.if('w/a', 'Version', '==', 0).then(client.put('w/b').value('b'), client.put('w/c').value('c')).commit();
  for (const start = Date.now(); seen.length < 5 && Date.now() - start < WAIT_MS;) await sleep(10);
  say('watched', seen);
  await within(watcher.cancel(), 'cancel');

  const history = [];
  const past = await client.watch().prefix('w/').startRevision(first).only('put').create();
  past.on('put', (kv) => history.push([kv.key.toString(), kv.value.toString(), Number(kv.mod_revision) - Number(first)]));
  for (const start = Date.now(); history.length < 4 && Date.now() - start < WAIT_MS;) await sleep(10);
  say('watched from the past', history);
  await within(past.cancel(), 'cancel');

  const future = await client.watch().key('w/later').create();
  const put = new Promise((resolve) => future.once('put', resolve));
  await client.put('w/later').value('now');
  say('watched one key', (await within(put, 'put')).value.toString());
  await within(future.cancel(), 'cancel');
}

async function leases(client) {
  const lease = client.lease(60);
  await lease.put('l/a').value('leased');
  const id = await lease.grant();
  const left = await client.leaseClient.leaseTimeToLive({ID: id, keys: true});
  say('lease',
      [left.grantedTTL, Number(left.TTL) >= 58, left.keys.map(String), (await client.get('l/a').exec()).kvs[0].lease === id]);
  const again = await lease.keepaliveOnce();
  say('kept alive', [again.ID === id, again.TTL]);
  await lease.revoke();
  say('revoked', await client.get('l/a').string());
  const gone = client.lease(60, {autoKeepAlive: false});
  await gone.grant();
  await client.leaseClient.leaseRevoke({ID: await gone.grant()});
  try {
    await gone.keepaliveOnce();
    say('lost', null);
  } catch (error) {
    say('lost', [error.constructor.name, error instanceof EtcdLeaseInvalidError]);
  }
  const short = client.lease(1, {autoKeepAlive: false});
  await short.put('l/short').value('x');
  const deleted = await client.watch().key('l/short').create();
  await within(new Promise((resolve) => deleted.once('delete', resolve)), 'expiry');
  say('expired', await client.get('l/short').string());
  await within(deleted.cancel(), 'cancel');
}

async function maintenance(client) {
  const status = await client.maintenance.status();
  say('status', [status.version, Number(status.dbSize) > 0, status.leader !== '0']);
  say('alarms', (await client.maintenance.alarm({action: 'Get', memberID: 0, alarm: 'None'})).alarms);
  await client.maintenance.defragment();
  say('members', (await client.cluster.memberList({})).members.map((m) => m.name));
  const stream = await client.maintenance.snapshot();
  let bytes = 0;
  let last;
  await within(
      new Promise((resolve, reject) => {
        stream.on('data', (part) => {
          bytes += part.blob.length;
          last = part.remaining_bytes;
        });
        stream.on('end', resolve);
        stream.on('error', reject);
      }),
      'snapshot');
  say('snapshot', [bytes > 512, bytes % 512, last]);
}

// What is refused, and how the library tells it.
async function refusals(client) {
  const refused = async (name, call) => {
    try {
      await call();
      say('refused ' + name, null);
    } catch (error) {
      say('refused ' + name, [error.constructor.name, error.message]);
    }
  };
  await refused('empty key', () => client.put('').value('x').exec());
  await refused('future', () => client.get('x').revision(1e9).exec());
  await refused('compacted', async () => {
    const revision = Number((await client.put('x').value('1')).header.revision);
    await client.kv.compact({revision, physical: true});
    await client.get('x').revision(revision - 1).exec();
  });
  await refused(
      'twice', () => client.if('x', 'Version', '>', 0).then(client.put('x').value('1'), client.put('x').value('2')).commit());
  await refused('lease', () => client.put('x').value('1').lease(4711).exec());
  await refused('revoke', () => client.leaseClient.leaseRevoke({ID: 4711}));
}

async function main() {
  const client = new Etcd3({hosts: process.argv[2]});
  for (const chapter of [keyValues, transactions, watches, leases, maintenance, refusals]) {
    console.log('== ' + chapter.name);
    await chapter(client);
  }
  client.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
