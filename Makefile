# The front door: `make` lists the targets, and CI calls the same ones. Each makes or reuses .venv
# and needs only Python >= 3.11, make and a C compiler; CMake, Ninja and the linters are wheels.
#
#   make test PYTHON=python3.13 ARGS='-k hashing'     another Python (for a new .venv), pytest options
#   make test HOTROD_WERROR=OFF                       a compiler with warnings that we do not know yet

PYTHON ?= python3
ARGS ?=
HOTROD_WERROR ?= ON
FUZZ_RUNS ?= 3000000
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
# Our own cmake and ninja first, whatever the machine has.
TOOLS := PATH="$(CURDIR)/$(BIN):$$PATH"
BUILD := build/editable
C_FILES := $(wildcard csrc/*.[ch] src/hotrod_codec/_ext/*.h tests/c/*.[ch] tests/fuzz/*.[ch] bench/bare/*.c)
PY_FILES := $(foreach d,src tests tools bench examples docs,$(if $(wildcard $(d)/*.py $(d)/*/*.py),$(d)))
WORKFLOWS := $(wildcard .github/workflows/*.yml)
ISSUE_FORMS := $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
EXTENSIONS := $(patsubst src/hotrod_codec/_ext/%.pyx,hotrod_codec._ext.%,$(wildcard src/hotrod_codec/_ext/*.pyx))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

.PHONY: help
help:
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-19s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# ---- the environment ----------------------------------------------------------------------------
# One stamp for each thing that pip does, older than all that would make it do something else.

$(VENV)/.made:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "wants Python >= 3.11: make PYTHON=...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade 'pip>=25.1'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.made
	$(PIP) install --group test --group build
	@touch $@

$(VENV)/.bench: pyproject.toml $(VENV)/.dev
	$(PIP) install --group bench
	@touch $@

$(VENV)/.lint: pyproject.toml $(VENV)/.dev
	$(PIP) install --group lint
	@touch $@

$(VENV)/.docs: pyproject.toml $(VENV)/.dev
	$(PIP) install --group docs
	@touch $@

$(VENV)/.dist: pyproject.toml $(VENV)/.made
	$(PIP) install --group dist
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.dev
	$(TOOLS) $(PIP) install --no-build-isolation --no-deps -e . \
	    -Cbuild-dir=$(BUILD) -Ccmake.define.HOTROD_WERROR=$(HOTROD_WERROR)
	@touch $@

# Ninja knows which sources changed; then the compiled modules go where pip put them.
.PHONY: build
build: $(VENV)/.installed
	@$(TOOLS) cmake --build $(BUILD)
	@$(TOOLS) cmake --install $(BUILD) --prefix \
	    "$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')" > $(BUILD)/install.log

.PHONY: venv
venv: build ## make .venv and install the package into it, editable and compiled

# ---- using and testing --------------------------------------------------------------------------

.PHONY: demo
demo: build ## a cluster, both clients, a node that dies
	@$(BIN)/hotrod demo

.PHONY: test
test: build ## the test suite
	$(BIN)/pytest $(ARGS)

.PHONY: integration
integration: build ## against real servers and other clients (needs Java 17 and Maven, takes npm)
	$(BIN)/pytest tests/integration $(ARGS)

SERVER_METADATA := https://repo1.maven.org/maven2/org/infinispan/infinispan-server-runtime/maven-metadata.xml
.PHONY: integration-newest
integration-newest: build ## against the newest server that is published
	@newest="$$(curl -fsS $(SERVER_METADATA) | sed -n 's:.*<release>\(.*\)</release>.*:\1:p')"; \
	echo "newest server: $$newest"; \
	$(BIN)/pytest tests/integration --servers "$$newest" $(ARGS)

# $(call c_build,build directory,compiler,further options)
define c_build
	@$(TOOLS) cmake -S csrc -B $(1) -G Ninja -DCMAKE_C_COMPILER="$(2)" -DHOTROD_WERROR=$(HOTROD_WERROR) $(3) > $(1).log 2>&1 \
	    || { cat $(1).log; exit 1; }
	@$(TOOLS) cmake --build $(1)
endef
SANITIZED := -DCMAKE_BUILD_TYPE=RelWithDebInfo -DHOTROD_SANITIZE=address,undefined

.PHONY: c-test
c-test: $(VENV)/.dev ## the C library's tests and a short fuzzing, under ASan and UBSan
	@mkdir -p build
	$(call c_build,build/c-test-$(notdir $(CC)),$(CC),$(SANITIZED))
	@$(TOOLS) ctest --test-dir build/c-test-$(notdir $(CC)) --output-on-failure

# Big-endian and 32-bit machines: TARGET's gcc, and qemu-user where this processor cannot run it.
#   make c-test-cross TARGET=s390x-linux-gnu EMULATOR=qemu-s390x-static
#   make c-test-cross TARGET=i686-linux-gnu
# Not -Werror: compilers for rarer machines warn of more, and wrongly (s390x: array-bounds).
TARGET ?= s390x-linux-gnu
EMULATOR ?=
.PHONY: c-test-cross
c-test-cross: $(VENV)/.dev ## the C library's tests on another machine type (TARGET=..., EMULATOR=...)
	@mkdir -p build
	$(call c_build,build/c-test-$(TARGET),$(TARGET)-gcc,-DCMAKE_BUILD_TYPE=Release -DHOTROD_WERROR=OFF \
	    -DHOTROD_FUZZ_RUNS=20000 -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_EXE_LINKER_FLAGS=-static \
	    $(if $(EMULATOR),-DCMAKE_CROSSCOMPILING_EMULATOR=$(EMULATOR)))
	@$(TOOLS) ctest --test-dir build/c-test-$(TARGET) --output-on-failure

# FUZZ_RUNS=100000000 fuzzes for hours, FUZZ_SEED=2 gives other inputs than the last time, and
# `make fuzz-with FUZZ_CC=gcc` takes gcc although clang is there. libFuzzer goes on from what it
# found before (build/fuzz-clang*/corpus). The inputs of each row are counted.
.PHONY: fuzz
fuzz: $(VENV)/.dev ## a longer fuzzing: libFuzzer with clang, else random mutations (FUZZ_RUNS=...)
	@mkdir -p build
	@for cc in clang clang-19 clang-18 clang-17 clang-16; do \
	    if echo 'int LLVMFuzzerTestOneInput(const char *d, long n) { return n > 9 && *d; }' | \
	        $$cc -x c - -fsanitize=fuzzer,address,undefined -o build/libfuzzer-probe 2> build/libfuzzer-probe.log; \
	    then break; else cc=$(CC); fi; \
	done; echo "fuzzing with $$cc"; $(MAKE) fuzz-with FUZZ_CC=$$cc

.PHONY: fuzz-with
fuzz-with:
	$(call c_build,build/fuzz-$(FUZZ_CC),$(FUZZ_CC),$(SANITIZED) -DHOTROD_FUZZ_RUNS=$(FUZZ_RUNS) \
	    -DHOTROD_FUZZ_SEED=$(or $(FUZZ_SEED),1))
	@$(TOOLS) ctest --test-dir build/fuzz-$(FUZZ_CC) -V -R '^fuzz_' --timeout 3600

# A hundredth of FUZZ_RUNS for each target. Led by coverage where there is an atheris for this Python.
.PHONY: fuzz-python
fuzz-python: build ## fuzzing of the entry points in Python: atheris, else random mutations (FUZZ_RUNS=...)
	@$(PIP) install --group fuzz || echo 'no atheris for this Python'
	nice $(BIN)/python tests/fuzz/fuzz_python.py $$(($(FUZZ_RUNS) / 100))

LEAK_RUNS ?= 100
.PHONY: leaks
leaks: build ## memory and references that any use of any message keeps: a table (LEAK_RUNS=...)
	nice $(BIN)/python tests/leaks.py $(LEAK_RUNS)

# To be called behind `make fuzz` with clang. What reaches nothing new is left out.
.PHONY: fuzz-corpus
fuzz-corpus: build ## add to tests/fuzz/corpus what recorded vectors and found inputs reach besides
	$(BIN)/python tests/fuzz/seeds.py build/seeds
	build/fuzz-clang*/fuzz_codec -merge=1 -verbosity=0 tests/fuzz/corpus/fuzz_codec build/seeds
	build/fuzz-clang*/fuzz_codec -merge=1 -use_counters=0 -verbosity=0 tests/fuzz/corpus/fuzz_codec \
	    build/fuzz-clang*/corpus/fuzz_codec

# Sees what the sanitizers do not: decisions that hang on memory nobody wrote. C only: CPython itself
# does much that valgrind objects to.
.PHONY: valgrind
valgrind: $(VENV)/.dev ## the C library's tests under valgrind
	@mkdir -p build
	$(call c_build,build/valgrind,$(CC),-DCMAKE_BUILD_TYPE=RelWithDebInfo -DHOTROD_FUZZ_RUNS=20000 \
	    -DCMAKE_TEST_LAUNCHER="valgrind;-q;--error-exitcode=9;--leak-check=full")
	@$(TOOLS) ctest --test-dir build/valgrind --output-on-failure

# A second environment that shares what .venv has installed, all but the package itself (a .pth file
# adds a folder without following the .pth files in it, so our editable install is not seen).
# $(call variant,folder,pip's settings)
define variant
	@$(BIN)/python -m venv --without-pip $(1)/venv
	@$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))' \
	    > "$$($(1)/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')/shared.pth"
	$(TOOLS) $(1)/venv/bin/python -m pip -q install --no-build-isolation --no-deps --ignore-installed \
	    -e . -Cbuild-dir=$(1)/build -Cinstall.strip=false $(2)
endef

.PHONY: sanitize
sanitize: $(VENV)/.dev ## the test suite with the compiled modules under ASan and UBSan (gcc)
	$(call variant,build/sanitize,-Ccmake.build-type=RelWithDebInfo -Ccmake.define.HOTROD_SANITIZE=address$(comma)undefined)
	LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
	ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 PYTHONMALLOC=malloc \
	    build/sanitize/venv/bin/python -m pytest -p no:cacheprovider $(ARGS)
comma := ,

# Left out is what tracing itself would break: it is interrupted as well, it keeps some memory, and it
# lets other threads in between any two lines of the .pyx.
UNTRACED := --deselect tests/client/test_sync.py::test_interrupted_anywhere --ignore tests/test_leaks.py \
    --deselect tests/test_threads.py::TestOneReader::test_threads_that_do_not_take_turns
.PHONY: coverage
coverage: $(VENV)/.dev ## lines and branches of csrc, lines of the .pyx, lines and branches of Python (docs/coverage.md)
	$(PIP) install --group coverage
	$(call variant,build/coverage,-Ccmake.build-type=Debug -Ccmake.define.HOTROD_COVERAGE=ON -Ccmake.define.HOTROD_LINETRACE=ON)
	@find build/coverage -name '*.gcda' -delete
	@rm -f build/coverage/failed
	COVERAGE_CORE=ctrace build/coverage/venv/bin/python -m coverage run -m pytest -q $(UNTRACED) $(ARGS) \
	    || touch build/coverage/failed
	build/coverage/venv/bin/python -m coverage report
	build/coverage/venv/bin/python -m coverage html -q -d build/coverage/html
	$(call c_build,build/coverage/c,$(CC),-DCMAKE_BUILD_TYPE=Debug -DHOTROD_COVERAGE=ON)
	@$(TOOLS) ctest --test-dir build/coverage/c -E '^fuzz_' --output-on-failure
	$(BIN)/gcovr -r . --filter csrc/ --txt - build/coverage/build build/coverage/c
	$(BIN)/gcovr -r . --filter csrc/ --txt-metric branch --txt-summary --fail-under-line 99 \
	    --fail-under-branch 97 --txt - build/coverage/build build/coverage/c
	@test ! -e build/coverage/failed || { echo 'tests failed: see above'; exit 1; }

BENCH := $(BIN)/pytest bench --benchmark-quiet --benchmark-min-time=0.0002 --benchmark-max-time=0.05

.PHONY: bench-tools
bench-tools: build $(VENV)/.bench
	@$(TOOLS) cmake -S bench/bare -B build/bare -G Ninja -DCMAKE_BUILD_TYPE=Release \
	    -DPython_EXECUTABLE="$(CURDIR)/$(BIN)/python" > build/bare.log 2>&1 || { cat build/bare.log; exit 1; }
	@$(TOOLS) cmake --build build/bare

.PHONY: bench
bench: bench-tools ## time relative to references: a table, bench-result.json and .svg
	$(BENCH) --benchmark-json=bench-result.json $(ARGS)
	@$(BIN)/python -m bench.report bench-result.json

.PHONY: bench-docs
bench-docs: $(VENV)/.dev ## write docs/performance.md's table of goals from bench-result.json
	$(BIN)/python -m bench.report bench-result.json --docs

.PHONY: bench-scale
bench-scale: bench-tools ## cost and memory per entry by size: docs/performance.md, docs/*.svg
	nice $(BIN)/python -m bench.scale $(ARGS)

# The server, the Java client and an embedded server each in a process of its own.
.PHONY: bench-client
bench-client: build $(VENV)/.bench ## the client beside Java's and bare sockets (needs Java 17 and Maven, 4 minutes)
	PYTHONPATH=tests $(BIN)/python -m bench.client $(ARGS)

.PHONY: bench-client-docs
bench-client-docs: build ## write docs/performance.md's table of the client from bench-result.client.json
	PYTHONPATH=tests $(BIN)/python -m bench.client --docs bench-result.client.json

# BASE is built as this tree is, and only once: build/gate/COMMIT. Both are timed in one process.
BASE ?= origin/main
.PHONY: bench-gate
bench-gate: bench-tools ## fail if slower than another revision (BASE=...) or than bench/goals.toml
	@base="$$(git rev-parse --verify --quiet '$(BASE)^{commit}')" \
	    || { echo 'no revision $(BASE): BASE=... names the one to compare with'; exit 2; }; \
	echo "base: $$(git log -1 --format='%h %s' "$$base")"; \
	$(MAKE) build/gate/$$base/built && \
	$(BENCH) --base build/gate/$$base/site --benchmark-json=bench-result.json $(ARGS)

build/gate/%/built: | $(VENV)/.dev
	@rm -rf build/gate/$*/tree build/gate/$*/site && mkdir -p build/gate/$*
	@git worktree prune && git worktree add --detach --quiet build/gate/$*/tree $*
	@$(TOOLS) $(PIP) install --no-build-isolation --no-deps --target build/gate/$*/site \
	    build/gate/$*/tree -Cbuild-dir=$(CURDIR)/build/gate/$*/build > build/gate/$*/log 2>&1 \
	    || { cat build/gate/$*/log; git worktree remove --force build/gate/$*/tree; exit 1; }
	@git worktree remove --force build/gate/$*/tree
	@touch $@

# ---- checking -----------------------------------------------------------------------------------

.PHONY: check
check: check-python check-c check-types gen-check check-ci ## lint, types, stubs, generated files, workflows

.PHONY: check-python
check-python: $(VENV)/.lint
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(TOOLS) $(BIN)/cython-lint src

.PHONY: check-c
check-c: $(VENV)/.lint
	$(BIN)/clang-format --dry-run --Werror $(C_FILES)
	$(BIN)/clang-tidy --quiet $(filter csrc/%.c,$(C_FILES)) -- -std=c11 -Icsrc
	$(BIN)/cppcheck -q --enable=warning,performance,portability --std=c11 --error-exitcode=1 \
	    --inline-suppr -Icsrc csrc

.PHONY: check-types
check-types: $(VENV)/.lint build
	$(BIN)/mypy $(PY_FILES)
	$(BIN)/pyright
	@mkdir -p build/stubtest
	cd build/stubtest && MYPYPATH=../../src ../../$(BIN)/stubtest $(EXTENSIONS)

.PHONY: check-ci
check-ci: $(VENV)/.lint
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows $(WORKFLOWS)
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.readthedocs .readthedocs.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(ISSUE_FORMS)
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/python tools/dist_check.py plan
	@if command -v go > /dev/null; then \
	    echo 'go run $(ACTIONLINT)'; $(TOOLS) go run $(ACTIONLINT) $(WORKFLOWS); \
	else echo 'actionlint left out: it wants go'; fi
	$(BIN)/zizmor --offline --no-progress --persona pedantic .github
	$(BIN)/shellcheck .ci/run

# --strict: what could not be looked up (no network) was not audited, and that is no success.
.PHONY: audit
audit: $(VENV)/.made ## known vulnerabilities of what users install: dependencies and extras
	$(PIP) install --group audit
	@mkdir -p build
	@$(BIN)/python -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	    print(*p["dependencies"], *sum(p["optional-dependencies"].values(), []), sep="\n")' > build/audit.txt
	$(BIN)/pip-audit --strict --progress-spinner off -r build/audit.txt

.PHONY: gen
gen: build ## write the generated files anew
	$(BIN)/python tools/gen_ops.py
	$(BIN)/python tools/gen_sync.py
	$(BIN)/python tools/gen_config.py
	$(BIN)/python tools/dist_check.py list --write
	$(BIN)/python tests/bad_inputs.py

.PHONY: gen-check
gen-check: build ## fail when a generated file is stale
	$(BIN)/python tools/gen_ops.py --check
	$(BIN)/python tools/gen_sync.py --check
	$(BIN)/python tools/gen_config.py --check
	$(BIN)/python tools/dist_check.py list

# Links and anchors inside of the site are checked; others are not, which would take a network.
.PHONY: docs
docs: build $(VENV)/.docs ## the site of docs/ in build/docs; warnings are errors
	$(BIN)/sphinx-build -q -E -W --keep-going -b html -d build/doctrees docs build/docs $(ARGS)

# ---- packages -----------------------------------------------------------------------------------
# Wheels are built in isolation, as pip does for a user, and tried where no compiler can be found.

WHEEL_PYTHON ?= $(BIN)/python
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2> /dev/null || date +%s)

# $(call wheel_from,what pip builds from,folder,where the tests are): to folder/dist/, repaired, checked and tried
define wheel_from
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) \
	    $(BIN)/python -m pip -q --python $(WHEEL_PYTHON) wheel --no-deps -w $(2)/raw \
	    -Cbuild-dir="$(CURDIR)/$(2)/tree" $(1)
	if [ "$$(uname)" = Linux ]; then \
	    SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(TOOLS) auditwheel repair -w $(2)/dist $(2)/raw/*.whl; \
	    $(BIN)/auditwheel show $(2)/dist/*.whl; \
	else mkdir -p $(2)/dist && cp $(2)/raw/*.whl $(2)/dist; fi
	$(BIN)/twine check --strict $(2)/dist/*.whl
	$(BIN)/check-wheel-contents $(2)/dist/*.whl
	$(BIN)/python tools/dist_check.py wheel $(2)/dist/*.whl
	$(BIN)/python tools/wheel_trial.py --python $(WHEEL_PYTHON) --tree $(3) $(2)/dist/*.whl $(ARGS)
	@mkdir -p dist && cp $(2)/dist/*.whl dist
endef

.PHONY: wheel
wheel: $(VENV)/.dist ## a wheel in dist/ (manylinux on Linux), checked and tried (WHEEL_PYTHON=...)
	rm -rf build/wheel
	$(call wheel_from,.,build/wheel,.)

.PHONY: sdist-check
sdist-check: $(VENV)/.dist ## source archive in dist/ -> wheel, checked and tried in the same way
	rm -rf build/sdist
	SOURCE_DATE_EPOCH=$(SOURCE_DATE_EPOCH) $(BIN)/python -m build --sdist -o build/sdist
	$(BIN)/twine check --strict build/sdist/*.tar.gz
	$(BIN)/python tools/dist_check.py sdist build/sdist/*.tar.gz
	@mkdir -p dist && cp build/sdist/*.tar.gz dist
	@mkdir -p build/sdist/source && tar -xzf build/sdist/*.tar.gz -C build/sdist/source --strip-components=1
	$(call wheel_from,build/sdist/*.tar.gz,build/sdist,build/sdist/source)

.PHONY: dist-check
dist-check: $(VENV)/.dist ## what lies in dist/ against docs/wheels.md: a whole release
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/python tools/dist_check.py wheel dist/*.whl
	$(BIN)/python tools/dist_check.py release dist

.PHONY: wheel-list
wheel-list: $(VENV)/.made ## write the list of files in a wheel anew
	$(BIN)/python tools/dist_check.py list --write

.PHONY: clean
clean: ## remove .venv and all that was built
	rm -rf $(VENV) build dist .coverage .coverage.* bench-result.* \
	    .mypy_cache .pytest_cache .ruff_cache .hypothesis .benchmarks
	rm -f src/hotrod_codec/_ext/*.c src/hotrod_codec/_ext/*.c.dep
	find src tests tools bench -name __pycache__ -type d -prune -exec rm -rf {} +
