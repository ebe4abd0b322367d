//! The one place where the domain's error becomes an answer: a page with a way back, or an RFC 9457 problem under `/api`.
//!
//! A handler returns [`Failure`]; [`render`] knows the path and dresses it, and everything actix answers by itself, in the same clothes.

use std::fmt;
use std::io;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::{
    JsonPayloadError, PathError, PayloadError, QueryPayloadError, UrlencodedError,
};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, ResponseError};
use askama::Template;

use crate::error::{Error, Fault};
use crate::web::layers::MAX_BODY;

/// What a handler answers.
pub type Answer = Result<HttpResponse, Failure>;

/// An answer that says no: status, a sentence for a person, and every fault of their input.
#[derive(Debug, Clone)]
pub struct Failure {
    status: StatusCode,
    detail: String,
    faults: Vec<Fault>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// For the log alone; people see a neutral sentence.
    internal: Option<String>,
}

/// RFC 9457 problem.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status tells the kind.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The status in words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What was attempted, what came back, what to do next.
    pub detail: String,
    /// Everything wrong with the input.
    pub faults: Vec<Fault>,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    title: &'a str,
    detail: &'a str,
    faults: &'a [Fault],
    status: u16,
}

impl Failure {
    /// An answer of this status with a sentence.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            faults: Vec::new(),
            headers: Vec::new(),
            internal: None,
        }
    }

    /// The request itself is malformed.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Nobody, or nobody we know, asked.
    pub fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail).with(
            header::WWW_AUTHENTICATE,
            HeaderValue::from_static("Bearer realm=\"headroom\""),
        )
    }

    /// The body is larger than what is read.
    pub fn too_large() -> Self {
        let detail = format!(
            "The request body is larger than {} MiB, the most that is read here; nothing was changed.",
            MAX_BODY / (1024 * 1024)
        );
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The sentence.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    fn title(&self) -> &'static str {
        match self.status {
            StatusCode::UNPROCESSABLE_ENTITY => "Unprocessable Content",
            StatusCode::PAYLOAD_TOO_LARGE => "Content Too Large",
            other => other.canonical_reason().unwrap_or("Error"),
        }
    }

    fn to_response(&self, api: bool) -> HttpResponse {
        let mut answer = HttpResponse::build(self.status);
        for (name, value) in &self.headers {
            answer.insert_header((name.clone(), value.clone()));
        }
        if api {
            let problem = Problem {
                kind: "about:blank",
                title: self.title().to_owned(),
                status: self.status.as_u16(),
                detail: self.detail.clone(),
                faults: self.faults.clone(),
            };
            return match serde_json::to_vec(&problem) {
                Ok(body) => answer.content_type("application/problem+json").body(body),
                Err(_) => answer.finish(),
            };
        }
        let page = ErrorPage {
            title: self.title(),
            detail: &self.detail,
            faults: &self.faults,
            status: self.status.as_u16(),
        };
        match page.render() {
            Ok(body) => answer.content_type("text/html; charset=utf-8").body(body),
            Err(_) => answer
                .content_type("text/plain; charset=utf-8")
                .body(self.detail.clone()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        self.to_response(false)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound(_) => Self::new(StatusCode::NOT_FOUND, sentence(&error)),
            Error::Conflict(detail) => Self::new(StatusCode::CONFLICT, detail),
            Error::Forbidden(detail) => Self::new(StatusCode::FORBIDDEN, detail),
            Error::Invalid(faults) => Self {
                faults,
                ..Self::new(
                    StatusCode::UNPROCESSABLE_ENTITY,
                    "The input was refused whole and nothing was changed; every fault is listed.",
                )
            },
            Error::Upstream { what, retryable } => Self::new(
                if retryable {
                    StatusCode::SERVICE_UNAVAILABLE
                } else {
                    StatusCode::BAD_GATEWAY
                },
                what,
            ),
            Error::Internal(cause) => Self {
                internal: Some(cause),
                ..Self::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Something went wrong inside Headroom and was written to its log. Try again; if it stays, run `headroom doctor`.",
                )
            },
        }
    }
}

impl From<askama::Error> for Failure {
    fn from(cause: askama::Error) -> Self {
        Error::internal("could not write a page", cause).into()
    }
}

impl From<JsonPayloadError> for Failure {
    fn from(error: JsonPayloadError) -> Self {
        match error {
            JsonPayloadError::Overflow { .. } | JsonPayloadError::OverflowKnownLength { .. } => {
                Self::too_large()
            }
            JsonPayloadError::ContentType => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "The body must be JSON: send it with Content-Type: application/json.",
            ),
            JsonPayloadError::Payload(cause) => cause.into(),
            other => Self::bad_request(format!("The body is not what was expected: {other}")),
        }
    }
}

impl From<UrlencodedError> for Failure {
    fn from(error: UrlencodedError) -> Self {
        match error {
            UrlencodedError::Overflow { .. } => Self::too_large(),
            UrlencodedError::Payload(cause) => cause.into(),
            other => Self::bad_request(format!("The form is not what was expected: {other}")),
        }
    }
}

impl From<PayloadError> for Failure {
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::Overflow => Self::too_large(),
            PayloadError::Io(cause) if cause.kind() == io::ErrorKind::TimedOut => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                "The request body did not arrive in time; nothing was changed.",
            ),
            other => Self::bad_request(format!("The body could not be read: {other}")),
        }
    }
}

impl From<QueryPayloadError> for Failure {
    fn from(error: QueryPayloadError) -> Self {
        Self::bad_request(format!("The query is not what was expected: {error}"))
    }
}

impl From<PathError> for Failure {
    /// A path whose parts are not of the expected form names nothing.
    fn from(_: PathError) -> Self {
        not_found()
    }
}

/// No such address.
pub fn not_found() -> Failure {
    Failure::new(
        StatusCode::NOT_FOUND,
        "There is nothing at this address. It may have been renamed or removed.",
    )
}

/// Gives every answer that says no its form, and logs what is Headroom's own fault, once.
///
/// # Errors
/// What the inner services could not turn into an answer.
pub async fn render(
    req: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let answer = next.call(req).await?;
    let Some(failure) = failure_of(&answer) else {
        return Ok(answer.map_into_boxed_body());
    };
    let (req, _) = answer.into_parts();
    if let Some(cause) = &failure.internal {
        tracing::error!(http.method = %req.method(), http.path = req.path(), cause, "a request failed");
    }
    let api = req.path().starts_with("/api/");
    let response = failure.to_response(api);
    Ok(ServiceResponse::new(req, response))
}

fn failure_of<B>(answer: &ServiceResponse<B>) -> Option<Failure> {
    let error = answer.response().error()?;
    if let Some(failure) = error.as_error::<Failure>() {
        return Some(failure.clone());
    }
    if let Some(cause) = error.as_error::<PayloadError>() {
        return Some(match cause {
            PayloadError::Overflow => Failure::too_large(),
            other => Failure::bad_request(format!("The body could not be read: {other}")),
        });
    }
    let status = answer.status();
    if status.is_server_error() {
        return Some(Error::Internal(error.to_string()).into());
    }
    Some(Failure::new(status, error.to_string()))
}

/// The error's own text with a capital and a full stop.
fn sentence(error: &Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        format!("{}{}.", first.to_uppercase(), letters.as_str())
    })
}
