# etcd in C++. `make help` lists the targets; DESIGN: one executable, many names (build/bin/etcd and a link for each other name).
#
#   OUT=dir        where objects, libraries, tests and programs go (default build, or build/<kind> for the kinds below)
#   SAN=address,undefined | thread     sanitizer builds: build/asan, build/tsan
#   FAILPOINTS=1   failpoints compiled in: build/failpoints
#   CLANG=1        clang++-19 instead of g++
#   V=1            print the commands

SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -ec
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules
ifeq ($(filter -j%,$(MAKEFLAGS)),)
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

OPT ?= -O2
WARN := -Wall -Wextra -Wshadow -Wno-mismatched-new-delete -Wno-missing-field-initializers
ifeq ($(CLANG),)
WARN += -Wno-dangling-pointer
endif
DEFINES := -DASIO_STANDALONE -DASIO_NO_DEPRECATED -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL -D_FILE_OFFSET_BITS=64
ifneq ($(SAN),)
SANFLAGS := -fsanitize=$(SAN) -fno-sanitize-recover=all
DEFINES += -DETCD_DVERIFY
endif
ifneq ($(FAILPOINTS),)
DEFINES += -DETCD_FAILPOINTS
endif
GEN := $(OUT)/gen
CXXFLAGS := -std=c++20 $(OPT) -g1 -fno-omit-frame-pointer $(SANFLAGS) $(WARN) $(DEFINES) -Isrc -I$(GEN) -isystem /usr/share/include
CFLAGS := $(OPT) -g1 -fno-omit-frame-pointer $(SANFLAGS)
LDFLAGS := $(SANFLAGS) -pthread
LDLIBS := -lnghttp2 -lprotobuf -lleveldb -lsnappy -lspdlog -lfmt -lprometheus-cpp-core -lyaml-cpp -lcares -ledit -lssl -lcrypto \
  -lcrypt -lz -labsl_raw_hash_set -labsl_hash -labsl_city -labsl_low_level_hash -labsl_throw_delegate -labsl_strings -labsl_raw_logging_internal

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
NAMES := $(shell sed -n 's/^ *{"\([a-z]*\)", *"[^"]*", *[a-z_]*}.*/\1/p' src/cli/modes.cc 2>/dev/null | grep -v '^etcd$$')

.PHONY: all help clean
all: $(OUT)/bin/etcd

# --- compiling ----------------------------------------------------------------------------------------------------------------
# One precompiled header for everything; a file must still include what it uses (`make NO_PCH=1` builds without).
PCH_DIR := build/pch/$(if $(KIND),$(KIND),release)$(subst -,_,$(OPT))
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

$(PCH_DIR)/pch.h: Makefile
	$(Q)mkdir -p $(@D)
	$(Q)printf '#include <%s>\n' $(PCH_HEADERS) > $@.tmp.$$$$ && { cmp -s $@.tmp.$$$$ $@ && touch $@ && rm $@.tmp.$$$$ || mv $@.tmp.$$$$ $@; }
$(PCH_DIR)/pch.h.gch: $(PCH_DIR)/pch.h
	$(call say,PCH,$@)
	$(Q)flock $(PCH_DIR)/lock $(CXX) $(CXXFLAGS) -x c++-header -o $@.tmp.$$$$ $< && mv $@.tmp.$$$$ $@

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

# All messages are generated in one call, so that one stamp orders them.
$(PB_CC) &: $(PROTOS)
	$(call say,PROTO,$(GEN))
	$(Q)mkdir -p $(GEN)
	$(Q)protoc -Iproto --cpp_out=$(GEN) $(PROTOS)

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
$(OUT)/test/$(1)_$(2): $(OUT)/obj/test/unit/main.o $(patsubst test/%.cc,$(OUT)/obj/test/%.o,$(wildcard test/$(1)/$(2)/*.cc)) $(call libs_of,$(2))
	$$(call say,LINK,$$@)
	$(Q)mkdir -p $$(@D)
	$(Q)$(CXX) $(LDFLAGS) -o $$@ $$(filter %.o,$$^) -Wl,--start-group $$(filter %.a,$$^) -Wl,--end-group $(LDLIBS)
.PHONY: $(1)-$(2)
$(1)-$(2): $(OUT)/test/$(1)_$(2)
	$(Q)$$< --no-intro
endef
$(foreach m,$(UNIT_MODULES),$(eval $(call test_program,unit,$(m))))
$(foreach m,$(SCRIPT_MODULES),$(eval $(call test_program,script,$(m))))

.PHONY: unit script tidy
unit: $(UNIT_MODULES:%=unit-%)
script: $(SCRIPT_MODULES:%=script-%)
tidy:
	$(Q)test/tidy/tidy

clean:
	rm -rf build

-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)
