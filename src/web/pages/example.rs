//! The example that an empty data folder gets, and how it goes again.

use crate::fleet;
use crate::web::commands;
use crate::web::error::Answer;
use crate::web::pages::Visit;

/// `POST /example/removal`.
///
/// # Errors
/// The database fails. That something else uses a part of the example is said on the page.
pub async fn remove(visit: Visit) -> Answer {
    let context = commands::context(&visit.app, &visit.caller);
    let outcome = visit
        .app
        .db
        .write(move |conn| fleet::remove_example(conn, &context))
        .await;
    visit.changed().await;
    visit.went("/", outcome.map(|()| "The example is removed.".to_owned()))
}
