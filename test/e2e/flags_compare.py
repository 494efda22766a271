#!/usr/bin/env python3
"""Compares how two etcd programs take odd and wrong flags, environments and configuration files.

usage: flags_compare.py --ours PATH --reference PATH [--show] [--only WORD]

Each case is run with both programs: exit code, what is printed on stdout, lines on stderr that are no JSON, and of the JSON
lines those at level warn and above (msg and error) must agree. A member that starts is stopped as soon as it says it is ready.
Python's standard library only. Ports: --port-base and the 20 above it.
"""
import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

START_WAIT_S = 20
# Lines of one program only, by msg: what a later part of ours will say, Go's internals, the shutdown of real etcd.
IGNORED = {
    'setting up serving from embedded etcd failed.', 'stopping insecure grpc server due to error',
    'stopped insecure grpc server due to error', 'simple token is not cryptographically signed', 'bootstrap failed',
    'flag has no effect yet; its part comes with a later version',
    'feature has no effect yet; it comes with a later version', 'check file permission',
    'stopping secure grpc server due to error', 'stopped secure grpc server due to error',
    'flag is no longer supported - ignoring', 'failed to update cluster version',
    'failed to publish local member to cluster through raft', 'stopped publish because server is stopping',
}


def listen(base):
    return [f'--listen-peer-urls=http://127.0.0.1:{base}', f'--listen-client-urls=http://127.0.0.1:{base + 1}',
            f'--advertise-client-urls=http://127.0.0.1:{base + 1}', f'--initial-advertise-peer-urls=http://127.0.0.1:{base}',
            f'--initial-cluster=default=http://127.0.0.1:{base}']


def cases(base):
    """Yields (name, arguments, environment, configuration text or None)."""
    p, c = f'http://127.0.0.1:{base}', f'http://127.0.0.1:{base + 1}'
    up = listen(base)
    # Stops every case that would otherwise start: an address that no machine here has.
    stop = ['--listen-peer-urls=http://192.0.2.1:1']

    # --- syntax ---
    for words in (['--foo'], ['-foo=1'], ['--name'], ['foo'], ['--', 'foo'], ['--name', 'a', 'foo'], ['-'], ['---name=a'],
                  ['--=a'], ['--version=false', 'x'], ['--version=x'], ['--pre-vote=maybe'], ['--pre-vote', 'false'],
                  ['--heartbeat-interval=abc'], ['--heartbeat-interval=-1'], ['--heartbeat-interval=1.5'],
                  ['--heartbeat-interval', ''], ['--heartbeat-interval=99999999999999999999'], ['--snapshot-count=0x'],
                  ['--quota-backend-bytes=1_'], ['--quota-backend-bytes=9223372036854775808'], ['--backend-batch-limit=x'],
                  ['--grpc-keepalive-min-time=5'], ['--grpc-keepalive-min-time=5x'], ['--corrupt-check-time=1h1'],
                  ['--max-concurrent-streams=4294967296'], ['--max-concurrent-streams=x'], ['--max-concurrent-streams=-1'],
                  ['--initial-cluster-state=foo'], ['--discovery-fallback=foo'], ['--v2-deprecation=foo'],
                  ['--v2-deprecation=not-yet'], ['--feature-gates=Foo=true'], ['--feature-gates=CompactHashCheck'],
                  ['--feature-gates=CompactHashCheck=x'], ['--listen-peer-urls=foo'], ['--listen-peer-urls=http://a'],
                  ['--listen-peer-urls=http://127.0.0.1:1/'], ['--listen-peer-urls=ftp://127.0.0.1:1'],
                  ['--listen-peer-urls=http://%zz'], ['--listen-peer-urls=http://127.0.0.1:1,'],
                  ['--listen-peer-urls=http://127.0.0.1:x'], ['--listen-peer-urls=:1'], ['--listen-peer-urls=http://[::1'],
                  ['--listen-peer-urls=http://a b:1'], ['--listen-peer-urls=http://a:1\x01'],
                  ['--listen-peer-urls=http://1:2:3'], ['--cors=foo'], ['--cors=http://a'], ['--enable-v2'], ['--log-output=x'],
                  ['--experimental-compact-hash-check-enabled'],
                  ['--name=caf\u00e9\t"', 'x"\u00e9\x7f'], ['--raft-read-timeout=x'], ['-h=1', '--foo'], ['--version']):
        yield 'syntax ' + ' '.join(words), words, {}, None
    yield 'last wins', ['--heartbeat-interval=0', '--heartbeat-interval=500', '--election-timeout=1000'], {}, None
    for word in ('v', 'vv', 'config', 'snapshot', 'force', 'cluster-active-size', 'retry-interval', 'test.coverprofile'):
        yield 'ignored ' + word, [f'-{word}=1', *stop], {}, None

    # --- values that do not fit together ---
    def check(name, *words):
        return name, list(words), {}, None
    yield check('tick', '--heartbeat-interval=0')
    yield check('election 0', '--election-timeout=0')
    yield check('election short', '--heartbeat-interval=500')
    yield check('election long', '--election-timeout=50001')
    yield check('advertise unset', '--listen-client-urls=' + c)
    yield check('domain', '--listen-peer-urls=http://example.com:2380')
    yield check('domain client', '--listen-client-urls=http://example.com:2379', '--advertise-client-urls=' + c)
    yield check('domain http', '--listen-client-http-urls=http://example.com:2379')
    yield check('domain metrics', '--listen-metrics-urls=http://example.com:2379')
    yield check('advertise empty host', '--initial-advertise-peer-urls=http://:2380')
    yield check('advertise client empty host', '--advertise-client-urls=http://:2379')
    yield check('two bootstraps', '--initial-cluster=a=http://a:1', '--discovery-srv=example.com')
    yield check('token only', '--discovery-token=x')
    yield check('endpoints only', '--discovery-endpoints=x')
    yield check('empty endpoint', '--discovery-token=x', '--discovery-endpoints=a,')
    yield check('fallback proxy', '--discovery-fallback=proxy')
    yield check('compaction mode', '--auto-compaction-mode=foo')
    yield check('compaction mode empty', '--auto-compaction-mode=')
    yield check('gate pair', '--feature-gates=LeaseCheckpointPersist=true')
    yield check('gate warns', '--feature-gates=LeaseCheckpoint=true', '--heartbeat-interval=500')
    yield check('hash check time', '--compact-hash-check-time=0s')
    yield check('hash check time negative', '--compact-hash-check-time=-1m1.5s')
    yield check('tls min', '--tls-min-version=TLS1.9')
    yield check('tls order', '--tls-min-version=TLS1.3', '--tls-max-version=TLS1.2')
    yield check('tls ciphers', '--tls-min-version=TLS1.3', '--cipher-suites=TLS_RSA_WITH_AES_128_CBC_SHA')
    yield check('logger old', '--logger=capnslog')
    yield check('logger', '--logger=foo')
    yield check('log format', '--log-format=foo')
    yield check('log outputs', '--log-outputs=default,stderr')
    yield check('log outputs journal', '--log-outputs=systemd/journal,stderr')
    yield check('log outputs folder', '--log-outputs=/nonexistent/a/b,/nonexistent/c')
    yield check('log outputs scheme', '--log-outputs=foo://a')
    yield check('rotation', '--enable-log-rotation')
    yield check('rotation 2', '--enable-log-rotation', '--log-outputs=/tmp/a,/tmp/b')
    yield check('rotation json', '--enable-log-rotation', '--log-outputs=/dev/null', '--log-rotation-config-json={')
    yield check('rotation type', '--enable-log-rotation', '--log-outputs=/dev/null',
                '--log-rotation-config-json={"maxsize":"a"}')
    yield check('tracing rate', '--enable-distributed-tracing', '--distributed-tracing-sampling-rate=-1')
    yield check('tracing rate high', '--enable-distributed-tracing', '--distributed-tracing-sampling-rate=1000001')
    # One at a time: real etcd warns of several in a random order.
    yield check('deprecated', '--max-snapshots=3', '--heartbeat-interval=500')
    yield check('deprecated too', '--v2-deprecation=gone', '--heartbeat-interval=500')

    # --- found out on the way up ---
    yield check('name not in cluster', *up, '--name=m2')
    yield check('renamed default', *up[:4], '--name=m2')
    yield check('advertised differ', *up[:3], f'--initial-cluster=default={p}')
    yield check('cluster has more', *up[:4], f'--initial-cluster=default={p},default=http://127.0.0.1:{base + 2}')
    yield check('advertised more', *up, f'--initial-advertise-peer-urls={p},http://127.0.0.1:{base + 2}')
    yield check('duplicate url', *up[:4], f'--initial-cluster=default={p},m2={p}')
    yield check('cluster empty', *up[:4], '--initial-cluster=')
    yield check('cluster without url', *up[:4], '--initial-cluster=default')
    yield check('cluster bad url', *up[:4], '--initial-cluster=default=foo')
    yield check('peer https', *up, f'--listen-peer-urls=https://127.0.0.1:{base}')
    yield check('client https', *up, f'--listen-client-urls=https://127.0.0.1:{base + 1}')
    yield check('metrics https', *up, f'--listen-metrics-urls=https://127.0.0.1:{base + 3}')
    yield check('http url clash', *up, f'--listen-client-http-urls={c}')
    yield check('auth token', *up, '--auth-token=foo')
    yield check('auth token jwt', *up, '--auth-token=jwt')
    yield check('auth token jwt method', *up, '--auth-token=jwt,sign-method=foo')
    yield check('auth token empty', *up, '--auth-token=')
    yield check('cipher', *up, '--cipher-suites=foo')
    yield check('retention', *up, '--auto-compaction-retention=foo')
    yield check('retention negative', *up, '--auto-compaction-retention=-5')
    yield check('retention revision', *up, '--auto-compaction-mode=revision', '--auto-compaction-retention=5m')
    yield check('retention revision x', *up, '--auto-compaction-mode=revision', '--auto-compaction-retention=x')
    yield check('request size', *up, '--max-request-bytes=20000000')
    yield check('quota high', *up, '--quota-backend-bytes=9000000000')
    yield check('port taken', *up, f'--listen-client-urls={p}')
    yield check('address', *up, *stop)
    yield check('port too high', *up, '--listen-client-urls=http://127.0.0.1:99999')
    yield check('peer port too high', *up, '--listen-peer-urls=http://127.0.0.1:99999')
    yield check('quota off', *up, '--quota-backend-bytes=-1')
    yield check('starts', *up)
    yield check('starts single dash', *[word[1:] for word in up], '-snapshot-count', '0x10', '-pre-vote=F', '--name', 'default')

    # --- environment ---
    yield 'env used', [*up, *stop], {'ETCD_SNAPSHOT_COUNT': '5', 'ETCD_PRE_VOTE': 'false'}, None
    yield 'env conflict', ['--snapshot-count=5', *stop], {'ETCD_SNAPSHOT_COUNT': '5'}, None
    yield 'env unknown', [*up, *stop], {'ETCD_FOO': '5', 'ETCDCTL_API': '3', 'ETCD_': 'x'}, None
    yield 'env bad', stop, {'ETCD_SNAPSHOT_COUNT': 'five'}, None
    yield 'env bad bool', stop, {'ETCD_PRE_VOTE': 'five'}, None
    yield 'env bad duration', stop, {'ETCD_CORRUPT_CHECK_TIME': '5'}, None
    yield 'env bad url', stop, {'ETCD_LISTEN_CLIENT_URLS': 'x'}, None
    yield 'env bad state', stop, {'ETCD_INITIAL_CLUSTER_STATE': 'x'}, None
    yield 'env bad gate', stop, {'ETCD_FEATURE_GATES': 'X=true'}, None
    yield 'env empty', [*up, *stop], {'ETCD_SNAPSHOT_COUNT': ''}, None
    yield 'env version', [*up, *stop], {'ETCD_VERSION': '3'}, None
    yield 'env ignored flag', [*up, *stop], {'ETCD_FORCE': '3'}, None
    yield 'env log level', ['--heartbeat-interval=0'], {'ETCD_LOG_LEVEL': 'error'}, None
    yield 'env config file', [], {'ETCD_CONFIG_FILE': '/nonexistent/f.yml'}, None

    # --- configuration file ---
    yield 'file missing', ['--config-file=/nonexistent/f.yml'], {}, None
    urls = (f'listen-peer-urls: {p}\nlisten-client-urls: {c}\nadvertise-client-urls: {c}\n'
            f'initial-advertise-peer-urls: {p}\ninitial-cluster: default={p}\n')

    def file(name, text, *words, env=None):
        return 'file ' + name, ['--config-file=CONFIG', *words], env or {}, text
    yield file('starts', urls)
    yield file('as json', json.dumps({'name': 'default', 'election-timeout': 3, 'heartbeat-interval': 1}))
    yield file('beats flags', urls + 'heartbeat-interval: 500\n', '--heartbeat-interval=0')
    yield file('beats env', urls + 'heartbeat-interval: 500\n', env={'ETCD_HEARTBEAT_INTERVAL': '0', 'ETCD_FOO': '1'})
    yield file('not yaml', 'a: b: c\n')
    yield file('tab', '\tname: a\n')
    yield file('list', '- a\n')
    yield file('scalar', 'foo\n')
    yield file('string for number', 'heartbeat-interval: abc\n')
    yield file('negative', 'heartbeat-interval: -1\n')
    yield file('fraction', 'heartbeat-interval: 1.5\n')
    yield file('number for string', 'name: 5\nheartbeat-interval: 500\n')
    yield file('bool for string', 'name: true\nheartbeat-interval: 500\n')
    yield file('string for bool', 'pre-vote: "true"\n')
    yield file('number for bool', 'pre-vote: 1\n')
    yield file('yes for bool', 'pre-vote: yes\nheartbeat-interval: 500\n')
    yield file('duration text', 'grpc-keepalive-interval: 10s\n')
    yield file('duration', 'grpc-keepalive-interval: 1000000000\nheartbeat-interval: 500\n')
    yield file('null', 'name: null\nheartbeat-interval: 500\n')
    yield file('unknown key', 'foo: bar\nheartbeat-interval: 500\n')
    yield file('double key', urls + 'name: a\nname: default\n')
    yield file('other case', 'Heartbeat-Interval: 500\n')
    yield file('list for string', 'name: [a, b]\n')
    yield file('log outputs', 'log-outputs: [stderr, /nonexistent/a/b]\n')
    yield file('log outputs text', 'log-outputs: stderr\n')
    yield file('bad url', 'listen-peer-urls: foo\n')
    yield file('bad url 2', 'advertise-client-urls: http://127.0.0.1\n')
    yield file('bad metrics url', 'listen-metrics-urls: foo\n')
    yield file('bad gate', 'feature-gates: Foo=true\n')
    yield file('gate pair', 'feature-gates: LeaseCheckpointPersist=true\n')
    yield file('state', 'initial-cluster-state: foo\n')
    yield file('tls block', 'peer-transport-security: foo\n')
    yield file('tls block 2', 'client-transport-security:\n  client-cert-auth: maybe\n')
    yield file('discovery', 'discovery-config:\n  token: x\n')
    yield file('srv', 'discovery-srv: example.com\ninitial-cluster: a=http://a:1\n')
    yield file('deprecated', urls + 'max-snapshots: 3\nheartbeat-interval: 500\n')
    yield file('compaction mode', 'auto-compaction-mode: foo\n')
    yield file('socket', 'socket-options:\n  reuse-port: true\n  reuse-address: 3\n')
    yield file('self signed', 'self-signed-cert-validity: 0\nheartbeat-interval: 500\n')


def run(program, words, environment, text, base):
    folder = tempfile.mkdtemp(prefix='flags_compare.')
    try:
        arguments = list(words)
        if text is not None:
            config = os.path.join(folder, 'etcd.yml')
            with open(config, 'w', encoding='utf-8') as out:
                out.write(text)
            arguments = [word.replace('CONFIG', config) for word in arguments]
        env = {key: value for key, value in os.environ.items() if not key.startswith('ETCD')}
        env.update(environment)
        child = subprocess.Popen([os.path.abspath(program), *arguments], cwd=folder, env=env, stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        watchdog = threading.Timer(START_WAIT_S, child.kill)
        watchdog.start()
        lines, started, out = [], False, []
        reader = threading.Thread(target=lambda: out.append(child.stdout.read()))
        reader.start()
        for raw in child.stderr:
            line = raw.decode('utf-8', 'replace').rstrip('\n')
            lines.append(line)
            if '"msg":"ready to serve client requests"' in line:
                started = True
                child.send_signal(signal.SIGTERM)
        code = child.wait()
        watchdog.cancel()
        reader.join()
        return summary(folder, code, started, out[0].decode('utf-8', 'replace'), lines)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def summary(folder, code, started, stdout, lines):
    def clean(text):
        text = re.sub(r'0x[0-9a-f]+', '0x', text.replace(folder, 'FOLDER'))
        return re.sub(r'(converting YAML to JSON: yaml: ).*', r'\1', text)  # each YAML library has its own words
    notes = ['exit %d%s' % (code, ' after it was ready' if started else '')]
    for line in stdout.splitlines():
        if re.match(r'    |  --net-threads|CAUTIOUS|The unsafe flags', line):
            continue  # descriptions are each program's own, and so is one flag
        if re.match(r'(Git SHA|Go Version):', line):
            line = line.split(':')[0]
        notes.append('stdout ' + clean(line))
    seen, in_usage = set(), False
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            in_usage = in_usage or line == 'Usage:'  # prose of each program's own
            if not in_usage:
                notes.append('stderr ' + clean(line))
            continue
        shown = {key: value for key, value in entry.items() if key not in ('ts', 'caller', 'stacktrace', 'args', 'errorCauses')}
        wanted = entry['level'] not in ('debug', 'info') or entry['msg'].startswith(
            ('Running', 'recognized', 'loaded server', 'raft-', 'got ', 'detected', 'disabled backend'))
        if not wanted or entry['msg'] in IGNORED:
            continue
        note = clean(json.dumps(shown, ensure_ascii=False))
        if note not in seen:  # etcd checks twice and warns twice
            seen.add(note)
            notes.append(note)
    return notes


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--ours', required=True)
    parser.add_argument('--reference', required=True)
    parser.add_argument('--show', action='store_true', help='print what the reference does and stop there')
    parser.add_argument('--only', default='', help='cases whose name contains this')
    parser.add_argument('--port-base', type=int, default=21300)
    options = parser.parse_args()
    passed = failed = 0
    for name, words, environment, text in cases(options.port_base):
        if options.only not in name:
            continue
        theirs = run(options.reference, words, environment, text, options.port_base)
        if options.show:
            print(f'== {name}\n   ' + '\n   '.join(theirs))
            continue
        mine = run(options.ours, words, environment, text, options.port_base)
        if mine == theirs:
            passed += 1
            continue
        failed += 1
        print(f'FAILED {name}: {words} {environment} {text or ""}')
        for line in theirs:
            print(('    both      ' if line in mine else '    reference ') + line)
        for line in mine:
            if line not in theirs:
                print('    ours      ' + line)
    if not options.show:
        print(f'{passed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
