# psycopg 3's own tests: libpq, asynchronous, pipelines, COPY, two-phase commit, cancelling by TLS. No package on PyPI brings them.
. "$here/python.bash"
version=3.3.4

fetch() {
  local folder=$cache/psycopg-$version
  [ ! -e "$folder/python/made" ] || return 0
  clone psycopg/psycopg "$version" "$folder"
  python3 -m venv "$folder/python"
  "$folder/python/bin/python" -m pip --quiet --disable-pip-version-check install --only-binary :all: \
    "psycopg[binary,pool]==$version" pytest==8.4.2 anyio==4.11.0 pproxy==2.7.9 dnspython==2.8.0 </dev/null
  touch "$folder/python/made"
}
prepare() { echo 'CREATE DATABASE psycopg_test;'; }
# not what is slow, or hangs on the clock, or checks types
play() {
  python_play "$cache/psycopg-$version" "$1" tests -p anyio -m 'not slow and not flakey and not timing and not mypy and not refcount' \
    --test-dsn "host=$PGHOST port=$PGPORT user=$PGUSER dbname=psycopg_test"
}
