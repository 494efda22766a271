#!/usr/bin/env python3
"""The JSON gateway and the pages answer as real etcd's do: the cases of gateway_cases.py on a fresh member of each, compared.

  interop_gateway.py            compare
  interop_gateway.py --record   write what real etcd answers to gateway_answers.txt, which gateway_test.py holds ours to
"""

import json
import os
import sys

import gateway_cases
import harness

RECORDED = harness.TOP / "test/e2e/gateway_answers.txt"


def answers(server, cases):
    harness.SERVER = server
    with harness.Member("--enable-pprof") as member:
        return [gateway_cases.ask(member.client_url, case) for case in cases]


def main():
    ours, real = harness.SERVER, os.path.join(os.environ["ETCD_REFERENCE"], "etcd")
    if "--record" in sys.argv:
        cases = list(gateway_cases.cases())
        with open(RECORDED, "w") as out:
            for case, answer in zip(cases, answers(real, cases)):
                out.write(json.dumps({"case": gateway_cases.name(case), **answer}, ensure_ascii=True) + "\n")
        return 0
    cases = list(gateway_cases.cases()) + gateway_cases.LATER
    failed = 0
    for case, expected, got in zip(cases, answers(real, cases), answers(ours, cases)):
        if expected != got:
            failed += 1
            print(f"{gateway_cases.name(case)}\n  etcd {expected}\n  ours {got}")
    print(f"{len(cases) - failed} passed, {failed} failed")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
