// etcd's own Go client, unmodified and in several versions, against one member: prints what it sees, line by line, without
// anything that differs from run to run, so that two servers can be compared. Usage: story URL
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"google.golang.org/grpc/codes"

	clientv3 "CLIENT"
	"CLIENT/concurrency"
)

const wait = 20 * time.Second

func check(err error) {
	if err != nil {
		fmt.Println("FAILED", err)
		os.Exit(1)
	}
}

func say(name string, values ...interface{}) { fmt.Println(append([]interface{}{name}, values...)...) }

func pairs(r *clientv3.GetResponse) string {
	out := fmt.Sprintf("%d/%v", r.Count, r.More)
	for _, kv := range r.Kvs {
		out += fmt.Sprintf(" %s=%s@%d", kv.Key, kv.Value, kv.Version)
	}
	return out
}

func keyValues(ctx context.Context, c *clientv3.Client) {
	first, err := c.Put(ctx, "kv/a", "1")
	check(err)
	for _, k := range []string{"b", "c", "d"} {
		_, err = c.Put(ctx, "kv/"+k, k)
		check(err)
	}
	get := func(name, key string, options ...clientv3.OpOption) {
		r, err := c.Get(ctx, key, options...)
		check(err)
		say(name, pairs(r))
	}
	get("get", "kv/a")
	get("prefix", "kv/", clientv3.WithPrefix())
	get("from key", "kv/c", clientv3.WithFromKey())
	get("limit", "kv/", clientv3.WithPrefix(), clientv3.WithLimit(2))
	get("count", "kv/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	get("keys", "kv/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	get("sorted", "kv/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend))
	get("last", "kv/", clientv3.WithLastCreate()...)
	get("old", "kv/", clientv3.WithPrefix(), clientv3.WithRev(first.Header.Revision))
	get("serializable", "kv/b", clientv3.WithSerializable())
	put, err := c.Put(ctx, "kv/a", "2", clientv3.WithPrevKV())
	check(err)
	say("previous", string(put.PrevKv.Value))
	_, err = c.Put(ctx, "kv/a", "", clientv3.WithIgnoreValue())
	check(err)
	get("ignored value", "kv/a")
	del, err := c.Delete(ctx, "kv/", clientv3.WithPrefix(), clientv3.WithPrevKV())
	check(err)
	say("deleted", del.Deleted, len(del.PrevKvs))
}

func transactions(ctx context.Context, c *clientv3.Client) {
	for i := 0; i < 2; i++ {
		r, err := c.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision("txn/a"), "=", 0)).
			Then(clientv3.OpPut("txn/a", "1"), clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("txn/b", "2")}, nil)).
			Else(clientv3.OpGet("txn/", clientv3.WithPrefix()), clientv3.OpDelete("txn/b")).Commit()
		check(err)
		say("txn", r.Succeeded, len(r.Responses))
	}
	counted, err := concurrency.NewSTM(c, func(s concurrency.STM) error {
		s.Put("txn/a", s.Get("txn/a")+"+"+s.Get("txn/b")+".")
		return nil
	})
	check(err)
	say("stm", counted.Succeeded)
	r, err := c.Get(ctx, "txn/", clientv3.WithPrefix())
	check(err)
	say("after", pairs(r))
}

func events(name string, ch clientv3.WatchChan, count int) {
	for seen := 0; seen < count; {
		select {
		case r, open := <-ch:
			if !open {
				say(name, "closed")
				return
			}
			if r.Err() != nil {
				say(name, "error", r.Err(), r.Canceled, r.CompactRevision > 0)
				return
			}
			for _, e := range r.Events {
				previous := "-"
				if e.PrevKv != nil {
					previous = string(e.PrevKv.Value)
				}
				say(name, e.Type, string(e.Kv.Key), string(e.Kv.Value), e.Kv.Version, e.IsCreate(), e.IsModify(), "was", previous)
				seen++
			}
		case <-time.After(wait):
			say(name, "nothing came")
			return
		}
	}
}

func watches(ctx context.Context, c *clientv3.Client) {
	inner, cancel := context.WithCancel(ctx)
	live := c.Watch(inner, "w/", clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithCreatedNotify())
	created := <-live
	say("created", created.Created, len(created.Events))
	filtered := c.Watch(inner, "w/", clientv3.WithPrefix(), clientv3.WithFilterPut())
	first, err := c.Put(ctx, "w/a", "1")
	check(err)
	_, err = c.Put(ctx, "w/a", "2")
	check(err)
	_, err = c.Delete(ctx, "w/a")
	check(err)
	_, err = c.Txn(ctx).Then(clientv3.OpPut("w/b", "b"), clientv3.OpPut("w/c", "c")).Commit()
	check(err)
	events("live", live, 5)
	events("deletes", filtered, 1)
	events("past", c.Watch(inner, "w/", clientv3.WithPrefix(), clientv3.WithRev(first.Header.Revision)), 5)
	fragmented := clientv3.WithFragment()
	events("past fragmented", c.Watch(inner, "w/", clientv3.WithPrefix(), fragmented, clientv3.WithRev(first.Header.Revision)), 5)
	events("empty range", c.Watch(inner, "w/b", clientv3.WithRange("w/a")), 1)
	check(c.RequestProgress(inner))
	select {
	case r := <-live:
		say("progress", r.IsProgressNotify(), r.Header.Revision-first.Header.Revision)
	case <-time.After(wait):
		say("progress", "nothing came")
	}
	now, err := c.Put(ctx, "w/a", "3")
	check(err)
	_, err = c.Compact(ctx, now.Header.Revision, clientv3.WithCompactPhysical())
	check(err)
	events("compacted", c.Watch(inner, "w/", clientv3.WithPrefix(), clientv3.WithRev(first.Header.Revision)), 1)
	cancel()
	for range filtered {
	}
	say("cancelled")
}

func leases(ctx context.Context, c *clientv3.Client) {
	grant, err := c.Grant(ctx, 60)
	check(err)
	_, err = c.Put(ctx, "l/a", "1", clientv3.WithLease(grant.ID))
	check(err)
	left, err := c.TimeToLive(ctx, grant.ID, clientv3.WithAttachedKeys())
	check(err)
	say("lease", left.GrantedTTL, left.TTL >= 58, len(left.Keys))
	alive, err := c.KeepAliveOnce(ctx, grant.ID)
	check(err)
	say("kept alive once", alive.TTL)
	inner, cancel := context.WithCancel(ctx)
	ch, err := c.KeepAlive(inner, grant.ID)
	check(err)
	say("kept alive", (<-ch).TTL)
	cancel()
	all, err := c.Leases(ctx)
	check(err)
	say("leases", len(all.Leases))
	_, err = c.Revoke(ctx, grant.ID)
	check(err)
	r, err := c.Get(ctx, "l/a")
	check(err)
	say("revoked", pairs(r))
	_, err = c.KeepAliveOnce(ctx, grant.ID)
	say("gone", err)
	short, err := c.Grant(ctx, 1)
	check(err)
	say("shortest", short.TTL)
	watch := c.Watch(ctx, "l/b")
	_, err = c.Put(ctx, "l/b", "1", clientv3.WithLease(short.ID))
	check(err)
	events("expiry", watch, 2)
}

// The recipes that live in the client: sessions, locks and elections made of leases, transactions and watches.
func recipes(ctx context.Context, c *clientv3.Client) {
	one, err := concurrency.NewSession(c, concurrency.WithTTL(10))
	check(err)
	two, err := concurrency.NewSession(c, concurrency.WithTTL(10))
	check(err)
	first, second := concurrency.NewMutex(one, "lock/"), concurrency.NewMutex(two, "lock/")
	check(first.Lock(ctx))
	locked := make(chan error, 1)
	go func() { locked <- second.Lock(ctx) }()
	select {
	case <-locked:
		say("lock", "two holders")
	case <-time.After(300 * time.Millisecond):
		say("lock", "one holder")
	}
	check(first.Unlock(ctx))
	check(<-locked)
	say("lock", "handed over")
	check(one.Close())
	election := concurrency.NewElection(two, "elect/")
	check(election.Campaign(ctx, "me"))
	leader, err := election.Leader(ctx)
	check(err)
	say("leader", string(leader.Kvs[0].Value))
	check(election.Resign(ctx))
	_, err = election.Leader(ctx)
	say("no leader", err)
	check(two.Close())
}

func maintenance(ctx context.Context, c *clientv3.Client, url string) {
	s, err := c.Status(ctx, url)
	check(err)
	say("status", s.Version, s.DbSize > 0, s.Leader == s.Header.MemberId, s.IsLearner, len(s.Errors))
	_, err = c.Defragment(ctx, url)
	check(err)
	hash, err := c.HashKV(ctx, url, 0)
	check(err)
	say("hash", hash.Hash != 0, hash.CompactRevision > 0)
	alarms, err := c.AlarmList(ctx)
	check(err)
	say("alarms", len(alarms.Alarms))
	members, err := c.MemberList(ctx)
	check(err)
	say("members", len(members.Members), members.Members[0].Name)
	file, err := c.Snapshot(ctx)
	check(err)
	bytes, err := io.Copy(io.Discard, file)
	check(err)
	say("snapshot", bytes > 512, bytes%512)
}

func refusals(ctx context.Context, c *clientv3.Client) {
	refused := func(name string, err error) {
		code := "-"
		if s, ok := err.(interface{ Code() codes.Code }); ok {
			code = s.Code().String()
		}
		say("refused", name, fmt.Sprintf("%T", err), code, err)
	}
	_, err := c.Put(ctx, "", "x")
	refused("empty key", err)
	_, err = c.Get(ctx, "x", clientv3.WithRev(1e9))
	refused("future", err)
	_, err = c.Put(ctx, "x", "1", clientv3.WithLease(4711))
	refused("lease", err)
	_, err = c.Revoke(ctx, 4711)
	refused("revoke", err)
	_, err = c.Txn(ctx).Then(clientv3.OpPut("x", "1"), clientv3.OpPut("x", "2")).Commit()
	refused("twice", err)
	_, err = c.Grant(ctx, 9000000001)
	refused("ttl", err)
	_, err = c.Put(ctx, "x", string(make([]byte, 1600*1024)))
	refused("big", err)
	late, cancel := context.WithTimeout(ctx, 0)
	_, err = c.Get(late, "x")
	refused("late", err)
	cancel()
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{os.Args[1]}, DialTimeout: wait})
	check(err)
	keyValues(ctx, c)
	transactions(ctx, c)
	watches(ctx, c)
	leases(ctx, c)
	recipes(ctx, c)
	maintenance(ctx, c, os.Args[1])
	refusals(ctx, c)
	check(c.Close())
}
