//! Headroom in this process: a temp folder, SQLite, a web server on a free port, and users as types.

use std::net::SocketAddr;

use chrono::Utc;
use headroom::app::App;
use headroom::config::{Config, Source};
use headroom::models::Role;
use headroom::models::token::{ApiToken, NewApiToken};
use headroom::models::user::{NewUser, User};
use headroom::web::Web;
use headroom::web::auth::{password, token};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tempfile::TempDir;

use super::http::{Answer, Request};

/// The password of every user that [`TestApp::login`] makes.
pub const PASSWORD: &str = "a test's password";

/// A running Headroom; stops when dropped.
pub struct TestApp {
    pub app: App,
    pub address: SocketAddr,
    server: actix_web::dev::ServerHandle,
    _folder: TempDir,
}

/// Nobody in particular.
pub struct Anonymous(SocketAddr);

/// A logged-in browser.
pub struct Browser {
    address: SocketAddr,
    pub cookie: String,
}

/// A program with an API token.
pub struct Bearer {
    address: SocketAddr,
    pub token: String,
}

impl TestApp {
    /// With the default settings.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With these settings on top.
    pub async fn with(settings: &[(&str, &str)]) -> Self {
        let folder = TempDir::with_prefix("headroom-app-").unwrap();
        let data = folder.path().join("data");
        let mut pairs = vec![("data", data.to_str().unwrap()), ("listen", "127.0.0.1:0")];
        pairs.extend_from_slice(settings);
        let config = Config::from_source(Source::of(&pairs)).unwrap();
        let app = App::open(config).await.unwrap();
        let web = Web::bind(&app).unwrap();
        let (address, server) = (web.address, web.handle());
        tokio::spawn(web.serve());
        Self {
            app,
            address,
            server,
            _folder: folder,
        }
    }

    pub fn anonymous(&self) -> Anonymous {
        Anonymous(self.address)
    }

    /// Makes a user of this role, named after it.
    pub fn user(&self, role: Role) -> User {
        let now_ms = Utc::now().timestamp_millis();
        let new = NewUser {
            name: role.to_string(),
            password_hash: password::hash(&PASSWORD.into()).unwrap(),
            role,
            created_ms: now_ms,
            updated_ms: now_ms,
        };
        let conn = &mut *self.app.db.connection().unwrap();
        User::insert(conn, &new).unwrap()
    }

    /// Makes a user of this role and logs them in through the form.
    pub async fn login(&self, role: Role) -> Browser {
        let user = self.user(role);
        let answer = self
            .anonymous()
            .login(&user.name, PASSWORD)
            .await
            .expect(303);
        let cookie = answer.header("set-cookie").split(';').next().unwrap();
        Browser {
            address: self.address,
            cookie: cookie.to_owned(),
        }
    }

    /// A program with a token of this role.
    pub fn bearer(&self, role: Role) -> Bearer {
        self.bearer_until(role, None)
    }

    /// A program whose token ends at a time.
    pub fn bearer_until(&self, role: Role, expires_ms: Option<i64>) -> Bearer {
        let (secret, token_hash) = token::new_api_token();
        let new = NewApiToken {
            name: format!("{role}-program"),
            token_hash,
            role,
            created_by: "test".into(),
            created_ms: 0,
            expires_ms,
            last_used_ms: None,
        };
        ApiToken::insert(&mut self.app.db.connection().unwrap(), &new).unwrap();
        Bearer {
            address: self.address,
            token: secret.expose_secret().to_owned(),
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        // The command is sent at the call; nobody needs to wait for the end of a test's server.
        drop(self.server.stop(false));
    }
}

impl Anonymous {
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::new("GET", path)).await
    }

    pub async fn send(&self, request: Request) -> Answer {
        request.send(self.0).await
    }

    /// Sends the login form as a browser on our own page would.
    pub async fn login(&self, name: &str, password: &str) -> Answer {
        let form = Request::new("POST", "/login")
            .header("sec-fetch-site", "same-origin")
            .form(&[("name", name), ("password", password), ("next", "/")]);
        self.send(form).await
    }
}

impl Browser {
    /// The same browser with more in its cookie jar.
    pub fn with_cookie(&self, cookie: &str) -> Self {
        Self {
            address: self.address,
            cookie: cookie.to_owned(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::new("GET", path)).await
    }

    /// Sends a form of our own page.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let request = Request::new("POST", path).header("sec-fetch-site", "same-origin");
        self.send(request.form(fields)).await
    }

    /// Adds the cookie and nothing else.
    pub async fn send(&self, request: Request) -> Answer {
        let request = request.header("cookie", &self.cookie);
        request.send(self.address).await
    }
}

impl Bearer {
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::new("GET", path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send(Request::new("POST", path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(Request::new("PUT", path).json(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(Request::new("DELETE", path)).await
    }

    pub async fn send(&self, request: Request) -> Answer {
        let request = request.header("authorization", &format!("Bearer {}", self.token));
        request.send(self.address).await
    }
}
