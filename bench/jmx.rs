//! What reading JVMs costs: `cargo run --release --example jmx PORT CONNECTIONS ROUNDS`.
//!
//! Holds that many logins to the JVM at a port of this host and reads three attributes of three MBeans over each, round after round. Prints
//! one line of JSON; CPU is that of this process, the rounds alone.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::join_all;
use headroom::clients::jmx::{Address, Ask, Jmx, Jvm, Options, Told, Way};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use tokio::time::Instant;

const DIALLED_AT_ONCE: usize = 20;
const LIMIT: Duration = Duration::from_secs(60);
const ASKED: [(&str, &str); 3] = [
    ("java.lang:type=Memory", "HeapMemoryUsage"),
    ("java.lang:type=Threading", "ThreadCount"),
    ("lab:type=App,name=\"x,y\"", "QueueDepth"),
];
/// For what a single MBean costs more cheaply: all in one call.
const TOGETHER: [&str; 4] = [
    "LoadedClassCount",
    "TotalLoadedClassCount",
    "UnloadedClassCount",
    "Verbose",
];

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |what| arguments.next().context(what)?.parse::<u32>().context(what);
    let (port, connections, rounds) = (number("port")?, number("connections")?, number("rounds")?);
    let port = u16::try_from(port)?;
    let jvms: Vec<Arc<Jvm>> = (0..connections)
        .map(|nth| {
            let way = Way::Rmi(Address::new("127.0.0.1", port));
            // A JVM without passwords takes any name; a name of its own makes each a login of its own.
            Arc::new(Jvm::new(
                way,
                Some((format!("bench{nth}"), "".into())),
                None,
            ))
        })
        .collect();
    let jmx = Jmx::new(Options::default())?;
    let apart: Vec<Ask> = ASKED.iter().map(|(mbean, name)| ask(mbean, name)).collect();
    let together: Vec<Ask> = TOGETHER
        .iter()
        .map(|name| ask("java.lang:type=ClassLoading", name))
        .collect();
    let before_kib = memory_kib()?;
    // A real fleet's JVMs are dialled once each; a single one does not take all of them at once.
    for some in jvms.chunks(DIALLED_AT_ONCE) {
        round(&jmx, some, &apart).await?;
    }
    let held_kib = memory_kib()?;
    let apart_ms = measure(&jmx, &jvms, &apart, rounds).await?;
    let together_ms = measure(&jmx, &jvms, &together, rounds).await?;
    println!(
        "{}",
        serde_json::json!({
            "connections": jmx.open_connections(),
            "apart_cpu_ms": apart_ms,
            "apart_samples": u64::from(rounds) * u64::from(connections) * ASKED.len() as u64,
            "together_cpu_ms": together_ms,
            "together_samples": u64::from(rounds) * u64::from(connections) * TOGETHER.len() as u64,
            "before_kib": before_kib,
            "held_kib": held_kib,
            "rss_kib": memory_kib()?,
        })
    );
    jmx.close().await;
    Ok(())
}

fn ask(mbean: &str, attribute: &str) -> Ask {
    Ask {
        mbean: mbean.into(),
        attribute: attribute.into(),
        limit: LIMIT,
    }
}

async fn measure(jmx: &Jmx, jvms: &[Arc<Jvm>], asks: &[Ask], rounds: u32) -> anyhow::Result<f64> {
    let begin = cpu_ms()?;
    for _ in 0..rounds {
        round(jmx, jvms, asks).await?;
    }
    Ok(cpu_ms()? - begin)
}

/// Every attribute of every JVM once, side by side.
async fn round(jmx: &Jmx, jvms: &[Arc<Jvm>], asks: &[Ask]) -> anyhow::Result<()> {
    let deadline = Instant::now() + LIMIT;
    let each = jvms
        .iter()
        .map(|jvm| jmx.read(jvm, asks.to_vec(), deadline));
    for told in join_all(each).await {
        for Told { outcome, .. } in told? {
            outcome.map_err(anyhow::Error::msg)?;
        }
    }
    Ok(())
}

fn cpu_ms() -> anyhow::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(micros as f64 / 1e3)
}

fn memory_kib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let text = line.context("no VmRSS")?.trim().trim_end_matches(" kB");
    Ok(text.parse()?)
}
