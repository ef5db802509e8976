//! Settings from the environment and the command line.

use super::*;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    let pairs = pairs.iter().map(|(name, value)| (*name, *value));
    Environment::of(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())))
}

fn layered(pairs: &[(&str, &str)], flags: &Overrides) -> Result<Loaded, Problems> {
    let text = format!(
        "{DOOR}limits: {{dial: 1s, login: 1s}}\nadmin: {{http: '127.0.0.1:1111'}}\nlog: {{level: warn}}\n"
    );
    parse(
        "f",
        &text,
        &environment(pairs),
        flags,
        SystemTime::UNIX_EPOCH,
    )
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_file() {
    let variables = [
        ("DOORWARD__LIMITS__DIAL", "2s"),
        ("DOORWARD__ADMIN__HTTP", "127.0.0.1:2222"),
        ("DOORWARD__STATE_DIR", "/var/007"),
        ("DOORWARD__LIMITS__LOGIN", ""),
        ("DOORWARDEN", "x"),
    ];
    let flags = Overrides {
        admin_http: Some("127.0.0.1:3333".to_owned()),
        log_format: Some("json".to_owned()),
        ..Overrides::default()
    };
    let settings = layered(&variables, &flags).unwrap().settings;
    assert_eq!(
        settings.limits.dial,
        Duration::from_secs(2),
        "the environment beats the file"
    );
    assert_eq!(settings.admin.http.port(), 3333, "a flag beats both");
    assert_eq!(
        settings.limits.login,
        Duration::from_secs(1),
        "an empty variable says nothing"
    );
    assert_eq!(settings.log.level, tracing::Level::WARN);
    assert_eq!(settings.state_dir.to_str(), Some("/var/007"));
}

#[test]
fn a_variable_that_means_nothing_is_an_error_and_the_policy_is_none() {
    let told = |pairs: &[(&str, &str)], flags: &Overrides| -> Vec<String> {
        let problems = layered(pairs, flags).unwrap_err();
        problems.as_slice().iter().map(brief).collect()
    };
    let nothing = Overrides::default();
    let wrong = told(&[("DOORWARD__LIMITS__DIAL", "soon")], &nothing);
    assert!(
        wrong[0].starts_with("DOORWARD__LIMITS__DIAL `soon` is not a duration"),
        "{wrong:?}"
    );
    let policy = told(&[("DOORWARD__ORIGINS__0__NAME", "me")], &nothing);
    assert!(
        policy[0].contains("the policy comes only from the file"),
        "{policy:?}"
    );
    let typo = told(&[("DOORWARD__ADMIN__HTPP", "x")], &nothing);
    assert!(
        typo[0].contains("did you mean DOORWARD__ADMIN__HTTP?"),
        "{typo:?}"
    );
    let flag = told(
        &[],
        &Overrides {
            log_level: Some("loud".to_owned()),
            ..Overrides::default()
        },
    );
    assert!(
        flag[0].starts_with("--log-level `loud` is not a log level"),
        "{flag:?}"
    );
}

#[test]
fn folders_follow_systemd_then_the_user() {
    let service = environment(&[
        ("RUNTIME_DIRECTORY", "/run/doorward:/run/other"),
        ("STATE_DIRECTORY", "/var/lib/doorward"),
        ("HOME", "/x"),
    ]);
    assert_eq!(
        service.admin_socket().to_str(),
        Some("/run/doorward/admin.sock")
    );
    assert_eq!(service.state_dir().to_str(), Some("/var/lib/doorward"));
    let person = environment(&[("XDG_RUNTIME_DIR", "/run/user/1"), ("HOME", "/home/eva")]);
    assert_eq!(
        person.admin_socket().to_str(),
        Some("/run/user/1/doorward/admin.sock")
    );
    assert_eq!(
        person.state_dir().to_str(),
        Some("/home/eva/.local/state/doorward")
    );
    assert!(crate::config::admin_sockets(&person).contains(&person.admin_socket()));
}

#[test]
fn the_command_line_alone_makes_an_allowlist() {
    let mut run = FlagListener {
        protocol: "postgres".to_owned(),
        upstream: "127.0.0.1:5432".to_owned(),
        listen: vec!["0.0.0.0:6432".to_owned()],
        allow: vec!["10.0.0.0/8".to_owned(), "127.0.0.1".to_owned()],
    };
    let loaded = from_flags(&run, &Overrides::default()).unwrap();
    assert_eq!(loaded.rules.origins[0].from.len(), 2);
    assert_eq!(&*loaded.settings.listeners[0].name, "postgres");
    assert!(loaded.texts.main.is_empty());
    run.allow.push("010.0.0.1".to_owned());
    run.listen.push("nowhere".to_owned());
    let LoadError::Problems(problems) = from_flags(&run, &Overrides::default()).unwrap_err() else {
        panic!("problems");
    };
    let told: Vec<_> = problems
        .as_slice()
        .iter()
        .map(|problem| problem.source.as_str())
        .collect();
    assert_eq!(told, ["--listen", "--allow"]);
}
