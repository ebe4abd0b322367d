//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use super::breaker::Breaker;
use crate::jobs::schedule::Role;
use crate::models;

/// Keeps enough machines running, and no more.
#[derive(Debug, Parser)]
#[command(name = "headroom", version, about, max_term_width = 100)]
pub(super) struct Args {
    /// The settings file; every key can also be set by an environment variable
    #[arg(long, env = "HEADROOM_CONFIG", global = true)]
    pub config: Option<PathBuf>,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the web server, the scheduler and the workers
    Serve(Serve),
    /// Bring the definitions to what a fleet file says
    Apply(Apply),
    /// Print the definitions as a fleet file, secrets as references
    Export,
    /// Read one counter on one node now; nothing is stored
    Sample(Sample),
    /// When a trigger would have fired on the recorded samples, and why not
    Backtest(Backtest),
    /// Run a trigger's steps or a single action
    #[command(subcommand)]
    Run(Run),
    /// List runs, or show one
    Runs(Runs),
    /// What was decided of a trigger, and why
    Decisions(Decisions),
    /// What is wrong, what is about to happen, what just happened
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop triggers or nodes for a time
    #[command(subcommand)]
    Hold(Hold),
    /// What keeps clusters from launching after launches that gave no node
    #[command(subcommand)]
    Breaker(Breaker),
    /// Stop all acting, or let it go on: no run begins or goes on to its next step meanwhile
    Stop(Stop),
    /// People who log in
    #[command(subcommand)]
    User(User),
    /// Keys to the API
    #[command(subcommand)]
    Token(Token),
    /// The master key and what it encrypts
    #[command(subcommand)]
    Vault(Vault),
    /// Scale a service of Docker Compose or Swarm, as remote commands of Zabbix do
    Scale(Scale),
    /// The configuration of a Zabbix server as files, and back
    #[command(subcommand)]
    Zabbix(Zabbix),
    /// Write a backup of the data folder
    Backup {
        /// Folder for the backup [default: backups in the data folder]
        #[arg(long)]
        to: Option<PathBuf>,
    },
    /// Put a backup back into an empty data folder
    Restore {
        /// A file that `headroom backup` wrote
        file: PathBuf,
        /// Replace what the data folder holds
        #[arg(long)]
        force: bool,
    },
    /// Bring the database's tables up to date
    Migrate,
    /// Check everything Headroom depends on, and say how to get what is missing
    Doctor,
}

#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// The parts this process plays
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "web,collect,evaluate,run"
    )]
    pub roles: Vec<Role>,
    /// Do not add the example cluster to an empty data folder
    #[arg(long)]
    pub no_example: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Apply {
    /// The fleet file; `-` reads standard input
    #[arg(short, long)]
    pub file: PathBuf,
    /// Print what would change, write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Also remove what the file does not name
    #[arg(long)]
    pub prune: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Sample {
    /// The node's name
    #[arg(long)]
    pub node: String,
    /// The counter's name
    #[arg(long)]
    pub counter: String,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Backtest {
    /// The trigger's name
    #[arg(long)]
    pub trigger: String,
    /// Begin, RFC 3339 [default: 24 h ago]
    #[arg(long)]
    pub from: Option<chrono::DateTime<chrono::Utc>>,
    /// End, RFC 3339 [default: now]
    #[arg(long)]
    pub to: Option<chrono::DateTime<chrono::Utc>>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Run {
    /// Run a trigger's steps, whatever its counters say
    Trigger {
        /// The trigger's name
        name: String,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        how: RunHow,
    },
    /// Let a step begin that waits for approval
    Approve(Approval),
    /// Never let a step begin that waits for approval; the run does what it does after a failure
    Refuse(Approval),
    /// Run a single action
    Action {
        /// The action's name
        name: String,
        /// `cluster:NAME` or `node:NAME`; actions without a target need none
        #[arg(long)]
        target: Option<String>,
        /// Why
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        how: RunHow,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Approval {
    /// The run's id
    pub run: i64,
    /// The step's name, where several wait
    #[arg(long)]
    pub step: Option<String>,
    /// Why; needed to refuse
    #[arg(long)]
    pub reason: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct RunHow {
    /// Follow the run to its end; exit 1 if it fails
    #[arg(long)]
    pub wait: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Runs {
    /// A run's id
    pub id: Option<i64>,
    /// Only runs in this state
    #[arg(long)]
    pub state: Option<models::RunState>,
    /// At most so many
    #[arg(long, default_value_t = 20)]
    pub limit: i64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Decisions {
    /// The trigger's name
    #[arg(long)]
    pub trigger: String,
    /// At most so many
    #[arg(long, default_value_t = 20)]
    pub limit: i64,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Hold {
    /// Begin a hold
    Add {
        /// What to hold: everything, cluster, trigger or node
        scope: models::HoldScope,
        /// Which one; not for everything
        name: Option<String>,
        /// How long, such as 30m or 2h
        #[arg(long = "for", default_value = "1h")]
        duration: String,
        /// Why
        #[arg(long)]
        reason: String,
    },
    /// List the holds that are in force
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// End a hold early
    Lift {
        /// The hold's id
        id: i64,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Stop {
    /// Stop; why
    #[arg(long, conflicts_with = "lift")]
    pub reason: Option<String>,
    /// How long, such as 2h [default: until it is lifted]
    #[arg(long = "for", requires = "reason")]
    pub duration: Option<String>,
    /// Let it go on
    #[arg(long)]
    pub lift: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What is done to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Direction {
    /// More replicas
    Up,
    /// Fewer replicas
    Down,
    /// List the replicas
    Ps,
}

#[derive(Debug, clap::Args)]
pub(super) struct Scale {
    /// What to do
    pub direction: Direction,
    /// The service
    pub service: String,
    /// How many there are in the eyes of the caller, such as {INVENTORY.DEPLOYMENT.STATUS} [default: as many as the engine has]
    pub current: Option<String>,
    /// How many more or fewer; not without CURRENT [default: 1]
    pub delta: Option<String>,
    /// What runs the service
    #[arg(long, default_value = "compose", value_parser = ["compose", "swarm"])]
    pub driver: String,
    /// The Compose project, or the Swarm stack
    #[arg(long)]
    pub project: Option<String>,
    /// A Compose file; may be given several times [default: /etc/docker/PROJECT/compose.yml]
    #[arg(long)]
    pub file: Vec<String>,
    /// The engine, such as tcp://10.0.0.5:2376 [default: the one that docker uses by itself]
    #[arg(long)]
    pub host: Option<String>,
    /// Never fewer than
    #[arg(long, default_value_t = 0)]
    pub min: u32,
    /// Never more than
    #[arg(long)]
    pub max: Option<u32>,
    /// A folder with ca.pem, cert.pem and key.pem for the engine
    #[arg(long, conflicts_with = "zabbix_certificates")]
    pub tls_dir: Option<PathBuf>,
    /// Take the certificates for the engine from the inventory of the Zabbix host whose alias is the component
    #[arg(long)]
    pub zabbix_certificates: bool,
    /// The alias in that inventory [default: the service]
    #[arg(long)]
    pub component: Option<String>,
    /// How long it may take until the replicas run
    #[arg(long, default_value = "5m")]
    pub timeout: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum Zabbix {
    /// Write the server's configuration into files
    Backup {
        /// The folder [default: zabbix in the data folder]
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Bring the server to what the files say; exit 1 when an object could not be brought there
    Import {
        /// The folder [default: zabbix in the data folder]
        #[arg(long)]
        dir: Option<PathBuf>,
        /// Print what would change, change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum User {
    /// Add a person; the password is asked for, or read from standard input
    Add {
        /// The login name
        name: String,
        /// What they may do
        #[arg(long, default_value = "viewer")]
        role: models::Role,
    },
    /// Set a person's password; asked for, or read from standard input
    Passwd {
        /// The login name
        name: String,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Vault {
    /// Add a master key and encrypt every stored secret anew with it; the old keys' lines may be removed afterwards
    Rotate,
}

#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token and print it once
    Create {
        /// What it may do
        #[arg(long)]
        role: models::Role,
        /// What it is for
        #[arg(long)]
        name: Option<String>,
        /// How long it is good for, such as 90d; never ends if not given
        #[arg(long)]
        expires: Option<String>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_well_formed() {
        super::Args::command().debug_assert();
    }
}
