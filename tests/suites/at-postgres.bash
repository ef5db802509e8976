# A fresh PostgreSQL for a suite, what the gateway before it allows, and what tells a client the way.

start_postgres() {
  local settings=(max_prepared_transactions=10 wal_level=logical) environment=()
  if [[ $1 == *tls ]]; then
    settings+=(ssl=on "ssl_key_file=$work/server/papers/key" "ssl_cert_file=$work/server/papers/certificate")
    environment+=("POSTGRES_PAPERS=$work/tls")
  fi
  [ -z "$server" ] || environment+=("POSTGRES_TREE=${cache%/*}/trees/postgresql")
  cat >"$work/hba" <<'HBA'
local all         postgres              trust
host  all         all      127.0.0.1/32 scram-sha-256
host  replication all      127.0.0.1/32 scram-sha-256
HBA
  { echo "ALTER ROLE postgres PASSWORD 'suites';"; prepare; } >"$work/sql"
  setsid env "${environment[@]}" "$root/tests/throwaway-postgres" "$work/server" "$database_port" "$work/hba" "$work/sql" \
    "${settings[@]}" <"$work/lifeline" >"$work/database-says" &
  database=$!
}

origins_of_postgres() {
  cat <<'YAML'
  - {name: superuser, from: [127.0.0.1], users: [postgres], databases: [any]}
  - {name: everybody, from: [127.0.0.1], databases: [any]}
  - {name: streams, from: [127.0.0.1], users: [postgres], replication: physical}
  - {name: changes, from: [127.0.0.1], users: [postgres], replication: logical, databases: [postgres, psycopg2_test, psycopg_test]}
YAML
}

# lead_to_postgres PORT TLS
lead_to_postgres() {
  export PGHOST=127.0.0.1 PGPORT=$1 PGUSER=postgres PGPASSWORD=suites PGDATABASE=postgres PGSSLMODE=disable
  if "$2"; then export PGSSLMODE=require; fi
}
