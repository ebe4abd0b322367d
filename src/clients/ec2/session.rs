//! The library's clients of one account and region, and the one way in which they are called.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials as Keys;
use aws_sdk_ec2::config::http::HttpResponse;
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::Builder as Http;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use rand::RngExt as _;
use secrecy::ExposeSecret as _;
use tokio::sync::RwLock;
use tokio::time::{Instant, sleep, timeout_at};

use super::fault::kind_of;
use super::{Account, Credentials, Fault, FaultKind};

/// What connecting may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// What one call may take before it counts as lost.
const CALL_LIMIT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// EC2 and the balancers of one account in one region; cheap to clone.
#[derive(Clone)]
pub struct Ec2 {
    account: Arc<Account>,
    clients: Arc<RwLock<Clients>>,
}

#[derive(Clone)]
pub(super) struct Clients {
    pub ec2: aws_sdk_ec2::Client,
    pub elb: aws_sdk_elasticloadbalancing::Client,
    pub elbv2: aws_sdk_elasticloadbalancingv2::Client,
}

impl fmt::Debug for Ec2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ec2")
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}

impl Ec2 {
    /// The clients of an account; asks nobody yet, but for where credentials are to be found.
    pub async fn open(account: Account) -> Self {
        let clients = Clients::open(&account).await;
        Self {
            account: Arc::new(account),
            clients: Arc::new(RwLock::new(clients)),
        }
    }

    /// Where it is, for messages.
    pub fn region(&self) -> &str {
        &self.account.region
    }

    /// Calls until there is an answer, a fault that does not pass, or the deadline. `what` says what is attempted.
    pub(super) async fn call<T, E, F>(
        &self,
        deadline: Instant,
        what: &str,
        call: impl Fn(Clients) -> F,
    ) -> Result<T, Fault>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let mut pause = FIRST_PAUSE;
        let (mut renewed, mut lost_one) = (false, false);
        if Instant::now() >= deadline {
            return Err(Fault {
                kind: FaultKind::Overdue,
                what: format!("did not {what}: the time limit was over before"),
            });
        }
        loop {
            let clients = self.clients.read().await.clone();
            let answer = timeout_at(deadline, call(clients)).await;
            let mut fault = match answer {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(cause)) => explain(what, &cause),
                Err(_) => return Err(lost(what, "no answer within the time limit")),
            };
            if fault.kind == FaultKind::Expired && !renewed {
                // Credentials that ran out in the middle of a run: whoever hands them out may have newer ones by now.
                renewed = true;
                *self.clients.write().await = Clients::open(&self.account).await;
                continue;
            }
            // After a reply that was lost, a refusal of the repetition says nothing about the first.
            lost_one |= fault.kind == FaultKind::Lost;
            if lost_one
                && matches!(
                    fault.kind,
                    FaultKind::Unreached
                        | FaultKind::Throttled
                        | FaultKind::Auth
                        | FaultKind::Expired
                )
            {
                fault.kind = FaultKind::Lost;
            }
            let wait = jitter(pause);
            if !fault.is_passing() || Instant::now() + wait >= deadline {
                return Err(fault);
            }
            tracing::debug!(%fault, "trying again");
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

impl Clients {
    async fn open(account: &Account) -> Self {
        let config = config(account).await;
        Self {
            ec2: aws_sdk_ec2::Client::new(&config),
            elb: aws_sdk_elasticloadbalancing::Client::new(&config),
            elbv2: aws_sdk_elasticloadbalancingv2::Client::new(&config),
        }
    }
}

async fn config(account: &Account) -> SdkConfig {
    let http = Http::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let limits = TimeoutConfig::builder()
        .connect_timeout(CONNECT_LIMIT)
        .operation_timeout(CALL_LIMIT)
        .build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new(account.region.clone()))
        .http_client(http)
        .timeout_config(limits)
        // Repeating is decided here, where the deadline is known.
        .retry_config(RetryConfig::disabled());
    if let Some(url) = &account.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    if let Credentials::Key { id, secret } = &account.credentials {
        loader = loader.credentials_provider(Keys::from_keys(id, secret.expose_secret(), None));
    }
    let config = loader.load().await;
    let Some(role) = &account.role else {
        return config;
    };
    let mut provider = AssumeRoleProvider::builder(&role.arn)
        .session_name("headroom")
        .configure(&config);
    if let Some(id) = &role.external_id {
        provider = provider.external_id(id);
    }
    let provider = match config.credentials_provider() {
        Some(own) => provider.build_from_provider(own).await,
        None => provider.build().await,
    };
    config
        .into_builder()
        .credentials_provider(aws_sdk_ec2::config::SharedCredentialsProvider::new(
            provider,
        ))
        .build()
}

fn explain<E>(what: &str, cause: &SdkError<E, HttpResponse>) -> Fault
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let SdkError::ServiceError(service) = cause else {
        return unanswered(what, cause);
    };
    let (code, status) = (
        service.err().code().unwrap_or_default(),
        service.raw().status().as_u16(),
    );
    let message = service.err().message().unwrap_or("it gave no reason");
    let said = if code.is_empty() {
        format!("HTTP status {status}")
    } else {
        format!("{code}: {message}")
    };
    Fault {
        kind: kind_of(code, status),
        what: format!("could not {what}: {said}"),
    }
}

/// How the HTTP library says that there was no connection to send anything over; it has no other way to tell.
const NEVER_CONNECTED: &str = "client error (Connect)";

/// How the library says that it has nothing to sign a request with; it has no other way to tell.
const SIGNING: [&str; 2] = ["redential", "identity resolver"];
/// And why, where that may pass: the credentials' own service gave no answer, or asks for patience.
const PASSING: [&str; 7] = [
    "timed out",
    "io error",
    "client error (",
    "Throttl",
    "RequestLimitExceeded",
    "ServiceUnavailable",
    "InternalFailure",
];

/// No answer of the service: nothing was sent, it did not arrive, or the reply was lost or is no answer.
fn unanswered<E: std::error::Error + 'static>(
    what: &str,
    cause: &SdkError<E, HttpResponse>,
) -> Fault {
    let text = chain(cause);
    let kind = match cause {
        SdkError::ConstructionFailure(_) => FaultKind::Refused,
        // Before anything is sent, whoever hands out credentials is asked, who may be away for a moment like any other service.
        SdkError::DispatchFailure(_) | SdkError::TimeoutError(_)
            if SIGNING.iter().any(|word| text.contains(word)) =>
        {
            if PASSING.iter().any(|word| text.contains(word)) {
                FaultKind::Unreached
            } else {
                FaultKind::Auth
            }
        }
        SdkError::DispatchFailure(failure) if failure.is_user() => FaultKind::Auth,
        SdkError::DispatchFailure(_) if text.contains(NEVER_CONNECTED) => FaultKind::Unreached,
        SdkError::ResponseError(response)
            if (400..500).contains(&response.raw().status().as_u16()) =>
        {
            FaultKind::Refused
        }
        _ => FaultKind::Lost,
    };
    match kind {
        FaultKind::Lost => lost(what, &text),
        kind => Fault {
            kind,
            what: format!("could not {what}: {text}"),
        },
    }
}

fn lost(what: &str, why: &str) -> Fault {
    Fault {
        kind: FaultKind::Lost,
        what: format!("could not {what}, or the reply was lost: {why}"),
    }
}

fn chain(cause: &(dyn std::error::Error + 'static)) -> String {
    let mut text = cause.to_string();
    let mut next = cause.source();
    while let Some(cause) = next {
        let more = cause.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        next = cause.source();
    }
    text
}

/// Half of the pause up to all of it, so that many workers do not come back at the same moment.
fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..1.0))
}
