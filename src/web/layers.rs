//! What every request passes: the log, the security headers, the limit on bodies.

use std::io;
use std::time::{Duration, Instant};

use actix_web::HttpMessage as _;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web::Data;
use futures::StreamExt as _;

use crate::app::App;
use crate::web::auth::Caller;
use crate::web::error::Failure;
use crate::web::peer::Peer;

/// The most that is read of a body: a fleet file of 10 000 nodes is about 1.5 MB.
pub const MAX_BODY: usize = 4 * 1024 * 1024;
/// A body must have come by then: a client that sends a byte a second holds a connection no longer.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How much of a refused body is read away, so that the client gets to read the answer instead of a reset connection.
const MAX_DISCARDED: usize = 64 * 1024 * 1024;

/// No inline script or style, nothing from elsewhere, no framing.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// `same-origin` and not `no-referrer`: the latter makes browsers send `Origin: null` with our own forms.
const HEADERS: [(HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
    (header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
];

/// Sets the security headers; answers are not stored by caches unless they say otherwise.
///
/// # Errors
/// What the inner services could not turn into an answer.
pub async fn secure(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let mut answer = next.call(req).await?;
    harden(answer.headers_mut());
    Ok(answer)
}

fn harden(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// One line per request under the target `request`. Without the query, which may hold what a person searched for.
///
/// # Errors
/// What the inner services could not turn into an answer.
pub async fn log(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let began = Instant::now();
    let answer = next.call(req).await?;
    let req = answer.request();
    let peer = req
        .app_data::<Data<App>>()
        .map(|app| Peer::of(req, &app.config.http).address.to_string());
    let caller = req.extensions().get::<Caller>().map(|it| it.name.clone());
    let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let (method, path) = (req.method(), req.path());
    let status = answer.status().as_u16();
    tracing::info!(target: "request", %method, path, status, took_ms, peer, caller, "request");
    Ok(answer)
}

/// Refuses a body that announces itself as too large, before anything else looks at it, and one that does not come to its end in time.
/// Extractors stop at the same size when nothing is announced.
///
/// # Errors
/// What the inner services could not turn into an answer.
pub async fn limit_body(
    mut req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let announced = req
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok())
        .unwrap_or(0);
    let body = in_time(req.take_payload());
    if announced <= MAX_BODY as u64 {
        req.set_payload(body);
        return next
            .call(req)
            .await
            .map(ServiceResponse::map_into_boxed_body);
    }
    let mut body = body;
    let mut discarded = 0;
    while discarded < MAX_DISCARDED
        && let Some(Ok(chunk)) = body.next().await
    {
        discarded += chunk.len();
    }
    Ok(req.error_response(Failure::too_large()))
}

fn in_time(body: Payload) -> Payload {
    if matches!(body, Payload::None) {
        return body;
    }
    let deadline = tokio::time::Instant::now() + BODY_TIMEOUT;
    let timed = futures::stream::unfold(body, move |mut body| async move {
        match tokio::time::timeout_at(deadline, body.next()).await {
            Ok(chunk) => chunk.map(|chunk| (chunk, body)),
            Err(_) => Some((
                Err(PayloadError::Io(io::ErrorKind::TimedOut.into())),
                Payload::None,
            )),
        }
    });
    Payload::Stream {
        payload: Box::pin(timed),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::web::Bytes;
    use futures::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_cut_off_and_what_came_is_kept() {
        let begun = stream::iter([Ok(Bytes::from_static(b"half"))]);
        let slow: std::pin::Pin<Box<dyn futures::Stream<Item = _>>> =
            Box::pin(begun.chain(stream::pending()));
        let began = tokio::time::Instant::now();
        let mut body = in_time(Payload::Stream { payload: slow });

        assert_eq!(body.next().await.unwrap().unwrap(), "half");
        let cut = body.next().await.unwrap().unwrap_err();
        assert!(
            matches!(&cut, PayloadError::Io(cause) if cause.kind() == io::ErrorKind::TimedOut),
            "{cut:?}"
        );
        assert_eq!(began.elapsed(), BODY_TIMEOUT);
        assert!(body.next().await.is_none());
    }
}
