# psycopg2's own tests: libpq, synchronous and asynchronous, COPY, two-phase commit, notifications, replication.
. "$here/python.bash"
version=2.9.13

# making the list of what its source needs asks pg_config; the server's packages have one
fetch() { PATH=$bin:$PATH python_fetch psycopg2 "$version" "psycopg2-binary==$version" pytest setuptools wheel; }
prepare() {
  cat <<'SQL'
CREATE DATABASE psycopg2_test;
\c psycopg2_test
CREATE EXTENSION hstore;
SQL
}
play() {
  PSYCOPG2_TESTDB=psycopg2_test PSYCOPG2_TESTDB_HOST=$PGHOST PSYCOPG2_TESTDB_PORT=$PGPORT PSYCOPG2_TESTDB_USER=$PGUSER \
    PSYCOPG2_TESTDB_PASSWORD=$PGPASSWORD PSYCOPG2_TEST_REPL_DSN="host=$PGHOST port=$PGPORT user=$PGUSER dbname=psycopg2_test" \
    python_play "$cache/psycopg2-$version" "$1" tests
}
