//! JMX against real JVMs and servers that are none.

mod browse;
mod collect;
mod fake;
mod faults;
mod hostile;
mod jolokia;
mod lease;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use headroom::clients::jmx::{Address, Ask, Datum, Jmx, Jvm as Reached, Options, Tls, Told, Way};
use tokio::time::Instant;

use crate::support::jvm::{Jvm, LOGIN};

const SECOND: Duration = Duration::from_secs(1);
const APP: &str = "lab:type=App,name=\"x,y\"";
const MEMORY: &str = "java.lang:type=Memory";

fn jmx() -> Jmx {
    Jmx::new(Options::default()).unwrap()
}

/// A client that tries again at once, so that a test need not wait for the end of a pause.
fn eager_jmx() -> Jmx {
    let options = Options {
        connect_limit: 2 * SECOND,
        backoff_first: Duration::from_nanos(1),
        backoff_longest: Duration::from_nanos(1),
        ..Options::default()
    };
    Jmx::new(options).unwrap()
}

fn reached(port: u16, login: Option<(&str, &str)>, tls: Option<Tls>) -> Arc<Reached> {
    let way = Way::Rmi(Address::new("127.0.0.1", port));
    let login = login.map(|(user, password)| (user.to_owned(), password.into()));
    Arc::new(Reached::new(way, login, tls))
}

fn ask(mbean: &str, attribute: &str) -> Ask {
    Ask {
        mbean: mbean.into(),
        attribute: attribute.into(),
        limit: 10 * SECOND,
    }
}

/// Asks and gets as many answers.
async fn read(jmx: &Jmx, jvm: &Arc<Reached>, asks: &[Ask]) -> Vec<Told> {
    let told = jmx
        .read(jvm, asks.to_vec(), Instant::now() + 30 * SECOND)
        .await;
    let told = told.unwrap();
    assert_eq!(told.len(), asks.len());
    told
}

async fn one(jmx: &Jmx, jvm: &Arc<Reached>, mbean: &str, attribute: &str) -> Result<Datum, String> {
    let told = read(jmx, jvm, &[ask(mbean, attribute)]).await;
    told.into_iter().next().unwrap().outcome
}

fn trusting(certificate: &Path) -> Option<Tls> {
    Some(Tls::from_file(certificate).unwrap())
}

/// A JVM that is up reads this as 7.
async fn depth(jmx: &Jmx, jvm: &Arc<Reached>) -> Result<Datum, String> {
    one(jmx, jvm, APP, "QueueDepth").await
}
