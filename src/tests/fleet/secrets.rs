//! Secrets in a file move to the vault, and out of sight.

use headroom::fleet::{self, Options};
use headroom::models::audit::AuditEvent;
use headroom::models::secret::Secret;
use secrecy::ExposeSecret as _;

use super::support::{Bench, faults};

const WITH_SECRETS: &str = "
ssh_profiles: [{ name: ops, user: ops, private_key: \"-----BEGIN hunter2\\n\", passphrase: barracuda }]
jvm_profiles: [{ name: tomcat, port: 9010, user: monitor, password: swordfish }]
";

fn held(bench: &Bench, name: &str) -> String {
    let conn = &mut *bench.db.connection().unwrap();
    let secret = bench.context.vault.get_by_name(conn, name).unwrap();
    secret.expose_secret().to_owned()
}

fn names(bench: &Bench) -> Vec<String> {
    let conn = &mut *bench.db.connection().unwrap();
    let pairs = Secret::names(conn).unwrap();
    pairs.into_iter().map(|(_, name)| name).collect()
}

#[test]
fn a_secret_in_the_file_is_kept_in_the_vault_and_exported_as_a_reference() {
    for bench in [Bench::sqlite(), Bench::postgres()] {
        bench.apply(WITH_SECRETS);
        assert_eq!(
            held(&bench, "ssh_profile.ops.private_key"),
            "-----BEGIN hunter2\n"
        );
        assert_eq!(held(&bench, "jvm_profile.tomcat.password"), "swordfish");
        let exported = bench.export().to_yaml().unwrap();
        assert!(
            exported.contains("private_key_secret: ssh_profile.ops.private_key"),
            "{exported}"
        );
        assert_eq!(held(&bench, "ssh_profile.ops.passphrase"), "barracuda");
        assert!(
            exported.contains("passphrase_secret: ssh_profile.ops.passphrase"),
            "{exported}"
        );
        assert!(
            exported.contains("password_secret: jvm_profile.tomcat.password"),
            "{exported}"
        );
        for text in [WITH_SECRETS, &exported] {
            assert_eq!(bench.apply(text).to_string(), "= 2 unchanged", "{text}");
        }
    }
}

#[test]
fn a_changed_secret_is_said_to_be_changed_and_never_shown() {
    let bench = Bench::sqlite();
    bench.apply(WITH_SECRETS);
    let diff = bench.apply(&WITH_SECRETS.replace("swordfish", "marlin"));
    assert_eq!(
        diff.to_string(),
        "~ changed jvm profile tomcat (password: changed)\n= 1 unchanged"
    );
    assert_eq!(held(&bench, "jvm_profile.tomcat.password"), "marlin");
    let conn = &mut *bench.db.connection().unwrap();
    let shown = format!(
        "{:?}{diff:?}",
        AuditEvent::page(conn, None, None, 100).unwrap()
    );
    for secret in ["hunter2", "barracuda", "swordfish", "marlin"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains(r#"\"password\":\"changed\""#), "{shown}");
}

#[test]
fn a_secret_goes_with_the_last_profile_that_used_it() {
    let bench = Bench::sqlite();
    bench.apply(WITH_SECRETS);
    bench.apply(
        "jvm_profiles: [{ name: tomcat, port: 9010, user: monitor, password_env: PASSWORD }]",
    );
    let mut left = names(&bench);
    left.sort();
    assert_eq!(
        left,
        ["ssh_profile.ops.passphrase", "ssh_profile.ops.private_key"]
    );
    bench.prune("clusters: [{ name: web }]").unwrap();
    assert_eq!(names(&bench), Vec::<String>::new());
}

#[test]
fn a_secret_that_somebody_else_put_into_the_vault_is_used_and_stays() {
    let bench = Bench::sqlite();
    let secret = "a shared key".into();
    bench
        .write(|conn, context| context.vault.put(conn, "deploy-key", &secret, 1))
        .unwrap();
    bench.apply("ssh_profiles: [{ name: ops, user: ops, private_key_secret: deploy-key }]");
    bench.prune("clusters: [{ name: web }]").unwrap();
    assert_eq!(names(&bench), ["deploy-key"]);
}

#[test]
fn a_dry_run_and_a_refused_file_leave_the_vault_alone() {
    let bench = Bench::sqlite();
    let options = Options {
        dry_run: true,
        prune: false,
    };
    bench.apply_with(WITH_SECRETS, options).unwrap();
    faults(bench.apply_with(&format!("{WITH_SECRETS}cluster: []\n"), Options::default()));
    assert_eq!(names(&bench), Vec::<String>::new());
}

#[test]
fn a_secret_that_can_no_longer_be_read_is_healed_by_setting_it_anew() {
    use diesel::prelude::*;
    use headroom::schema::secrets;

    let bench = Bench::sqlite();
    bench.apply(WITH_SECRETS);
    let conn = &mut *bench.db.connection().unwrap();
    diesel::update(secrets::table)
        .set(secrets::key_id.eq("0000000000000000"))
        .execute(conn)
        .unwrap();
    assert_eq!(bench.apply(WITH_SECRETS).changes.len(), 2);
    assert_eq!(held(&bench, "jvm_profile.tomcat.password"), "swordfish");
}

#[test]
fn a_typed_file_with_a_secret_can_be_planned_and_applied() {
    let bench = Bench::sqlite();
    let file = fleet::parse(WITH_SECRETS).unwrap();
    let plan = bench
        .write(|conn, context| fleet::plan(conn, context, &file, false))
        .unwrap();
    let done = bench
        .write(|conn, context| fleet::apply(conn, context, &file, false))
        .unwrap();
    assert_eq!(plan, done);
}
