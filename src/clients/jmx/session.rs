//! A login to a JVM's MBean server.

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret as _, SecretString};

use super::address::{Address, Place};
use super::allowance::Allowance;
use super::call::{Call, Holder, Method, ObjectId, Space};
use super::convert::{Converter, object_name};
use super::datum::Datum;
use super::failure::Failure;
use super::graph::{Extra, Graph, Value};
use super::reply::{Gives, Reply};
use super::stream::Limits;
use super::tls::Tls;
use super::wire::Wire;

/// How long the JVM is asked to keep our login without a word from us.
const LEASE: Duration = Duration::from_mins(10);
/// A lease is not renewed more often than this, however short it is.
const SHORTEST_RENEWAL: Duration = Duration::from_millis(500);

/// A user and the password.
pub struct Credentials {
    /// The user.
    pub user: String,
    /// The password.
    pub password: SecretString,
}

/// One attribute as a JVM describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its name.
    pub name: String,
    /// The Java type that it is said to have.
    pub class: String,
    /// What it is, in the words of who wrote the MBean.
    pub description: String,
    /// Whether it can be read.
    pub readable: bool,
}

/// A login.
pub struct Session {
    wire: Wire,
    server: ObjectId,
    holder: Holder,
    sequence: i64,
    renew_at: Instant,
}

/// Where an exported object is.
struct Remote {
    port: u16,
    encrypted: bool,
    id: ObjectId,
}

impl Session {
    /// Asks the registry, connects and logs in. `plain_registry`: that the registry does not speak TLS although the JMX server does, as
    /// found out before.
    pub(super) async fn open(
        address: &Address,
        credentials: Option<&Credentials>,
        tls: Option<&Tls>,
        plain_registry: &mut bool,
    ) -> Result<Self, Failure> {
        let (wire, server) = look_up(address, tls, plain_registry).await?;
        check_encryption(&server, tls)?;
        let mut wire = Link::reuse(wire, address).to(&server, address, tls).await?;
        let mut call = Call::new(server.id, Method::NEW_CLIENT);
        call = match credentials {
            None => call.null(),
            Some(Credentials { user, password }) => {
                call.strings([user.as_str(), password.expose_secret()])
            }
        };
        let reply = wire.wire.call(call, Gives::Value, Limits::READ).await;
        let reply = reply.map_err(|failure| refused_login(failure, credentials))?;
        let connection = remote(&reply.graph, reply.value)?;
        check_encryption(&connection, tls)?;
        let link = wire.to(&connection, address, tls).await?;
        let mut session = Self {
            wire: link.wire,
            server: connection.id,
            holder: Holder::random(),
            sequence: 0,
            renew_at: Instant::now(),
        };
        session.renew().await?;
        // Until now the JVM itself held on to what it gave us.
        session.wire.acknowledge(&reply).await?;
        Ok(session)
    }

    /// A number that the JVM chose at its start: another one is another JVM.
    pub(super) fn jvm(&self) -> i32 {
        self.server.space.unique
    }

    /// Whether the lease wants to be renewed.
    pub(super) fn wants_renewal(&self, now: Instant) -> bool {
        now >= self.renew_at
    }

    /// Keeps the login alive for another while.
    pub(super) async fn renew(&mut self) -> Result<(), Failure> {
        self.sequence += 1;
        let lease_ms = i64::try_from(LEASE.as_millis()).unwrap_or(i64::MAX);
        let call = Call::new(ObjectId::LEASES, Method::DIRTY)
            .leased(self.server, self.sequence)
            .lease(lease_ms, &self.holder);
        let reply = self.wire.call(call, Gives::Value, Limits::READ).await?;
        let granted = match reply.graph.field(reply.value, "value") {
            Some(Value::Integer(ms)) => Duration::from_millis(u64::try_from(ms).unwrap_or(0)),
            _ => return Err(Failure::garbled("a lease without a length")),
        };
        self.renew_at = Instant::now() + (granted.min(LEASE) / 2).max(SHORTEST_RENEWAL);
        Ok(())
    }

    /// Logs out.
    pub(super) async fn close(mut self) -> Result<(), Failure> {
        let call = Call::new(self.server, Method::CLOSE);
        self.wire.call(call, Gives::Nothing, Limits::READ).await?;
        let call = Call::new(ObjectId::LEASES, Method::CLEAN)
            .leased(self.server, self.sequence + 1)
            .holder(&self.holder)
            .flag(false);
        self.wire.call(call, Gives::Nothing, Limits::READ).await?;
        Ok(())
    }

    async fn ask(&mut self, call: Call, limits: Limits) -> Result<Reply, Failure> {
        self.wire.call(call, Gives::Value, limits).await
    }

    /// Some attributes of an MBean at once; those that the JVM could not read are left out.
    pub(super) async fn attributes(
        &mut self,
        mbean: &str,
        names: &[&str],
    ) -> Result<Vec<(String, Datum)>, Failure> {
        let call = Call::new(self.server, Method::GET_ATTRIBUTES)
            .object_name(mbean)
            .strings(names.iter().copied())
            .null();
        let Reply { graph, value, .. } = self.ask(call, Limits::READ).await?;
        let mut values = Converter::new(&graph, Limits::READ);
        let mut found: Vec<(String, Datum)> = Vec::new();
        for item in graph.items(value) {
            let name = graph.field(item, "name").and_then(|name| graph.text(name));
            let (Some(name), Some(value)) = (name, graph.field(item, "value")) else {
                continue;
            };
            // Only what was asked for, and once: a list may name one attribute as often as it likes.
            if names.contains(&name) && !found.iter().any(|(known, _)| known == name) {
                found.push((name.to_owned(), values.datum(value)?));
            }
        }
        Ok(found)
    }

    /// One attribute of an MBean, or why it cannot be read.
    pub(super) async fn attribute(&mut self, mbean: &str, name: &str) -> Result<Datum, Failure> {
        let call = Call::new(self.server, Method::GET_ATTRIBUTE)
            .object_name(mbean)
            .string(name)
            .null();
        let Reply { graph, value, .. } = self.ask(call, Limits::READ).await?;
        Converter::new(&graph, Limits::READ).datum(value)
    }

    /// The names of all MBeans.
    pub(super) async fn names(&mut self) -> Result<Vec<String>, Failure> {
        let call = Call::new(self.server, Method::QUERY_NAMES)
            .null()
            .null()
            .null();
        let Reply { graph, value, .. } = self.ask(call, Limits::BROWSE).await?;
        let mut left = Allowance::of(Limits::BROWSE);
        let names = graph.items(value);
        let names = names.filter_map(|item| object_name(&graph, item));
        names.map(|name| left.whole(name)).collect()
    }

    /// The attributes of an MBean.
    pub(super) async fn describe(&mut self, mbean: &str) -> Result<Vec<Described>, Failure> {
        let call = Call::new(self.server, Method::GET_MBEAN_INFO)
            .object_name(mbean)
            .null();
        let Reply { graph, value, .. } = self.ask(call, Limits::BROWSE).await?;
        let attributes = graph.field(value, "attributes");
        let attributes = attributes.and_then(|array| graph.array(array));
        let mut left = Allowance::of(Limits::BROWSE);
        let mut text = |item, name| {
            let text = graph.field(item, name).and_then(|text| graph.text(text));
            left.whole(text.unwrap_or_default())
        };
        let mut described = |item: &Value| {
            Ok(Described {
                name: text(*item, "name")?,
                class: text(*item, "attributeType")?,
                description: text(*item, "description")?,
                readable: graph.field(*item, "isRead") == Some(Value::Bool(true)),
            })
        };
        let attributes = attributes.unwrap_or_default().iter();
        attributes.map(&mut described).collect()
    }
}

/// A connection and where it leads.
struct Link {
    wire: Wire,
    place: Place,
}

impl Link {
    fn reuse(wire: Wire, address: &Address) -> Self {
        Self {
            wire,
            place: address.registry.clone(),
        }
    }

    /// The same connection where it leads to that object already, another one otherwise.
    async fn to(
        self,
        remote: &Remote,
        address: &Address,
        tls: Option<&Tls>,
    ) -> Result<Self, Failure> {
        // The JVM names a host too: its own idea of itself, which tunnels and NAT prove wrong.
        let place = address.server.clone().unwrap_or_else(|| Place {
            host: address.registry.host.clone(),
            port: remote.port,
        });
        if self.place == place && self.wire.encrypted == remote.encrypted {
            return Ok(self);
        }
        let tls = if remote.encrypted { tls } else { None };
        let wire = Wire::open(&place.host, place.port, tls).await?;
        Ok(Self { wire, place })
    }
}

async fn look_up(
    address: &Address,
    tls: Option<&Tls>,
    plain_registry: &mut bool,
) -> Result<(Wire, Remote), Failure> {
    let Place { host, port } = &address.registry;
    let tls = tls.filter(|_| !*plain_registry);
    let mut wire = match Wire::open(host, *port, tls).await {
        // Only `jmxremote.registry.ssl` encrypts the registry too. Nothing secret is sent to it.
        Err(Failure::NotTls(_)) => {
            let wire = Wire::open(host, *port, None).await?;
            *plain_registry = true;
            wire
        }
        other => other?,
    };
    let call = Call::new(ObjectId::REGISTRY, Method::LOOKUP).string(&address.name);
    let reply = wire.call(call, Gives::Value, Limits::READ).await;
    let Reply { graph, value, .. } = reply.map_err(|failure| match failure {
        Failure::Thrown(thrown) if thrown.is("java.rmi.NotBoundException") => {
            let Address { registry, name, .. } = address;
            Failure::Refused(format!(
                "the RMI registry at {registry} knows no \"{name}\""
            ))
        }
        other => other,
    })?;
    let server = remote(&graph, value)?;
    Ok((wire, server))
}

fn check_encryption(remote: &Remote, tls: Option<&Tls>) -> Result<(), Failure> {
    let why = match (remote.encrypted, tls) {
        (true, None) => "the JVM's JMX server expects TLS: set tls: true in the jvm profile",
        (false, Some(_)) => {
            "the JVM's JMX server does not speak TLS (com.sun.management.jmxremote.ssl=false), and the jvm profile says tls: true"
        }
        _ => return Ok(()),
    };
    Err(Failure::Refused(why.into()))
}

fn refused_login(failure: Failure, credentials: Option<&Credentials>) -> Failure {
    match failure {
        Failure::Thrown(thrown) if thrown.is("java.lang.SecurityException") => {
            let who = match credentials {
                Some(credentials) => format!("the login as \"{}\"", credentials.user),
                None => "a login without user and password".into(),
            };
            let words = thrown.words();
            Failure::Refused(format!("the JVM refused {who}: {words}"))
        }
        other => other,
    }
}

/// Where the object is that a stub stands for.
fn remote(graph: &Graph, stub: Value) -> Result<Remote, Failure> {
    // A stub made at run time is a proxy whose handler knows.
    let stub = match graph.field(stub, "h") {
        Some(handler) => handler,
        None => stub,
    };
    let extras = graph.extras(stub, "java.rmi.server.RemoteObject");
    let mut bytes = Vec::new();
    let mut factory = None;
    for extra in extras {
        match extra {
            Extra::Block(block) => bytes.extend_from_slice(block),
            Extra::Value(value) => factory = Some(*value),
        }
    }
    if let Some(class) = factory.and_then(|factory| graph.class_name(factory))
        && class != "javax.rmi.ssl.SslRMIClientSocketFactory"
    {
        return Err(Failure::Refused(format!(
            "the JVM wants connections to be made by its own {class}, which only Java can"
        )));
    }
    let class = graph.class_name(stub).unwrap_or("nothing").to_owned();
    parse_remote(&bytes)
        .ok_or_else(|| Failure::garbled(format!("{class} does not say where the JMX server is")))
}

fn parse_remote(bytes: &[u8]) -> Option<Remote> {
    let mut rest = bytes;
    let mut take = |length: usize| {
        let (taken, left) = rest.split_at_checked(length)?;
        rest = left;
        Some(taken)
    };
    let length = u16::from_be_bytes(take(2)?.try_into().ok()?);
    let encrypted = match take(usize::from(length))? {
        b"UnicastRef" => false,
        b"UnicastRef2" => take(1)? == [1],
        _ => return None,
    };
    let host = u16::from_be_bytes(take(2)?.try_into().ok()?);
    take(usize::from(host))?;
    let port = i32::from_be_bytes(take(4)?.try_into().ok()?);
    let id = ObjectId {
        number: i64::from_be_bytes(take(8)?.try_into().ok()?),
        space: Space {
            unique: i32::from_be_bytes(take(4)?.try_into().ok()?),
            time: i64::from_be_bytes(take(8)?.try_into().ok()?),
            count: i16::from_be_bytes(take(2)?.try_into().ok()?),
        },
    };
    Some(Remote {
        port: u16::try_from(port).ok().filter(|port| *port > 0)?,
        encrypted,
        id,
    })
}
