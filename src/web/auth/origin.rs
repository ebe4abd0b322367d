//! Whether a state change comes from Headroom's own pages. Pure.
//!
//! A session cookie is sent by the browser whoever wrote the form, so a change made with one must prove where it comes from.
//! `Sec-Fetch-Site` cannot be forged by a page; it is missing on plain HTTP beyond loopback, where `Origin` must do.

/// What the browser says about where the request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// `Sec-Fetch-Site`.
    pub fetch_site: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// The host and port that were asked for.
    pub host: &'a str,
    /// Whether they were asked for by HTTPS.
    pub https: bool,
}

/// Accepts what comes from the same origin; the error is for a person.
///
/// # Errors
/// It comes from elsewhere, or does not say from where.
pub fn check(source: &Source<'_>) -> Result<(), String> {
    match source.fetch_site {
        Some("same-origin" | "none") => return Ok(()),
        Some(other) => return Err(refusal(&format!("it was sent {other}"))),
        None => {}
    }
    let Some(origin) = source.origin else {
        return Err(refusal(
            "it does not say from where (no Sec-Fetch-Site, no Origin)",
        ));
    };
    let same = match origin.split_once("://") {
        Some(("https", authority)) => authority.eq_ignore_ascii_case(source.host),
        Some(("http", authority)) => !source.https && authority.eq_ignore_ascii_case(source.host),
        _ => false,
    };
    if same {
        Ok(())
    } else {
        Err(refusal(&format!("it comes from {origin}")))
    }
}

fn refusal(why: &str) -> String {
    format!(
        "This change was refused, since it was not sent by a page of this Headroom: {why}. \
         Open Headroom itself and try again there; programs use an API token."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_origin_may_change_anything() {
        let cases = [
            (Some("same-origin"), None, false, true),
            (Some("none"), None, false, true),
            (Some("cross-site"), None, false, false),
            (Some("same-site"), None, false, false),
            // What Sec-Fetch-Site says is not outvoted by an Origin.
            (
                Some("cross-site"),
                Some("http://head.room:8080"),
                false,
                false,
            ),
            (None, Some("http://head.room:8080"), false, true),
            (None, Some("http://HEAD.room:8080"), false, true),
            (None, Some("https://head.room:8080"), true, true),
            (None, Some("http://head.room:8080"), true, false),
            // A proxy that speaks TLS but does not say so.
            (None, Some("https://head.room:8080"), false, true),
            (None, Some("http://head.room"), false, false),
            (
                None,
                Some("http://head.room:8080.evil.example"),
                false,
                false,
            ),
            (None, Some("http://evil.example"), false, false),
            (None, Some("null"), false, false),
            (None, None, false, false),
        ];
        for (fetch_site, origin, https, accepted) in cases {
            let source = Source {
                fetch_site,
                origin,
                host: "head.room:8080",
                https,
            };
            assert_eq!(check(&source).is_ok(), accepted, "{source:?}");
        }
    }

    #[test]
    fn a_refusal_says_from_where_and_what_to_do() {
        let refusal = check(&Source {
            fetch_site: None,
            origin: Some("http://evil.example"),
            host: "head.room",
            https: false,
        })
        .unwrap_err();
        assert!(refusal.contains("it comes from http://evil.example"));
        assert!(refusal.contains("programs use an API token"));
    }
}
