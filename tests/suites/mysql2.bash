# The tests of Node's mysql2 that talk to a server; they are in no package. Each file is a test of its own.
protocol=mysql
server_settings=()
version=3.23.4

fetch() {
  local folder=$cache/mysql2-$version
  clone sidorares/node-mysql2 "v$version" "$folder"
  [ ! -e "$folder/tree/node_modules" ] || return 0
  npm --prefix "$folder/tree" --silent --no-audit --no-fund --ignore-scripts install "mysql2@$version" \
    poku@4.5.0 tsx@4.23.11 @pokujs/multi-suite@1.0.2 assert-diff@3.0.4 error-stack-parser@2.1.4 portfinder@1.0.38 </dev/null
}

prepare() { echo 'CREATE DATABASE test;'; }

play() {
  local out=$1
  cp -r "$cache/mysql2-$version/tree" "$out/tree"
  cd "$out/tree"
  # shellcheck disable=SC2016  # for the shell that xargs starts
  one='timeout -k 5 60 node --import tsx "$0" >"$0.log" 2>&1 && echo "$0 passed" || echo "$0 failed"'
  # CI makes the tests take the password
  export CI=1
  find test/integration -name '*.test.m*' | sort | xargs -n 1 -P 4 bash -c "$one"
  find test/global -name '*.test.m*' | sort | xargs -n 1 bash -c "$one"
  cat test/**/*.log >"$out/log"
}
