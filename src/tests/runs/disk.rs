//! The disk under the journal is full.

use headroom::clients::mail::Mailer;
use headroom::models::{OnFailure, RunState, StepState};
use headroom::runs::execute;
use tempfile::TempDir;

use super::lab::{Lab, Planned};
use crate::support::disk::SmallDisk;

#[tokio::test]
async fn a_journal_that_cannot_be_written_stops_the_run_and_nothing_is_done_twice() {
    let Some(disk) = SmallDisk::mount(3) else {
        return;
    };
    let url = format!("sqlite://{}", disk.path().join("headroom.db").display());
    let folder = TempDir::with_prefix("headroom-runs-").unwrap();
    let lab = Lab::on(folder, &url, Mailer::new(None, None).unwrap());
    let (log, filler) = (lab.path("log"), disk.filler());
    let fill = format!(
        "echo one >> {}; head -c 9000000 /dev/zero > {} || true",
        log.display(),
        filler.display()
    );
    let second = format!("echo two >> {}", log.display());
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::script("one", fill), Planned::script("two", second)],
    );

    let stopped = execute::drive(&lab.ctx, run).await.unwrap_err().to_string();
    assert!(stopped.contains("database or disk is full"), "{stopped}");
    assert_eq!(lab.lines("log"), ["one"], "the effect happened");
    assert_eq!(
        lab.states(run),
        [StepState::Started, StepState::Planned],
        "it was announced; its outcome had no room"
    );

    disk.clear();
    assert_eq!(lab.recover(run).await, RunState::Stuck);
    let asked = lab.error(run, "one");
    assert!(
        asked.contains("it is not known whether it had its effect"),
        "{asked}"
    );
    assert_eq!(lab.lines("log"), ["one"], "nothing was repeated");
}
