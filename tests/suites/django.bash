# Django's own tests of its database layer: what talks to the server most, and is quick.
. "$here/python.bash"
version=5.2.19
labels=(backends transactions transaction_hooks introspection inspectdb schema constraints indexes db_functions db_utils
  db_typecasts select_for_update raw_query bulk_create datatypes async distinct_on_fields get_or_create postgres_tests)

fetch() {
  python_fetch django "$version" "Django==$version" 'psycopg[binary,pool]==3.3.9' tblib==3.2.0 jinja2==3.1.6 PyYAML==6.0.3
}
prepare() { :; }
play() {
  local out=$1 folder=$cache/django-$version
  cp -r "$folder/tree/tests" "$out/tests"
  cat >"$out/tests/doorward_settings.py" <<'PYTHON'
from os import environ as e
to = {'ENGINE': 'django.db.backends.postgresql', 'HOST': e['PGHOST'], 'PORT': e['PGPORT'], 'USER': e['PGUSER'], 'PASSWORD': e['PGPASSWORD']}
DATABASES = {'default': to | {'NAME': 'django'}, 'other': to | {'NAME': 'django2'}}
SECRET_KEY = 'nobody asks'
PASSWORD_HASHERS = ['django.contrib.auth.hashers.MD5PasswordHasher']
DEFAULT_AUTO_FIELD = 'django.db.models.AutoField'
USE_TZ = False
PYTHON
  (cd "$out/tests" && timeout 1500 "$folder/python/bin/python" -W ignore ./runtests.py --settings doorward_settings --verbosity 2 \
    --noinput --parallel 1 "${labels[@]}") >"$out/log" 2>&1 || :
  # a test that has a description shows its result behind that
  awk '/^test[A-Za-z0-9_]* \(.*\)/ { name = $2 } / \.\.\. (ok|FAIL|ERROR|expected failure|skipped .*)$/ {
    said = /ok$|expected failure$/ ? "passed" : /skipped/ ? "skipped" : "failed"; if (name) print name, said; name = "" }' "$out/log"
}
