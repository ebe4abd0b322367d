use super::*;
use crate::error::Error;

fn faults(pairs: &[(&str, &str)]) -> Vec<String> {
    match Config::from_source(Source::of(pairs)) {
        Err(Error::Invalid(faults)) => faults.iter().map(ToString::to_string).collect(),
        other => panic!("expected faults, got {other:?}"),
    }
}

#[test]
fn an_empty_configuration_is_the_documented_default() {
    let config = Config::from_source(Source::of(&[])).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.sampling.tick.as_secs(), 60);
    assert_eq!(config.sampling.retention.as_secs(), 86_400);
    assert!(
        config.sampling.allow_local,
        "loopback allows local counters"
    );
    assert!(config.keeping.redis_url.is_none());
    assert!(config.auth.master_key_file.ends_with("data/master.key"));
}

#[test]
fn every_fault_is_listed_at_once_with_the_nearest_key() {
    let found = faults(&[
        ("listne", "x"),
        ("tick", "5"),
        ("log_format", "xml"),
        ("tls_cert", "a.pem"),
    ]);
    assert_eq!(found.len(), 4, "{found:?}");
    assert!(
        found
            .iter()
            .any(|f| f == "listne: unknown key, did you mean \"listen\"?"),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|f| f.starts_with("HEADROOM_TICK (tick): \"5\" is not a duration")),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|f| f.contains("\"xml\" is not text or json")),
        "{found:?}"
    );
    assert!(
        found
            .iter()
            .any(|f| f.contains("a certificate needs its key")),
        "{found:?}"
    );
}

#[test]
fn listening_beyond_loopback_needs_tls_a_proxy_or_a_word() {
    let found = faults(&[("listen", "0.0.0.0:8080")]);
    assert!(
        found[0].contains("would send passwords in clear"),
        "{found:?}"
    );
    for remedy in [("insecure", "true"), ("trusted_proxies", "10.0.0.1")] {
        let config =
            Config::from_source(Source::of(&[("listen", "0.0.0.0:8080"), remedy])).unwrap();
        assert!(
            !config.sampling.allow_local,
            "local scripts are off beyond loopback"
        );
    }
}

#[test]
fn a_tick_must_fall_on_the_clock() {
    assert!(faults(&[("tick", "7s")])[0].contains("must divide a day evenly"));
    assert!(faults(&[("tick", "2h")])[0].contains("is not between 1s and 1h"));
}

#[test]
fn secrets_are_not_shown_by_debug() {
    let config = Config::from_source(Source::of(&[
        ("admin_password", "hunter2"),
        ("smtp_url", "smtp://u:hunter2@h"),
        ("mail_from", "a@b"),
        ("database_url", "postgres://u:hunter2@h/d"),
        ("redis_url", "redis://:hunter2@h"),
    ]))
    .unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_secret_may_stand_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "from the file\n").unwrap();
    let file = path.display().to_string();
    let mut source = Source::read(None, &|name| {
        (name == "HEADROOM_ADMIN_PASSWORD_FILE").then(|| file.clone())
    })
    .unwrap();
    assert_eq!(
        source.text("admin_password").as_deref(),
        Some("from the file")
    );
}

#[test]
fn the_environment_wins_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("headroom.toml");
    std::fs::write(&path, "listen = \"127.0.0.1:1\"\ntick = \"10s\"\n").unwrap();
    let source = Source::read(Some(&path), &|name| {
        (name == "HEADROOM_LISTEN").then(|| "127.0.0.1:2".into())
    })
    .unwrap();
    let config = Config::from_source(source).unwrap();
    assert_eq!(config.http.listen.port(), 2);
    assert_eq!(config.sampling.tick.as_secs(), 10);
}

#[test]
fn zabbix_needs_an_address_and_exactly_one_login() {
    let url = ("zabbix_url", "https://zabbix.example.org/zabbix");
    let by_password = [url, ("zabbix_user", "api"), ("zabbix_password", "hunter2")];
    for good in [&by_password[..], &[url, ("zabbix_token", "hunter2")]] {
        let config = Config::from_source(Source::of(good)).unwrap();
        assert!(config.tooling.zabbix.is_some());
        assert!(!format!("{config:?}").contains("hunter2"));
    }
    for (bad, said) in [
        (&[("zabbix_user", "api")][..], "needs HEADROOM_ZABBIX_URL"),
        (&[url], "needs HEADROOM_ZABBIX_TOKEN, or"),
        (
            &[url, ("zabbix_token", "a"), ("zabbix_user", "b")],
            "excludes HEADROOM_ZABBIX_USER",
        ),
        (
            &[("zabbix_url", "zabbix:80"), ("zabbix_token", "a")],
            "is not a URL such as",
        ),
    ] {
        let found = faults(bad);
        assert!(found[0].contains(said), "{found:?}");
    }
}
