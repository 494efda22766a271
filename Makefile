# etcd in C++. `make help` lists the targets; one executable, many names (build/bin/etcd and a link for each other name).
#
#   OUT=dir        where objects, libraries, tests and programs go (default build, or build/<kind> for the kinds below)
#   SAN=address,undefined | thread     sanitizer builds: build/asan, build/tsan; `make test SAN=...` fails on each report
#   FAILPOINTS=1   failpoints compiled in: build/failpoints
#   CLANG=1        clang++-19 instead of g++
#   REFERENCE=dir  real etcd's programs, for interop and bench (default build/reference; `make reference` builds them with Go)
#   V=1            print the commands

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

# --- kinds of build -------------------------------------------------------------------------------------------------------
KIND :=
ifneq ($(SAN),)
KIND := $(if $(findstring thread,$(SAN)),tsan,asan)
endif
ifneq ($(FAILPOINTS),)
KIND := $(KIND)$(if $(KIND),-)failpoints
endif
ifneq ($(CLANG),)
KIND := $(KIND)$(if $(KIND),-)clang
endif
OUT ?= build$(if $(KIND),/$(KIND))

CXX := $(if $(CLANG),clang++-19,g++)
CC := $(if $(CLANG),clang-19,gcc)
CCACHE := $(shell command -v ccache 2>/dev/null)
export CCACHE_SLOPPINESS = pch_defines,time_macros,include_file_mtime,include_file_ctime
export CCACHE_PCH_EXTSUM = true
export CCACHE_NOHASHDIR = true

OPT ?= $(if $(SAN),-O1,-O2)
WARN := -Wall -Wextra -Wshadow -Wno-mismatched-new-delete -Wno-missing-field-initializers
ifeq ($(CLANG),)
WARN += -Wno-dangling-pointer
endif
DEFINES := -DASIO_STANDALONE -DASIO_NO_DEPRECATED -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL -D_FILE_OFFSET_BITS=64
ifneq ($(CLANG),)
DEFINES += -DASIO_HAS_CO_AWAIT  # Asio 1.22 knows only clang's coroutines of before C++20.
endif
ifneq ($(SAN),)
SANFLAGS := -fsanitize=$(SAN) -fno-sanitize-recover=all
DEFINES += -DETCD_DVERIFY
endif
# One folder for all kinds of build: what is generated does not depend on them, and ccache then knows the files again.
GEN := build/gen
CXXFLAGS := -std=c++20 $(OPT) -g1 -fno-omit-frame-pointer $(SANFLAGS) $(WARN) $(DEFINES) -Isrc -I$(GEN) \
  -isystem /usr/share/include
CFLAGS := $(OPT) -g1 -fno-omit-frame-pointer $(SANFLAGS)
LDFLAGS := $(SANFLAGS) -pthread
# The allocator saves a twentieth of a request's instructions; sanitizers bring their own.
LDLIBS := $(if $(SAN),,-lmimalloc) -l:libnghttp2.a -lprofiler -lprotobuf -lleveldb -lsnappy -lspdlog -lfmt \
  -lprometheus-cpp-core -lyaml-cpp -lcares -ledit -lssl -lcrypto -lcrypt -lz -labsl_raw_hash_set -labsl_hash -labsl_city \
  -labsl_low_level_hash -labsl_throw_delegate -labsl_strings -labsl_raw_logging_internal

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

# --- what there is ----------------------------------------------------------------------------------------------------------
# A module and the modules below it (the include table of the style guide; test/tidy enforces it on the text).
MODULES := base wire io raft storage mvcc lease auth net http1 http2 rpc peer server cli
below_base :=
below_wire := base
below_io := base
below_raft := base
below_storage := io wire base
below_mvcc := storage io wire base
below_lease := storage io wire base
below_auth := storage io wire base
below_net := base
below_http1 := base
below_http2 := base
below_rpc := http2 http1 net wire base
below_peer := http1 net wire base
below_server := peer rpc http2 http1 net auth lease mvcc storage raft io wire base
below_cli := server $(below_server)

PROTOS := $(sort $(wildcard proto/*.proto))
PB_CC := $(PROTOS:proto/%.proto=$(GEN)/%.pb.cc)
PB_O := $(PB_CC:$(GEN)/%.cc=$(OUT)/obj/gen/%.o)
LLHTTP_SRC := /usr/share/llhttp
LLHTTP_O := $(patsubst %,$(OUT)/obj/llhttp/%.o,api http llhttp)

sources = $(shell find src/$(1) -name '*.cc' 2>/dev/null | sort)
objects = $(patsubst src/%.cc,$(OUT)/obj/%.o,$(call sources,$(1)))
lib = $(OUT)/lib/lib$(1).a
libs_of = $(call lib,$(1)) $(foreach m,$(below_$(1)),$(call lib,$(m)))
extra_wire = $(PB_O)
extra_http1 = $(LLHTTP_O)

# Other names of the one executable, from the table in the code.
NAMES := $(shell sed -n 's/^ *{"\([a-z]*\)", *"[^"]*", *[a-z_]*_main}.*/\1/p' src/cli/modes.cc 2>/dev/null | grep -v '^etcd$$')

.PHONY: all help
all: $(OUT)/bin/etcd  ## build the programs: $(OUT)/bin/etcd and a link for each other name

help:  ## list the targets
	@printf 'usage: make [TARGET] [VARIABLE=value]...\n\nvariables\n'
	@sed -n 's/^#   \([A-Z]*=\)/  \1/p' Makefile
	@printf '\ntargets\n'
	@sed -n 's/^\([a-z][a-z-]*\):.*  ## \(.*\)/  \1\t\2/p' Makefile | sed 's/$$(OUT)/build/' | expand -t 20

# --- what Debian has to give --------------------------------------------------------------------------------------------------
# Nothing else in the tree installs anything. Package names of Debian 12; node-llhttp provides llhttp-dev.
DEPS_BUILD := ca-certificates g++ pkg-config protobuf-compiler libprotobuf-dev libasio-dev libssl-dev libnghttp2-dev \
  libmimalloc-dev node-llhttp libleveldb-dev libsnappy-dev libabsl-dev libcli11-dev nlohmann-json3-dev libyaml-cpp-dev \
  libspdlog-dev prometheus-cpp-dev libgoogle-perftools-dev libc-ares-dev libcrypt-dev libedit-dev zlib1g-dev
DEPS_TEST := $(DEPS_BUILD) doctest-dev python3 git procps openssl
DEPS_BENCH := $(DEPS_TEST) nghttp2-client valgrind
DEPS_FUZZ := $(DEPS_TEST) clang-19 libclang-rt-19-dev llvm-19
DEPS_INTEROP := $(DEPS_TEST) curl python3-etcd3 python3-etcd3gw python3-prometheus-client sslscan debootstrap

# $(call install,PACKAGES): what is missing of them. The package lists are fetched only if the first try fails.
install = @has() { [ "$$(dpkg-query -W -f '$${db:Status-Status}' "$$1" 2>/dev/null)" = installed ]; }; \
  missing=$$(for p in $(1); do has $$p || echo $$p; done); \
  [ -z "$$missing" ] && exit 0; \
  root=; [ "$$(id -u)" = 0 ] || root=sudo; \
  get="$$root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends"; \
  echo "  DEPS  installing:" $$missing; \
  $$get $$missing || { $$root apt-get update && $$get $$missing; }

.PHONY: deps deps-test deps-bench deps-fuzz deps-interop
deps:  ## install what the build needs and is missing (Debian packages; sudo only if needed)
	$(call install,$(DEPS_BUILD))
deps-test:  ## ... and what the tests need
	$(call install,$(DEPS_TEST))
deps-bench:  ## ... and what bench and callgrind-gate need
	$(call install,$(DEPS_BENCH))
deps-fuzz:  ## ... and what fuzz needs
	$(call install,$(DEPS_FUZZ))
deps-interop:  ## ... and what interop needs (Go itself is not installed)
	$(call install,$(DEPS_INTEROP))

.PHONY: run
run: deps  ## set up, build and run a member on the default ports, data in ./default.etcd
	@$(MAKE) --no-print-directory all
	@exec $(OUT)/bin/etcd $(ARGS)

# The lines of the Procfile without a process manager; Ctrl-C ends them all.
.PHONY: cluster
cluster: deps  ## set up, build and run three members (Procfile): clients at 127.0.0.1:2379, 22379, 32379
	@$(MAKE) --no-print-directory all
	@trap 'kill $$(jobs -p) 2>/dev/null; wait' EXIT; trap exit INT TERM; \
	  while IFS=: read -r name line; do sh -c "exec$$line" & done < <(grep -v '^#' Procfile); wait

# --- compiling ----------------------------------------------------------------------------------------------------------------
# One precompiled header for everything; a file must still include what it uses (`make NO_PCH=1` builds without).
PCH_DIR := build/pch/$(or $(patsubst -%,%,$(subst failpoints,,$(KIND))),release)$(subst -,_,$(OPT))
PCH := $(if $(NO_PCH),,$(PCH_DIR)/pch.h.gch)
PCH_USE := $(if $(NO_PCH),,-include $(PCH_DIR)/pch.h)
ifneq ($(CLANG),)
PCH :=
PCH_USE :=
endif
PCH_HEADERS := algorithm array atomic chrono compare coroutine cstdint cstring deque functional limits map memory mutex \
  optional set span string string_view thread tuple type_traits unordered_map utility variant vector \
  asio.hpp asio/experimental/as_tuple.hpp google/protobuf/message.h google/protobuf/arena.h google/protobuf/repeated_field.h \
  google/protobuf/generated_message_reflection.h google/protobuf/map.h nlohmann/json.hpp

# Kept as it is unless its text changes: everything depends on it.
$(PCH_DIR)/pch.h: Makefile
	$(Q)mkdir -p $(@D)
	$(Q)printf '#include <%s>\n' $(PCH_HEADERS) > $@.tmp.$$$$ && { cmp -s $@.tmp.$$$$ $@ && rm $@.tmp.$$$$ || mv $@.tmp.$$$$ $@; }
# ccache knows it by the .sum: one that was only built again is the same.
$(PCH_DIR)/pch.h.gch: $(PCH_DIR)/pch.h
	$(call say,PCH,$@)
	$(Q)flock $(PCH_DIR)/lock $(CXX) $(CXXFLAGS) -x c++-header -o $@.tmp.$$$$ $< && mv $@.tmp.$$$$ $@
	$(Q){ $(CXX) --version; echo '$(CXXFLAGS)'; cat $<; } | sha256sum > $@.sum

# Only what knows of failpoints is compiled anew for FAILPOINTS=1; the rest is the same, and ccache knows it.
ifneq ($(FAILPOINTS),)
FAILPOINT_H := $(shell grep -rl '"base/failpoint\.h"' src --include='*.h')
FAILPOINT_CC := $(shell grep -rlE $(foreach h,base/failpoint.h $(FAILPOINT_H:src/%=%),-e '"$(h)"') src --include='*.cc')
$(FAILPOINT_CC:src/%.cc=$(OUT)/obj/%.o): private CXXFLAGS += -DETCD_FAILPOINTS
$(OUT)/obj/test/%.o: private CXXFLAGS += -DETCD_FAILPOINTS
endif

$(OUT)/obj/%.o: src/%.cc $(PCH) | $(PB_CC)
	$(call say,CXX,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CCACHE) $(CXX) $(CXXFLAGS) $(PCH_USE) -MMD -MP -c -o $@ $<

$(OUT)/obj/test/%.o: test/%.cc $(PCH) | $(PB_CC)
	$(call say,CXX,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CCACHE) $(CXX) $(CXXFLAGS) -Itest $(PCH_USE) -MMD -MP -c -o $@ $<

$(OUT)/obj/gen/%.o: $(GEN)/%.cc $(PCH) | $(PB_CC)
	$(call say,CXX,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CCACHE) $(CXX) $(filter-out $(WARN),$(CXXFLAGS)) -w $(PCH_USE) -MMD -MP -c -o $@ $<

$(OUT)/obj/llhttp/%.o: $(LLHTTP_SRC)/%.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(CCACHE) $(CC) $(CFLAGS) -I/usr/share/include/llhttp -I/usr/share/include -c -o $@ $<

# All messages are generated in one call, into a folder that is then moved in place; another make may do the same just now.
$(PB_CC) &: $(PROTOS)
	$(call say,PROTO,$(GEN))
	$(Q)mkdir -p $(GEN)
	$(Q)new=$$(mktemp -d $(GEN)/new.XXXXXX) && protoc -Iproto --cpp_out=$$new $(PROTOS) && \
	  { for file in $$new/*; do cmp -s $$file $(GEN)/$${file##*/} || mv $$file $(GEN)/; done; touch $(PB_CC); rm -rf $$new; }

define library
$(call lib,$(1)): $(call objects,$(1)) $(extra_$(1))
	$$(call say,AR,$$@)
	$(Q)mkdir -p $$(@D)
	$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach m,$(MODULES),$(eval $(call library,$(m))))

$(OUT)/bin/etcd: $(OUT)/obj/main.o $(call libs_of,cli)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(call libs_of,cli) -Wl,--end-group $(LDLIBS)
	$(Q)for name in $(NAMES); do ln -sfn etcd $(@D)/$$name; done

# --- tests --------------------------------------------------------------------------------------------------------------------
# test/unit/MOD/*_test.cc and test/script/MOD/*_test.cc link into one program a module: $(OUT)/test/unit_MOD.
UNIT_MODULES := $(filter $(MODULES),$(notdir $(patsubst %/,%,$(sort $(dir $(wildcard test/unit/*/*_test.cc))))))
SCRIPT_MODULES := $(filter $(MODULES),$(notdir $(patsubst %/,%,$(sort $(dir $(wildcard test/script/*/*_test.cc))))))

define test_program  # kind, module
$(OUT)/test/$(1)_$(2): $(OUT)/obj/test/unit/main.o \
    $(patsubst test/%.cc,$(OUT)/obj/test/%.o,$(wildcard test/$(1)/$(2)/*.cc)) $(call libs_of,$(2))
	$$(call say,LINK,$$@)
	$(Q)mkdir -p $$(@D)
	$(Q)$(CXX) $(LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(LDLIBS)
.PHONY: $(1)-$(2)
$(1)-$(2): $(OUT)/test/$(1)_$(2)
	$(Q)$$< --no-intro
endef
$(foreach m,$(UNIT_MODULES),$(eval $(call test_program,unit,$(m))))
$(foreach m,$(SCRIPT_MODULES),$(eval $(call test_program,script,$(m))))

.PHONY: unit script
unit: $(UNIT_MODULES:%=unit-%)  ## unit tests; unit-MOD: those of one module
script: $(SCRIPT_MODULES:%=script-%)  ## script tests; script-MOD: those of one module

# test/e2e/NAME_client.cc is a program of its own, $(OUT)/test/NAME_client: a client, or at a stopped member's files.
CLIENTS := $(patsubst test/e2e/%.cc,$(OUT)/test/%,$(wildcard test/e2e/*_client.cc))
$(CLIENTS): $(OUT)/test/%: $(OUT)/obj/test/e2e/%.o $(call libs_of,server)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

# test/sim/*.cc is one program, the cluster in virtual time; test/bench/NAME.cc is a program of its own, $(OUT)/test/bench_NAME.
SIM := $(if $(wildcard test/sim/*_test.cc),$(OUT)/test/sim)
$(OUT)/test/sim: $(OUT)/obj/test/unit/main.o $(patsubst test/%.cc,$(OUT)/obj/test/%.o,$(wildcard test/sim/*.cc)) \
    $(call libs_of,server)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)
.PHONY: sim
sim: $(OUT)/test/sim  ## a whole cluster on one thread in virtual time; SEED=n replays one
	@$< --no-intro
.PHONY: sim-night sim-mutants
sim-night: $(OUT)/test/sim  ## the same with new seeds until stopped; failing ones go to test/sim/regressions.txt
	$(Q)test/sim/night $<
# Copies of some sources with bugs of our own (test/sim/mutants), in front of the archives: one program, MUTANT=n plants one.
MUTANT_FILES := $(sort $(shell sed -n 's/^file: //p' test/sim/mutants/mutants.txt)) src/switch.cc
MUTANT_OBJECTS := $(MUTANT_FILES:%.cc=$(OUT)/mutants/%.o)
$(OUT)/mutants/%.o: $(OUT)/mutants/%.cc
	$(call say,CXX,$<)
	$(Q)$(CCACHE) $(CXX) $(CXXFLAGS) -Itest $(PCH_USE) -c -o $@ $<
$(OUT)/test/sim_mutants: $(OUT)/obj/test/unit/main.o $(patsubst test/%.cc,$(OUT)/obj/test/%.o,$(wildcard test/sim/*.cc)) \
    $(MUTANT_OBJECTS) $(call libs_of,server)
	$(call say,LINK,$@)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)
sim-mutants: $(OUT)/test/sim  ## shows that the simulator finds each bug of test/sim/mutants (ten minutes)
	$(Q)test/sim/mutants/plant $(OUT)/mutants
	$(Q)+$(MAKE) --no-print-directory $(OUT)/test/sim_mutants
	$(Q)test/sim/mutants/hunt $(OUT)/test/sim_mutants
# test/damage/damage.cc: one bit at a time flipped in a member's files.
DAMAGE := $(OUT)/test/damage
$(DAMAGE): $(OUT)/obj/test/damage/damage.o $(call libs_of,server)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)
FLIPS ?= 20000
.PHONY: damage
damage: $(DAMAGE)  ## flip FLIPS=20000 bits of members' files, one a start: SEED=n, VERBOSE=1
	@FLIPS=$(FLIPS) $<
.PHONY: damage-files
damage-files: all  ## damage files of real members in ten ways: SECONDS=60 alone, then as long as one of three; SEED=n
	@$(E2E_ENV) test/damage/files --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))
	@$(E2E_ENV) test/damage/files --seconds $(SECONDS) $(if $(SEED),--seed $(SEED)) --cluster
BENCHES := $(patsubst test/bench/%.cc,$(OUT)/test/bench_%,$(wildcard test/bench/*.cc))
$(BENCHES): $(OUT)/test/bench_%: $(OUT)/obj/test/bench/%.o $(call libs_of,rpc)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $< -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

# Fuzz targets, test/fuzz/NAME_fuzz.cc. `make test` replays the saved inputs and a fixed number of mutations with the normal
# compiler; `make fuzz` searches with clang's libFuzzer in a tree of its own.
FUZZERS := $(patsubst test/fuzz/%_fuzz.cc,%,$(wildcard test/fuzz/*_fuzz.cc))
REPLAYS := $(FUZZERS:%=$(OUT)/test/replay_%)
$(REPLAYS): $(OUT)/test/replay_%: $(OUT)/obj/test/fuzz/%_fuzz.o $(OUT)/obj/test/fuzz/replay/main.o $(call libs_of,cli)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CXX) $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

FUZZ_SECONDS ?= 60
.PHONY: fuzz fuzz-all fuzz-search $(FUZZERS:%=fuzz-%)
fuzz: deps-fuzz  ## search with libFuzzer: FUZZ_SECONDS=60 for each target of test/fuzz; one: make fuzz FUZZERS=NAME
	@$(MAKE) --no-print-directory CLANG=1 SAN=address,undefined,fuzzer-no-link OUT=build/fuzz fuzz-search
fuzz-all:  ## the same as fuzz with SECONDS=n for each target
	@$(MAKE) --no-print-directory fuzz FUZZ_SECONDS=$(SECONDS)
fuzz-search: $(FUZZERS:%=$(OUT)/test/fuzz_%)
	@failed=0; for f in $(FUZZERS); do mkdir -p $(OUT)/corpus/$$f test/fuzz/corpus/$$f; echo "== $$f"; \
	  $(OUT)/test/fuzz_$$f -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 -verbosity=0 \
	    -artifact_prefix=$(OUT)/corpus/$$f- $(OUT)/corpus/$$f test/fuzz/corpus/$$f || failed=$$((failed + 1)); \
	done; echo "$$(($(words $(FUZZERS)) - failed)) passed, $$failed failed"; [ $$failed = 0 ]
$(FUZZERS:%=$(OUT)/test/fuzz_%): $(OUT)/test/fuzz_%: $(OUT)/obj/test/fuzz/%_fuzz.o $(call libs_of,cli)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CXX) -fsanitize=fuzzer $(LDFLAGS) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) -Wl,--end-group $(LDLIBS)

# The longest first: two run at a time.
UNIT_PROGRAMS := $(SIM) $(UNIT_MODULES:%=$(OUT)/test/unit_%) $(SCRIPT_MODULES:%=$(OUT)/test/script_%) $(DAMAGE)
E2E_TESTS := $(sort $(wildcard test/e2e/*_test.py))
# What the sanitizers are told; test/run adds where reports go and counts them.
SAN_ENV = $(if $(SAN),SANITIZER=$(SAN) UBSAN_OPTIONS=print_stacktrace=1 \
  ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:check_initialization_order=1 \
  TSAN_OPTIONS=suppressions=$(abspath test/tsan.txt):history_size=4:second_deadlock_stack=1)
E2E_ENV = $(SAN_ENV) ETCD_BIN=$(abspath $(OUT)/bin) \
  ETCD_TEST_PROGRAMS=$(abspath $(OUT)/test) ETCD_REFERENCE=$(abspath $(REFERENCE)/bin)
REFERENCE ?= build/reference

.PHONY: tidy check test test-programs e2e
tidy:  ## the rules of the tree that a text search can hold: includes, banned calls, line length, dead files
	$(Q)test/tidy/tidy
test-programs: all $(UNIT_PROGRAMS) $(REPLAYS) $(CLIENTS) $(BENCHES)
check: $(UNIT_PROGRAMS) $(REPLAYS)  ## before each commit: tidy, unit and script tests, saved fuzz inputs
	@$(SAN_ENV) test/run test/tidy/tidy test/tidy/canary test/torture/history_test.py $^
test: deps-test  ## set up, build and run all tests: tidy, units, scripts, saved fuzz inputs, end to end
	@$(MAKE) --no-print-directory test-programs
	@$(E2E_ENV) test/run --again '^test/e2e/' test/tidy/tidy test/tidy/canary test/torture/history_test.py $(UNIT_PROGRAMS) \
	  $(REPLAYS) $(E2E_TESTS)
e2e: all $(CLIENTS)  ## the end-to-end tests alone; one: make e2e E2E_TESTS=test/e2e/kv_test.py
	@$(E2E_ENV) test/run $(E2E_TESTS)

# Faults at real processes. SECONDS and KILLS bound it, SEED=n repeats the order of the faults.
.PHONY: torture failpoints
SECONDS ?= 60
torture: all  ## faults at three real members under load: SECONDS=60 KILLS=n SEED=n ARGS=--namespaces
	@test/torture/torture.py --server $(abspath $(OUT)/bin/etcd) --seconds $(SECONDS) $(if $(KILLS),--kills $(KILLS)) \
	  $(if $(SEED),--seed $(SEED)) $(ARGS)
failpoints:  ## a build with etcd's failpoints in build/failpoints, and what holds for them
	@$(MAKE) --no-print-directory FAILPOINTS=1 all
	@ETCD_BIN=$(abspath build/failpoints/bin) test/e2e/failpoints.py

# --- beside real etcd ---------------------------------------------------------------------------------------------------------
.PHONY: reference interop interop-quick raft-scripts bench bench-cluster callgrind-gate fresh-machine
reference:  ## build real etcd 3.7.1 with Go into build/reference, for interop and bench
	@test/e2e/build_reference $(REFERENCE)
interop: deps-interop  ## what needs Go and Python: real etcdctl, differential runs, client libraries, the fresh machine
	@$(MAKE) --no-print-directory all $(CLIENTS) $(filter %/script_raft,$(UNIT_PROGRAMS)) reference
	@$(E2E_ENV) test/e2e/interop all
interop-quick:  ## the part of interop that fits in ten minutes and installs nothing
	@$(MAKE) --no-print-directory all $(CLIENTS) $(filter %/script_raft,$(UNIT_PROGRAMS)) reference
	@$(E2E_ENV) test/e2e/interop quick
raft-scripts: $(OUT)/test/script_raft  ## the Raft stories of etcd-io/raft 3.7.0, fetched by Go, against src/raft
	@dir=$$(GOFLAGS=-mod=mod go mod download -json go.etcd.io/raft/v3@v3.7.0 | sed -n 's/.*"Dir": "\(.*\)",*/\1/p'); \
	  RAFT_TESTDATA=$$dir/testdata $<
bench: deps-bench  ## the table of test/bench/README.md: ours beside real etcd where REFERENCE has it
	@$(MAKE) --no-print-directory all $(BENCHES)
	@$(E2E_ENV) test/bench/bench $(ARGS)
bench-cluster: deps-bench  ## three members beside three of etcd: speed, leaders lost, a member that joins
	@$(MAKE) --no-print-directory all
	@$(E2E_ENV) test/bench/cluster_bench $(ARGS)
callgrind-gate: deps-bench  ## instructions per Range and per Put against their limits
	@$(MAKE) --no-print-directory all
	@$(E2E_ENV) test/bench/callgrind_gate
fresh-machine: deps-interop  ## the README's commands in a bare Debian 12 (debootstrap; needs root)
	@test/e2e/interop_fresh_machine.py

# --- installing ---------------------------------------------------------------------------------------------------------------
PREFIX ?= /usr/local
BINDIR := $(DESTDIR)$(PREFIX)/bin
MANDIR := $(DESTDIR)$(PREFIX)/share/man
UNITDIR := $(DESTDIR)$(PREFIX)/lib/systemd/system
VERSION := 3.7.1

.PHONY: install uninstall deb
install: all  ## install below PREFIX (default /usr/local) and DESTDIR: programs, man pages, systemd unit, its user
	install -d $(BINDIR) $(MANDIR)/man1 $(UNITDIR) $(DESTDIR)$(PREFIX)/lib/sysusers.d
	install -m 755 -s $(OUT)/bin/etcd $(BINDIR)/etcd
	for name in $(NAMES); do ln -sfn etcd $(BINDIR)/$$name; done
	install -m 644 man/*.1 $(MANDIR)/man1/
	sed 's|@BINDIR@|$(PREFIX)/bin|' packaging/etcd.service > $(UNITDIR)/etcd.service
	chmod 644 $(UNITDIR)/etcd.service
	install -m 644 packaging/sysusers.d/etcd.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/etcd.conf
uninstall:  ## remove what install put there
	rm -f $(BINDIR)/etcd $(NAMES:%=$(BINDIR)/%) $(patsubst man/%,$(MANDIR)/man1/%,$(wildcard man/*.1))
	rm -f $(UNITDIR)/etcd.service $(DESTDIR)$(PREFIX)/lib/sysusers.d/etcd.conf
deb: all  ## a Debian package of the programs: build/etcd_VERSION_ARCH.deb
	@packaging/deb $(OUT) $(VERSION)

.PHONY: clean
clean:  ## remove build
	rm -rf build

-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)
