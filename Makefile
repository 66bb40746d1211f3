# Warren's commands. `make help` lists them; the work is done by meson and by the programs in tools/.
SHELL := /bin/bash
PREFIX ?= /usr/local
DESTDIR ?=
FUZZ_SECONDS ?= 20
ARGS ?=

.PHONY: all serve demo test test-asan bench lint fuzz install clean help
.NOTPARALLEL:

all: ## Build every program into build/bin (installs missing build tools first)
	@tools/build programs

serve: all ## Run the server in the foreground with the ordinary state folder (ARGS="--key value")
	@echo 'To point a client at this server, in its terminal: eval "$$($(CURDIR)/build/bin/warren env)"'
	@exec build/bin/warren serve $(ARGS)

demo: all ## Build, start a throw-away server and run the programs in examples/ against it
	@exec tools/demo

test: ## Install what tests need and run all of them
	@tools/install-deps build image run demo test
	@tools/build tests
	@exec tests/run all

test-asan: ## Run the tests against programs built with ASan and UBSan
	@tools/install-deps build image run demo test
	@tools/build asan
	@exec tests/run --asan all

bench: all ## Measure against the peers named in bench/
	@tools/install-deps bench
	@exec bench/run $(ARGS)

lint: ## Check layout, includes, sizes, static analysis, shell scripts, man pages
	@tools/build tests
	@exec tools/lint

fuzz: ## Run every fuzzer for FUZZ_SECONDS (20) seconds
	@tools/build fuzz
	@exec tools/fuzz $(FUZZ_SECONDS)

install: all ## Install programs, man pages and the systemd unit (PREFIX, DESTDIR)
	@for dir in build/host build/agent; do \
		meson configure $$dir --prefix=$(abspath $(PREFIX)) && \
		meson install -C $$dir --quiet $(if $(DESTDIR),--destdir=$(abspath $(DESTDIR))) || exit 1; \
	done

clean: ## Remove everything that was built
	rm -rf build

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12
