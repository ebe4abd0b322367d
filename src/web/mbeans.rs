//! Looking into a JVM: for the page and for the API alike. Nothing is kept.

use std::time::Duration;

use tokio::time::Instant;

use crate::app::App;
use crate::clients::jmx::Shown;
use crate::error::Result;

/// A person waits for so long, and no longer.
const LIMIT: Duration = Duration::from_secs(15);

/// The names of a JVM's MBeans, sorted.
///
/// # Errors
/// There is no such JVM, or it does not answer.
pub async fn names(app: &App, node: String, jvm: String) -> Result<Vec<String>> {
    let jvm = app.jvm(node, jvm).await?;
    app.jmx.mbeans(&jvm, Instant::now() + LIMIT).await
}

/// The attributes of an MBean with their values, sorted by name.
///
/// # Errors
/// As [`names`], and there is no such MBean.
pub async fn attributes(app: &App, node: String, jvm: String, mbean: String) -> Result<Vec<Shown>> {
    let jvm = app.jvm(node, jvm).await?;
    app.jmx
        .attributes(&jvm, mbean, Instant::now() + LIMIT)
        .await
}
