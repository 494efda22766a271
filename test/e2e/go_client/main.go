// The Go client library, unmodified, does its key-value calls on the server at os.Args[1]. Last line: N passed, N failed.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

var failures []string

// want notes a difference; the test goes on.
func want(what string, got, expected any) {
	if !reflect.DeepEqual(got, expected) {
		failures = append(failures, fmt.Sprintf("%s: got %v, want %v", what, got, expected))
	}
}

func must(what string, err error) {
	if err != nil {
		failures = append(failures, fmt.Sprintf("%s: %v", what, err))
	}
}

func keys(response *clientv3.GetResponse) string {
	var names []string
	for _, pair := range response.Kvs {
		names = append(names, string(pair.Key))
	}
	return strings.Join(names, " ")
}

func putAndGet(ctx context.Context, client *clientv3.Client) {
	_, err := client.Put(ctx, "a", "1")
	must("put", err)
	response, err := client.Put(ctx, "a", "2", clientv3.WithPrevKV())
	must("put", err)
	want("previous value", string(response.PrevKv.Value), "1")
	got, err := client.Get(ctx, "a")
	must("get", err)
	want("value", string(got.Kvs[0].Value), "2")
	want("version", got.Kvs[0].Version, int64(2))
	old, err := client.Get(ctx, "a", clientv3.WithRev(got.Kvs[0].CreateRevision))
	must("get", err)
	want("old value", string(old.Kvs[0].Value), "1")
}

func ranges(ctx context.Context, client *clientv3.Client) {
	for i := 0; i < 5; i++ {
		_, err := client.Put(ctx, fmt.Sprintf("b/%d", i), strings.Repeat("x", 5-i))
		must("put", err)
	}
	got, err := client.Get(ctx, "b/", clientv3.WithPrefix(), clientv3.WithLimit(2))
	must("get", err)
	want("first two", keys(got), "b/0 b/1")
	want("more", got.More, true)
	want("count", got.Count, int64(5))
	got, err = client.Get(ctx, "b/", clientv3.WithPrefix(), clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend))
	must("get", err)
	want("by value", keys(got), "b/4 b/3 b/2 b/1 b/0")
	got, err = client.Get(ctx, "b/3", clientv3.WithFromKey(), clientv3.WithKeysOnly(), clientv3.WithSerializable(), clientv3.WithLimit(2))
	must("get", err)
	want("from a key on", keys(got), "b/3 b/4")
	deleted, err := client.Delete(ctx, "b/", clientv3.WithPrefix())
	must("delete", err)
	want("deleted", deleted.Deleted, int64(5))
}

func transactions(ctx context.Context, client *clientv3.Client) {
	response, err := client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision("c"), "=", 0)).
		Then(clientv3.OpPut("c", "1"), clientv3.OpGet("c"), clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpPut("d", "1")}, nil)).
		Else(clientv3.OpGet("c")).Commit()
	must("txn", err)
	want("succeeded", response.Succeeded, true)
	want("read in the transaction", string(response.Responses[1].GetResponseRange().Kvs[0].Value), "1")
	_, err = client.Txn(ctx).Then(clientv3.OpPut("c", "2"), clientv3.OpPut("c", "3")).Commit()
	want("duplicate key", errors.Is(err, rpctypes.ErrDuplicateKey), true)
}

func errorsAsTyped(ctx context.Context, client *clientv3.Client) {
	_, err := client.Put(ctx, "", "x")
	want("empty key", errors.Is(err, rpctypes.ErrEmptyKey), true)
	_, err = client.Get(ctx, "a", clientv3.WithRev(1<<40))
	want("future revision", errors.Is(err, rpctypes.ErrFutureRev), true)
	_, err = client.Put(ctx, "big", strings.Repeat("x", 1600*1024))
	want("too large", errors.Is(err, rpctypes.ErrRequestTooLarge), true)
	response, err := client.Put(ctx, "e", "1")
	must("put", err)
	_, err = client.Put(ctx, "e", "2")
	must("put", err)
	_, err = client.Compact(ctx, response.Header.Revision+1, clientv3.WithCompactPhysical())
	must("compact", err)
	_, err = client.Get(ctx, "e", clientv3.WithRev(response.Header.Revision))
	want("compacted", errors.Is(err, rpctypes.ErrCompacted), true)
}

func cluster(ctx context.Context, client *clientv3.Client) {
	members, err := client.MemberList(ctx)
	must("member list", err)
	want("members", len(members.Members), 1)
	status, err := client.Status(ctx, client.Endpoints()[0])
	must("status", err)
	want("leader", status.Leader, members.Members[0].ID)
	_, err = client.HashKV(ctx, client.Endpoints()[0], 0)
	must("hash", err)
}

// One connection, many requests at once: each answer reaches its own request.
func manyAtOnce(ctx context.Context, client *clientv3.Client) {
	const count = 500
	done := make(chan error, count)
	for i := 0; i < count; i++ {
		go func() {
			key := fmt.Sprintf("f/%d", i)
			if _, err := client.Put(ctx, key, key); err != nil {
				done <- err
				return
			}
			got, err := client.Get(ctx, key)
			if err == nil && (len(got.Kvs) != 1 || string(got.Kvs[0].Value) != key) {
				err = fmt.Errorf("%s: read %v", key, got.Kvs)
			}
			done <- err
		}()
	}
	for i := 0; i < count; i++ {
		must("at once", <-done)
	}
}

func main() {
	client, err := clientv3.New(clientv3.Config{Endpoints: os.Args[1:], DialTimeout: 5 * time.Second})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	passed, failed := 0, 0
	for _, test := range []struct {
		name string
		run  func(context.Context, *clientv3.Client)
	}{{"put and get", putAndGet}, {"ranges", ranges}, {"transactions", transactions}, {"errors", errorsAsTyped},
		{"cluster", cluster}, {"many at once", manyAtOnce}} {
		failures = nil
		func() {
			defer func() {
				if r := recover(); r != nil {
					failures = append(failures, fmt.Sprint(r))
				}
			}()
			test.run(ctx, client)
		}()
		if len(failures) == 0 {
			passed++
			continue
		}
		failed++
		fmt.Printf("%s:\n  %s\n", test.name, strings.Join(failures, "\n  "))
	}
	fmt.Printf("%d passed, %d failed\n", passed, failed)
	if failed > 0 {
		os.Exit(1)
	}
}
