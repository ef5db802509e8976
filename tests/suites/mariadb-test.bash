# A part of MariaDB's own tests, by its mariadb-test-run against a server that runs already, of the very version that is
# installed: the statements in mariadb-test.list, which need neither a restart nor the server's socket.
protocol=mysql
version=$(dpkg-query --showformat '${Version}' --show mariadb-server)
# as the tests' own servers are set; their answers depend on it
server_settings=(server-id=1 character-set-server=latin1 default-storage-engine=myisam use-stat-tables=preferably
  histogram-type=json_hb key-buffer-size=1M sort-buffer-size=256K max-heap-table-size=1M
  log-bin-trust-function-creators=1 connect-timeout=60)
# without the epoch, for a colon parts folders in a path
folder=$cache/mariadb-test-${version#*:}

fetch() {
  "$here/debian" binary "mariadb-test=$version" "$folder"
  "$here/debian" binary "mariadb-test-data=$version" "$folder-data"
  "$here/debian" binary libpcre2-posix3 "$cache/libpcre2-posix3"
}

prepare() { echo 'CREATE DATABASE test;'; }

play() {
  local out=$1 program list more=()
  # the packages' files among those of the installed system, as they would be if they were installed
  mkdir -p "$out"/usr/{bin,sbin}
  cp -rs "$folder/tree/usr/." "$folder-data/tree/usr/." "$out/usr/"
  cp -rsn /usr/share/mysql "$out/usr/share/"
  for program in $(dpkg -L mariadb-server mariadb-server-core mariadb-client mariadb-client-core | grep -E '^/usr/s?bin/.'); do
    [ -e "$out$program" ] || ln -s "$program" "$out$program"
  done
  mapfile -t list <"$here/mariadb-test.list"
  [ "$MYSQL_USE_TLS" -eq 0 ] || more=(--extern ssl=1)
  LD_LIBRARY_PATH=$(echo "$cache"/libpcre2-posix3/tree/usr/lib/*-linux-gnu)
  export LD_LIBRARY_PATH
  (cd "$out/usr/share/mysql/mysql-test" && timeout 900 perl mysql-test-run.pl --extern "host=$MYSQL_HOST" \
    --extern "port=$MYSQL_PORT" --extern "user=$MYSQL_USER" --extern "password=$MYSQL_PASSWORD" "${more[@]}" \
    --vardir="$out/var" --force --max-test-fail=0 --retry=0 --suite=main "${list[@]}") >"$out/log" 2>&1 || :
  rm -rf "$out/usr"
  sed -En 's/^(main\.[^ ]+) +.*\[ (pass|fail|skipped) +\].*/\1 \2/p' "$out/log" | sed 's/ pass$/ passed/; s/ fail$/ failed/'
}
