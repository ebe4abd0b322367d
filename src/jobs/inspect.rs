//! Holds the nodes against EC2's instances; has an orphan reaped where a setting says so.

use chrono::Utc;

use crate::actions::ec2::inspect::{Look, inspect as look_at};
use crate::actions::ec2::unasked::{Unasked, reap_one};
use crate::app::App;
use crate::error::{Error, Result};
use crate::models::to_ms;

/// Looks once.
pub(super) async fn inspect(app: App, _tick_ms: i64) -> Result<String> {
    let now_ms = to_ms(Utc::now());
    let look = look_at(&app.db, &app.tools.cloud, now_ms).await?;
    let unasked = match app.config.cloud.reap_after {
        Some(after) => {
            let after_ms = i64::try_from(after.as_millis()).unwrap_or(i64::MAX);
            reap_one(&app.db, &look, after_ms, now_ms).await?
        }
        None => Unasked::Nothing,
    };
    if let Unasked::Begun(run) = unasked
        && let Err(cause) = app.queue.wake(run.0).await
    {
        tracing::warn!(run.id = run.0, %cause, "no worker could be woken; the sweep will find the run");
    }
    if !look.faults.is_empty() {
        return Err(Error::Upstream {
            what: look.faults.join("; "),
            retryable: true,
        });
    }
    Ok(told(&look, &unasked))
}

fn told(look: &Look, unasked: &Unasked) -> String {
    if look.accounts == 0 {
        return "no EC2 profile is defined".into();
    }
    let unasked = match unasked {
        Unasked::Nothing => String::new(),
        Unasked::Begun(run) => format!("; run {run} reaps an orphan"),
        Unasked::LeftAlone(why) => format!("; {why}"),
    };
    format!(
        "{} instances in {} accounts and regions, {} disagree with the nodes{unasked}",
        look.instances, look.accounts, look.findings
    )
}
