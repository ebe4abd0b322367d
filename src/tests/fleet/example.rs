//! The example: seeded once, good on this machine, gone with one call.

use std::process::Command;

use headroom::fleet::{self, FleetFile, Source};

use super::support::{Bench, conflict};

fn seed(bench: &Bench) -> bool {
    bench.write(fleet::seed_example).unwrap()
}

#[test]
fn an_empty_database_is_seeded_once_and_stays_empty_after_the_removal() {
    for bench in [Bench::sqlite(), Bench::postgres()] {
        let has = || fleet::has_example(&mut bench.db.connection().unwrap()).unwrap();
        assert!(!has());
        assert!(seed(&bench));
        assert!(has());
        assert!(!seed(&bench), "a second start adds nothing");
        bench.write(fleet::remove_example).unwrap();
        assert_eq!(bench.export(), FleetFile::default());
        assert!(!has());
        assert!(!seed(&bench), "who removed it does not want it again");
    }
}

#[test]
fn a_database_with_a_fleet_gets_no_example() {
    let bench = Bench::sqlite();
    bench.apply("clusters: [{ name: web }]");
    assert!(!seed(&bench));
}

#[test]
fn the_example_is_refused_to_go_while_something_else_uses_it() {
    let bench = Bench::sqlite();
    seed(&bench);
    bench.apply("clusters: [{ name: web }]\ntriggers: [{ name: mine, cluster: web, counters: [this-machine-disk], timing: 1m }]");
    let outcome = bench.write(fleet::remove_example);
    assert_eq!(conflict(outcome), "the example is used by trigger \"mine\"");
    assert!(bench.export().counters.len() >= 4);
    bench
        .prune(&fleet::example().unwrap().to_yaml().unwrap())
        .unwrap();
    bench.write(fleet::remove_example).unwrap();
}

#[test]
fn every_script_of_the_example_prints_one_plausible_number_here() {
    for counter in fleet::example().unwrap().counters {
        let Source::Local { script } = &counter.source else {
            panic!("{} is not local", counter.name)
        };
        let output = Command::new("/bin/sh")
            .args(["-c", script])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {output:?}", counter.name);
        assert!(output.stderr.is_empty(), "{}: {output:?}", counter.name);
        let text = String::from_utf8(output.stdout).unwrap();
        let number: f64 = text
            .trim()
            .parse()
            .unwrap_or_else(|_| panic!("{}: {text:?}", counter.name));
        assert!((0.0..1e6).contains(&number), "{}: {number}", counter.name);
    }
}

#[test]
fn the_action_of_the_example_only_looks() {
    let script = fleet::example().unwrap().actions[0].settings["script"].clone();
    let script = script.as_str().unwrap();
    let output = Command::new("/bin/sh")
        .args(["-c", script])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("MemAvailable"));
}
