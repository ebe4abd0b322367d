//! A real Zabbix of a test's own: PostgreSQL with Debian's schema, and the front end under PHP.
//!
//! The schema takes half a minute to load and Zabbix' 300 templates are more than a test needs, so the first test that wants a Zabbix makes a
//! dump with a few of them, and keeps it in the tools folder; every Zabbix after that starts in three seconds.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use actix_web::web::{Bytes, Data, PayloadConfig, post};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use headroom::clients::zabbix::Zabbix as Client;
use headroom::config::{Zabbix as Access, ZabbixLogin};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::postgres::Postgres;
use super::{ports, tools, wait};

const START_LIMIT: Duration = Duration::from_secs(60);
const SCHEMA: &str = "/usr/share/zabbix-server-pgsql";
const FRONT_END: &str = "/usr/share/zabbix";
/// The templates that are kept: two that build on others, as the host "Zabbix server" uses them.
const KEPT: [&str; 4] = [
    "Zabbix server health",
    "Linux by Zabbix agent",
    "ICMP Ping",
    "HTTP Service",
];

/// A running Zabbix; stopped when dropped.
pub struct Zabbix {
    folder: TempDir,
    database: Postgres,
    php: Option<Child>,
    port: u16,
}

impl Zabbix {
    /// Starts one with the few templates.
    pub async fn start() -> Self {
        let cache = cache().await;
        let zabbix = Self::empty();
        let restored = zabbix
            .program("pg_restore")
            .args(["--no-owner", "--dbname", &zabbix.database.url()])
            .arg(cache.join("site.dump"))
            .output();
        succeeded(&restored.unwrap());
        zabbix.serve(&cache)
    }

    fn empty() -> Self {
        Self {
            folder: TempDir::with_prefix("headroom-zabbix-").unwrap(),
            database: Postgres::start(),
            php: None,
            port: ports::free(),
        }
    }

    fn program(&self, name: &str) -> Command {
        Command::new(tools::postgres(name))
    }

    fn serve(mut self, cache: &Path) -> Self {
        let settings = self.folder.path().join("settings.php");
        let database = self.database.port();
        let text = format!(
            "<?php\n$DB['TYPE']='POSTGRESQL'; $DB['SERVER']='127.0.0.1'; $DB['PORT']='{database}'; $DB['DATABASE']='postgres'; $DB['USER']='headroom'; \
             $DB['PASSWORD']=''; $DB['SCHEMA']=''; $DB['ENCRYPTION']=false; $DB['KEY_FILE']=''; $DB['CERT_FILE']=''; $DB['CA_FILE']=''; \
             $DB['VERIFY_HOST']=false; $DB['CIPHER_LIST']=''; $DB['VAULT_URL']=''; $DB['VAULT_DB_PATH']=''; $DB['VAULT_TOKEN']=''; \
             $DB['DOUBLE_IEEE754']=true; $ZBX_SERVER='127.0.0.1'; $ZBX_SERVER_PORT='1'; $ZBX_SERVER_NAME='test'; $IMAGE_FORMAT_DEFAULT=IMAGE_FORMAT_PNG;\n"
        );
        fs::write(&settings, text).unwrap();
        let log = File::create(self.folder.path().join("log")).unwrap();
        let php = Command::new("php")
            .args([
                "-d",
                "post_max_size=64M",
                "-d",
                "max_execution_time=300",
                "-d",
                "memory_limit=512M",
            ])
            // This PHP is newer than this Zabbix and warns of what will go some day.
            .args([
                "-d",
                "error_reporting=22519",
                "-d",
                "display_errors=0",
                "-S",
                &format!("127.0.0.1:{}", self.port),
                "-t",
            ])
            .arg(cache.join("web"))
            .env("HEADROOM_TEST_ZABBIX_SETTINGS", &settings)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.php = Some(php.expect("no php: run `scripts/setup test` once"));
        wait::until("PHP to listen", START_LIMIT, || {
            std::net::TcpStream::connect(("127.0.0.1", self.port))
                .ok()
                .map(drop)
        });
        self
    }

    /// The address of the front end.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// How to log in.
    pub fn access(&self) -> Access {
        let login = ZabbixLogin::Password {
            user: "Admin".into(),
            password: "zabbix".to_owned().into(),
        };
        Access {
            url: self.url(),
            login,
            ca_file: None,
        }
    }

    /// Logs in.
    pub async fn client(&self) -> Client {
        Client::connect(&self.access(), START_LIMIT).await.unwrap()
    }

    /// Runs a statement in its database.
    pub fn sql(&self, statement: &str) -> String {
        let output = self
            .program("psql")
            .args([
                &self.database.url(),
                "-qAt",
                "-v",
                "ON_ERROR_STOP=1",
                "-c",
                statement,
            ])
            .output()
            .unwrap();
        succeeded(&output);
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Zabbix {
    fn drop(&mut self) {
        if let Some(php) = &mut self.php {
            php.kill().ok();
            php.wait().ok();
        }
    }
}

/// The front end and the dump, made by whichever test comes first.
async fn cache() -> PathBuf {
    let schema = Path::new(SCHEMA).join("schema.sql.gz");
    assert!(
        schema.exists(),
        "{} is missing: run `scripts/setup test` once",
        schema.display()
    );
    let age = fs::metadata(&schema)
        .unwrap()
        .modified()
        .unwrap()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    // Another version of Debian's package gets a cache of its own.
    let folder = tools::folder().join(format!("zabbix-{}", age.as_secs()));
    fs::create_dir_all(&folder).unwrap();
    let lock = File::create(folder.join(".lock")).unwrap();
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock))
        .await
        .unwrap()
        .unwrap();
    if !folder.join("site.dump").exists() {
        make_front_end(&folder);
        make_dump(&folder).await;
    }
    drop(lock);
    folder
}

/// The front end reads its settings from one place for the whole machine; this copy is told by the environment.
fn make_front_end(folder: &Path) {
    let web = folder.join("web");
    drop(fs::remove_dir_all(&web));
    fs::create_dir(&web).unwrap();
    let mut copy = Command::new("cp");
    copy.arg("-rL");
    for part in ["include", "api_jsonrpc.php", "conf", "vendor", "locale"] {
        copy.arg(Path::new(FRONT_END).join(part));
    }
    succeeded(&copy.arg(&web).output().unwrap());
    let file = web.join("include/classes/core/ZBase.php");
    let text = fs::read_to_string(&file).unwrap();
    let (fixed, told) = (
        "$configFile = CConfigFile::CONFIG_FILE_PATH;",
        "$configFile = getenv('HEADROOM_TEST_ZABBIX_SETTINGS');",
    );
    assert!(
        text.contains(fixed),
        "the front end of this Zabbix looks for its settings in another way"
    );
    fs::write(&file, text.replace(fixed, told)).unwrap();
}

async fn make_dump(folder: &Path) {
    let zabbix = Zabbix::empty();
    let load = format!(
        "zcat {SCHEMA}/schema.sql.gz {SCHEMA}/images.sql.gz {SCHEMA}/data.sql.gz | \"$0\" \"$1\" -q -v ON_ERROR_STOP=1 --single-transaction"
    );
    let psql = tools::postgres("psql");
    let loaded = Command::new("/bin/sh")
        .args(["-c", &load])
        .arg(psql)
        .arg(zabbix.database.url())
        .stdout(Stdio::null())
        .output()
        .unwrap();
    succeeded(&loaded);
    let zabbix = zabbix.serve(folder);
    let client = zabbix.client().await;
    let templates = client
        .list("template.get", json!({"output": ["templateid", "host"]}))
        .await
        .unwrap();
    let other: Vec<Value> = templates
        .into_iter()
        .filter(|one| !KEPT.contains(&one["host"].as_str().unwrap()))
        .map(|one| one["templateid"].clone())
        .collect();
    for some in other.chunks(40) {
        client.call("template.delete", json!(some)).await.unwrap();
    }
    client.close().await.unwrap();
    let unfinished = folder.join("site.dump.part");
    let dumped = zabbix
        .program("pg_dump")
        .args(["-Fc", "-Z1", "--no-owner", "-f"])
        .arg(&unfinished)
        .arg(zabbix.database.url())
        .output()
        .unwrap();
    succeeded(&dumped);
    fs::rename(unfinished, folder.join("site.dump")).unwrap();
}

fn succeeded(output: &std::process::Output) {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// What Zabbix 7 calls differently, in front of this 6.0: the session in a header alone, groups apart, proxies with names. Gives its address.
pub async fn in_the_shape_of_7(zabbix: &Zabbix) -> String {
    let upstream = Data::new(zabbix.client().await);
    let app = move || {
        App::new()
            .app_data(upstream.clone())
            .app_data(PayloadConfig::new(64 * 1024 * 1024))
            .route("/api_jsonrpc.php", post().to(translate))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .disable_signals()
        .bind(("127.0.0.1", 0))
        .unwrap();
    let port = server.addrs()[0].port();
    tokio::spawn(server.run());
    format!("http://127.0.0.1:{port}/")
}

async fn translate(request: HttpRequest, body: Bytes, upstream: Data<Client>) -> HttpResponse {
    let call: Value = serde_json::from_slice(&body).unwrap();
    let answer = |what: &str, value: Value| {
        HttpResponse::Ok().json(json!({"jsonrpc": "2.0", what: value, "id": call["id"]}))
    };
    let refuse = |why: &str| {
        answer(
            "error",
            json!({"code": -32600, "message": "Invalid request.", "data": why}),
        )
    };
    if call.get("auth").is_some() {
        return refuse("unexpected parameter \"auth\"");
    }
    let (method, mut params) = (call["method"].as_str().unwrap(), call["params"].clone());
    let session = request
        .headers()
        .get("Authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    match (method, session.as_deref()) {
        ("apiinfo.version", _) => return answer("result", json!("7.0.0")),
        ("user.login", _) => return answer("result", json!("seven")),
        ("user.logout", _) => return answer("result", json!(true)),
        ("templategroup.get", Some(_)) => return answer("result", json!([])),
        (_, Some("Bearer seven")) => {}
        _ => return refuse("Not authorized."),
    }
    if method == "proxy.get" {
        params = json!({"output": ["proxyid", "host"]});
    }
    for part in ["options", "rules"] {
        let Some(part) = params.get_mut(part).and_then(Value::as_object_mut) else {
            continue;
        };
        if part.contains_key("groups") {
            return refuse("unexpected parameter \"groups\"");
        }
        part.remove("template_groups");
        if let Some(groups) = part.remove("host_groups") {
            part.insert("groups".into(), groups);
        }
    }
    match upstream.call(method, params).await {
        Ok(result) => answer("result", result),
        Err(cause) => refuse(&cause.to_string()),
    }
}
