//! A real sshd of a test's own, on several loopback addresses, and hosts that behave badly.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use super::{ports, wait};

/// The user that tests log in as; its shell starts fast.
pub const USER: &str = "headroom-test";
/// A user whose scripts may kill whatever is theirs, other tests do not log in as.
pub const HOSTILE_USER: &str = "headroom-hostile";
/// A user for whom [`Sudo`] is allowed for a while.
pub const SUDO_USER: &str = "headroom-sudo";
/// A user for each login shell that is none of POSIX, or another one than Debian's.
pub const SHELL_USERS: [(&str, &str); 4] = [
    ("headroom-tcsh", "/bin/tcsh"),
    ("headroom-fish", "/usr/bin/fish"),
    ("headroom-bash", "/bin/bash"),
    // Under this name busybox is a shell.
    ("headroom-ash", "/usr/local/lib/headroom-test/ash"),
];
const START_LIMIT: Duration = Duration::from_secs(20);
static MADE_USER: Once = Once::new();

/// A running sshd; stopped with its sessions when dropped.
pub struct Sshd {
    folder: TempDir,
    port: u16,
    addresses: Vec<Ipv4Addr>,
    server: Option<Child>,
    settings: String,
}

impl Sshd {
    /// Starts one on `127.0.0.1` to `127.0.0.<count>`, all at one free port. OpenSSH takes sixteen addresses at most.
    pub fn start(count: u8) -> Self {
        Self::start_with(count, "")
    }

    /// As [`Sshd::start`], with more lines of sshd_config in front.
    pub fn start_with(count: u8, settings: &str) -> Self {
        assert!((1..=16).contains(&count), "sshd takes 1 to 16 addresses");
        make_user();
        let folder = TempDir::with_prefix("headroom-sshd-").unwrap();
        // The login user reads its keys.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut sshd = Self {
            port: ports::free(),
            addresses: (1..=count)
                .map(|last| Ipv4Addr::new(127, 0, 0, last))
                .collect(),
            server: None,
            settings: settings.to_owned(),
            folder,
        };
        sshd.make_key("host");
        sshd.make_key("user");
        fs::copy(sshd.file("user.pub"), sshd.file("authorized_keys")).unwrap();
        sshd.run();
        sshd
    }

    /// The port of every address.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The addresses it listens on.
    pub fn addresses(&self) -> Vec<String> {
        self.addresses.iter().map(ToString::to_string).collect()
    }

    /// The private key that may log in.
    pub fn key_file(&self) -> PathBuf {
        self.file("user")
    }

    /// The text of the private key that may log in.
    pub fn key(&self) -> String {
        fs::read_to_string(self.key_file()).unwrap()
    }

    /// The public half of the key that may log in, as `ssh-ed25519 AAAA… user`.
    pub fn public_key(&self) -> String {
        fs::read_to_string(self.file("user.pub")).unwrap()
    }

    /// The public host key, as `ssh-ed25519 AAAA…`.
    pub fn host_key(&self) -> String {
        let line = fs::read_to_string(self.file("host.pub")).unwrap();
        line.split(' ').take(2).collect::<Vec<_>>().join(" ")
    }

    /// known_hosts lines for every address.
    pub fn known_hosts(&self) -> String {
        let lines = self
            .addresses
            .iter()
            .map(|address| format!("[{address}]:{} {}\n", self.port, self.host_key()));
        lines.collect()
    }

    /// A key that may not log in.
    pub fn stranger(&self) -> String {
        self.make_key("stranger");
        fs::read_to_string(self.file("stranger")).unwrap()
    }

    /// Makes a new host key; counts from the next [`Sshd::restart`].
    pub fn change_host_key(&self) {
        self.make_key("host");
    }

    /// Stops the server with all its sessions.
    pub fn stop(&mut self) {
        let Some(mut server) = self.server.take() else {
            return;
        };
        // Sessions outlive their listener.
        let mut family = vec![server.id()];
        let mut next = 0;
        while let Some(pid) = family.get(next).copied() {
            family.extend(children(pid));
            next += 1;
        }
        for pid in family {
            signal(pid, nix::sys::signal::Signal::SIGKILL);
        }
        server.wait().unwrap();
    }

    /// Starts it again after [`Sshd::stop`], on the same addresses and port.
    pub fn restart(&mut self) {
        self.stop();
        self.run();
    }

    /// Freezes the sessions that are open now: connections stay, nothing answers.
    pub fn freeze_sessions(&self) {
        for pid in self.sessions() {
            signal(pid, nix::sys::signal::Signal::SIGSTOP);
        }
    }

    /// The processes of open sessions.
    pub fn sessions(&self) -> Vec<u32> {
        let mut sessions = children(self.server.as_ref().unwrap().id());
        let mut next = 0;
        while let Some(pid) = sessions.get(next).copied() {
            sessions.extend(children(pid));
            next += 1;
        }
        sessions
    }

    /// How many connections have logged in since the start.
    pub fn logins(&self) -> usize {
        let log = fs::read_to_string(self.file("log")).unwrap_or_default();
        log.matches("Accepted publickey").count()
    }

    /// What it has logged since the start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// A place that the login user may write to.
    pub fn scratch(&self) -> PathBuf {
        let place = self.file("scratch");
        fs::create_dir_all(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o777)).unwrap();
        place
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn make_key(&self, name: &str) {
        let file = self.file(name);
        drop(fs::remove_file(&file));
        run(Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"])
            .arg(file));
    }

    fn run(&mut self) {
        fs::create_dir_all("/run/sshd").unwrap();
        let folder = self.folder.path().display();
        let listen: String = self
            .addresses
            .iter()
            .map(|address| format!("ListenAddress {address}:{}\n", self.port))
            .collect();
        let config = format!(
            "{}\n{listen}HostKey {folder}/host\nPidFile none\nAuthorizedKeysFile {folder}/authorized_keys\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nUsePAM no\nStrictModes no\nMaxStartups 3000\n\
             MaxSessions 100\nLoginGraceTime 300\nUseDNS no\nPrintMotd no\nLogLevel INFO\n",
            self.settings
        );
        fs::write(self.file("sshd_config"), config).unwrap();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.file("log"))
            .unwrap();
        let server = Command::new("/usr/sbin/sshd")
            .args(["-D", "-e", "-f"])
            .arg(self.file("sshd_config"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let server = self.server.insert(server);
        let (port, log) = (self.port, self.folder.path().join("log"));
        for address in &self.addresses {
            wait::until("sshd to listen", START_LIMIT, || {
                let ended = server.try_wait().unwrap();
                let log = || fs::read_to_string(&log).unwrap_or_default();
                assert!(ended.is_none(), "sshd ended at once: {}", log());
                TcpStream::connect((*address, port)).ok().map(drop)
            });
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Lets [`SUDO_USER`] become root without a password, until it is dropped.
pub struct Sudo(());

impl Sudo {
    const RULE: &str = "/etc/sudoers.d/headroom-test";

    pub fn allow() -> Self {
        let made = fs::write(
            Self::RULE,
            format!("{SUDO_USER} ALL=(root) NOPASSWD: ALL\n"),
        );
        made.unwrap();
        Self(())
    }
}

impl Drop for Sudo {
    fn drop(&mut self) {
        fs::remove_file(Self::RULE).unwrap();
    }
}

/// A host that accepts connections and then behaves badly.
pub struct BadHost {
    address: SocketAddr,
}

/// How a [`BadHost`] behaves.
#[derive(Clone, Copy)]
pub enum Manners {
    /// Says nothing.
    Silent,
    /// Greets as sshd does, then says nothing.
    GreetsOnly,
    /// Says something that is no SSH.
    Garbage,
    /// Hangs up at once.
    HangsUp,
}

impl BadHost {
    /// Starts one; it ends with the test process.
    pub fn start(manners: Manners) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let said: &[u8] = match manners {
                    Manners::Silent => b"",
                    Manners::GreetsOnly => b"SSH-2.0-OpenSSH_9.2\r\n",
                    Manners::Garbage => b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
                    Manners::HangsUp => continue,
                };
                drop(stream.write_all(said));
                if !matches!(manners, Manners::Garbage) {
                    held.push(stream);
                }
            }
        });
        Self { address }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

fn make_user() {
    MADE_USER.call_once(|| {
        for name in [USER, HOSTILE_USER, SUDO_USER] {
            make_user_with(name, "/bin/dash");
        }
    });
}

/// Makes the users of [`SHELL_USERS`], where they are not there yet.
pub fn make_shell_users() {
    for (name, shell) in SHELL_USERS {
        if let Some(folder) = shell.strip_suffix("/ash") {
            fs::create_dir_all(folder).unwrap();
            // Another test may be making it at this moment.
            drop(std::os::unix::fs::symlink("/bin/busybox", shell));
        }
        make_user_with(name, shell);
    }
}

fn make_user_with(name: &str, shell: &str) {
    let exists = || nix::unistd::User::from_name(name).unwrap().is_some();
    if exists() {
        return;
    }
    // Tests are processes of their own: another one may be making it at this moment.
    let made = Command::new("useradd")
        .args(["-m", "-s", shell, "-p", "*", name])
        .output()
        .unwrap();
    wait::until(&format!("user {name}: {made:?}"), START_LIMIT, || {
        exists().then_some(())
    });
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn children(parent: u32) -> Vec<u32> {
    let parent = parent.to_string();
    let pids = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            // After the command's name in brackets: state, parent.
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            (fields.nth(1)? == parent).then_some(pid)
        });
    pids.collect()
}

fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
    match nix::sys::signal::kill(pid, signal) {
        // It may have ended by itself meanwhile.
        Ok(()) | Err(nix::errno::Errno::ESRCH) => {}
        Err(cause) => panic!("signal {signal} to {pid}: {cause}"),
    }
}
