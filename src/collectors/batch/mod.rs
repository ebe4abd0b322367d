//! Several scripts in one command on a node: the program that runs them, and the listener that hears its frames.
//!
//! Every script runs in a shell of its own, all at once. Its output never reaches the channel: a reader in front of it keeps what counts and
//! writes one frame, in one `write`, with a fresh random token in every line. A script cannot forge a frame, since it does not know the
//! token (it stands in no argument, variable or file a script inherits), cannot hide one, since the lines of others are passed over, and
//! cannot tear one, since a write this short is atomic. A script that kills the others' shells makes their frames fail to come: they are then
//! run again by themselves (`ssh.rs`).

mod held;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clients::ssh::{Listener, Program, quote};
use crate::collectors::verdict::{Account, End, Printed, quoted};

pub(super) use held::Held;

/// How long the shell may take to end once every script has.
const FAREWELL: Duration = Duration::from_secs(2);
/// A longer line is no frame.
const MAX_LINE: usize = 4096;
/// How much of what is no frame is kept for a message.
const MAX_NOISE: usize = 1024;

/// The functions of the program; `@` stands for the token.
///
/// `r I SCRIPT`: the script's standard error goes to a reader that keeps its first line, its standard output to one that keeps its first
/// line and counts the others. The shell around it adds the exit status at the end of the first stream, the first reader all it knows at the
/// end of the second: neither waits for the streams to be closed, which a background child may never do. `read` is part of the shell: no
/// process is started but the script's own.
const FUNCTIONS: &str = r#"r() {
{ { /bin/sh -c "$2" 2>&1 >&4 3>&- 4>&- 6<&-; printf '\n@ %s\n' $?; } | {
e=; s=?
while read -r l; do case $l in
'@ '*) s=${l#@ }; break;;
?*) [ -n "$e" ] || e=$l;;
esac; done
printf '\n@ %s %.300s\n' "$s" "$e" >&4
}; } 4>&1 | {
c=0; n=0; v=; s=?
while read -r a b; do case $a in
@) s=$b; break;;
'') n=$((n+1));;
*) c=$((c+1)); [ $c -gt 1 ] || v="$a $b"; n=$((n+1+${#a}+${#b}));;
esac
[ $n -le 65536 ] || { c=-1; break; }
done
printf '\n@ %s v %s %.200s\n@ %s s %s\n' "$1" $c "$v" "$1" "$s" >&3
} &
p="$p $!"
}
"#;

/// Ends the process group when the token comes on the standard input, or when that ends: nobody would hear the frames any more.
const WATCHER: &str = r#"{ while read -r x; do [ "$x" = @ ] && break; done <&6; kill -s KILL -- -$$ || kill -s KILL $p; } >/dev/null 2>&1 3>&- &
w=$!
exec 3>&- 6<&-
wait $p
kill -s KILL $w 2>/dev/null
exit 0; }
"#;

/// The program for these scripts; as in `clients/ssh/program.rs`, one compound command is parsed whole before it runs.
pub(super) fn program<'a>(token: &str, scripts: impl IntoIterator<Item = &'a str>) -> Program {
    let mut text = String::from("{ exec 3>&1 6<&0 </dev/null\np=\n");
    text.push_str(&FUNCTIONS.replace('@', token));
    for (index, script) in scripts.into_iter().enumerate() {
        text.push_str(&format!("r {index} {}\n", quote(script)));
    }
    text.push_str(&WATCHER.replace('@', token));
    // A line of its own, whatever a script has written there.
    Program::new(text, format!("\n{token}\n").into_bytes())
}

/// What was heard of one script.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Heard {
    pub(super) account: Account,
    /// After the start of the batch.
    pub(super) at: Duration,
}

/// What was heard of each script of a batch so far, for who does not hold the batch.
#[derive(Debug, Clone, Default)]
pub(super) struct Board(Arc<Mutex<Vec<Option<Heard>>>>);

impl Board {
    pub(super) fn heard(&self) -> Vec<Option<Heard>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn put(&self, index: usize, heard: &Heard) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() <= index {
            all.resize(index + 1, None);
        }
        if let Some(place) = all.get_mut(index) {
            *place = Some(heard.clone());
        }
    }
}

/// Hears the frames of a batch.
#[derive(Debug)]
pub(super) struct Batch {
    token: String,
    board: Board,
    scripts: Vec<Slot>,
    line: Vec<u8>,
    noise: Vec<u8>,
    /// How long a script may have waited for its turn.
    queued: Duration,
}

#[derive(Debug)]
struct Slot {
    limit: Duration,
    printed: Option<Printed>,
    /// In a place of its own: while thousands of nodes are asked, nearly every slot waits without it.
    heard: Option<Box<Heard>>,
    /// The first line of standard error, where that is told in a frame of its own.
    complaint: Option<String>,
}

impl Batch {
    /// A batch of scripts with these time limits.
    pub(super) fn new(token: String, limits: impl IntoIterator<Item = Duration>) -> Self {
        let slot = |limit| Slot {
            limit,
            printed: None,
            heard: None,
            complaint: None,
        };
        Self {
            token,
            board: Board::default(),
            scripts: limits.into_iter().map(slot).collect(),
            line: Vec::new(),
            noise: Vec::new(),
            queued: Duration::ZERO,
        }
    }

    /// Where it is told what was heard, as it is heard.
    pub(super) fn board(&self) -> Board {
        self.board.clone()
    }

    /// What was heard of each script; none where its frame did not come.
    pub(super) fn heard(&self) -> impl Iterator<Item = Option<&Heard>> {
        self.scripts.iter().map(|slot| slot.heard.as_deref())
    }

    /// The first words that were no frame: what a node says that does not run a shell.
    pub(super) fn noise(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.noise);
        let first = text.lines().map(str::trim).find(|line| !line.is_empty())?;
        Some(quoted(first))
    }

    fn frame(&mut self, at: Duration) {
        let line = std::mem::take(&mut self.line);
        let text = String::from_utf8_lossy(&line);
        let framed = text.strip_prefix(self.token.as_str());
        let Some((index, kind, rest)) = framed.and_then(fields) else {
            return self.keep_noise(&line);
        };
        let queued = self.queued;
        let Some(slot) = self.scripts.get_mut(index) else {
            return;
        };
        match kind {
            "v" => slot.printed = printed(rest),
            // The first word on a script is the last: nothing said later undoes a frame.
            "s" if slot.heard.is_none() => {
                slot.heard = slot.printed.take().map(|printed| {
                    let account = account(rest, printed, slot.limit, at.saturating_sub(queued));
                    Box::new(Heard { account, at })
                });
            }
            "e" if slot.complaint.is_none() => slot.complaint = Some(rest.trim().into()),
            _ => {}
        }
        if let (Some(heard), Some(complaint)) = (&mut slot.heard, &slot.complaint) {
            heard.account.complaint.clone_from(complaint);
        }
        if let Some(heard) = &slot.heard {
            self.board.put(index, heard);
        }
    }

    fn keep_noise(&mut self, line: &[u8]) {
        let room = MAX_NOISE.saturating_sub(self.noise.len());
        self.noise.extend(line.iter().chain(b"\n").take(room));
    }
}

impl Listener for Batch {
    fn stdout(&mut self, bytes: &[u8], at: Duration) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (piece, ended) = match piece.split_last() {
                Some((b'\n', line)) => (line, true),
                _ => (piece, false),
            };
            let room = MAX_LINE.saturating_sub(self.line.len());
            self.line.extend(piece.iter().take(room));
            if ended {
                self.frame(at);
            }
        }
    }

    fn stderr(&mut self, bytes: &[u8]) {
        self.keep_noise(bytes);
    }

    /// The longest limit of the scripts that have not been heard of.
    fn limit(&self) -> Duration {
        let missing = self.scripts.iter().filter(|slot| slot.heard.is_none());
        let last = self.heard().flatten().map(|heard| heard.at).max();
        missing
            .map(|slot| slot.limit + self.queued)
            .max()
            .unwrap_or_else(|| last.unwrap_or_default() + FAREWELL)
    }

    fn content(&self) -> bool {
        let told =
            |heard: Option<&Heard>| heard.is_some_and(|heard| heard.account.end != End::Late);
        self.heard().all(told)
    }
}

/// ` INDEX KIND REST` after the token.
fn fields(text: &str) -> Option<(usize, &str, &str)> {
    let (index, rest) = text.strip_prefix(' ')?.split_once(' ')?;
    let (kind, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((index.parse().ok()?, kind, rest))
}

/// `COUNT FIRST`; a count of -1 is too much.
fn printed(text: &str) -> Option<Printed> {
    let (count, first) = text.split_once(' ')?;
    if count == "-1" {
        return Some(Printed::TooMuch);
    }
    let (mut count, first) = (count.parse::<usize>().ok()?, first.trim());
    if first.is_empty() {
        // White space that the shell does not take for such.
        count = count.saturating_sub(1);
    }
    Some(Printed::Lines {
        count,
        first: first.into(),
    })
}

/// `STATUS COMPLAINT`.
fn account(text: &str, printed: Printed, limit: Duration, at: Duration) -> Account {
    let (status, complaint) = text.split_once(' ').unwrap_or((text, ""));
    let end = match status.parse() {
        _ if at > limit => End::Late,
        Ok(status) => End::Status(status),
        Err(_) => End::Killed,
    };
    Account {
        end,
        printed,
        complaint: complaint.trim().into(),
        limit,
    }
}

#[cfg(test)]
mod tests;
