# asyncpg's own tests. They leave alone what starts and configures servers of its own, for PGHOST says there is one;
# one class does not, and is left out.
. "$here/python.bash"
version=0.32.0

fetch() { python_fetch asyncpg "$version" "asyncpg==$version" pytest setuptools wheel distro uvloop; }
prepare() { :; }
play() {
  python_play "$cache/asyncpg-$version" "$1" tests --ignore tests/test__sourcecode.py --ignore tests/test__environment.py \
    --deselect tests/test_connect.py::TestConnectionAttributes
}
