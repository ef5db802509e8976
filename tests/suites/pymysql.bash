# PyMySQL's own tests, which its packages do not carry.
protocol=mysql
server_settings=()
version=1.2.0

fetch() {
  local folder=$cache/pymysql-$version
  clone PyMySQL/PyMySQL "v$version" "$folder"
  [ ! -e "$folder/python" ] || return 0
  python3 -m venv "$folder/python"
  "$folder/python/bin/python" -m pip --quiet --disable-pip-version-check install --only-binary :all: \
    "PyMySQL[rsa,ed25519]==$version" pytest </dev/null
}

prepare() { cat "$cache/pymysql-$version"/tree/ci/docker-entrypoint-initdb.d/{init,mysql,mariadb}.sql; }

play() {
  local out=$1 folder=$cache/pymysql-$version tls=''
  # the certificate of a gateway or a server that was made a moment ago: its name is nobody's
  [ "$MYSQL_USE_TLS" -eq 0 ] || tls=', "ssl": {"check_hostname": false, "verify_mode": "none"}'
  cp -r "$folder/tree/pymysql" "$folder/tree/tests" "$out/"
  cat >"$out/pymysql/tests/databases.json" <<JSON
[
  {"host": "$MYSQL_HOST", "port": $MYSQL_PORT, "user": "root", "password": "suites", "database": "test1",
   "use_unicode": true, "local_infile": true$tls},
  {"host": "$MYSQL_HOST", "port": $MYSQL_PORT, "user": "test2", "password": "some password", "database": "test2"$tls}
]
JSON
  (cd "$out" && timeout 1500 "$folder/python/bin/python" -m pytest -v --tb=short -p no:cacheprovider \
    -o console_output_style=classic pymysql) >"$out/log" 2>&1 || :
  sed -En 's/^(.*::.*) (PASSED|FAILED|SKIPPED|ERROR|XFAIL|XPASS)( .*)?$/\1 \L\2/p' "$out/log" | sed 's/ error$/ failed/'
}
