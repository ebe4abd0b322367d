//! What the browser remembers for us: the theme, and what the last button came to.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

const THEME: &str = "headroom_theme";
const FLASH: &str = "headroom_flash";
/// A message that no page has shown by then is not worth showing.
const FLASH_SECS: i64 = 60;
/// A cookie holds 4 KiB; longer messages are cut.
const FLASH_BYTES: usize = 1_500;

/// Light, dark, or as the system says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Theme {
    /// As the system says.
    #[default]
    Auto,
    /// Light.
    Light,
    /// Dark.
    Dark,
}

impl Theme {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Light, Self::Dark];

    /// The word in the cookie and in `data-theme`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Light => "light",
            Self::Dark => "dark",
        }
    }

    /// What the browser sends; what is not known is as the system says.
    pub(super) fn of(req: &HttpRequest) -> Self {
        let cookie = req.cookie(THEME);
        let chosen = cookie.as_ref().map(Cookie::value).unwrap_or_default();
        Self::ALL
            .into_iter()
            .find(|theme| theme.as_str() == chosen)
            .unwrap_or_default()
    }

    /// The cookie that remembers the choice.
    pub fn cookie(self, secure: bool) -> Cookie<'static> {
        Cookie::build(THEME, self.as_str())
            .path("/")
            .same_site(SameSite::Lax)
            .secure(secure)
            .max_age(Duration::days(365))
            .finish()
    }
}

/// What a button came to, shown on the page it leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flash {
    /// Whether it went well.
    pub good: bool,
    /// What happened.
    pub text: String,
}

impl Flash {
    /// It was done.
    pub fn done(text: impl Into<String>) -> Self {
        Self {
            good: true,
            text: text.into(),
        }
    }

    /// It was refused, and nothing changed.
    pub fn refused(cause: &Error) -> Self {
        Self {
            good: false,
            text: cause.to_string(),
        }
    }

    /// The message that waits to be shown.
    pub(super) fn of(req: &HttpRequest) -> Option<Self> {
        let cookie = req.cookie(FLASH)?;
        let json = URL_SAFE_NO_PAD.decode(cookie.value()).ok()?;
        serde_json::from_slice(&json).ok()
    }

    /// The cookie that carries the message to the next page.
    pub(super) fn cookie(&self, secure: bool) -> Result<Cookie<'static>> {
        let mut kept = self.clone();
        kept.text
            .truncate(kept.text.floor_char_boundary(FLASH_BYTES));
        let json = serde_json::to_vec(&kept)
            .map_err(|cause| Error::internal("could not keep a message", cause))?;
        let mut cookie = flash_cookie(URL_SAFE_NO_PAD.encode(json), secure);
        cookie.set_max_age(Duration::seconds(FLASH_SECS));
        Ok(cookie)
    }
}

/// The cookie of the message; empty, to be removed once it was shown.
pub(super) fn flash_cookie(value: String, secure: bool) -> Cookie<'static> {
    Cookie::build(FLASH, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(secure)
        .finish()
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_message_survives_the_way_through_the_browser() {
        let flash = Flash::done("Run 7 was started: \"restart\" on web01 <ü>");
        let req = TestRequest::default()
            .cookie(flash.cookie(false).unwrap())
            .to_http_request();
        assert_eq!(Flash::of(&req), Some(flash));
    }

    #[test]
    fn a_long_message_is_cut_to_what_a_cookie_holds() {
        let flash = Flash::done("ü".repeat(9_000));
        assert!(flash.cookie(false).unwrap().value().len() < 3_000);
    }

    #[test]
    fn a_damaged_message_is_no_message() {
        let req = TestRequest::default()
            .cookie(Cookie::new(FLASH, "%%%"))
            .to_http_request();
        assert_eq!(Flash::of(&req), None);
    }

    #[test]
    fn the_theme_comes_from_the_cookie_and_nothing_unknown_does() {
        for (kept, theme) in [
            ("dark", Theme::Dark),
            ("light", Theme::Light),
            ("\"><script>", Theme::Auto),
        ] {
            let req = TestRequest::default()
                .cookie(Cookie::new(THEME, kept))
                .to_http_request();
            assert_eq!(Theme::of(&req), theme);
        }
    }
}
