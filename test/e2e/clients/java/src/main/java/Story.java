import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.KeyValue;
import io.etcd.jetcd.Lease;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.kv.GetResponse;
import io.etcd.jetcd.kv.PutResponse;
import io.etcd.jetcd.kv.TxnResponse;
import io.etcd.jetcd.lease.LeaseKeepAliveResponse;
import io.etcd.jetcd.lease.LeaseTimeToLiveResponse;
import io.etcd.jetcd.maintenance.StatusResponse;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.CompactOption;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.LeaseOption;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.watch.WatchEvent;
import io.grpc.stub.StreamObserver;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

// jetcd, unmodified, against one member: prints what it sees, line by line, without anything that differs from run to run, so
// that two servers can be compared. Usage: java -cp ... Story URL
public final class Story {
  private static final long WAIT_SECONDS = 20;

  private final Client client;
  private final KV kv;

  private Story(String url) {
    client = Client.builder().endpoints(url).build();
    kv = client.getKVClient();
  }

  private static ByteSequence bytes(String text) {
    return ByteSequence.from(text, StandardCharsets.UTF_8);
  }

  private static void say(String name, Object... values) {
    System.out.println(name + " " + List.of(values));
  }

  private static <T> T done(CompletableFuture<T> future) throws Exception {
    return future.get(WAIT_SECONDS, TimeUnit.SECONDS);
  }

  private PutResponse put(String key, String value) throws Exception {
    return done(kv.put(bytes(key), bytes(value)));
  }

  private static String text(List<KeyValue> pairs) {
    final StringBuilder out = new StringBuilder();
    for (KeyValue pair : pairs)
      out.append(pair.getKey()).append('=').append(pair.getValue()).append('@').append(pair.getVersion()).append(' ');
    return out.toString().trim();
  }

  private void keyValues() throws Exception {
    final long first = put("kv/a", "1").getHeader().getRevision();
    put("kv/b", "2");
    put("kv/c", "3");
    say("get", text(done(kv.get(bytes("kv/a"))).getKvs()));
    final GetOption prefix = GetOption.builder()
                                 .isPrefix(true)
                                 .withSortField(GetOption.SortTarget.KEY)
                                 .withSortOrder(GetOption.SortOrder.DESCEND)
                                 .build();
    final GetResponse all = done(kv.get(bytes("kv/"), prefix));
    say("prefix", all.getCount(), all.isMore(), text(all.getKvs()));
    final GetResponse limited = done(kv.get(bytes("kv/"), GetOption.builder().isPrefix(true).withLimit(2).build()));
    say("limit", limited.getCount(), limited.isMore(), text(limited.getKvs()));
    say("previous",
        text(List.of(done(kv.put(bytes("kv/a"), bytes("4"), PutOption.builder().withPrevKV().build())).getPrevKv())));
    say("old", text(done(kv.get(bytes("kv/a"), GetOption.builder().withRevision(first).build())).getKvs()));
    say("serializable", text(done(kv.get(bytes("kv/a"), GetOption.builder().withSerializable(true).build())).getKvs()));
    say("deleted",
        text(done(kv.delete(bytes("kv/"), DeleteOption.builder().isPrefix(true).withPrevKV(true).build())).getPrevKvs()));
  }

  private void transactions() throws Exception {
    put("txn/a", "1");
    final Cmp same = new Cmp(bytes("txn/a"), Cmp.Op.EQUAL, CmpTarget.value(bytes("1")));
    final Op put = Op.put(bytes("txn/a"), bytes("2"), PutOption.DEFAULT);
    final Op get = Op.get(bytes("txn/a"), GetOption.DEFAULT);
    final TxnResponse yes = done(kv.txn().If(same).Then(put, get).Else(get).commit());
    say("txn", yes.isSucceeded(), yes.getPutResponses().size(), text(yes.getGetResponses().get(0).getKvs()));
    final TxnResponse no = done(kv.txn().If(same).Then(put).Else(get).commit());
    say("txn failed", no.isSucceeded(), text(no.getGetResponses().get(0).getKvs()));
    final Op nested = Op.txn(new Cmp[] {same}, new Op[] {put}, new Op[] {Op.delete(bytes("txn/a"), DeleteOption.DEFAULT)});
    final TxnResponse outer = done(kv.txn().Then(nested).commit());
    say("nested", outer.getTxnResponses().get(0).isSucceeded(),
        outer.getTxnResponses().get(0).getDeleteResponses().get(0).getDeleted());
  }

  private static String event(WatchEvent event) {
    return event.getEventType() + " " + event.getKeyValue().getKey() + "=" + event.getKeyValue().getValue() + " was "
        + event.getPrevKV().getValue();
  }

  private void watches() throws Exception {
    final Watch watch = client.getWatchClient();
    final BlockingQueue<String> seen = new LinkedBlockingQueue<>();
    final WatchOption option = WatchOption.builder().isPrefix(true).withPrevKV(true).build();
    long first;
    try (Watch.Watcher live =
             watch.watch(bytes("w/"), option, response -> response.getEvents().forEach(e -> seen.add(event(e))))) {
      first = put("w/a", "1").getHeader().getRevision();
      put("w/a", "2");
      done(kv.delete(bytes("w/a")));
      done(kv.txn()
              .Then(Op.put(bytes("w/b"), bytes("b"), PutOption.DEFAULT), Op.put(bytes("w/c"), bytes("c"), PutOption.DEFAULT))
              .commit());
      for (int i = 0; i < 5; ++i) say("watched", String.valueOf(seen.poll(WAIT_SECONDS, TimeUnit.SECONDS)));
    }
    seen.clear();
    final WatchOption past = WatchOption.builder().isPrefix(true).withRevision(first).withNoDelete(true).build();
    try (
        Watch.Watcher old = watch.watch(bytes("w/"), past, response -> response.getEvents().forEach(e -> seen.add(event(e))))) {
      for (int i = 0; i < 4; ++i) say("watched from the past", String.valueOf(seen.poll(WAIT_SECONDS, TimeUnit.SECONDS)));
    }
    final long now = put("w/a", "9").getHeader().getRevision();
    done(kv.compact(now, CompactOption.builder().withCompactPhysical(true).build()));
    final BlockingQueue<String> errors = new LinkedBlockingQueue<>();
    try (
        Watch.Watcher compacted = watch.watch(bytes("w/"), WatchOption.builder().withRevision(first).build(),
            Watch.listener(response
                -> {},
                error -> errors.add(error.getClass().getSimpleName() + ": " + error.getMessage().replaceAll("[0-9]+", "N"))))) {
      say("compacted", String.valueOf(errors.poll(WAIT_SECONDS, TimeUnit.SECONDS)));
    }
  }

  private static final class Collector implements StreamObserver<LeaseKeepAliveResponse> {
    final BlockingQueue<Long> ttls = new LinkedBlockingQueue<>();

    @Override
    public void onNext(LeaseKeepAliveResponse response) {
      ttls.add(response.getTTL());
    }

    @Override
    public void onError(Throwable error) {
      ttls.add(-1L);
    }

    @Override
    public void onCompleted() {
      ttls.add(-2L);
    }
  }

  private void leases() throws Exception {
    final Lease lease = client.getLeaseClient();
    final long id = done(lease.grant(60)).getID();
    done(kv.put(bytes("l/a"), bytes("x"), PutOption.builder().withLeaseId(id).build()));
    final LeaseTimeToLiveResponse left = done(lease.timeToLive(id, LeaseOption.builder().withAttachedKeys().build()));
    say("lease", left.getGrantedTTL(), left.getTTL() >= 58, left.getKeys().toString());
    say("kept alive once", done(lease.keepAliveOnce(id)).getTTL());
    final Collector collector = new Collector();
    lease.keepAlive(id, collector);
    say("kept alive", String.valueOf(collector.ttls.poll(WAIT_SECONDS, TimeUnit.SECONDS)));
    done(lease.revoke(id));
    say("revoked", done(kv.get(bytes("l/a"))).getCount());
    say("gone", done(lease.timeToLive(id, LeaseOption.DEFAULT)).getTTL());
    final long brief = done(lease.grant(1)).getID();
    final BlockingQueue<String> seen = new LinkedBlockingQueue<>();
    try (Watch.Watcher live =
             client.getWatchClient().watch(bytes("l/b"), response -> response.getEvents().forEach(e -> seen.add(event(e))))) {
      done(kv.put(bytes("l/b"), bytes("x"), PutOption.builder().withLeaseId(brief).build()));
      say("put", String.valueOf(seen.poll(WAIT_SECONDS, TimeUnit.SECONDS)));
      say("expired", String.valueOf(seen.poll(WAIT_SECONDS, TimeUnit.SECONDS)));
    }
  }

  private void maintenance(String url) throws Exception {
    final StatusResponse status = done(client.getMaintenanceClient().statusMember(url));
    say("status", status.getVersion(), status.getDbSize() > 0, status.getLeader() != 0);
    say("alarms", done(client.getMaintenanceClient().listAlarms()).getAlarms().size());
    done(client.getMaintenanceClient().defragmentMember(url));
    final ByteArrayOutputStream file = new ByteArrayOutputStream();
    final long bytes = done(client.getMaintenanceClient().snapshot(file).thenApply(n -> n));
    say("snapshot", bytes == file.size(), bytes % 512);
    say("members", done(client.getClusterClient().listMember()).getMembers().size());
  }

  private interface Call {
    Object run() throws Exception;
  }

  private static void refused(String name, Call call) {
    try {
      say("refused " + name, String.valueOf(call.run()));
    } catch (ExecutionException error) {
      say("refused " + name, error.getCause().getClass().getSimpleName(), error.getCause().getMessage());
    } catch (Exception error) {
      say("refused " + name, error.getClass().getSimpleName());
    }
  }

  private void refusals() {
    refused("empty key", () -> put("", "x"));
    refused("future", () -> done(kv.get(bytes("x"), GetOption.builder().withRevision(1_000_000_000).build())));
    refused("lease", () -> done(kv.put(bytes("x"), bytes("1"), PutOption.builder().withLeaseId(4711).build())));
    refused("revoke", () -> done(client.getLeaseClient().revoke(4711)));
    refused("twice",
        ()
            -> done(kv.txn()
                    .Then(Op.put(bytes("x"), bytes("1"), PutOption.DEFAULT), Op.put(bytes("x"), bytes("2"), PutOption.DEFAULT))
                    .commit()));
  }

  public static void main(String[] args) throws Exception {
    final Story story = new Story(args[0]);
    System.out.println("== key values");
    story.keyValues();
    System.out.println("== transactions");
    story.transactions();
    System.out.println("== watches");
    story.watches();
    System.out.println("== leases");
    story.leases();
    System.out.println("== maintenance");
    story.maintenance(args[0]);
    System.out.println("== refusals");
    story.refusals();
    story.client.close();
    System.exit(0);
  }
}
