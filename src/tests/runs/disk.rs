//! The disk under the journal is full.

use std::time::Duration;

use headroom::clients::mail::Mailer;
use headroom::models::run_event::RunEvent;
use headroom::models::{OnFailure, RunState, StepState};
use headroom::runs::execute;
use tempfile::TempDir;

use super::lab::{Lab, Planned};
use crate::support::disk::SmallDisk;
use crate::support::wait;

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_waits_for_room_on_a_full_disk_and_nothing_is_done_twice() {
    let Some(disk) = SmallDisk::mount(3) else {
        return;
    };
    let url = format!("sqlite://{}", disk.path().join("headroom.db").display());
    let folder = TempDir::with_prefix("headroom-runs-").unwrap();
    let lab = Lab::on(folder, &url, Mailer::new(None, None).unwrap());
    let (log, filler) = (lab.path("log"), disk.filler());
    let fill = format!(
        "head -c 9000000 /dev/zero > {}; echo one >> {}",
        filler.display(),
        log.display()
    );
    let second = format!("echo two >> {}", log.display());
    let run = lab.plan(
        OnFailure::Stop,
        &[Planned::script("one", fill), Planned::script("two", second)],
    );

    let ctx = lab.ctx.clone();
    let driving = tokio::spawn(async move { execute::drive(&ctx, run).await });
    let happened = || (lab.lines("log") == ["one"]).then_some(());
    tokio::task::block_in_place(|| wait::until("the effect", Duration::from_secs(20), happened));
    let refused = lab
        .db
        .write(move |conn| RunEvent::record(conn, run, None, 1, &"x".repeat(100_000)))
        .await;
    let refused = refused.unwrap_err().to_string();
    assert!(refused.contains("database or disk is full"), "{refused}");
    assert_eq!(
        lab.states(run),
        [StepState::Started, StepState::Planned],
        "announced; the outcome has no room, and nothing goes on without it"
    );

    disk.clear();
    driving.await.unwrap().unwrap();
    assert_eq!(lab.run(run).state, RunState::Succeeded);
    assert_eq!(lab.lines("log"), ["one", "two"], "each once");
}
