# What a person does with this house. Each verb is one line that could as well be typed.
SHELL = /bin/bash
PREFIX = /usr

.PHONY: demo test suites bench soak fuzz install uninstall

demo:       # a throw-away PostgreSQL and MariaDB, the gateway before them, and what each client sees; ONCE=1 ends by itself
	@deploy/demo

test:       # everything that must hold before a change lands
	tests/setup
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps
	cargo test --locked

suites:     # other people's test suites, with the gateway and without it: what differs
	@tests/suites/run

soak:       # what takes minutes: ten million random decisions; generated logins, ten thousand at each MySQL, fifty thousand at each PostgreSQL, and who they are
	cargo test --locked --lib -- --ignored soak_
	cargo test --locked --test it -- --ignored --nocapture soak_

fuzz:       # every target for a while; installs cargo-fuzz where it is missing
	tests/fuzz/run

bench:
	cargo bench --locked

install:    # DESTDIR and PREFIX as usual
	DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" deploy/install

uninstall:
	DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" deploy/install --remove
