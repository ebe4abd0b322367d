//! Who is at the other end of the connection, with the word of a trusted proxy taken for it and nobody else's.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::HttpRequest;
use actix_web::http::header::{HOST, HeaderName};

use crate::config::Http;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The client as Headroom may believe it to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The client's address.
    pub address: IpAddr,
    /// Whether the client speaks TLS, to Headroom or to the proxy in front.
    pub https: bool,
    /// The host and port that the client asked for.
    pub host: String,
}

impl Peer {
    /// Reads it from a request.
    pub fn of(req: &HttpRequest, http: &Http) -> Self {
        let direct = req
            .peer_addr()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
        let proxied = http.trusted_proxies.contains(&direct);
        let forwarded = |name| proxied.then(|| header(req, name)).flatten();
        Self {
            address: forwarded(FORWARDED_FOR)
                .and_then(|chain| client_of(&chain, &http.trusted_proxies))
                .unwrap_or(direct),
            https: http.tls.is_some()
                || forwarded(FORWARDED_PROTO).is_some_and(|proto| proto == "https"),
            host: forwarded(FORWARDED_HOST)
                .or_else(|| header(req, HOST))
                .or_else(|| req.uri().authority().map(ToString::to_string))
                .unwrap_or_default(),
        }
    }
}

fn header(req: &HttpRequest, name: HeaderName) -> Option<String> {
    req.headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
        .map(|text| text.trim().to_owned())
}

/// The last address that no trusted proxy added: what stands before it, the client may have made up.
fn client_of(chain: &str, trusted: &[IpAddr]) -> Option<IpAddr> {
    chain
        .rsplit(',')
        .map_while(|hop| hop.trim().parse().ok())
        .find(|hop| !trusted.contains(hop))
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn http(trusted: &[&str]) -> Http {
        Http {
            listen: ([127, 0, 0, 1], 0).into(),
            tls: None,
            trusted_proxies: trusted.iter().map(|ip| ip.parse().unwrap()).collect(),
            metrics_open: false,
        }
    }

    fn request() -> TestRequest {
        TestRequest::default()
            .peer_addr("10.0.0.1:5000".parse().unwrap())
            .insert_header(("host", "inside:8080"))
            .insert_header(("x-forwarded-for", "1.1.1.1, 2.2.2.2, 10.0.0.2"))
            .insert_header(("x-forwarded-proto", "https"))
            .insert_header(("x-forwarded-host", "headroom.example.org"))
    }

    #[test]
    fn forwarding_headers_of_a_stranger_are_ignored() {
        let peer = Peer::of(&request().to_http_request(), &http(&[]));
        assert_eq!(peer.address, IpAddr::from([10, 0, 0, 1]));
        assert!(!peer.https);
        assert_eq!(peer.host, "inside:8080");
    }

    #[test]
    fn a_trusted_proxy_tells_the_client_the_scheme_and_the_host() {
        let peer = Peer::of(
            &request().to_http_request(),
            &http(&["10.0.0.1", "10.0.0.2"]),
        );
        assert_eq!(peer.address, IpAddr::from([2, 2, 2, 2]));
        assert!(peer.https);
        assert_eq!(peer.host, "headroom.example.org");
    }

    #[test]
    fn a_chain_that_is_no_list_of_addresses_counts_for_nothing() {
        let request = request()
            .insert_header(("x-forwarded-for", "nonsense"))
            .to_http_request();
        let peer = Peer::of(&request, &http(&["10.0.0.1"]));
        assert_eq!(peer.address, IpAddr::from([10, 0, 0, 1]));
    }
}
