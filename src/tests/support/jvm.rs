//! Real JVMs with remote JMX on loopback ports, built from the Java sources in `tests/jmx/` and stopped by pid.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::{ports, wait};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/jmx");
const LIBRARIES: &str = "/usr/share/java/jolokia-core.jar:/usr/share/java/json-simple.jar";
const TOMCAT: &str = "/usr/share/tomcat10";
const START_LIMIT: Duration = Duration::from_secs(60);
/// The key stores' own.
const STORE_PASSWORD: &str = "changeit";

/// The user and the password that a JVM with logins knows.
pub const LOGIN: (&str, &str) = ("monitorRole", "s3cret");

/// What a JVM asks of those who connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing.
    Plain,
    /// A login.
    Password,
    /// TLS.
    Tls,
    /// TLS, and a registry without it, on a port of its own.
    PlainRegistry,
    /// A login, over TLS.
    PasswordOverTls,
}

impl Mode {
    /// Whether it asks for [`LOGIN`].
    pub fn wants_login(self) -> bool {
        matches!(self, Self::Password | Self::PasswordOverTls)
    }

    /// Whether its JMX server speaks TLS.
    pub fn is_encrypted(self) -> bool {
        matches!(
            self,
            Self::Tls | Self::PlainRegistry | Self::PasswordOverTls
        )
    }
}

/// A running JVM.
pub struct Jvm {
    child: Child,
    mode: Mode,
    arguments: Vec<String>,
    folder: TempDir,
    /// Of the registry.
    pub port: u16,
    /// Of the other server in it: Tomcat's HTTP or Jolokia.
    pub http_port: u16,
}

impl Jvm {
    /// The tests' own program.
    pub fn start(mode: Mode) -> Self {
        Self::target(mode, None, &[])
    }

    /// The tests' own program, in a JVM that tells its true address, so that Java finds it too.
    pub fn truthful(mode: Mode) -> Self {
        // Of two, the later counts.
        let own = "-Djava.rmi.server.hostname=127.0.0.1".to_owned();
        Self::target(mode, None, &[own])
    }

    /// The tests' own program, with a Jolokia agent that asks for a login.
    pub fn with_jolokia() -> Self {
        Self::target(Mode::Plain, Some(ports::free()), &[])
    }

    /// The tests' own program, in a JVM that lets go of a login that was not renewed for so long.
    pub fn with_leases_of(lease: Duration) -> Self {
        let lease = format!("-Djava.rmi.dgc.leaseValue={}", lease.as_millis());
        Self::target(Mode::Plain, None, &[lease])
    }

    fn target(mode: Mode, jolokia: Option<u16>, more: &[String]) -> Self {
        let folder = TempDir::with_prefix("headroom-jvm-").unwrap();
        let port = ports::free();
        let mut arguments = options(mode, port, folder.path());
        arguments.extend_from_slice(more);
        let mut class_path = classes().display().to_string();
        if let Some(port) = jolokia {
            let (user, password) = LOGIN;
            class_path = format!("{class_path}:{LIBRARIES}");
            let jar = agent_jar(folder.path());
            arguments.push(format!(
                "-javaagent:{}={port}:{user}:{password}",
                jar.display()
            ));
        }
        arguments.extend(["-cp".to_owned(), class_path, "Target".to_owned()]);
        let http_port = jolokia.unwrap_or_default();
        Self::run(mode, arguments, folder, port, http_port)
    }

    /// Debian's Tomcat.
    pub fn tomcat() -> Self {
        let folder = TempDir::with_prefix("headroom-tomcat-").unwrap();
        let base = folder.path();
        for part in ["conf", "logs", "temp", "work", "webapps/ROOT"] {
            fs::create_dir_all(base.join(part)).unwrap();
        }
        for file in ["web.xml", "context.xml", "catalina.properties"] {
            let from = format!("{TOMCAT}/etc/{file}");
            fs::copy(&from, base.join("conf").join(file))
                .unwrap_or_else(|cause| panic!("{from}: {cause}; run `scripts/setup test` once"));
        }
        let (port, http_port) = (ports::free(), ports::free());
        let server = format!(
            r#"<Server port="-1"><Service name="Catalina"><Connector port="{http_port}" address="127.0.0.1" protocol="HTTP/1.1" maxThreads="20"/>
<Engine name="Catalina" defaultHost="localhost"><Host name="localhost" appBase="webapps" autoDeploy="false"/></Engine></Service></Server>"#
        );
        fs::write(base.join("conf/server.xml"), server).unwrap();
        let mut arguments = options(Mode::Plain, port, base);
        arguments.extend([
            format!("-Dcatalina.home={TOMCAT}"),
            format!("-Dcatalina.base={}", base.display()),
            format!("-Djava.io.tmpdir={}", base.join("temp").display()),
            "--add-opens=java.base/java.lang=ALL-UNNAMED".to_owned(),
            "-cp".to_owned(),
            format!("{TOMCAT}/bin/bootstrap.jar:{TOMCAT}/bin/tomcat-juli.jar"),
            "org.apache.catalina.startup.Bootstrap".to_owned(),
            "start".to_owned(),
        ]);
        let tomcat = Self::run(Mode::Plain, arguments, folder, port, http_port);
        wait::until("Tomcat to answer", START_LIMIT, || {
            TcpStream::connect(("127.0.0.1", http_port)).ok()
        });
        tomcat
    }

    fn run(mode: Mode, arguments: Vec<String>, folder: TempDir, port: u16, http_port: u16) -> Self {
        let child = spawn(&arguments, folder.path());
        let mut jvm = Self {
            child,
            mode,
            arguments,
            folder,
            port,
            http_port,
        };
        jvm.wait();
        jvm
    }

    fn wait(&mut self) {
        wait::until("a JVM to answer", START_LIMIT, || {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the JVM ended at once ({ended:?}):\n{log}");
            TcpStream::connect(("127.0.0.1", self.port)).ok()?;
            let tomcat = self.arguments.iter().any(|argument| argument == "start");
            (tomcat || log.contains("ready")).then_some(())
        });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The same JVM once more, on the same ports.
    pub fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.arguments, self.folder.path());
        self.wait();
    }

    /// Stops it in the middle of everything, as a machine without memory does; returns when its last thread stands still.
    pub fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
        let tasks = format!("/proc/{}/task", self.child.id());
        wait::until("every thread to stand still", START_LIMIT, || {
            let mut threads = fs::read_dir(&tasks).unwrap().flatten();
            threads
                .all(|thread| {
                    fs::read_to_string(thread.path().join("stat")).is_ok_and(|stat| {
                        stat.rsplit(')')
                            .next()
                            .is_some_and(|rest| rest.starts_with(" T"))
                    })
                })
                .then_some(())
        });
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    fn signal(&self, signal: Signal) {
        kill(
            Pid::from_raw(i32::try_from(self.child.id()).unwrap()),
            signal,
        )
        .unwrap();
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    /// What a Java program must know of the login, and of whom to trust.
    fn credentials_for_java(&self) -> Vec<String> {
        let mut options = Vec::new();
        if self.mode.wants_login() {
            let (user, password) = LOGIN;
            options.push(format!("-Dreader.user={user}"));
            options.push(format!("-Dreader.password={password}"));
        }
        if self.mode.is_encrypted() {
            let store = trust_store(self.folder.path(), &self.certificate());
            options.push(format!("-Djavax.net.ssl.trustStore={}", store.display()));
            options.push(format!(
                "-Djavax.net.ssl.trustStorePassword={STORE_PASSWORD}"
            ));
        }
        options
    }

    /// What a Java program reads: MBean, attribute and the names within a composite, parted by slashes. The last line is the number of MBeans.
    /// The JVM must be plain or truthful: Java goes where it says that it is.
    pub fn read_by_java(&self, asked: &[(&str, &str, &str)]) -> Vec<String> {
        let url = format!(
            "service:jmx:rmi:///jndi/rmi://127.0.0.1:{}/jmxrmi",
            self.port
        );
        let mut command = Command::new("java");
        command.args(["-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
        command.args(self.credentials_for_java());
        command.arg("-cp").arg(classes()).args(["Reader", &url]);
        for (mbean, attribute, path) in asked {
            command.args([mbean, attribute, path]);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(arguments: &[String], folder: &Path) -> Child {
    let log = File::create(folder.join("log")).unwrap();
    Command::new("java")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .expect("no java: run `scripts/setup test` once")
}

/// Few threads and a small heap: several JVMs share the machine with everything else.
fn options(mode: Mode, port: u16, folder: &Path) -> Vec<String> {
    let rmi_port = if mode == Mode::PlainRegistry {
        ports::free()
    } else {
        port
    };
    let mut options: Vec<String> = [
        "-Xmx64m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Dcom.sun.management.jmxremote.host=127.0.0.1",
    ]
    .map(str::to_owned)
    .to_vec();
    // What a JVM says of its own address is often wrong; Java believes it, so that only the plain one tells the truth here, and
    // one that is told to.
    let own = if mode == Mode::Plain {
        "127.0.0.1"
    } else {
        "192.0.2.1"
    };
    options.push(format!("-Djava.rmi.server.hostname={own}"));
    let mut set = |name: &str, value: &dyn std::fmt::Display| {
        options.push(format!("-Dcom.sun.management.jmxremote.{name}={value}"));
    };
    set("port", &port);
    set("rmi.port", &rmi_port);
    set("authenticate", &mode.wants_login());
    let tls = mode.is_encrypted();
    set("ssl", &tls);
    set("registry.ssl", &(tls && mode != Mode::PlainRegistry));
    if mode.wants_login() {
        let (users, rights) = (folder.join("users"), folder.join("rights"));
        let (user, password) = LOGIN;
        fs::write(&users, format!("{user} {password}\n")).unwrap();
        fs::write(&rights, format!("{user} readonly\n")).unwrap();
        let mut private = fs::metadata(&users).unwrap().permissions();
        std::os::unix::fs::PermissionsExt::set_mode(&mut private, 0o600);
        fs::set_permissions(&users, private).unwrap();
        set("password.file", &users.display());
        set("access.file", &rights.display());
    }
    if tls {
        let store = key_store(folder);
        options.push(format!("-Djavax.net.ssl.keyStore={}", store.display()));
        options.push(format!("-Djavax.net.ssl.keyStorePassword={STORE_PASSWORD}"));
    }
    options
}

/// A key with a certificate that signs itself, as most JVMs have.
fn key_store(folder: &Path) -> PathBuf {
    let store = folder.join("keys.p12");
    let pair = [
        "-genkeypair",
        "-keyalg",
        "EC",
        "-dname",
        "CN=localhost",
        "-ext",
        "san=ip:127.0.0.1",
        "-validity",
        "30",
        "-storetype",
        "PKCS12",
    ];
    keytool(&store, &pair);
    let certificate = folder.join("certificate.pem");
    let file = certificate.to_str().unwrap();
    keytool(&store, &["-exportcert", "-rfc", "-file", file]);
    store
}

/// What Java needs in order to trust a certificate; made anew each time.
fn trust_store(folder: &Path, certificate: &Path) -> PathBuf {
    let store = folder.join("trust.p12");
    fs::remove_file(&store).ok();
    let file = certificate.to_str().unwrap();
    let import = [
        "-importcert",
        "-noprompt",
        "-file",
        file,
        "-storetype",
        "PKCS12",
    ];
    keytool(&store, &import);
    store
}

fn keytool(store: &Path, arguments: &[&str]) {
    let made = Command::new("keytool")
        .args(arguments)
        .args(["-alias", "jmx", "-storepass", STORE_PASSWORD, "-keystore"])
        .arg(store)
        .output();
    let made = made.unwrap();
    let said = String::from_utf8_lossy(&made.stdout);
    assert!(made.status.success(), "keytool: {said}");
}

/// The compiled sources; compiled once for all tests of a build.
fn classes() -> PathBuf {
    let mut sources: Vec<PathBuf> = fs::read_dir(SOURCES)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "java"))
        .collect();
    sources.sort();
    let mut hash = Sha256::new();
    for source in &sources {
        hash.update(fs::read(source).unwrap());
    }
    let name = format!("jmx-{}", &hex::encode(hash.finalize())[..16]);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    if !place.exists() {
        let fresh = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let compiled = Command::new("javac")
            .args(["-cp", LIBRARIES, "-d"])
            .arg(fresh.path())
            .args(&sources)
            .output()
            .expect("no javac: run `scripts/setup test` once");
        let said = String::from_utf8_lossy(&compiled.stderr);
        assert!(compiled.status.success(), "javac: {said}");
        // Another test may have been quicker: its folder holds the same.
        if fs::rename(fresh.path(), &place).is_err() {
            assert!(place.exists(), "{} cannot be made", place.display());
        }
    }
    place
}

fn agent_jar(folder: &Path) -> PathBuf {
    let (jar, manifest) = (folder.join("agent.jar"), folder.join("manifest"));
    fs::write(&manifest, "Premain-Class: JolokiaAgent\n").unwrap();
    let made = Command::new("jar")
        .arg("cfm")
        .args([&jar, &manifest])
        .output();
    let made = made.expect("no jar: run `scripts/setup test` once");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "jar: {said}");
    jar
}
