//! The house rules that no compiler checks: who may use whom, what may leave the process where, and how long things may get.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::source::{self, SourceFile};

/// From the outside in; a module may use what stands below it, and its neighbours as long as no circle comes of it.
const LAYERS: [&[&str]; 7] = [
    &["main"],
    &["cli"],
    &["web", "jobs"],
    &["triggers", "runs"],
    &["collectors", "actions", "fleet"],
    &["samples", "models", "clients", "vault"],
    &["db", "schema", "config", "error", "metrics"],
];
/// Neighbours that must not know each other: a firing is a row in the database, nothing else.
const STRANGERS: [(&str, &str); 1] = [("triggers", "runs")];
/// The composition root is seen by what starts work, never by what does it.
const SEES_APP: [&str; 4] = ["main", "cli", "web", "jobs"];

/// Where a crate may be named, and why only there.
const CRATES: [(&[&str], &[&str], &str); 8] = [
    (
        &[
            "ssh2",
            "libssh2_sys",
            "session_pages",
            "lettre",
            "reqwest",
            "tokio_rustls",
        ],
        &["clients"],
        "clients/ is the only way out",
    ),
    (
        &[
            "aws_config",
            "aws_credential_types",
            "aws_sdk_ec2",
            "aws_sdk_elasticloadbalancing",
            "aws_sdk_elasticloadbalancingv2",
            "aws_smithy_http_client",
        ],
        &["clients"],
        "clients/ is the only way out",
    ),
    (
        &["actix_web"],
        &["web", "cli", "app"],
        "HTTP is known to web/ alone",
    ),
    (
        &["askama"],
        &["web", "actions"],
        "templates belong to the pages, and an action kind brings its partial",
    ),
    (
        &["apalis", "apalis_cron", "apalis_sqlite", "apalis_redis"],
        &["jobs"],
        "jobs/ holds all that knows the queue",
    ),
    (
        &["redis"],
        &["samples", "jobs"],
        "samples and the queue are all that Redis keeps",
    ),
    (
        &["aes_gcm"],
        &["vault"],
        "the vault is the only place that decrypts",
    ),
    (
        &["anyhow"],
        &["cli", "jobs", "main"],
        "inside, an error says what can be done about it",
    ),
];

/// Files that decide: no clock, no database, no other module.
const PURE: [&str; 8] = [
    "triggers/rule.rs",
    "triggers/breach.rs",
    "triggers/gates.rs",
    "triggers/decide.rs",
    "triggers/facts.rs",
    "triggers/survey.rs",
    "triggers/reason.rs",
    "triggers/words.rs",
];
const PURE_IMPORTS: [&str; 5] = ["chrono", "serde", "std", "super", "self"];

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 60;
const MAX_TEMPLATE_LINES: usize = 80;

#[test]
fn every_module_uses_only_what_stands_below_it() {
    let mut faults = Vec::new();
    for file in source::product_files() {
        let from = file.module();
        if from == "lib" {
            continue;
        }
        for used in file.references() {
            if let Some(reason) = forbidden(from, &used.root) {
                faults.push(format!("src/{}:{}: {reason}", file.path, used.line));
            }
        }
    }
    report(&faults);
}

#[test]
fn no_circle_between_top_level_modules() {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in source::product_files() {
        let to = file.references().into_iter().map(|used| used.root);
        let from = file.module().to_owned();
        let others = to.filter(|root| *root != from && root != "app");
        uses.entry(from.clone())
            .or_default()
            .extend(others.collect::<Vec<_>>());
    }
    uses.remove("lib");
    if let Some(circle) = circle(&uses) {
        panic!(
            "these modules use each other in a circle: {}. Move what they share to the lowest of them.",
            circle.join(" -> ")
        );
    }
}

#[test]
fn every_outside_library_is_named_in_its_own_place_alone() {
    let mut faults = Vec::new();
    for file in source::product_files() {
        for (crates, homes, reason) in CRATES {
            if homes.contains(&file.module()) {
                continue;
            }
            for used in file.uses_of_crates(crates) {
                let (path, line, name) = (&file.path, used.line, used.root);
                faults.push(format!(
                    "src/{path}:{line}: names {name}, which only {} may: {reason}",
                    homes.join(", ")
                ));
            }
        }
    }
    report(&faults);
}

#[test]
fn the_deciding_code_is_pure() {
    let mut faults = Vec::new();
    let files = source::product_files();
    for file in files.iter().filter(|f| PURE.contains(&f.path.as_str())) {
        let foreign = file
            .references()
            .into_iter()
            .filter(|used| used.root != "triggers");
        let imports = file.imports().into_iter();
        let imports = imports
            .filter(|used| !PURE_IMPORTS.contains(&used.root.as_str()) && used.root != "crate");
        for used in foreign.chain(imports) {
            faults.push(format!(
                "src/{}:{}: takes {}; a decision knows chrono, serde, std and its own types alone: convert in triggers/evaluate.rs",
                file.path, used.line, used.root
            ));
        }
    }
    report(&faults);
}

#[test]
fn files_and_functions_stay_short_enough_to_read() {
    let mut faults = Vec::new();
    for file in source::product_files() {
        if file.path != "schema.rs" && file.code_lines() > MAX_FILE_LINES {
            faults.push(format!(
                "src/{}: {} lines without tests, {MAX_FILE_LINES} at most: split it by what it is about",
                file.path,
                file.code_lines()
            ));
        }
        let functions = file.functions().into_iter();
        for long in functions.filter(|each| each.lines > MAX_FUNCTION_LINES) {
            faults.push(format!(
                "src/{}:{}: fn {} has {} lines, {MAX_FUNCTION_LINES} at most: give its parts names",
                file.path, long.line, long.name, long.lines
            ));
        }
    }
    report(&faults);
}

#[test]
fn templates_stay_short_enough_to_read() {
    let templates = source::root().join("templates");
    let mut faults = Vec::new();
    for path in source::files(&templates, "") {
        let lines = std::fs::read_to_string(&path).unwrap().lines().count();
        if lines > MAX_TEMPLATE_LINES {
            let name = path.strip_prefix(source::root()).unwrap().display();
            faults.push(format!(
                "{name}: {lines} lines, {MAX_TEMPLATE_LINES} at most: move a part to a template that this one includes"
            ));
        }
    }
    report(&faults);
}

#[test]
fn every_action_kind_is_one_file_one_line_and_one_partial() {
    let files = source::product_files();
    let list = files.iter().find_map(|file| file.macro_words("kinds"));
    let words = list.expect("no `kinds! { … }` in src/actions");
    let kinds: Vec<(&str, &str)> = words
        .split(|word| word == ",")
        .filter_map(|entry| Some((entry.first()?.as_str(), entry.last()?.as_str())))
        .collect();
    let mut faults = Vec::new();
    for (module, kind) in &kinds {
        let path = format!("actions/{module}.rs");
        // A large kind has a folder.
        let folder = format!("actions/{module}/mod.rs");
        if !files
            .iter()
            .any(|file| file.path == path || file.path == folder)
        {
            faults.push(format!(
                "src/{path} is missing: {kind} has a file of its own"
            ));
        }
        let plain = module.replace('_', "");
        if kind.to_lowercase() != plain {
            faults.push(format!(
                "{module}::{kind}: module and kind must be the same word"
            ));
        }
    }
    let folder = source::root().join("templates/actions");
    let partials: BTreeSet<String> = source::files(&folder, ".html")
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let modules: BTreeSet<String> = kinds
        .iter()
        .map(|(module, _)| (*module).to_owned())
        .collect();
    for odd in partials.symmetric_difference(&modules) {
        faults.push(format!(
            "{odd}: a kind needs templates/actions/{odd}.html, and a partial there needs its kind"
        ));
    }
    report(&faults);
}

/// Why `from` must not use `to`; nothing when it may.
fn forbidden(from: &str, to: &str) -> Option<String> {
    if from == to {
        return None;
    }
    if to == "app" {
        return (!SEES_APP.contains(&from)).then(|| {
            format!(
                "{from} uses app: pass in the parts it needs instead (app is for cli, jobs and web)"
            )
        });
    }
    let rank = |module: &str| LAYERS.iter().position(|layer| layer.contains(&module));
    // The composition root builds everything that work needs, so it stands just below what starts work.
    let from_rank = if from == "app" { Some(2) } else { rank(from) };
    let (Some(from_rank), Some(to_rank)) = (from_rank, rank(to)) else {
        return Some(format!(
            "{from} uses {to}: one of them has no place in the layers; give it one in src/tests/architecture.rs"
        ));
    };
    if STRANGERS.contains(&(from, to)) || STRANGERS.contains(&(to, from)) {
        return Some(format!(
            "{from} uses {to}: they do not know each other; speak through the rows in models/"
        ));
    }
    (to_rank < from_rank || (from == "app" && to == "web")).then(|| {
        format!("{from} uses {to}, which stands above it: move the shared part down, or pass it in")
    })
}

/// A path that comes back to where it began.
fn circle(uses: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(
        uses: &BTreeMap<String, BTreeSet<String>>,
        path: &mut Vec<String>,
        done: &mut BTreeSet<String>,
    ) -> Option<Vec<String>> {
        let here = path.last()?.clone();
        for next in uses.get(&here).into_iter().flatten() {
            if let Some(begin) = path.iter().position(|each| each == next) {
                let mut found = path[begin..].to_vec();
                found.push(next.clone());
                return Some(found);
            }
            if !done.contains(next) {
                path.push(next.clone());
                if let Some(found) = walk(uses, path, done) {
                    return Some(found);
                }
                path.pop();
            }
        }
        done.insert(here);
        None
    }
    let mut done = BTreeSet::new();
    uses.keys()
        .find_map(|module| walk(uses, &mut vec![module.clone()], &mut done))
}

fn report(faults: &[String]) {
    assert!(
        faults.is_empty(),
        "{} against the house rules:\n{}",
        faults.len(),
        faults.join("\n")
    );
}

#[test]
fn the_rules_themselves_tell_right_from_wrong() {
    for (from, to) in [
        ("web", "models"),
        ("cli", "web"),
        ("triggers", "samples"),
        ("app", "jobs"),
        ("web", "app"),
        ("fleet", "actions"),
    ] {
        assert_eq!(forbidden(from, to), None, "{from} may use {to}");
    }
    for (from, to, part) in [
        ("models", "web", "stands above"),
        ("triggers", "runs", "do not know each other"),
        ("runs", "triggers", "do not know each other"),
        ("runs", "app", "pass in the parts"),
        ("app", "web", "stands above"),
        ("db", "models", "stands above"),
        ("helpers", "models", "no place in the layers"),
    ] {
        let reason = forbidden(from, to).unwrap_or_default();
        assert!(reason.contains(part), "{from} -> {to}: {reason:?}");
    }
    let file = SourceFile::parse(
        "runs/a.rs",
        "fn f() { ssh2::Session::new(); x.redis::<u8>(); }",
    );
    let used = file.uses_of_crates(&["ssh2", "redis"]);
    assert_eq!(
        used.len(),
        1,
        "a method of that name is not the crate: {used:?}"
    );
    let uses = BTreeMap::from([
        ("a".to_owned(), BTreeSet::from(["b".to_owned()])),
        ("b".to_owned(), BTreeSet::from(["a".to_owned()])),
    ]);
    assert_eq!(circle(&uses).unwrap(), ["a", "b", "a"]);
}
