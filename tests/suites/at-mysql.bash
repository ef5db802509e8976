# A fresh MySQL or MariaDB for a suite, what the gateway before it allows, and what tells a client the way.

start_mysql() {
  local where=/ settings=(skip-name-resolve=OFF local-infile=ON)
  [ -z "$server" ] || where=${XDG_CACHE_HOME:-$HOME/.cache}/doorward/trees/$server
  rm -rf "$work/papers"
  mkdir "$work/papers"
  if [[ $1 == *tls ]]; then
    cp "$work/tls"/* "$work/papers"
    settings+=("ssl-key=$work/server/papers/key" "ssl-cert=$work/server/papers/certificate")
  fi
  {
    echo "CREATE USER root@'%' IDENTIFIED BY 'suites'; GRANT ALL ON *.* TO root@'%' WITH GRANT OPTION;"
    # with names looked up, 127.0.0.1 is localhost
    echo "ALTER USER root@localhost IDENTIFIED BY 'suites';"
    prepare
  } >"$work/papers/init.sql"
  setsid "$root/tests/throwaway-mysql" "$where" "$work/server" "$database_port" "$work/papers" "${settings[@]}" \
    "${server_settings[@]}" <"$work/lifeline" >"$work/database-says" &
  database=$!
}

origins_of_mysql() {
  cat <<'YAML'
  - {name: superuser, from: [127.0.0.1], users: [root], databases: [any], local_infile: true}
  - {name: everybody, from: [127.0.0.1], databases: [any], local_infile: true}
YAML
}

# lead_to_mysql PORT TLS
lead_to_mysql() {
  export MYSQL_HOST=127.0.0.1 MYSQL_PORT=$1 MYSQL_USER=root MYSQL_PASSWORD=suites MYSQL_USE_TLS=0
  if "$2"; then export MYSQL_USE_TLS=1; fi
}
