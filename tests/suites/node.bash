# The pool, the cursors and the query streams of node-postgres, by their own tests, on its newest driver. The driver's own
# tests are in no package; these versions are the last whose packages carry theirs.
list=(pg@8.23.1 pg-pool@3.2.0 pg-cursor@2.7.4 pg-query-stream@2.0.0 mocha@10.8.2 bluebird@3.4.1 co@4.6.0 expect.js@0.3.1
  lodash@4.17.21 concat-stream@1.0.1 stream-spec@0.3.5 through@2.3.4)

fetch() {
  local folder=$cache/node
  [ "${list[*]}" != "$(cat "$folder/fetched" 2>/dev/null)" ] || return 0
  rm -rf "$folder"
  mkdir -p "$folder"
  npm --prefix "$folder" --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps install "${list[@]}" </dev/null
  echo "${list[*]}" >"$folder/fetched"
}

prepare() { :; }

play() {
  local out=$1 package file name
  # this driver reads `require` as `verify-full`
  [ "$PGSSLMODE" != require ] || export PGSSLMODE=no-verify
  # mocha passes over tests that lie in node_modules
  ln -s "$cache/node/node_modules" "$out/node_modules"
  for package in pg-pool pg-cursor pg-query-stream; do
    cp -r "$cache/node/node_modules/$package" "$out/$package"
    # some files need a package that is in no registry
    grep -l "'stream-tester'" "$out/$package"/test/*.js | xargs -r rm || :
    for file in "$out/$package"/test/*.js; do
      name=$package/$(basename "$file" .js)
      # a file that brings the process down fails as one
      (cd "$out/$package" && timeout 120 ../node_modules/.bin/mocha --exit --timeout 10000 --reporter json \
        --reporter-option "output=$file.json" "$file") >>"$out/log" 2>&1 || :
      [ -e "$file.json" ] || { echo "$name: the file failed"; continue; }
      node -e '
        const [name, file] = process.argv.slice(1)
        const { passes, failures, pending } = require(file)
        for (const [how, tests] of Object.entries({ passed: passes, failed: failures, skipped: pending }))
          for (const { fullTitle } of tests) console.log(`${name}: ${fullTitle} ${how}`)
      ' "$name" "$file.json"
    done
  done
}
