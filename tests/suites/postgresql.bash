# PostgreSQL's own regression tests, by the pg_regress of the server's version, with the tests of that version.
tree=''
release=$major version=$(dpkg-query --showformat '${source:Version}' --show "postgresql-$major")
if [ -n "$server" ]; then
  tree=${cache%/*}/trees/postgresql release=$server
  version=$(sed -n "s/^postgresql-$release //p" "$tree/versions")
fi

fetch() {
  local suite='' at="=$version"
  # what the tree had that day may be gone: then the suite's present one
  if [ -n "$tree" ]; then suite=sid at=''; fi
  DEBIAN_SUITE=$suite "$here/debian" source "postgresql-$release$at" "$cache/postgresql-$version"
  DEBIAN_SUITE=$suite "$here/debian" binary "postgresql-server-dev-$release$at" "$cache/postgresql-dev-$version"
}

prepare() { :; }

play() {
  local out=$1 source=$cache/postgresql-$version/tree place=$1 loader=()
  local headers=$cache/postgresql-dev-$version/tree/usr/include/postgresql programs=$bin tests=$pgxs
  if [ -n "$tree" ]; then
    # where the server sees it, too; its own programs by its own libraries
    place=$work/server/suite
    local libraries=("$tree"/usr/lib/*-linux-gnu)
    loader=("$(echo "${libraries[0]}"/ld-linux*)" --library-path "${libraries[0]}")
    programs=$place/bin tests=$tree/usr/lib/postgresql/$release/lib/pgxs
    mkdir -p "$programs"
    printf '#!/bin/sh\nexec %s %s "$@"\n' "${loader[*]}" "$tree/usr/lib/postgresql/$release/bin/psql" >"$programs/psql"
    chmod +x "$programs/psql"
  fi
  # the server reads and writes here as its own user
  cp -r "$source/src/test/regress" "$place/regress"
  mkdir -p "$place/results"
  chmod -R a+rX "$place"
  chmod 0777 "$place/results"
  local module
  for module in "$source/src/test/regress/regress.c" "$source/contrib/spi/autoinc.c" "$source/contrib/spi/refint.c"; do
    cc -shared -fPIC -O1 -w -DREFINT_VERBOSE -I "$headers/$release/server" -I "$headers" "$module" -o "$place/$(basename "$module" .c).so"
  done
  "${loader[@]}" "$tests/src/test/regress/pg_regress" --inputdir="$place/regress" --outputdir="$place" --dlpath="$place" \
    --bindir="$programs" --host="$PGHOST" --port="$PGPORT" --user="$PGUSER" --schedule="$place/regress/parallel_schedule" \
    --max-connections=20 >"$out/log" 2>&1 || :
  [ "$place" = "$out" ] || cp "$place"/regression.* "$out/" 2>/dev/null || :
  sed -En -e 's/^(test)? +([A-Za-z0-9_.]+) +\.\.\. (ok|FAILED).*/\2 \3/p' \
    -e 's/^(not )?ok +[0-9]+ +[-+] +([A-Za-z0-9_.]+) .*/\2 \1ok/p' "$out/log" | sed 's/ok$/passed/; s/FAILED\|not passed$/failed/'
}
