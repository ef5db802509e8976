# What the Python suites share: the driver's own tests, from its source on PyPI, against its built package of that version.

# python_fetch DRIVER VERSION PACKAGE...: the tests in $cache/DRIVER-VERSION/tree, and an interpreter with the packages
python_fetch() {
  local folder=$cache/$1-$2
  [ ! -e "$folder/fetched" ] || return 0
  rm -rf "$folder"
  mkdir -p "$folder/tree"
  python3 -m venv "$folder/python"
  "$folder/python/bin/python" -m pip --quiet --disable-pip-version-check install --only-binary :all: "${@:3}" </dev/null
  "$folder/python/bin/python" -m pip --quiet --disable-pip-version-check download --no-deps --no-binary "$1" \
    --dest "$folder" "$1==$2" </dev/null
  tar -x -z -f "$folder/$1-$2.tar.gz" -C "$folder/tree" --strip-components=1
  touch "$folder/fetched"
}

# python_play FOLDER OUT ARGUMENT...: pytest in a copy that holds the tests alone, so that the built package is imported
python_play() {
  local folder=$1 out=$2
  cp -r "$folder/tree/tests" "$out/tests"
  (cd "$out" && timeout 1500 "$folder/python/bin/python" -m pytest -v --tb=short \
    -o console_output_style=classic "${@:3}") >"$out/log" 2>&1 || :
  sed -En 's/^(.*::.*) (PASSED|FAILED|SKIPPED|ERROR|XFAIL|XPASS)( .*)?$/\1 \L\2/p' "$out/log" | sed 's/ error$/ failed/'
}
