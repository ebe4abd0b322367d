//! Where a JVM's JMX is to be found.

use std::fmt;

use super::wire::label;

const PREFIX: &str = "service:jmx:rmi://";

/// A host and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// Name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&label(&self.host, self.port))
    }
}

/// Where an RMI registry is, and what to ask it for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// The registry.
    pub registry: Place,
    /// The name that the JMX server is registered under.
    pub name: String,
    /// Where to dial the JMX server; none = at the registry's host, whatever host the JVM itself names.
    pub server: Option<Place>,
}

impl Address {
    /// The registry at a port of a host.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            registry: Place {
                host: host.into(),
                port,
            },
            name: "jmxrmi".into(),
            server: None,
        }
    }

    /// `service:jmx:rmi:///jndi/rmi://HOST:PORT/jmxrmi`, with `HOST:PORT` of the JMX server in front where that is dialled elsewhere.
    ///
    /// # Errors
    /// It is none; the message says what would be right.
    pub fn parse(url: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{url}\" is no JMX service URL that Headroom can use: service:jmx:rmi:///jndi/rmi://HOST:PORT/jmxrmi is expected"
            )
        };
        let rest = url.strip_prefix(PREFIX).ok_or_else(wrong)?;
        let (server, rest) = rest.split_once("/jndi/rmi://").ok_or_else(wrong)?;
        let (registry, name) = rest.split_once('/').ok_or_else(wrong)?;
        if name.is_empty() {
            return Err(wrong());
        }
        let server = match server {
            "" => None,
            server => Some(place(server, None).ok_or_else(wrong)?),
        };
        Ok(Self {
            registry: place(registry, Some(1099)).ok_or_else(wrong)?,
            name: name.into(),
            server,
        })
    }
}

fn place(text: &str, default: Option<u16>) -> Option<Place> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port > 0)?,
        None => default?,
    };
    let known = !host.is_empty() && !host.contains(char::is_whitespace);
    known.then(|| Place {
        host: host.into(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_url_names_the_registry_and_may_name_the_server() {
        let plain = Address::parse("service:jmx:rmi:///jndi/rmi://db01:9010/jmxrmi").unwrap();
        assert_eq!(plain, Address::new("db01", 9010));
        let full =
            Address::parse("service:jmx:rmi://10.0.0.7:9011/jndi/rmi://[::1]:9010/karaf-root")
                .unwrap();
        assert_eq!(full.registry.to_string(), "[::1]:9010");
        assert_eq!(full.name, "karaf-root");
        assert_eq!(full.server.unwrap().to_string(), "10.0.0.7:9011");
        let default = Address::parse("service:jmx:rmi:///jndi/rmi://db01/jmxrmi").unwrap();
        assert_eq!(default.registry.port, 1099);
    }

    #[test]
    fn what_is_no_service_url_is_refused_with_one_that_would_do() {
        for url in [
            "service:jmx:rmi:///stub/rO0ABXN",
            "service:jmx:rmi:///jndi/rmi://db01:9010",
            "service:jmx:rmi:///jndi/rmi://db01:9010/",
            "service:jmx:rmi:///jndi/rmi://db01:0/jmxrmi",
            "service:jmx:rmi:///jndi/rmi://:9010/jmxrmi",
            "service:jmx:rmi://db01/jndi/rmi://db01:9010/jmxrmi",
            "service:jmx:jmxmp://db01:9010",
            "http://db01",
        ] {
            let why = Address::parse(url).unwrap_err();
            assert!(
                why.contains("service:jmx:rmi:///jndi/rmi://HOST:PORT/jmxrmi"),
                "{why}"
            );
        }
    }
}
