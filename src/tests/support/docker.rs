//! A Docker engine of a test's own, and a small image made from busybox.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Output, Stdio};
use std::time::Duration;
use std::{env, thread};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::{disk, ports, tools, wait};

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(60);
/// The image that every engine has.
pub const IMAGE: &str = "headroom-test:1";
/// What its folder is called, before the process that it belongs to.
const PREFIX: &str = "headroom-docker-";

/// A running engine; stopped with its containers and gone with its mounts when dropped.
pub struct Docker {
    folder: TempDir,
    server: Option<Child>,
    tcp: Option<u16>,
}

impl Docker {
    /// Starts one that listens on a socket.
    pub fn start() -> Self {
        Self::start_with(None)
    }

    /// Starts one that also listens on TCP, to clients with a certificate of its own CA.
    pub fn start_tls() -> Self {
        Self::start_with(Some(ports::free()))
    }

    fn start_with(tcp: Option<u16>) -> Self {
        clear_dead(&env::temp_dir());
        let folder = TempDir::with_prefix(format!("{PREFIX}{}-", process::id())).unwrap();
        let mut docker = Self {
            folder,
            server: None,
            tcp,
        };
        if tcp.is_some() {
            docker.make_certificates();
        }
        docker.run();
        docker.make_image();
        docker
    }

    fn run(&mut self) {
        let folder = self.folder.path().to_owned();
        let place = |name: &str| folder.join(name).display().to_string();
        let log = File::create(place("log")).unwrap();
        let mut command = Command::new("dockerd");
        command.args([
            "--host",
            &self.host(),
            "--data-root",
            &place("data"),
            "--exec-root",
            &place("exec"),
            "--pidfile",
            &place("pid"),
        ]);
        // Touches no rule of the machine's firewall.
        command.args([
            "--iptables=false",
            "--ip-forward=false",
            "--ip-masq=false",
            "--bridge=none",
        ]);
        if let Some(port) = self.tcp {
            command.args([
                "--host",
                &format!("tcp://127.0.0.1:{port}"),
                "--tlsverify",
                "--tlscacert",
                &place("ca.pem"),
            ]);
            command.args([
                "--tlscert",
                &place("server-cert.pem"),
                "--tlskey",
                &place("server-key.pem"),
            ]);
        }
        let server = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.server = Some(server.expect("no dockerd: run `scripts/setup test` once"));
        wait::until("dockerd to answer", START_LIMIT, || {
            let ended = self.server.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none(),
                "dockerd ended at once: {}",
                fs::read_to_string(place("log")).unwrap()
            );
            self.try_docker(&["version"]).status.success().then_some(())
        });
    }

    /// The address of its socket.
    pub fn host(&self) -> String {
        format!("unix://{}", self.folder.path().join("socket").display())
    }

    /// The address for clients with a certificate.
    pub fn tls_host(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.tcp.unwrap())
    }

    /// A file in its temp folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn try_docker(&self, words: &[&str]) -> Output {
        Command::new("docker")
            .args(words)
            .env("DOCKER_HOST", self.host())
            .output()
            .unwrap()
    }

    /// What `docker` prints; it must succeed.
    pub fn docker(&self, words: &[&str]) -> String {
        let output = self.try_docker(words);
        assert!(
            output.status.success(),
            "docker {words:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes a Compose file with two services, `worker` as the text says and `web`.
    pub fn compose_file(&self, worker: &str) -> PathBuf {
        let service = |name: &str, more: &str| {
            format!(
                "  {name}:\n    image: {IMAGE}\n    network_mode: none\n    stop_grace_period: 0s\n    command: [\"sleep\", \"100000\"]\n{more}"
            )
        };
        let file = self.file("compose.yml");
        fs::write(
            &file,
            format!(
                "version: '3.7'\nservices:\n{}{}",
                service("worker", worker),
                service("web", "")
            ),
        )
        .unwrap();
        file
    }

    /// Containers of a service that run.
    pub fn running(&self, service: &str) -> usize {
        self.docker(&[
            "ps",
            "--quiet",
            "--filter",
            &format!("label=com.docker.compose.service={service}"),
        ])
        .lines()
        .count()
    }

    /// Ends the engine as a crash would, with its containers.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    fn make_image(&self) {
        let root = self.file("image");
        for folder in ["bin", "etc", "tmp", "proc", "sys", "dev"] {
            fs::create_dir_all(root.join(folder)).unwrap();
        }
        fs::copy("/bin/busybox", root.join("bin/busybox"))
            .expect("no busybox: run `scripts/setup test` once");
        for applet in ["sh", "sleep", "true", "false", "test"] {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let tar = self.file("image.tar");
        let packed = Command::new("tar")
            .arg("-C")
            .arg(&root)
            .args(["-cf"])
            .arg(&tar)
            .arg(".")
            .status()
            .unwrap();
        assert!(packed.success());
        self.docker(&[
            "import",
            "--change",
            "ENV PATH=/bin",
            tar.to_str().unwrap(),
            IMAGE,
        ]);
    }

    fn make_certificates(&self) {
        let script = r#"
            openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout ca-key.pem -out ca.pem -subj /CN=test-ca -addext basicConstraints=critical,CA:TRUE
            for name in server client; do
              openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $name-key.pem -out $name.csr -subj /CN=localhost
              printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=%sAuth\n' $name >ext
              openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -out $name-cert.pem -extfile ext
            done"#;
        let made = Command::new("/bin/sh")
            .args(["-ec", script])
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        assert!(
            made.status.success(),
            "{}",
            String::from_utf8_lossy(&made.stderr)
        );
    }
}

impl Docker {
    fn stop(&mut self) {
        if self.server.is_none() {
            // Killed: a new one takes up its containers, so that they can be removed.
            drop(fs::remove_file(self.file("pid")));
            self.run();
        }
        let all = self.try_docker(&["ps", "--all", "--quiet"]);
        let ids = String::from_utf8_lossy(&all.stdout).into_owned();
        let swarm = self.try_docker(&["swarm", "leave", "--force"]);
        drop(swarm);
        let words: Vec<&str> = ["rm", "--force"].into_iter().chain(ids.lines()).collect();
        drop(self.try_docker(&words));
        let Some(server) = &mut self.server else {
            return;
        };
        kill(
            Pid::from_raw(i32::try_from(server.id()).unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        wait::until("dockerd to end", STOP_LIMIT, || server.try_wait().unwrap());
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        let stopped = catch_unwind(AssertUnwindSafe(|| self.stop()));
        // It leaves the namespace of the host's network mounted, and its data where it had been killed: no folder goes with a mount in it.
        disk::unmount_below(self.folder.path());
        if let Err(cause) = stopped
            && !thread::panicking()
        {
            resume_unwind(cause);
        }
    }
}

/// Removes what engines left whose test was killed and could not stop them.
pub fn clear_dead(place: &Path) {
    for folder in fs::read_dir(place).unwrap().flatten() {
        let (name, folder) = (folder.file_name(), folder.path());
        let name = name.to_string_lossy();
        let owner = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_once('-'));
        let Some((owner, _)) = owner else { continue };
        let engine = fs::read_to_string(folder.join("pid")).unwrap_or_default();
        let alive = |id: &str| !id.is_empty() && Path::new("/proc").join(id).exists();
        if !alive(owner) && !alive(engine.trim()) {
            disk::unmount_below(&folder);
            // Another test may do the same at this moment.
            drop(fs::remove_dir_all(folder));
        }
    }
}

/// The program of Compose v2.
pub fn compose_v2() -> PathBuf {
    let folder = tools::tool("actions-venv/lib");
    let python = fs::read_dir(folder)
        .unwrap()
        .flatten()
        .next()
        .unwrap()
        .path();
    executable(&python.join("site-packages/compose/docker-compose"))
}

/// The program of Compose v1.
pub fn compose_v1() -> PathBuf {
    executable(Path::new("/usr/bin/docker-compose"))
}

fn executable(path: &Path) -> PathBuf {
    let mode = fs::metadata(path)
        .map(|file| file.permissions().mode())
        .unwrap_or_default();
    assert!(
        mode & 0o111 != 0,
        "{} is missing: run `scripts/setup test` once",
        path.display()
    );
    path.to_owned()
}
