# PostgreSQL's own regression tests, by its pg_regress, of the very version that is installed.
version=$(dpkg-query --showformat '${source:Version}' --show "postgresql-$major")

fetch() {
  "$here/debian" source "postgresql-$major=$version" "$cache/postgresql-$version"
  "$here/debian" binary "postgresql-server-dev-$major=$version" "$cache/postgresql-dev-$version"
}

prepare() { :; }

play() {
  local out=$1 source=$cache/postgresql-$version/tree
  local headers=$cache/postgresql-dev-$version/tree/usr/include/postgresql
  # the server reads and writes here as its own user
  cp -r "$source/src/test/regress" "$out/regress"
  mkdir -p "$out/results"
  chmod -R a+rX "$out"
  chmod 0777 "$out/results"
  local module
  for module in "$source/src/test/regress/regress.c" "$source/contrib/spi/autoinc.c" "$source/contrib/spi/refint.c"; do
    cc -shared -fPIC -O1 -w -DREFINT_VERBOSE -I "$headers/$major/server" -I "$headers" "$module" -o "$out/$(basename "$module" .c).so"
  done
  "$pgxs/src/test/regress/pg_regress" --inputdir="$out/regress" --outputdir="$out" --dlpath="$out" --bindir="$bin" \
    --host="$PGHOST" --port="$PGPORT" --user="$PGUSER" --schedule="$out/regress/parallel_schedule" --max-connections=20 \
    >"$out/log" 2>&1 || :
  sed -En -e 's/^(test)? +([A-Za-z0-9_.]+) +\.\.\. (ok|FAILED).*/\2 \3/p' \
    -e 's/^(not )?ok +[0-9]+ +[-+] +([A-Za-z0-9_.]+) .*/\2 \1ok/p' "$out/log" | sed 's/ok$/passed/; s/FAILED\|not passed$/failed/'
}
