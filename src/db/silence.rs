//! A PostgreSQL that falls silent. A host that is lost and a network that is cut say nothing, and libpq waits for a quarter of an hour, or
//! for two hours where the last thing sent had arrived.

/// What libpq is told where the URL does not say it. No limit for statements: a migration may take as long as it needs while the server
/// answers.
const LIMITS: [(&str, &str); 5] = [
    // Seconds, for connecting and logging in.
    ("connect_timeout", "10"),
    // Milliseconds that what was sent may go without being acknowledged.
    ("tcp_user_timeout", "20000"),
    // Seconds: a connection that waits for an answer is tried after so long, then so often, and given up after so many.
    ("keepalives_idle", "10"),
    ("keepalives_interval", "5"),
    ("keepalives_count", "3"),
];

/// The other way round: a process that stands still, or whose host is lost, in the middle of a transaction says nothing either, and the
/// server would keep its locks from all others for as long as the connection seems to be there. No transaction waits for anything else than
/// the server, so that none is idle for half a minute. What the URL or the server sets is left.
pub(super) const STANDSTILL: &str = "SELECT set_config('idle_in_transaction_session_timeout', '30s', false) \
     WHERE current_setting('idle_in_transaction_session_timeout') = '0'";

/// The URL with every limit that it does not set itself.
pub(super) fn limited(url: &str) -> String {
    let mut limited = url.to_owned();
    let mut has_query = query(url).is_some();
    for (name, value) in LIMITS {
        let is_set = query(url)
            .into_iter()
            .flat_map(|query| query.split('&'))
            .any(|setting| setting.split_once('=').is_some_and(|(key, _)| key == name));
        if !is_set {
            limited.push(if has_query { '&' } else { '?' });
            limited.push_str(&format!("{name}={value}"));
            has_query = true;
        }
    }
    limited
}

/// Behind the question mark, as libpq finds it: one in a password does not count.
fn query(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let end = rest.find('/').unwrap_or(rest.len());
    let (login, _) = rest.split_at(end);
    let behind = login.find('@').map_or(0, |at| at + 1);
    let (_, query) = rest.split_at(behind).1.split_once('?')?;
    Some(query)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "connect_timeout=10&tcp_user_timeout=20000&keepalives_idle=10&keepalives_interval=5&keepalives_count=3";

    #[test]
    fn what_the_url_sets_is_left_and_the_rest_added() {
        for url in [
            "postgres://db01/headroom",
            "postgres://db01",
            "postgres://user:a?b@db01:5432/headroom",
            "postgres://db01:5432,db02:5433/headroom",
        ] {
            assert_eq!(limited(url), format!("{url}?{ALL}"));
        }
        assert_eq!(
            limited("postgres:///headroom?host=/run/postgresql"),
            format!("postgres:///headroom?host=/run/postgresql&{ALL}")
        );
        let own = "postgres://db01/h?connect_timeout=3&sslmode=require&keepalives_count=9";
        assert_eq!(
            limited(own),
            format!("{own}&tcp_user_timeout=20000&keepalives_idle=10&keepalives_interval=5")
        );
    }
}
