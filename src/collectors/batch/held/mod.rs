//! Several scripts in a shell that is kept on the node: each is taught once and then named, and runs in a subshell of its own.
//!
//! Quick scripts run one after the other, which costs one process for each and four for all. When this chain is not through in a moment, the
//! shell itself starts those that are left side by side, so that a slow script delays nobody. The chain goes up the list and the shell down,
//! and both draw a ticket for each script: an empty line of descriptor 5, a single byte, which two readers cannot tear apart. There are as many
//! tickets as scripts, so the two meet, and none runs twice. Starting a process is what all this costs a node: the frame itself is made of what
//! the shell has built in.
//!
//! Against forged frames the same holds as for a command of its own (`mod.rs`): the token is only ever an argument of the functions below,
//! and a script is called with arguments of its own. What no frame prevents: of two scripts that run side by side one may write into the output
//! of the other, as any process of their user may (`/proc/PID/fd`). A script whose text could tell a subshell from a shell of its own (`$$`,
//! `$PPID`, traps …) gets a `/bin/sh` of its own.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use crate::clients::ssh::{Inquirer, Known, Listener, Progress, quote};
use crate::collectors::batch::Batch;
use crate::collectors::target::CounterSpec;

/// How long scripts wait for each other.
const PATIENCE: Duration = Duration::from_millis(250);

/// `_hc TOKEN INDEX:NUMBER …`: runs these scripts, as long as descriptor 5 has tickets. Its parts: the scripts, each with a mark before and
/// after it on standard output and one after it on standard error; a reader that tells the first line of standard error; one that tells the
/// first line of standard output, how many there are, and the exit status. Both go by the marks and never wait for a stream to be closed,
/// which a background child may never do.
/// `_hs TOKEN INDEX:NUMBER …`: starts these side by side, as long as there are tickets.
const FUNCTIONS: &str = r#"_hf() { printf '\n%s %s v %s %.200s\n%s %s s %s\n' "$1" "$_hi" $c "$v" "$1" "$_hi" "$2" >&3; _hi=; }
_hc() {
{ { for _ha do case $_ha in *:*)
read -r _hx <&5 || break
_hi=${_ha%:*}
printf '\n%s %s\n' "$1" "$_hi" >&4
(eval "set --;_h${_ha#*:}" 2>&1 >&4 4>&- 5<&- </dev/null); _hr=$?
printf '\n%s %s %s\n' "$1" "$_hi" $_hr
printf '\n%s %s %s\n' "$1" "$_hi" $_hr >&4;;
esac; done; printf '\n%s .\n' "$1"; printf '\n%s .\n' "$1" >&4; } 3>&- | {
e=
while read -r a b c; do case $a in
"$1") [ "$b" != . ] || break
[ "$c$e" = 0 ] || printf '\n%s %s e %.300s\n' "$1" "$b" "$e" >&3
e=;;
?*) [ -n "$e" ] || e="$a $b $c";;
esac; done
} 4>&- 5<&-; } 4>&1 | {
_hi=
while read -r a b s; do case $a in
"$1") [ "$b" != . ] || break
if [ -n "$s" ]; then _hf "$1" "$s"; else _hi=$b c=0 n=0 v=; fi;;
'') n=$((n+1));;
*) c=$((c+1)); [ $c -gt 1 ] || v="$a $b $s"; n=$((n+2+${#a}+${#b}+${#s}));;
esac
[ $n -le 65536 ] || { c=-1; break; }
done
[ -z "$_hi" ] || _hf "$1" '?'
} 5<&- &
_hp="$_hp $!"
}
_hs() { for _ha do case $_ha in *:*)
read -r _hx <&5 || break
_hc "$1" "$_ha" 5<<E

E
;; esac; done; _ha=; }
"#;

/// What a script says that is not the same in a subshell as in a shell of its own.
const OWN_SHELL: [&str; 12] = [
    "$$", "${$", "PPID", "$0", "${0", "$!", "${!", "trap", "exec", "return", "source", "_h",
];

/// A batch of scripts for a held shell.
#[derive(Debug)]
pub(in crate::collectors) struct Held {
    batch: Batch,
    scripts: Vec<(Arc<CounterSpec>, u64)>,
    /// What was asked: each script's index, and the number of the function that it is in the shell.
    list: Vec<String>,
}

impl Held {
    /// A batch of the scripts of these counters.
    pub(in crate::collectors) fn new(token: String, counters: Vec<Arc<CounterSpec>>) -> Self {
        let limits = counters.iter().map(|counter| counter.timeout);
        let mut batch = Batch::new(token, limits);
        batch.queued = PATIENCE;
        let scripts = counters.into_iter().map(|counter| {
            let mut hasher = DefaultHasher::new();
            counter.script().hash(&mut hasher);
            (counter, hasher.finish())
        });
        Self {
            batch,
            scripts: scripts.collect(),
            list: Vec::new(),
        }
    }

    /// What was heard.
    pub(in crate::collectors) fn batch(&self) -> &Batch {
        &self.batch
    }
}

impl Listener for Held {
    fn stdout(&mut self, bytes: &[u8], at: Duration) {
        self.batch.stdout(bytes, at);
    }

    fn stderr(&mut self, bytes: &[u8]) {
        self.batch.stderr(bytes);
    }

    fn limit(&self) -> Duration {
        self.batch.limit()
    }
}

impl Inquirer for Held {
    fn preamble(&self) -> &'static str {
        FUNCTIONS
    }

    fn question(&mut self, known: &mut Known) -> String {
        let mut definitions = String::new();
        // `jobs` forgets what has ended.
        let mut tickets = String::from("jobs;_hp=;exec 5<<E\n");
        self.list.clear();
        for (index, (counter, hash)) in self.scripts.iter().enumerate() {
            let script = counter.script();
            let (number, new) = known.number(*hash, script.len());
            if new {
                definitions.push_str(&definition(number, script));
            }
            tickets.push('\n');
            self.list.push(format!("{index}:{number}"));
        }
        let list = self.list.join(" ");
        format!("{definitions}{tickets}E\n_hc {} {list}\n", self.batch.token)
    }

    fn hurry(&self) -> (Duration, String) {
        let last_first: Vec<&str> = self.list.iter().rev().map(String::as_str).collect();
        let list = last_first.join(" ");
        (PATIENCE, format!("_hs {} {list}\n", self.batch.token))
    }

    fn progress(&self) -> Progress {
        let mut progress = Progress::Complete;
        for slot in &self.batch.scripts {
            match &slot.heard {
                None => return Progress::Open,
                // Why it failed may be told a moment later.
                Some(heard) if slot.complaint.is_none() && heard.account.verdict().is_err() => {
                    progress = Progress::Almost;
                }
                Some(_) => {}
            }
        }
        progress
    }
}

/// A function that is the script. The text is quoted: a broken script breaks nothing else.
fn definition(number: usize, script: &str) -> String {
    let script_text = quote(script);
    if own_shell(script) {
        format!("_h{number}() {{ exec /bin/sh -c {script_text}; }}\n")
    } else {
        format!("_h{number}() {{ eval {script_text}; }}\n")
    }
}

/// Whether a script is one for a shell of its own.
fn own_shell(script: &str) -> bool {
    let sources = || {
        script
            .split(|c: char| c.is_whitespace() || ";&|(){}".contains(c))
            .any(|word| word == ".")
    };
    OWN_SHELL.iter().any(|word| script.contains(word)) || sources()
}

#[cfg(test)]
mod tests;
